"""The guard (config/admission) on the real API server, with real tokens: allowed and denied.

The first half is what the operator's own token may do, the second what other people may. The
rest of the suite runs with the guard installed, and so proves that it denies nothing needed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cluster import ControlPlane
from e2e import manifests
from e2e.conftest import token_kubeconfig
from e2e.scenario import PATHS, Json, Refused, Scenario, eventually

PATHS["role"] = "/apis/rbac.authorization.k8s.io/v1/namespaces/{ns}/roles"
PATHS["rolebinding"] = "/apis/rbac.authorization.k8s.io/v1/namespaces/{ns}/rolebindings"
PATHS["serviceaccount"] = "/api/v1/namespaces/{ns}/serviceaccounts"
PATHS["class"] = "/apis/storage.k8s.io/v1/storageclasses"

UID, NAME = "evc.dev/owner-uid", "evc.dev/owner-name"
HOLD, ADOPT_BY = "evc.dev/hold", "evc.dev/adopt-by"
MARK = {UID: "1", NAME: "scratch", "evc.dev/completed-pods": "Release", "evc.dev/request-id": "7"}
PROTECTION = "kubernetes.io/pvc-protection"
FOREIGN = "example.com/backup"


def owner(uid: str, kind: str = "EphemeralVolumeClaim", group: str = "evc.dev/v1alpha1") -> Json:
    """An ownerReference."""
    return {"apiVersion": group, "kind": kind, "name": "scratch", "uid": uid}


def annotated(annotations: dict[str, Any], **metadata: Any) -> Json:
    """A merge patch of a PVC's metadata."""
    return {"metadata": {"annotations": annotations} | metadata}


def a_pvc(
    scenario: Scenario,
    annotations: dict[str, str] | None = None,
    *,
    spec: Json | None = None,
    **metadata: Any,
) -> Json:
    """A PVC that an administrator made, of a class that never binds, and what it became."""
    manifest = manifests.pvc("scratch")
    manifest["spec"] |= {"storageClassName": "no-such-class"} | (spec or {})
    manifest["metadata"] |= {"annotations": annotations or {}} | metadata
    return scenario.create("pvc", manifest)


def refusal(call: Callable[[], object]) -> str:
    """What the API server says to a request it must refuse."""
    with pytest.raises(Refused) as refused:
        call()
    return str(refused.value)


@pytest.fixture
def operators(scenario: Scenario, operator_kubeconfig: Path) -> Scenario:
    """The namespace with the operator's own rights."""
    return scenario.seen_by(operator_kubeconfig)


# --- the operator -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("annotations", "spec", "says"),
    [
        (MARK, {}, ""),
        ({}, {}, "creates only PersistentVolumeClaims that bear its mark, evc.dev/owner-uid"),
        ({UID: ""}, {}, "creates only PersistentVolumeClaims that bear its mark"),
        (MARK, {"volumeName": "theirs"}, "volumeName or selector would take one that exists"),
        (MARK, {"selector": {"matchLabels": {"a": "b"}}}, "would take one that exists"),
    ],
)
def test_the_operator_creates_only_marked_new_volumes(
    operators: Scenario, annotations: dict[str, str], spec: Json, says: str
) -> None:
    if says:
        assert says in refusal(lambda: a_pvc(operators, annotations, spec=spec))
    else:
        assert a_pvc(operators, annotations, spec=spec)


@pytest.mark.parametrize(
    ("annotations", "says"),
    [
        (MARK, ""),
        (MARK | {HOLD: "false"}, ""),
        ({}, "deletes only what it made or was given"),
        ({ADOPT_BY: "scratch"}, "deletes only what it made or was given"),
        (MARK | {HOLD: "true"}, "is on hold: take its annotation evc.dev/hold off"),
        (MARK | {HOLD: ""}, "is on hold"),
    ],
)
def test_the_operator_deletes_only_what_it_marked_and_nobody_holds(
    scenario: Scenario, operators: Scenario, annotations: dict[str, str], says: str
) -> None:
    a_pvc(scenario, annotations)
    if says:
        assert says in refusal(lambda: operators.delete("pvc", "scratch"))
        scenario.stays("pvc", "scratch", seconds=0.2)
    else:
        operators.delete("pvc", "scratch")
        scenario.until_gone("pvc", "scratch")


MINE = {"annotations": MARK, "finalizers": [PROTECTION, FOREIGN], "ownerReferences": []}
JOB = owner("9", "Job", "batch/v1")

