"""Fixtures of the end-to-end tests: a real control plane, a namespace, an operator, a judge."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster import ControlPlane
from e2e import manifests
from e2e.rights import RightsCheck
from e2e.scenario import Audit, Operator, Scenario, evc_cli, eventually

NAMESPACE = "evc-system"
ACCOUNT = "evc-controller-manager"
OPERATOR = f"system:serviceaccount:{NAMESPACE}:{ACCOUNT}"
DEPLOYED = Path(__file__).parent / "deployed"


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
    control_plane.kubectl("apply", "-f", "-", input=evc_cli("crd").stdout)
    eventually(
        lambda: "evc" in control_plane.kubectl("api-resources", "--api-group=evc.dev"),
        "the API is served",
    )
    control_plane.restart("kube-controller-manager")
    return control_plane


@pytest.fixture(scope="session")
def deployed(with_crd: ControlPlane) -> ControlPlane:
    """The control plane with all of `make deploy`, the guard included, but for the pods."""
    with_crd.kubectl("apply", "-k", str(DEPLOYED))
    return with_crd


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


@pytest.fixture
def audit(with_crd: ControlPlane) -> Audit:
    """What the operator did, by the API server's word."""
    return Audit(with_crd.audit_log, OPERATOR)


@pytest.fixture
def scenario(with_crd: ControlPlane) -> Scenario:
    """A namespace of its own."""
    return Scenario(with_crd.kubeconfig)


@pytest.fixture
def operator(scenario: Scenario, operator_kubeconfig: Path, tmp_path: Path) -> Iterator[Operator]:
    """A running operator that looks after the scenario's namespace only."""
    process = Operator(operator_kubeconfig, tmp_path / "operator.log", "-n", scenario.namespace)
    process.start()
    yield process
    process.close()
