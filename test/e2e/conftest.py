"""Fixtures of the end-to-end tests: a cluster, a namespace, an operator, a judge.

The suite boots a local control plane and runs the operator as a process of its own, unless it is
given a cluster (`--kubeconfig`) on which the operator is deployed. Tests of pods that really run
need such a cluster; those that reach into the control plane need the local one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster import ControlPlane
from e2e import manifests
from e2e.deployment import Deployment
from e2e.node import Node
from e2e.rights import RightsCheck
from e2e.scenario import Audit, Operator, Scenario, evc_cli, eventually

NAMESPACE = "evc-system"
ACCOUNT = "evc-controller-manager"
OPERATOR = f"system:serviceaccount:{NAMESPACE}:{ACCOUNT}"
REAL_NODE = "real_node"
"""The folder of the tests that need one."""
DEPLOYED = Path(__file__).parent / "deployed"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Where to run."""
    group = parser.getgroup("cluster", "the cluster to test on")
    group.addoption("--kubeconfig", type=Path, help="one with the operator deployed")
    group.addoption("--audit-log", type=Path, help="its API server's, if it can be read here")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Pods on the local control plane write nothing that could be looked for."""
    only_real = collection_path.name == REAL_NODE and not config.getoption("kubeconfig")
    return True if only_real else None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On a given cluster, leave out what needs more of it; a test's fixtures say so."""
    if not config.getoption("kubeconfig"):
        return
    missing = {"control_plane"} if config.getoption("audit_log") else {"control_plane", "audit"}
    left_out = [item for item in items if missing & set(getattr(item, "fixturenames", ()))]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def pytest_configure(config: pytest.Config) -> None:
    """Compare the operator's rights with their use at the end."""
    config.pluginmanager.register(RightsCheck(NAMESPACE, ACCOUNT), "rights")


@pytest.fixture(scope="session")
def control_plane(request: pytest.FixtureRequest) -> Iterator[ControlPlane]:
    """One real control plane for the whole session; its logs are kept if any test failed."""
    plane = ControlPlane.boot()
    yield plane
    request.config.pluginmanager.get_plugin("rights").add(plane.audit_log)
    failed = request.session.testsfailed > 0
    if failed:
        print(f"\nthe control plane's logs are kept in {plane.directory / 'logs'}")
    plane.stop(keep=failed)


@pytest.fixture(scope="session")
def with_crd(control_plane: ControlPlane) -> ControlPlane:
    """The control plane with our API, which the garbage collector knows, too."""
    install_kinds(control_plane, evc_cli("crd").stdout)
    control_plane.restart("kube-controller-manager")
    return control_plane


def install_kinds(plane: ControlPlane, definitions: str) -> None:
    """Apply CustomResourceDefinitions and return when all of them are served."""
    applied = plane.kubectl("apply", "-f", "-", "-o=name", input=definitions)
    until_served(plane, *(line.rpartition("/")[2] for line in applied.split()))


def until_served(plane: ControlPlane, *kinds: str) -> None:
    """Wait for kinds (PLURAL.GROUP); one is Established before discovery tells of it."""
    eventually(
        lambda: {*kinds} <= {*plane.kubectl("api-resources", "-o=name", check=False).split()},
        f"these kinds are served: {kinds}",
    )


@pytest.fixture(scope="session")
def deployed(with_crd: ControlPlane) -> ControlPlane:
    """The control plane with all of `make deploy`, the guard included, but for the pods."""
    with_crd.kubectl("apply", "-k", str(DEPLOYED))
    until_policies_are_in_force(with_crd)
    return with_crd


def until_policies_are_in_force(plane: ControlPlane) -> None:
    """Wait until the API server follows all policies there are.

    It hears of them in the order they were made, and so follows one that is made now last.
    """
    version = "admissionregistration.k8s.io/v1"
    maps = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}
    rule = maps | {"operations": ["CREATE"], "resourceNames": ["last"]}
    specs = {
        "ValidatingAdmissionPolicy": {
            "matchConstraints": {"resourceRules": [rule]},
            "validations": [{"expression": "false", "message": "the last one"}],
        },
        "ValidatingAdmissionPolicyBinding": {"policyName": "last", "validationActions": ["Deny"]},
    }
    for kind, spec in specs.items():
        item = {"apiVersion": version, "kind": kind, "metadata": {"name": "last"}, "spec": spec}
        plane.kubectl("create", "-f", "-", input=json.dumps(item))
    probe = ("create", "configmap", "last", "--dry-run=server")
    eventually(
        lambda: "the last one" in plane.kubectl(*probe, check=False), "all policies are in force"
    )
    for kind in specs:
        plane.kubectl("delete", kind, "last")


@pytest.fixture(scope="session")
def operator_kubeconfig(deployed: ControlPlane) -> Path:
    """The operator's own token, with which it has its rights and nothing more."""
    kubeconfig = token_kubeconfig(deployed, NAMESPACE, ACCOUNT)
    forbidden = ("create", "configmap", "probe", f"--kubeconfig={kubeconfig}", "--dry-run=server")
    assert "is forbidden" in deployed.kubectl(*forbidden, check=False)
    claim = json.dumps(manifests.pvc("probe"))
    probe = ("create", "-f", "-", f"--kubeconfig={kubeconfig}", "--dry-run=server")
    eventually(
        lambda: "creates only" in deployed.kubectl(*probe, input=claim, check=False),
        "the guard is in force",
    )
    return kubeconfig


def token_kubeconfig(plane: ControlPlane, namespace: str, account: str) -> Path:
    """A kubeconfig with a ServiceAccount's token, as the TokenRequest API gives it out."""
    token = plane.kubectl("create", "token", account, "-n", namespace, "--duration=6h").strip()
    config = json.loads(plane.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token}
    path = plane.directory / "users" / f"{namespace}-{account}.kubeconfig"
    path.parent.mkdir(exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(json.dumps(config))
    return path


@pytest.fixture(scope="session")
def kubeconfig(request: pytest.FixtureRequest) -> Path:
    """The administrator's, of the given cluster or else of a local one with our API."""
    given: Path | None = request.config.getoption("kubeconfig")
    return given or request.getfixturevalue("with_crd").kubeconfig


@pytest.fixture
def audit(request: pytest.FixtureRequest) -> Audit:
    """What the operator did, by the API server's word."""
    given: Path | None = request.config.getoption("audit_log")
    return Audit(given or request.getfixturevalue("with_crd").audit_log, OPERATOR)


@pytest.fixture
def scenario(kubeconfig: Path) -> Scenario:
    """A namespace of its own."""
    return Scenario(kubeconfig)


@pytest.fixture(scope="session")
def node(kubeconfig: Path) -> Iterator[Node]:
    """What is on the disk of the node, and what runs there."""
    found = Node(kubeconfig)
    yield found
    found.close()


@pytest.fixture
def operator(request: pytest.FixtureRequest) -> Iterator[Operator | Deployment]:
    """A running operator: the deployed one, or a process for the scenario's namespace only."""
    if kubeconfig := request.config.getoption("kubeconfig"):
        deployment = Deployment(kubeconfig, NAMESPACE, ACCOUNT)
        yield deployment
        deployment.close()
    else:
        yield request.getfixturevalue("operator_process")


@pytest.fixture
def operator_process(
    scenario: Scenario, operator_kubeconfig: Path, tmp_path: Path
) -> Iterator[Operator]:
    """A running operator that looks after the scenario's namespace only."""
    process = Operator(operator_kubeconfig, tmp_path / "operator.log", "-n", scenario.namespace)
    process.start()
    yield process
    process.close()
