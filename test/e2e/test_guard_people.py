"""The guard (config/admission) on the real API server: what everybody but the operator may do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cluster import ControlPlane
from e2e import manifests
from e2e.conftest import token_kubeconfig
from e2e.guard import ADOPT_BY, HOLD, MARK, UID, a_pvc, annotated, owner, refusal
from e2e.scenario import PATHS, Json, Scenario

PATHS["role"] = "/apis/rbac.authorization.k8s.io/v1/namespaces/{ns}/roles"
PATHS["rolebinding"] = "/apis/rbac.authorization.k8s.io/v1/namespaces/{ns}/rolebindings"
PATHS["serviceaccount"] = "/api/v1/namespaces/{ns}/serviceaccounts"


@pytest.fixture
def somebody(scenario: Scenario, deployed: ControlPlane) -> Callable[..., Scenario]:
    """Makes a ServiceAccount with these ClusterRoles, or rules, in the namespace; its view."""

    def bound(name: str, kind: str, role: str) -> None:
        scenario.create(
            "rolebinding",
            {
                "metadata": {"name": f"{name}-{role}"},
                "roleRef": {
                    "apiGroup": "rbac.authorization.k8s.io",
                    "kind": kind,
                    "name": role,
                },
                "subjects": [
                    {"kind": "ServiceAccount", "name": name, "namespace": scenario.namespace}
                ],
            },
        )

    def make(name: str, *roles: str, rules: list[Json] | None = None) -> Scenario:
        scenario.create("serviceaccount", {"metadata": {"name": name}})
        for role in roles:
            bound(name, "ClusterRole", role)
        # The authorizer hears of bindings in the order they were made: who has the right that
        # was given last has all.
        last: Json = {"apiGroups": ["last.example.com"], "resources": ["last"], "verbs": ["get"]}
        scenario.create("role", {"metadata": {"name": name}, "rules": [*(rules or ()), last]})
        bound(name, "Role", name)
        view = scenario.seen_by(token_kubeconfig(deployed, scenario.namespace, name))
        view.until_may("get", "last", "last.example.com")
        return view

    return make


@pytest.fixture
def alice(somebody: Callable[..., Scenario], operator_kubeconfig: Path) -> Scenario:
    """Somebody with the usual role `edit`, ours for EphemeralVolumeClaims, and PVC status."""
    status: Json = {
        "apiGroups": [""],
        "resources": ["persistentvolumeclaims/status"],
        "verbs": ["patch"],
    }
    roles = ("edit", "evc-ephemeralvolumeclaim-editor-role")
    return somebody("alice", *roles, rules=[status])


SAYS_MARKS = (
    "only the operator sets, changes or removes the annotations evc.dev/owner-uid,"
    " evc.dev/owner-name, evc.dev/request-id and evc.dev/completed-pods"
)


@pytest.mark.parametrize("mark", MARK)
def test_nobody_else_writes_a_mark(scenario: Scenario, alice: Scenario, mark: str) -> None:
    a_pvc(scenario)
    for change in (annotated({mark: "x"}), annotated({mark: ""})):
        assert SAYS_MARKS in refusal(lambda change=change: alice.patch("pvc", "scratch", change))
    scenario.patch("pvc", "scratch", annotated(MARK))
    for change in (annotated({mark: "x"}), annotated({mark: None})):
        assert SAYS_MARKS in refusal(lambda change=change: alice.patch("pvc", "scratch", change))
    status = scenario.path("pvc", "scratch") + "/status"
    merge = "application/merge-patch+json"
    sneaky = annotated({mark: "x"})
    assert SAYS_MARKS in refusal(lambda: alice.call("PATCH", status, sneaky, merge))
    manifest = manifests.pvc("other")
    manifest["metadata"]["annotations"] = {mark: "x"}
    says = refusal(lambda: alice.create("pvc", manifest))
    assert SAYS_MARKS in says
    assert "annotate it with evc.dev/adopt-by=NAME" in says


def test_people_hold_offer_change_and_delete_what_is_marked(
    scenario: Scenario, alice: Scenario
) -> None:
    a_pvc(scenario, MARK)
    alice.patch("pvc", "scratch", annotated({HOLD: "true"}, labels={"team": "blue"}))
    alice.patch("pvc", "scratch", annotated({HOLD: None, ADOPT_BY: "cleanup"}))
    alice.patch("pvc", "scratch", annotated({ADOPT_BY: None}))
    alice.delete("pvc", "scratch")
    scenario.until_gone("pvc", "scratch")
    offered = manifests.pvc("mine")
    offered["metadata"]["annotations"] = {ADOPT_BY: "cleanup"}
    alice.create("pvc", offered)


def test_the_administrator_may_write_marks(scenario: Scenario, alice: Scenario) -> None:
    a_pvc(scenario, MARK)
    scenario.patch("pvc", "scratch", annotated(dict.fromkeys(MARK)))
    assert SAYS_MARKS in refusal(lambda: alice.patch("pvc", "scratch", annotated(MARK)))


def test_kubernetes_own_controllers_work_on_marked_volumes(
    scenario: Scenario, alice: Scenario
) -> None:
    """Binding, protection and orphaning write to it; a namespace's end takes it along."""
    evc = scenario.create("evc", manifests.claim("scratch"))
    manifest = manifests.pvc("scratch")
    reference = owner(evc["metadata"]["uid"], group="evc.dev/v1alpha1") | {"controller": True}
    manifest["metadata"] |= {"annotations": MARK, "ownerReferences": [reference]}
    scenario.create("pvc", manifest)
    scenario.until_bound("scratch")
    alice.delete("evc", "scratch", propagationPolicy="Orphan")
    scenario.until_gone("evc", "scratch")
    left = scenario.get("pvc", "scratch")["metadata"]
    assert "ownerReferences" not in left
    assert left["annotations"][UID] == MARK[UID]
    scenario.call("DELETE", f"{PATHS['namespace']}/{scenario.namespace}")
    scenario.until_gone("pvc", "scratch")


def pvc_rights(*verbs: str) -> list[Json]:
    """A rule about PVCs."""
    return [{"apiGroups": [""], "resources": ["persistentvolumeclaims"], "verbs": list(verbs)}]


@pytest.mark.parametrize(
    ("rights", "lacks"),
    [
        (["create", "delete"], ""),
        ([], "create"),
        (["delete"], "create"),
        (["create", "update", "patch"], "delete"),
        (["create", "deletecollection"], "delete"),
    ],
)
def test_who_has_a_volume_made_and_deleted_must_be_allowed_to(
    scenario: Scenario,
    alice: Scenario,
    somebody: Callable[..., Scenario],
    rights: list[str],
    lacks: str,
) -> None:
    rules = pvc_rights(*rights) if rights else None
    bob = somebody("bob", "evc-ephemeralvolumeclaim-editor-role", rules=rules)
    if not lacks:
        bob.create("evc", manifests.claim("scratch"))
        return
    says = refusal(lambda: bob.create("evc", manifests.claim("scratch")))
    who = f"system:serviceaccount:{scenario.namespace}:bob may not {lacks} PersistentVolumeClaims"
    assert who in says
    assert "ask for a RoleBinding to the ClusterRole edit" in says
    # What exists he may label, and not make delete sooner.
    alice.create("evc", manifests.claim("scratch"))
    bob.patch("evc", "scratch", {"metadata": {"labels": {"a": "b"}}})
    says = refusal(lambda: bob.patch("evc", "scratch", {"spec": {"gracePeriodSeconds": 0}}))
    assert who in says
