"""The Kubernetes project's own pvc_protection cases, with the volume of a claim of ours.

After each test a judge reads the audit log: no accepted DELETE of ours hit a PVC that a
pod, made before it and not terminal yet, references (S1).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from e2e import manifests
from e2e.scenario import Audit, Json, Operator, Scenario, condition, eventually, phase

TERMINAL = ("Succeeded", "Failed")


@dataclass
class SeenPod:
    """What the API server has said of one pod up to some revision."""

    name: str
    claims: set[str]
    phase: str = "Pending"
    gone: bool = False


def in_use(audit: Audit, namespace: str) -> list[str]:
    """S1: each DELETE of ours that hit a PVC in use at its revision, in words.

    What happened is ordered by the resourceVersions of the answers, which are etcd's own
    revisions; a DELETE that removes at once answers without one and stands where it came.
    """
    pods: dict[str, SeenPod] = {}
    wrong = []
    for event in ordered(audit, namespace):
        kind, verb, answer = event["objectRef"]["resource"], event["verb"], event["responseObject"]
        meta = answer.get("metadata", {})
        if kind == "pods" and answer.get("kind") == "Pod":
            pod = pods.setdefault(meta["uid"], SeenPod(meta["name"], claims_of(answer)))
            pod.phase = phase(answer)
            pod.gone = verb == "delete" and meta.get("deletionGracePeriodSeconds", 0) == 0
        elif kind == "pods" and verb == "delete":
            uid = answer.get("details", {}).get("uid", "")
            for pod in [pods[uid]] if uid in pods else []:
                pod.gone = True
        elif verb == "delete" and event["user"]["username"] == audit._user:
            name = event["objectRef"]["name"]
            wrong += [
                f"pvc {name} was deleted while pod {pod.name} was {pod.phase}"
                for pod in pods.values()
                if name in pod.claims and not pod.gone and pod.phase not in TERMINAL
            ]
    return wrong


def ordered(audit: Audit, namespace: str) -> list[Json]:
    """The accepted writes to pods and PVCs of the namespace, in etcd's order."""
    accepted = [
        event
        for event in audit._events()
        if event.get("objectRef", {}).get("namespace") == namespace
        and event["objectRef"].get("resource") in ("pods", "persistentvolumeclaims")
        and event["verb"] in ("create", "update", "patch", "delete")
        and event["responseStatus"]["code"] < 300
        and event.get("responseObject")
    ]
    revision, found = 0, []
    for event in sorted(accepted, key=lambda event: event["stageTimestamp"]):
        version = event["responseObject"].get("metadata", {}).get("resourceVersion", "")
        revision = int(version) if version else revision
        found.append((revision, event))
    return [event for _, event in sorted(found, key=lambda pair: pair[0])]


def claims_of(pod: Json) -> set[str]:
    """The PVCs a pod references."""
    volumes: list[Json] = pod["spec"].get("volumes", [])
    return {
        volume["persistentVolumeClaim"]["claimName"]
        for volume in volumes
        if "persistentVolumeClaim" in volume
    }


@pytest.fixture(autouse=True)
def judged(operator: Operator, scenario: Scenario, audit: Audit) -> Iterator[None]:
    """Every claim of every test of this module is judged."""
    yield
    assert in_use(audit, scenario.namespace) == []


def ready_claim(scenario: Scenario, **spec: Any) -> Json:
    """A claim whose volume is there; returns the PVC."""
    scenario.create("evc", manifests.claim("scratch", **spec))
    pvc = scenario.until_bound("scratch")
    scenario.until_reason("scratch", "Waiting")
    return pvc


def until_terminating(scenario: Scenario) -> None:
    """Wait until the PVC is being deleted, and still there."""
    scenario.eventually(
        lambda: "deletionTimestamp" in scenario.get("pvc", "scratch")["metadata"],
        "the PVC is being deleted",
    )


