"""The guard (config/admission) on the real API server: what the operator's own token may do.

The rest of the suite runs with the guard installed, and so proves that it denies nothing needed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster import ControlPlane
from e2e import manifests
from e2e.conftest import until_served
from e2e.guard import (
    ADOPT_BY,
    FOREIGN,
    HOLD,
    MARK,
    PROTECTION,
    UID,
    a_pvc,
    annotated,
    owner,
    refusal,
)
from e2e.kustomize import CONFIG, rendered
from e2e.scenario import PATHS, Json, Scenario, eventually

PATHS["class"] = "/apis/storage.k8s.io/v1/storageclasses"
PATHS["copy"] = "/apis/guard.example.com/v1/namespaces/{ns}/copies"


@pytest.fixture
def operators(scenario: Scenario, operator_kubeconfig: Path) -> Scenario:
    """The namespace with the operator's own rights."""
    return scenario.seen_by(operator_kubeconfig)


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
JOB = owner("9", "Backup", "backup.example.com/v1")

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
    manifest = manifests.pvc("scratch")
    manifest["metadata"]["annotations"] = MARK

    def given() -> str:
        probe = scenario.call("POST", scenario.path("pvc") + "?dryRun=All", manifests.pvc("probe"))
        return str(probe["spec"].get("storageClassName", ""))

    scenario.call("PATCH", standard, annotated({default: "false"}), merge)
    try:
        eventually(lambda: not given(), "no class is the default")
        assert "storageClassName" not in scenario.create("pvc", manifest)["spec"]
        change = {"spec": {"storageClassName": "standard"}}
        assert "of the spec the operator may change" in refusal(
            lambda: operators.patch("pvc", "scratch", change)
        )
    finally:
        scenario.call("PATCH", standard, annotated({default: "true"}), merge)
    eventually(lambda: given() == "standard", "the default is back")


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


@pytest.fixture
def copies(deployed: ControlPlane, scenario: Scenario) -> Iterator[None]:
    """A kind under the policy for what the operator creates, whoever creates it.

    Without the feature gate CrossNamespaceVolumeDataSource the API server drops the namespace
    of a PVC's dataSourceRef before any policy sees it.
    """
    (policy,) = (
        item
        for item in rendered(CONFIG / "default")
        if item["metadata"]["name"] == "evc-operator-creates"
        and item["kind"] == "ValidatingAdmissionPolicy"
    )
    name = {"name": "copies.guard.example.com"}
    rule = {"apiGroups": ["guard.example.com"], "resources": ["copies"]}
    rule |= {"apiVersions": ["v1"], "operations": ["CREATE"]}
    policy["metadata"] = name
    policy["spec"] |= {"matchConstraints": {"resourceRules": [rule]}, "matchConditions": []}
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True}
    items = [
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": name,
            "spec": {
                "group": "guard.example.com",
                "scope": "Namespaced",
                "names": {"kind": "Copy", "plural": "copies"},
                "versions": [version | {"schema": {"openAPIV3Schema": schema}}],
            },
        },
        policy,
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": name,
            "spec": {"policyName": name["name"], "validationActions": ["Deny"]},
        },
    ]
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    deployed.kubectl("apply", "-f", "-", input=text)
    until_served(deployed, "copies.guard.example.com")
    yield
    deployed.kubectl("delete", "-f", "-", input=text)


def copying(name: str, **source: str) -> Json:
    """Something like a PVC that is made from another."""
    return {
        "apiVersion": "guard.example.com/v1",
        "kind": "Copy",
        "metadata": {"name": name, "annotations": MARK},
        "spec": {"dataSourceRef": {"kind": "PersistentVolumeClaim", "name": "theirs"} | source},
    }


def test_the_operator_copies_nothing_from_other_namespaces(
    scenario: Scenario, copies: None
) -> None:
    def told() -> bool:
        try:
            scenario.call("POST", scenario.path("copy") + "?dryRun=All", far)
        except AssertionError as error:
            return "does not copy from other namespaces" in str(error)
        return False

    far = copying("far", namespace="theirs")
    eventually(told, "a copy from another namespace is refused")
    assert "leave dataSourceRef.namespace out" in refusal(lambda: scenario.create("copy", far))
    assert scenario.create("copy", copying("near"))


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