CHANGES: dict[str, tuple[Json, Json, str]] = {
    "labels and annotations of its own": (
        MINE,
        annotated({"example.com/note": "x"}, labels={"a": "b"}),
        "",
    ),
    "marks one that is given to it": (
        {"annotations": {ADOPT_BY: "scratch"}},
        annotated(MARK, ownerReferences=[owner("1")]),
        "",
    ),
    "lets go": (
        {"annotations": MARK | {ADOPT_BY: "scratch"}, "ownerReferences": [JOB, owner("1")]},
        annotated(dict.fromkeys((*MARK, ADOPT_BY)), ownerReferences=[JOB]),
        "",
    ),
    "lets go where the mark was rewritten": (
        {"annotations": MARK | {UID: "2"}, "ownerReferences": [owner("1")]},
        {"metadata": {"ownerReferences": []}},
        "",
    ),
    "lets go where the mark was taken off": (
        {"ownerReferences": [owner("1")]},
        {"metadata": {"ownerReferences": []}},
        "",
    ),
    "owns again": (MINE, {"metadata": {"ownerReferences": [owner("1")]}}, ""),
    "a stranger's": ({}, {"metadata": {"labels": {"a": "b"}}}, "neither the annotation"),
    "marks a stranger's": ({}, annotated(MARK), "changes only what it made or was given"),
    "marks one that is given to another": (
        {"annotations": {ADOPT_BY: "else"}},
        annotated(MARK),
        "annotate the PersistentVolumeClaim with evc.dev/adopt-by=NAME",
    ),
    "marks one without saying for whom": (
        {"annotations": {ADOPT_BY: "scratch"}},
        annotated({UID: "1"}),
        "takes over only what its owner gives away",
    ),
    "passes one on": (MINE, annotated({UID: "2"}), "does not pass a volume from one"),
    "takes hold off": (
        {"annotations": MARK | {HOLD: "true"}},
        annotated({HOLD: None}),
        "people set evc.dev/hold and take it off, never the operator",
    ),
    "sets hold": (MINE, annotated({HOLD: "true"}), "never the operator"),
    "adds a finalizer": (
        MINE,
        {"metadata": {"finalizers": [PROTECTION, FOREIGN, "evc.dev/x"]}},
        "kubernetes.io/pvc-protection only, and add none",
    ),
    "takes a foreign finalizer off": (
        MINE,
        {"metadata": {"finalizers": [PROTECTION]}},
        "kubernetes.io/pvc-protection only, and add none",
    ),
    "takes the protection of a living one off": (
        MINE,
        {"metadata": {"finalizers": [FOREIGN]}},
        "goes only from a PersistentVolumeClaim that is being deleted",
    ),
    "takes a foreign ownerReference off": (
        {"annotations": MARK, "ownerReferences": [JOB]},
        {"metadata": {"ownerReferences": []}},
        "may remove only those of EphemeralVolumeClaims",
    ),
    "adds a foreign ownerReference": (
        MINE,
        {"metadata": {"ownerReferences": [JOB]}},
        "may add only that of the EphemeralVolumeClaim the volume is marked with",
    ),
    "makes another EphemeralVolumeClaim the owner": (
        MINE,
        {"metadata": {"ownerReferences": [owner("2")]}},
        "may add only that of the EphemeralVolumeClaim the volume is marked with",
    ),
    "takes somebody's volume": (
        MINE,
        {"spec": {"volumeName": "theirs"}},
        "of the spec the operator may change resources.requests.storage",
    ),
}


@pytest.mark.parametrize("case", CHANGES)
def test_what_the_operator_may_change(scenario: Scenario, operators: Scenario, case: str) -> None:
    present, change, says = CHANGES[case]
    a_pvc(scenario, **present)
    if says:
        assert says in refusal(lambda: operators.patch("pvc", "scratch", change))
    else:
        operators.patch("pvc", "scratch", change)


def test_the_operator_gives_no_class_to_a_volume_without_one(
    scenario: Scenario, operators: Scenario
) -> None:
    standard = "/apis/storage.k8s.io/v1/storageclasses/standard"
    default = "storageclass.kubernetes.io/is-default-class"
    merge = "application/merge-patch+json"
    scenario.call("PATCH", standard, annotated({default: "false"}), merge)
    try:
        manifest = manifests.pvc("scratch")
        manifest["metadata"]["annotations"] = MARK
        assert "storageClassName" not in scenario.create("pvc", manifest)["spec"]
        change = {"spec": {"storageClassName": "standard"}}
        assert "of the spec the operator may change" in refusal(
            lambda: operators.patch("pvc", "scratch", change)
        )
    finally:
        scenario.call("PATCH", standard, annotated({default: "true"}), merge)