def test_a_volume_nobody_uses_goes_at_once(scenario: Scenario, audit: Audit) -> None:
    """ "Verify 'immediate' deletion of a PVC that is not in active use by a pod"."""
    pvc = ready_claim(scenario)
    assert pvc["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
    scenario.patch("evc", "scratch", {"spec": {"expirySeconds": 1}})
    scenario.until_gone("pvc", "scratch")
    scenario.until_gone("pv", pvc["spec"]["volumeName"])
    scenario.until_gone("evc", "scratch")
    assert len(audit.writes(scenario.namespace, "persistentvolumeclaims", "delete")) == 1


def test_a_used_volume_stays_terminating_until_its_pod_is_gone(
    scenario: Scenario, audit: Audit
) -> None:
    """ "Verify that PVC in active use by a pod is not removed immediately"."""
    pvc = ready_claim(scenario, ttlSecondsAfterFinished=600)
    scenario.create("pod", manifests.pod("user", "scratch"))
    scenario.until_phase("user", "Running")
    scenario.until_reason("scratch", "InUse")
    scenario.delete("pvc", "scratch")
    until_terminating(scenario)
    with pytest.raises(AssertionError, match="not within"):
        scenario.until_gone("pvc", "scratch", seconds=12)
    claim = scenario.get("evc", "scratch")
    assert condition(claim, "Ready")["reason"] == "InUse"
    assert scenario.get("pv", pvc["spec"]["volumeName"])["status"]["phase"] == "Bound"
    scenario.delete("pod", "user")
    scenario.until_gone("pvc", "scratch")
    claim = scenario.until_reason("scratch", "Deleted", "Lost")
    # Somebody else's DELETE was enough: there is none of ours, and no PVC in its place.
    assert not audit.writes(scenario.namespace, "persistentvolumeclaims", "delete")
    assert len(audit.writes(scenario.namespace, "persistentvolumeclaims", "create")) == 1
    assert condition(claim, "Finished")["status"] == "True"


def test_a_second_pod_on_a_terminating_volume_never_runs(scenario: Scenario, audit: Audit) -> None:
    """ "Verify that scheduling of a pod that uses PVC that is being deleted fails"."""
    ready_claim(scenario, gracePeriodSeconds=0, ttlSecondsAfterFinished=600)
    scenario.create("pod", manifests.pod("first", "scratch", complete_after="100ms"))
    scenario.until_reason("scratch", "Releasing")
    until_terminating(scenario)  # pinned by the completed pod
    # The scheduler reads its own cache, which hears of the deletion a moment later.
    scenario.stays("pod", "first", seconds=2)
    scenario.create("pod", manifests.pod("second", "scratch"))
    refused = scenario.eventually(
        lambda: (
            found
            if (found := condition(scenario.get("pod", "second"), "PodScheduled")).get("message")
            else None
        ),
        "the scheduler looked at it",
    )
    assert refused["status"] == "False"
    assert refused["reason"] == "Unschedulable"
    assert 'persistentvolumeclaim "scratch" is being deleted' in refused["message"]
    # It keeps nothing: a pod without a node by now will never have one for this volume.
    claim = scenario.until_reason("scratch", "Deleted")
    assert claim["status"]["outcome"] == "Succeeded"
    second = scenario.get("pod", "second")
    assert phase(second) == "Pending"
    assert "nodeName" not in second["spec"]
    scenario.stays("evc", "scratch", seconds=2)
    assert not scenario.get("pvc", "scratch")
    assert len(audit.writes(scenario.namespace, "persistentvolumeclaims", "create")) == 1


def test_an_unscheduled_pod_is_a_user_to_us_although_not_to_kubernetes(
    scenario: Scenario, audit: Audit
) -> None:
    """Kubernetes' own protection would let a volume go under a pod without a node."""
    ready_claim(scenario, gracePeriodSeconds=0)
    scenario.create("pod", manifests.pod("waiting", "scratch", nowhere=True))
    scenario.create("pod", manifests.pod("first", "scratch", complete_after="100ms"))
    scenario.until_phase("first", "Succeeded")
    scenario.stays("pvc", "scratch", seconds=3)
    assert not audit.writes(scenario.namespace, "persistentvolumeclaims", "delete")
    scenario.delete("pod", "waiting")
    scenario.until_gone("evc", "scratch")
    assert len(audit.writes(scenario.namespace, "persistentvolumeclaims", "delete")) == 1


def test_a_volume_that_may_still_be_attached_is_not_released(scenario: Scenario) -> None:
    """A terminal phase is not an unmount (kubernetes#65552)."""
    scenario.create("evc", manifests.claim("scratch", ttlSecondsAfterFinished=60))
    volume = scenario.until_bound("scratch")["spec"]["volumeName"]
    attachment = f"csi-{scenario.namespace}"
    path = "/apis/storage.k8s.io/v1/volumeattachments"
    source = {"persistentVolumeName": volume}
    spec = {"attacher": "test.example.com", "nodeName": "node-0", "source": source}
    scenario.call("POST", path, {"metadata": {"name": attachment}, "spec": spec})
    scenario.create("pod", manifests.pod("quick", "scratch", complete_after="100ms"))
    eventually(
        lambda: (
            f"VolumeAttachment/{attachment}"
            in scenario.get("evc", "scratch")["status"].get("heldBy", {}).get("names", [])
            or f"VolumeAttachment/{attachment}"
            in condition(scenario.get("evc", "scratch"), "Ready").get("message", "")
        ),
        "status says that the volume may still be attached",
    )
    assert scenario.get("pvc", "scratch")
    scenario.call("DELETE", f"{path}/{attachment}")
    scenario.until_gone("pvc", "scratch")
    assert phase(scenario.get("pod", "quick")) == "Succeeded"
