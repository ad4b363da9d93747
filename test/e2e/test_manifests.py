"""Every manifest in config/ on the real API server, by the commands of the README."""

from __future__ import annotations

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster import ControlPlane
from cluster.build import ensure_binaries
from e2e import manifests
from e2e.conftest import (
    ACCOUNT,
    DEPLOYED,
    NAMESPACE,
    OPERATOR,
    install_kinds,
    token_kubeconfig,
    until_served,
)
from e2e.kustomize import CONFIG, rendered
from e2e.rights import Grant, granted
from e2e.scenario import Json, Operator, Scenario, condition, eventually

ROOT = CONFIG.parent


def make(plane: ControlPlane, *args: str, kubeconfig: Path | None = None) -> str:
    """Run make as a user does; return what it said, after "make failed" if it did."""
    kubectl = f"{ensure_binaries() / 'kubectl'} --kubeconfig={kubeconfig or plane.kubeconfig}"
    result = subprocess.run(
        ["make", "--no-print-directory", f"KUBECTL={kubectl}", *args],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return ("make failed: " if result.returncode else "") + result.stdout


def exist(plane: ControlPlane, items: list[Json]) -> list[Json]:
    """The objects as the API server has them; fails if one is missing."""
    text = "---\n".join(yaml.safe_dump(item) for item in items)
    found: list[Json] = json.loads(plane.kubectl("get", "-f", "-", "-o=json", input=text))["items"]
    assert len(found) == len(items)
    return found


def test_default_runs_two_restricted_pods(deployed: ControlPlane) -> None:
    items = rendered(CONFIG / "default")
    try:
        deployed.kubectl("apply", "-k", str(CONFIG / "default"))
        deployed.kubectl(
            *("rollout", "status", "deployment/evc-controller-manager"),
            *(f"-n={NAMESPACE}", "--timeout=90s"),
        )
        kinds = [item["kind"] for item in exist(deployed, items)]
        pods = json.loads(deployed.kubectl("get", "pods", f"-n={NAMESPACE}", "-o=json"))["items"]
    finally:
        deployed.kubectl("apply", "-k", str(DEPLOYED))
    for kind, count in (
        ("ServiceAccount", 1),
        ("Deployment", 1),
        ("PodDisruptionBudget", 1),
        ("Service", 1),
        ("ValidatingAdmissionPolicy", 6),
        ("ValidatingAdmissionPolicyBinding", 6),
        ("CustomResourceDefinition", 1),
    ):
        assert kinds.count(kind) == count, kind
    assert len(pods) == 2
    assert {pod["spec"]["serviceAccountName"] for pod in pods} == {ACCOUNT}
    # The API server holds pods of the namespace to the restricted standard, so these are.
    root = "run", "root", f"-n={NAMESPACE}", "--image=busybox", "--dry-run=server"
    assert "violates PodSecurity" in deployed.kubectl(*root, check=False)


def test_the_arguments_of_the_pod_are_the_operators(tmp_path: Path) -> None:
    """A flag that does not exist would be a crash loop."""
    kubeconfig = tmp_path / "no-such-file"
    for folder in ("default", "namespaced"):
        (pod,) = (
            item["spec"]["template"]["spec"]
            for item in rendered(CONFIG / folder)
            if item["kind"] == "Deployment"
        )
        (container,) = pod["containers"]
        args = [arg.replace("$(NAMESPACE)", "x") for arg in container["args"]]
        result = subprocess.run(
            [
                *(sys.executable, "-m", "evc", *args),
                *(f"--kubeconfig={kubeconfig}", "--leader-election-namespace=x"),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert f"cannot use kubeconfig {kubeconfig}" in result.stdout + result.stderr


def test_the_guard_means_the_operator_that_is_deployed() -> None:
    items = rendered(CONFIG / "default")
    (account,) = (item["metadata"] for item in items if item["kind"] == "ServiceAccount")
    who = f"system:serviceaccount:{account['namespace']}:{account['name']}"
    assert who == OPERATOR
    meant = [
        condition["expression"].replace("\n", " ")
        for item in items
        if item["kind"] == "ValidatingAdmissionPolicy"
        for condition in item["spec"]["matchConditions"]
        if condition["name"] == "operator"
    ]
    assert len(meant) == 5
    words = ["system:serviceaccount:", NAMESPACE, ":", ACCOUNT]
    assert all(re.findall(r"'([^']*)'", expression) == words for expression in meant)


def stand_in(kind: str) -> Json:
    """A CustomResourceDefinition of the Prometheus Operator's that takes everything."""
    plural = f"{kind.lower()}s"
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.monitoring.coreos.com"},
        "spec": {
            "group": "monitoring.coreos.com",
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural},
            "versions": [version | {"schema": {"openAPIV3Schema": anything}}],
        },
    }


@pytest.fixture
def monitors(deployed: ControlPlane) -> Iterator[None]:
    """Stand-ins for the kinds of the Prometheus Operator."""
    text = yaml.safe_dump_all([stand_in("ServiceMonitor"), stand_in("PrometheusRule")])
    install_kinds(deployed, text)
    yield
    deployed.kubectl("delete", "-f", "-", input=text)


def test_every_option_can_be_uncommented(
    deployed: ControlPlane, tmp_path: Path, monitors: None
) -> None:
    config = tmp_path / "config"
    shutil.copytree(CONFIG, config)
    for name in ("default", "prometheus"):
        path = config / name / "kustomization.yaml"
        path.write_text(re.sub(r"^#(?=-|  |patches:)", "", path.read_text(), flags=re.M))
    options = rendered(config / "default")
    default = rendered(CONFIG / "default")
    kinds = [item["kind"] for item in options if item not in default]
    added = ["ConfigMap", "Deployment", "NetworkPolicy", "PrometheusRule", "ServiceMonitor"]
    assert sorted(kinds) == added
    try:
        deployed.kubectl("apply", "-k", str(config / "default"))
        found = exist(deployed, options)
        (pod,) = (
            item["spec"]["template"]["spec"] for item in found if item["kind"] == "Deployment"
        )
        (monitor,) = (item for item in found if item["kind"] == "ServiceMonitor")
    finally:
        kinds_to_go = "networkpolicies,servicemonitors,prometheusrules"
        deployed.kubectl("delete", kinds_to_go, "--all", f"-n={NAMESPACE}")
        deployed.kubectl("delete", "configmap", "evc-grafana-dashboard", f"-n={NAMESPACE}")
        deployed.kubectl("apply", "-k", str(DEPLOYED))
    assert pod["volumes"][0]["secret"]["secretName"] == "metrics-server-cert"
    assert any(arg.startswith("--metrics-cert-path=") for arg in pod["containers"][0]["args"])
    assert monitor["spec"]["endpoints"][0]["tlsConfig"]["insecureSkipVerify"] is False


def test_the_samples_are_accepted(scenario: Scenario, with_crd: ControlPlane) -> None:
    for flag, path in (("-k", "samples"), ("-f", "samples/handover_second_pod.yaml")):
        with_crd.kubectl("apply", f"-n={scenario.namespace}", flag, str(CONFIG / path))


@pytest.mark.parametrize(
    ("level", "verbs"),
    [
        ("viewer", "get list watch"),
        ("editor", "create delete get list patch update watch"),
        ("admin", "create delete deletecollection get list patch update watch"),
    ],
)
def test_helper_roles_grant_what_their_names_say(
    deployed: ControlPlane, level: str, verbs: str
) -> None:
    role = f"evc-ephemeralvolumeclaim-{level}-role"
    rules = json.loads(deployed.kubectl("get", "clusterrole", role, "-o=json"))["rules"]
    claims, status = rules
    assert claims["verbs"] == verbs.split()
    assert status == claims | {
        "resources": ["ephemeralvolumeclaims/status"],
        "verbs": ["get"],
    }


def test_everybody_who_views_sees_claims_and_nobody_gets_more_unasked(
    deployed: ControlPlane,
) -> None:
    def verbs(role: str) -> list[str]:
        rules = json.loads(deployed.kubectl("get", "clusterrole", role, "-o=json"))["rules"]
        return [
            verb
            for rule in rules
            if "ephemeralvolumeclaims" in rule.get("resources", ())
            for verb in rule["verbs"]
        ]

    for role in ("view", "edit", "admin"):
        eventually(lambda role=role: verbs(role), f"{role} has our rules")
        assert verbs(role) == ["get", "list", "watch"]


# --- make -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane on which nothing of ours is."""
    with ControlPlane.boot(directory=tmp_path_factory.mktemp("fresh") / "cp") as plane:
        yield plane


def test_make_installs_deploys_and_refuses_to_take_volumes_along(fresh: ControlPlane) -> None:
    assert "created" in make(fresh, "install")
    claim = json.dumps(manifests.claim("scratch"))
    eventually(
        lambda: "created" in fresh.kubectl("create", "-f", "-", input=claim, check=False),
        "the API is served",
    )
    assert "deployment.apps/evc-controller-manager created" in make(
        fresh, "deploy", "IMG=registry.example.com:5000/evc@sha256:0123"
    )
    image = ("get", "deployment", "-A", "-o=jsonpath={..image}")
    assert fresh.kubectl(*image) == "registry.example.com:5000/evc@sha256:0123"
    nowhere = fresh.directory / "no-such-kubeconfig"
    for target in ("uninstall", "undeploy"):
        said = make(fresh, target)
        assert said.startswith("make failed: These EphemeralVolumeClaims still exist")
        assert "\n  default/scratch\n" in said
        assert "say force=true" in said
        # Not to know is not to have none.
        unknown = make(fresh, target, kubeconfig=nowhere)
        assert unknown.startswith("make failed:")
        assert "delete" not in unknown
    assert not make(fresh, "undeploy", "keep-crd=true").startswith("make failed")
    assert "scratch" in fresh.kubectl("get", "evc")
    assert not fresh.kubectl("get", "validatingadmissionpolicies", "-o=name")
    assert not make(fresh, "uninstall", "force=true").startswith("make failed")
    assert not fresh.kubectl("get", "crd", "-o=name")
    assert "NotFound" in make(fresh, "uninstall")
    assert not make(fresh, "uninstall", "ignore-not-found=true").startswith("make failed")


def test_a_missing_kubectl_is_one_clear_line() -> None:
    result = subprocess.run(
        ["make", "--no-print-directory", "KUBECTL=no-such-kubectl", "deploy"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode
    assert result.stdout.startswith("no-such-kubectl was not found: install it")


# --- one namespace ----------------------------------------------------------------------


def test_the_namespaced_operator_has_the_same_rights_in_one_namespace_only() -> None:
    items = rendered(CONFIG / "namespaced")
    kinds = {item["kind"] for item in items}
    assert kinds == {"ServiceAccount", "Role", "RoleBinding", "Deployment", "PodDisruptionBudget"}
    assert {item["metadata"]["namespace"] for item in items} == {NAMESPACE}
    everywhere = granted(rendered(CONFIG / "default"), ACCOUNT)
    assert everywhere - granted(items, ACCOUNT) == {
        Grant("list", "storage.k8s.io", "volumeattachments"),
        Grant("get", "", "persistentvolumes"),
        Grant("list", "", "nodes"),
        Grant("create", "authentication.k8s.io", "tokenreviews"),
        Grant("create", "authorization.k8s.io", "subjectaccessreviews"),
    }
    assert granted(items, ACCOUNT) <= everywhere


@pytest.fixture
def own_namespace(fresh: ControlPlane) -> tuple[Scenario, Path]:
    """A namespace, and the kubeconfig of somebody who may do everything in it and no more."""
    make(fresh, "install")
    until_served(fresh, "ephemeralvolumeclaims.evc.dev")
    scenario = Scenario(fresh.kubeconfig)
    boss = fresh.kubeconfig_for("boss")
    fresh.kubectl(
        *("create", "rolebinding", "boss", f"-n={scenario.namespace}"),
        *("--clusterrole=cluster-admin", "--user=boss"),
    )
    scenario.seen_by(boss).until_may("create", "roles", "rbac.authorization.k8s.io")
    return scenario, boss


def test_without_rights_on_the_cluster_completed_pods_keep_the_volume(
    fresh: ControlPlane, own_namespace: tuple[Scenario, Path], tmp_path: Path
) -> None:
    scenario, boss = own_namespace
    said = make(fresh, "deploy-namespaced", f"NAMESPACE={scenario.namespace}", kubeconfig=boss)
    assert "role.rbac.authorization.k8s.io/evc-manager-role created" in said
    assert not said.startswith("make failed")
    kubeconfig = token_kubeconfig(fresh, scenario.namespace, ACCOUNT)
    scenario.seen_by(kubeconfig).until_may("list", "ephemeralvolumeclaims", "evc.dev")
    election = ("--leader-elect", f"--leader-election-namespace={scenario.namespace}")
    log = tmp_path / "operator.log"
    operator = Operator(kubeconfig, log, f"--namespace={scenario.namespace}", *election)
    operator.start()
    scenario.create("evc", manifests.claim("scratch", ttlSecondsAfterFinished=600))
    scenario.until_bound("scratch")
    scenario.create("pod", manifests.pod("done", "scratch", complete_after="100ms"))
    says = "attachments, nodes or volumes may not be read, so completed pods are not released"
    scenario.eventually(
        lambda: says in condition(scenario.get("evc", "scratch"), "Ready").get("message", ""),
        "status says what is missing",
    )
    assert scenario.get("evc", "scratch")["status"]["heldBy"]["names"] == ["Pod/done"]
    scenario.delete("pod", "done")
    scenario.until_gone("pvc", "scratch")
    scenario.until_reason("scratch", "Deleted")
    operator.close()
    gone = make(fresh, "undeploy-namespaced", f"NAMESPACE={scenario.namespace}", kubeconfig=boss)
    assert not gone.startswith("make failed")


# --- the image --------------------------------------------------------------------------


def left_out() -> tuple[Any, ...]:
    """What the image does not have: modules, and folders with nothing but __init__.py."""
    slim = runpy.run_path(str(ROOT / "image" / "slim.py"))
    return slim["DISTRIBUTIONS"], slim["MODULES"]


BLOCK = """
import runpy, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in GONE or name.startswith(EMPTIED):
            raise ModuleNotFoundError(f"{name} is not in the image")

sys.meta_path.insert(0, Blocked())
sys.argv[0] = "evc"
runpy.run_module("evc", run_name="__main__")
"""


class SlimOperator(Operator):
    """The operator in a Python that lacks what the image lacks."""

    def __init__(self, kubeconfig: Path, log: Path, *args: str) -> None:
        super().__init__(kubeconfig, log, *args)
        distributions, modules = left_out()
        gone = {name.replace("-", "_") for name in distributions}
        emptied = tuple(module.replace("/", ".") + "." for module in modules)
        script = f"GONE = {gone!r}\nEMPTIED = {emptied!r}\n{BLOCK}"
        at = self._command.index("-m")
        self._command[at : at + 2] = ["-c", script]


def test_the_operator_needs_nothing_that_its_image_leaves_out(
    scenario: Scenario, operator_kubeconfig: Path, tmp_path: Path
) -> None:
    process = SlimOperator(operator_kubeconfig, tmp_path / "operator.log", "-n", scenario.namespace)
    process.start()
    scenario.create("evc", manifests.claim("scratch"))
    scenario.until_bound("scratch")
    scenario.create("pod", manifests.pod("done", "scratch", complete_after="100ms"))
    scenario.until_gone("evc", "scratch")
    process.close()
    missing = SlimOperator(operator_kubeconfig, tmp_path / "log", "--help")
    script = missing._command[2].replace('run_module("evc"', 'run_module("aiohttp"')
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, env=os.environ
    )
    assert "aiohttp is not in the image" in result.stderr
