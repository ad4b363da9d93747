"""Fixtures of the end-to-end tests: a real control plane, a namespace, an operator, a judge."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster import ControlPlane
from e2e.scenario import Audit, Operator, Scenario, evc_cli, eventually

NAMESPACE = "evc-system"
OPERATOR = f"system:serviceaccount:{NAMESPACE}:evc-controller-manager"
RBAC = Path(__file__).parent / "rbac"


@pytest.fixture(scope="session")
def control_plane(request: pytest.FixtureRequest) -> Iterator[ControlPlane]:
    """One real control plane for the whole session; its logs are kept if any test failed."""
    plane = ControlPlane.boot()
    yield plane
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
def operator_kubeconfig(with_crd: ControlPlane) -> Path:
    """The operator's own identity and rights, by which the audit log knows it."""
    with_crd.kubectl("create", "namespace", NAMESPACE)
    with_crd.kubectl("apply", "-k", str(RBAC))
    return with_crd.kubeconfig_for(
        OPERATOR, "system:serviceaccounts", f"system:serviceaccounts:{NAMESPACE}"
    )


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