def test_the_operator_lets_a_volume_grow_and_never_shrink(
    scenario: Scenario, operators: Scenario
) -> None:
    name = f"grows-{scenario.namespace}"
    grows = {"provisioner": "kubernetes.io/host-path", "allowVolumeExpansion": True}
    scenario.create("class", {"metadata": {"name": name}} | grows)
    a_pvc(scenario, MARK, spec={"storageClassName": name})
    scenario.until_bound("scratch")

    def resize(size: str) -> Json:
        return {"spec": {"resources": {"requests": {"storage": size}}}}

    operators.patch("pvc", "scratch", resize("5Gi"))
    says = refusal(lambda: operators.patch("pvc", "scratch", resize("3Gi")))
    assert "lets a volume grow, and never makes it smaller" in says
    scenario.patch("pvc", "scratch", resize("3Gi"))  # which Kubernetes itself would allow


@pytest.mark.parametrize("hold", [False, True])
def test_the_operator_takes_the_protection_of_a_deleted_volume_off(
    scenario: Scenario, operators: Scenario, hold: bool
) -> None:
    a_pvc(scenario, MARK | ({HOLD: "true"} if hold else {}), finalizers=[PROTECTION, FOREIGN])
    # A pod pins it, so that Kubernetes' own controller keeps the protection on.
    scenario.create("pod", manifests.pod("user", "scratch", nowhere=True))
    scenario.call(
        "POST",
        scenario.path("pod", "user") + "/binding",
        {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": "user"},
            "target": {"apiVersion": "v1", "kind": "Node", "name": "node-0"},
        },
    )
    scenario.delete("pvc", "scratch")
    change = {"metadata": {"finalizers": [FOREIGN]}}
    if hold:
        says = refusal(lambda: operators.patch("pvc", "scratch", change))
        assert "that is being deleted and not on hold" in says
    else:
        operators.patch("pvc", "scratch", change)
    scenario.patch("pvc", "scratch", {"metadata": {"finalizers": []}})


def test_the_operator_deletes_completed_pods_only(scenario: Scenario, operators: Scenario) -> None:
    scenario.create("pvc", manifests.pvc("scratch"))
    scenario.create("pod", manifests.pod("works", "scratch"))
    scenario.create("pod", manifests.pod("done", "scratch", complete_after="100ms"))
    scenario.create("pod", manifests.pod("failed", "scratch", fail_after="100ms"))
    scenario.until_phase("works", "Running")
    scenario.until_phase("done", "Succeeded")
    scenario.until_phase("failed", "Failed")
    for name in ("done", "failed"):
        operators.delete("pod", name)
        scenario.until_gone("pod", name)
    says = refusal(lambda: operators.delete("pod", "works"))
    assert "the operator deletes only completed pods" in says
    scenario.stays("pod", "works", seconds=0.2)


# --- everybody else ---------------------------------------------------------------------


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
        if rules:
            scenario.create("role", {"metadata": {"name": name}, "rules": rules})
            bound(name, "Role", name)
        return scenario.seen_by(token_kubeconfig(deployed, scenario.namespace, name))

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
    view = somebody("alice", *roles, rules=[status])
    eventually(lambda: _denied(view), "the marks are guarded")
    return view


def _denied(view: Scenario) -> bool:
    """Whether the policy about marks is in force yet."""
    manifest = manifests.pvc("probe")
    manifest["metadata"]["annotations"] = MARK
    try:
        view.call("POST", view.path("pvc") + "?dryRun=All", manifest)
    except Refused:
        return True
    return False


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
    reference = owner(evc["metadata"]["uid"]) | {"controller": True}
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
    eventually(lambda: _may_list(bob), "bob has his role")
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


def _may_list(view: Scenario) -> bool:
    try:
        view.items("evc")
    except Refused:
        return False
    return True


# --- the policies themselves ------------------------------------------------------------


def test_every_rule_type_checks_and_says_what_to_do(deployed: ControlPlane) -> None:
    def checked() -> list[Json] | None:
        items = _policies(deployed)
        done = all("typeChecking" in item.get("status", {}) for item in items)
        return items if done else None

    policies = eventually(checked, "Kubernetes has checked the types")
    assert len(policies) == 6
    for policy in policies:
        assert policy["status"]["typeChecking"] == {}, policy["metadata"]["name"]
        assert policy["spec"]["failurePolicy"] == "Fail"
        for rule in policy["spec"]["validations"]:
            assert re.search(r"\w{3} \w+", rule.get("message") or rule["messageExpression"])


def _policies(plane: ControlPlane) -> list[Json]:
    items: list[Json] = json.loads(
        plane.kubectl("get", "validatingadmissionpolicies", "-o", "json")
    )["items"]
    return [item for item in items if item["metadata"]["name"].startswith("evc-")]
