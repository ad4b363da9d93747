"""The sentences of the design that no other test tells, each once, on a real control plane."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cluster import ControlPlane
from e2e import manifests
from e2e.conftest import install_kinds
from e2e.scenario import (
    PATHS,
    Audit,
    Json,
    Operator,
    Scenario,
    condition,
    eventually,
    phase,
    when,
)

PATHS["quota"] = "/api/v1/namespaces/{ns}/resourcequotas"
PATHS["storageclass"] = "/apis/storage.k8s.io/v1/storageclasses"
PATHS["train"] = "/apis/train.example.com/v1/namespaces/{ns}/trains"


RECORD = 600
"""A ttl that outlives the test."""
SETTLED = 13.0
"""Seconds after which a volume that may be released from completed pods has been."""


def events(scenario: Scenario, name: str, reason: str) -> list[Json]:
    """The events of that reason about a claim."""
    return [
        event
        for event in scenario.items("event")
        if event["reason"] == reason and event["regarding"]["name"] == name
    ]


def requests(audit: Audit, scenario: Scenario, *verbs: str) -> list[Json]:
    """The operator's requests of these verbs in the namespace, also those refused."""
    return [
        event
        for event in audit._events()
        if event["user"]["username"] == audit._user
        and event["verb"] in verbs
        and event.get("objectRef", {}).get("namespace") == scenario.namespace
    ]


def told(scenario: Scenario, name: str) -> str:
    """What STATUS explains; "" if nothing."""
    return str(condition(scenario.get("evc", name), "Ready").get("message", ""))


def stays_terminating(scenario: Scenario, name: str, seconds: float) -> None:
    """Fail unless the deleted PVC is still there, and the same, all that time."""
    deadline = time.monotonic() + seconds
    uid = scenario.get("pvc", name)["metadata"]["uid"]
    while time.monotonic() < deadline:
        meta = scenario.get("pvc", name).get("metadata", {})
        assert meta.get("uid") == uid, f"pvc {name} did not stay"
        assert "deletionTimestamp" in meta, f"pvc {name} is not being deleted"
        time.sleep(0.2)


def end(scenario: Scenario, pod: str) -> None:
    """Have a running pod complete, now and not before."""
    scenario.patch("pod", pod, {"metadata": {"annotations": {manifests.COMPLETE_AFTER: "100ms"}}})


def let_go(scenario: Scenario, name: str = "scratch") -> None:
    """Take spec.hold off: what it kept from being deleted is due."""
    scenario.patch("evc", name, {"spec": {"hold": False}})


def until_terminating(scenario: Scenario, name: str) -> Json:
    """Wait until the PVC is being deleted; return it."""
    return scenario.eventually(
        lambda: (
            pvc if "deletionTimestamp" in (pvc := scenario.get("pvc", name))["metadata"] else None
        ),
        f"pvc {name} is being deleted",
    )


def until_message(scenario: Scenario, name: str, part: str) -> Json:
    """Wait until STATUS explains that; return the claim."""
    scenario.eventually(lambda: part in told(scenario, name), f"{name} says: {part}")
    return scenario.get("evc", name)


def waiting_claim(scenario: Scenario, name: str = "scratch", **spec: Any) -> Json:
    """A claim whose volume is there and unused; returns the PVC."""
    scenario.create("evc", manifests.claim(name, **spec))
    pvc = scenario.until_bound(name)
    scenario.until_reason(name, "Waiting")
    return pvc


def finished_pod(scenario: Scenario, name: str, claim: str = "scratch", **more: Any) -> None:
    """A pod that used the volume and completed."""
    scenario.create("pod", manifests.pod(name, claim, complete_after="100ms", **more))
    scenario.until_phase(name, "Succeeded")


# --- when a claim is over ---------------------------------------------------------------


def test_an_init_containers_start_is_use(scenario: Scenario, operator: Operator) -> None:
    waiting_claim(scenario)
    pod = manifests.pod("preparing", "scratch", nowhere=True)
    pod["spec"]["initContainers"] = [{"name": "prepare", "image": "busybox"}]
    scenario.create("pod", pod)
    until_message(scenario, "scratch", "held by Pod/preparing")
    assert scenario.reason("scratch") == "Waiting"
    # A kubelet that says so: the main container waits, the init container runs.
    began = scenario.get("pod", "preparing")["metadata"]["creationTimestamp"]
    status = {
        "name": "prepare",
        "image": "busybox",
        "imageID": "",
        "ready": False,
        "restartCount": 0,
    }
    status["state"] = {"running": {"startedAt": began}}
    scenario.call(
        "PATCH",
        scenario.path("pod", "preparing") + "/status",
        {"status": {"initContainerStatuses": [status]}},
        "application/merge-patch+json",
    )
    claim = scenario.until_reason("scratch", "InUse")
    assert claim["status"]["firstUsedTime"] == began
    assert condition(claim, "Used")["status"] == "True"


def test_a_pod_that_references_without_matching_only_holds(
    scenario: Scenario, operator: Operator
) -> None:
    waiting_claim(scenario)
    scenario.create("pod", manifests.pod("guest", "scratch", app="other"))
    scenario.until_phase("guest", "Running")
    until_message(scenario, "scratch", "held by Pod/guest")
    claim = scenario.until_seen(scenario.patch("evc", "scratch", {"spec": {"expirySeconds": 1}}))
    assert condition(claim, "Used")["status"] == "False"
    assert claim["status"]["heldBy"]["names"] == ["Pod/guest"]
    scenario.stays("pvc", "scratch", seconds=3)
    (warning,) = scenario.eventually(
        lambda: events(scenario, "scratch", "NotDesignated"), "the warning"
    )
    assert warning["type"] == "Warning"
    assert "Pod/guest references the volume, but podSelector does not match it" in warning["note"]
    end(scenario, "guest")
    scenario.until_gone("evc", "scratch")
    assert "no designated pod ever used it" in scenario.notes("scratch")["Expiring"]
    assert len(events(scenario, "scratch", "NotDesignated")) == 1


def test_a_guest_job_is_warned_of_once(scenario: Scenario, operator: Operator) -> None:
    waiting_claim(scenario)
    job = manifests.job("guests", "scratch", complete_after="1h")
    job["spec"]["template"]["metadata"]["labels"] = {"app": "other"}
    scenario.create("job", job)
    until_message(scenario, "scratch", "held by Job/guests")

    def notes() -> list[str]:
        return [event["note"] for event in events(scenario, "scratch", "NotDesignated")]

    def of_the_job() -> list[str]:
        return [note for note in notes() if "Job/guests references" in note]

    scenario.eventually(of_the_job, "the warning")
    (pod,) = scenario.eventually(lambda: scenario.items("pod"), "the Job has made its pod")
    scenario.until_phase(pod["metadata"]["name"], "Running")
    # Every change of the pod is a new look at it.
    for number in range(4):
        name = pod["metadata"]["name"]
        scenario.patch("pod", name, {"metadata": {"annotations": {"example.com/n": str(number)}}})
        scenario.stays("pvc", "scratch", seconds=0.3)
    # The pod may be seen before its Job, and is a guest by itself then.
    assert len(notes()) == len(set(notes())) <= 2
    assert len(of_the_job()) == 1


def test_a_pvc_deleted_by_somebody_before_use_is_made_again(
    scenario: Scenario, operator: Operator, audit: Audit
) -> None:
    first = waiting_claim(scenario)["metadata"]["uid"]
    scenario.delete("pvc", "scratch")
    scenario.eventually(
        lambda: scenario.get("pvc", "scratch").get("metadata", {}).get("uid") not in (None, first),
        "another PVC is there",
    )
    scenario.until_bound("scratch")
    second = scenario.get("pvc", "scratch")["metadata"]["uid"]
    scenario.eventually(
        lambda: scenario.get("evc", "scratch")["status"]["claim"].get("uid") == second,
        "status names the second one",
    )
    (warning,) = events(scenario, "scratch", "ClaimVanished")
    assert warning["type"] == "Warning"
    assert "vanished before it was used: making it again" in warning["note"]
    assert len(audit.writes(scenario.namespace, "persistentvolumeclaims", "create")) == 2


def test_a_pvc_deleted_after_use_is_lost_and_never_made_again(
    scenario: Scenario, operator: Operator, audit: Audit
) -> None:
    waiting_claim(scenario, ttlSecondsAfterFinished=RECORD)
    scenario.create("pod", manifests.pod("busy", "scratch"))
    scenario.until_reason("scratch", "InUse")
    scenario.delete("pvc", "scratch")
    scenario.patch("pvc", "scratch", {"metadata": {"finalizers": None}})
    scenario.until_gone("pvc", "scratch")
    lost = scenario.until_reason("scratch", "Lost")
    assert condition(lost, "Finished")["status"] == "False"
    assert condition(lost, "Stalled")["status"] == "True"
    assert lost["status"]["heldBy"]["names"] == ["Pod/busy"]
    scenario.create("pod", manifests.pod("more", "scratch"))
    scenario.eventually(
        lambda: scenario.get("evc", "scratch")["status"]["heldBy"]["count"] == 2, "both hold"
    )
    scenario.delete("pod", "busy")
    scenario.delete("pod", "more")
    finished = scenario.eventually(
        lambda: (
            claim
            if condition(claim := scenario.get("evc", "scratch"), "Finished")["status"] == "True"
            else None
        ),
        "the object finishes",
    )
    assert condition(finished, "Ready")["reason"] == "Lost"
    assert not scenario.get("pvc", "scratch")
    assert len(audit.writes(scenario.namespace, "persistentvolumeclaims", "create")) == 1
    assert not audit.writes(scenario.namespace, "persistentvolumeclaims", "delete")


# --- completed pods, hold, ttl ----------------------------------------------------------


def test_completed_pods_wait_keeps_the_pvc_terminating_and_names_them(
    scenario: Scenario, operator: Operator
) -> None:
    waiting_claim(scenario, completedPods="Wait", ttlSecondsAfterFinished=RECORD, hold=True)
    finished_pod(scenario, "one")
    finished_pod(scenario, "two")
    let_go(scenario)
    until_terminating(scenario, "scratch")
    claim = until_message(scenario, "scratch", "kept by completed pods (Pod/one, Pod/two)")
    assert claim["status"]["heldBy"]["names"] == ["Pod/one", "Pod/two"]
    assert condition(claim, "Ready")["reason"] == "Releasing"
    stays_terminating(scenario, "scratch", SETTLED)
    scenario.delete("pod", "one")
    scenario.eventually(
        lambda: scenario.get("evc", "scratch")["status"]["heldBy"]["names"] == ["Pod/two"],
        "only the other is named",
    )
    scenario.delete("pod", "two")
    assert scenario.until_reason("scratch", "Deleted")["status"]["outcome"] == "Succeeded"


def test_completed_pods_delete_deletes_designated_ones_only(
    scenario: Scenario, operator: Operator, audit: Audit
) -> None:
    waiting_claim(scenario, completedPods="Delete", hold=True)
    finished_pod(scenario, "mine")
    finished_pod(scenario, "guest", app="other")
    let_go(scenario)
    scenario.until_gone("pod", "mine")
    claim = until_message(scenario, "scratch", "kept by completed pods that are not designated")
    assert claim["status"]["heldBy"]["names"] == ["Pod/guest"]
    stays_terminating(scenario, "scratch", 2)
    assert phase(scenario.get("pod", "guest")) == "Succeeded"
    (deleted,) = audit.writes(scenario.namespace, "pods", "delete")
    assert deleted["objectRef"]["name"] == "mine"
    assert deleted["requestObject"]["preconditions"]["uid"]
    scenario.delete("pod", "guest")
    scenario.until_gone("evc", "scratch")


def test_hold_in_spec_stops_the_countdown(scenario: Scenario, operator: Operator) -> None:
    waiting_claim(scenario, hold=True)
    finished_pod(scenario, "quick")
    claim = scenario.until_reason("scratch", "Held")
    assert "deletionTime" not in claim["status"]
    assert told(scenario, "scratch").startswith(
        "kept by spec.hold; without it, it would be deleted at"
    )
    scenario.stays("pvc", "scratch", seconds=3)
    scenario.patch("evc", "scratch", {"spec": {"hold": False}})
    scenario.until_gone("evc", "scratch")


def test_hold_set_after_the_delete_keeps_the_terminating_pvc(
    scenario: Scenario, operator: Operator
) -> None:
    waiting_claim(scenario, gracePeriodSeconds=0)
    finished_pod(scenario, "quick")
    until_terminating(scenario, "scratch")
    scenario.patch("pvc", "scratch", {"metadata": {"annotations": {"evc.dev/hold": "true"}}})
    claim = until_message(scenario, "scratch", "deleted, but kept by hold as long as pods pin it")
    assert claim["status"]["heldBy"]["names"] == ["hold"]
    stays_terminating(scenario, "scratch", SETTLED)
    scenario.patch("pvc", "scratch", {"metadata": {"annotations": {"evc.dev/hold": None}}})
    scenario.until_gone("evc", "scratch")
    assert not scenario.get("pvc", "scratch")


def test_the_record_never_acts_again_and_goes_after_its_ttl(
    scenario: Scenario, operator: Operator, audit: Audit
) -> None:
    waiting_claim(scenario, ttlSecondsAfterFinished=RECORD, completedPods="Delete", hold=True)
    finished_pod(scenario, "quick")
    let_go(scenario)
    finished = condition(scenario.until_reason("scratch", "Deleted"), "Finished")
    change = {"gracePeriodSeconds": 5, "onSuccess": {"action": "Retain"}, "hold": True}
    changed = scenario.patch("evc", "scratch", {"spec": change})
    scenario.create("pod", manifests.pod("late", "scratch"))
    scenario.until_seen(changed)
    scenario.eventually(
        lambda: condition(scenario.get("pod", "late"), "PodScheduled").get("status") == "False",
        "the scheduler finds no volume for the new pod",
    )
    scenario.stays("evc", "scratch", seconds=2)
    claim = scenario.get("evc", "scratch")
    assert condition(claim, "Ready")["reason"] == "Deleted"
    assert phase(scenario.get("pod", "late")) == "Pending"
    assert not scenario.get("pvc", "scratch")
    assert len(audit.writes(scenario.namespace, "persistentvolumeclaims", "create")) == 1
    ttl = 5
    scenario.patch("evc", "scratch", {"spec": {"ttlSecondsAfterFinished": ttl}})
    scenario.until_gone("evc", "scratch")
    (deleted,) = audit.until_writes(scenario.namespace, "ephemeralvolumeclaims", "delete")
    lived = when(deleted["requestReceivedTimestamp"]) - when(finished["lastTransitionTime"])
    assert lived.total_seconds() >= ttl


def test_a_re_created_claim_starts_afresh_although_its_namesake_left_things_behind(
    scenario: Scenario, operator: Operator
) -> None:
    first = waiting_claim(scenario, gracePeriodSeconds=60)
    finished_pod(scenario, "old")
    scenario.until_reason("scratch", "Draining")
    slow = "example.com/slow"  # keeps the old volume until the new object has met it
    both = first["metadata"]["finalizers"] + [slow]
    scenario.patch("pvc", "scratch", {"metadata": {"finalizers": both}})
    scenario.delete("evc", "scratch")
    until_terminating(scenario, "scratch")
    scenario.until_gone("evc", "scratch")
    scenario.create("evc", manifests.claim("scratch", gracePeriodSeconds=0))
    claim = scenario.until_reason("scratch", "Conflict")
    assert condition(claim, "Used")["status"] == "False"
    scenario.eventually(
        lambda: scenario.get("pvc", "scratch")["metadata"]["finalizers"] == [slow],
        "the old volume is released from its completed pod",
    )
    scenario.patch("pvc", "scratch", {"metadata": {"finalizers": None}})
    claim = scenario.until_reason("scratch", "Waiting")
    second = scenario.until_bound("scratch")
    assert second["metadata"]["uid"] != first["metadata"]["uid"]
    scenario.stays("pvc", "scratch", seconds=3)
    assert condition(scenario.get("evc", "scratch"), "Used")["status"] == "False"
    assert phase(scenario.get("pod", "old")) == "Succeeded"


# --- what is ours -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mark", "status"),
    [
        (True, ""),
        (False, "intent"),
        (False, "uid"),
        (True, "intent"),
        (True, "uid"),
    ],
    ids=["mark", "intent", "uid", "mark+intent", "mark+uid"],
)
def test_no_forged_evidence_makes_a_foreign_pvc_ours(
    scenario: Scenario, operator: Operator, audit: Audit, mark: bool, status: str
) -> None:
    theirs = scenario.create("pvc", manifests.pvc("scratch"))["metadata"]
    scenario.until_bound("scratch")
    eventually(
        lambda: time.time() > when(theirs["creationTimestamp"]).timestamp() + 1.1, "a second"
    )
    evc = scenario.create("evc", manifests.claim("scratch", expirySeconds=1))["metadata"]
    scenario.until_reason("scratch", "Conflict")
    operator.kill()
    if mark:
        annotations = {
            "evc.dev/owner-uid": evc["uid"],
            "evc.dev/owner-name": "scratch",
            "evc.dev/completed-pods": "Release",
        }
        scenario.patch("pvc", "scratch", {"metadata": {"annotations": annotations}})
    forged = {"name": "scratch"} | ({"uid": theirs["uid"]} if status == "uid" else {})
    if status:
        scenario.call(
            "PATCH",
            scenario.path("evc", "scratch") + "/status",
            {"status": {"claim": forged, "finishedTime": "2024-01-01T00:00:00Z"}},
            "application/merge-patch+json",
        )
    operator.start()
    scenario.stays("pvc", "scratch", seconds=4)
    assert scenario.get("pvc", "scratch")["metadata"]["uid"] == theirs["uid"]
    for verb in ("delete", "patch", "update"):
        assert not audit.writes(scenario.namespace, "persistentvolumeclaims", verb)


# --- provisioning -----------------------------------------------------------------------


def storage_class(scenario: Scenario, name: str, **fields: Any) -> str:
    """A StorageClass of the local provisioner, for this namespace's test only."""
    name = f"{name}-{scenario.namespace}"
    scenario.create(
        "storageclass",
        {"metadata": {"name": name}, "provisioner": "kubernetes.io/host-path"} | fields,
    )
    return name


def of_class(name: str) -> Json:
    return {"spec": manifests.pvc_spec() | {"storageClassName": name}}


def test_a_volume_grows_where_its_class_allows_it(scenario: Scenario, operator: Operator) -> None:
    name = storage_class(scenario, "growing", allowVolumeExpansion=True)
    waiting_claim(scenario, volumeClaimTemplate=of_class(name))
    grown = {"spec": {"resources": {"requests": {"storage": "2Gi"}}}}
    scenario.patch("evc", "scratch", {"spec": {"volumeClaimTemplate": grown}})
    scenario.eventually(
        lambda: scenario.get("pvc", "scratch")["spec"]["resources"]["requests"]["storage"] == "2Gi",
        "the PVC asks for more",
    )
    assert not events(scenario, "scratch", "UpdateRefused")


def refused_growth(scenario: Scenario) -> None:
    """A claim of a class that cannot grow was asked to."""
    waiting_claim(scenario)
    template: Json = {"spec": {"resources": {"requests": {"storage": "2Gi"}}}}
    scenario.patch("evc", "scratch", {"spec": {"volumeClaimTemplate": template}})
    scenario.eventually(lambda: events(scenario, "scratch", "UpdateRefused"), "it is told")


def test_a_refused_growth_stops_no_other_change(scenario: Scenario, operator: Operator) -> None:
    refused_growth(scenario)
    labels = {"metadata": {"labels": {"team": "blue"}}}
    scenario.patch("evc", "scratch", {"spec": {"volumeClaimTemplate": labels}})
    eventually(
        lambda: scenario.get("pvc", "scratch")["metadata"]["labels"].get("team") == "blue",
        "the label is there",
    )


def test_a_refused_growth_is_told_once(
    scenario: Scenario, operator: Operator, audit: Audit
) -> None:
    refused_growth(scenario)
    scenario.create("pod", manifests.pod("busy", "scratch"))
    scenario.until_reason("scratch", "InUse")
    scenario.until_phase("busy", "Running")
    for number in range(5):
        change = {"metadata": {"annotations": {"example.com/n": str(number)}}}
        scenario.patch("pod", "busy", change)
        scenario.stays("pvc", "scratch", seconds=0.3)
    assert len(events(scenario, "scratch", "UpdateRefused")) <= 2
    assert len(requests(audit, scenario, "patch")) <= 5


def test_an_exceeded_quota_is_told_in_the_servers_words_and_recovered_from(
    scenario: Scenario, operator: Operator, audit: Audit
) -> None:
    hard = {"persistentvolumeclaims": "0"}
    scenario.create("quota", {"metadata": {"name": "none"}, "spec": {"hard": hard}})
    scenario.eventually(
        lambda: scenario.get("quota", "none").get("status", {}).get("hard"), "the quota counts"
    )
    scenario.create("evc", manifests.claim("scratch"))
    claim = scenario.until_reason("scratch", "ProvisioningFailed")
    assert condition(claim, "Stalled")["status"] == "True"
    message = condition(claim, "Ready")["message"]
    assert "exceeded quota: none, requested: persistentvolumeclaims=1" in message
    assert condition(claim, "Stalled")["message"] == message
    scenario.patch("quota", "none", {"spec": {"hard": {"persistentvolumeclaims": "5"}}})
    scenario.until_reason("scratch", "Waiting")
    claim = scenario.get("evc", "scratch")
    assert condition(claim, "Stalled")["status"] == "False"
    assert len(events(scenario, "scratch", "ProvisioningFailed")) == 1
    assert len(audit.writes(scenario.namespace, "persistentvolumeclaims", "create")) == 1


def test_a_refused_pvc_is_tried_again_with_backoff(
    scenario: Scenario, operator: Operator, audit: Audit
) -> None:
    hard = {"persistentvolumeclaims": "0"}
    scenario.create("quota", {"metadata": {"name": "none"}, "spec": {"hard": hard}})
    scenario.eventually(
        lambda: scenario.get("quota", "none").get("status", {}).get("hard"), "the quota counts"
    )
    scenario.create("evc", manifests.claim("scratch"))
    scenario.until_reason("scratch", "ProvisioningFailed")
    eventually_later(3)
    attempts = [
        event
        for event in requests(audit, scenario, "create")
        if event["objectRef"]["resource"] == "persistentvolumeclaims"
    ]
    # 5 ms doubled each time makes ten attempts in 3 s.
    assert len(attempts) <= 14
    assert len(requests(audit, scenario, "update")) <= 30


def eventually_later(seconds: float) -> None:
    """Give something that must not happen that much time to happen."""
    deadline = time.monotonic() + seconds
    eventually(lambda: time.monotonic() > deadline, "time passes")


@pytest.mark.parametrize("binding", ["missing", "WaitForFirstConsumer"])
def test_a_volume_that_does_not_bind_yet_is_ready_and_quiet(
    scenario: Scenario, operator: Operator, audit: Audit, binding: str
) -> None:
    name = "no-such-class"
    if binding != "missing":
        name = storage_class(scenario, "late", volumeBindingMode=binding)
    scenario.create("evc", manifests.claim("scratch", volumeClaimTemplate=of_class(name)))
    claim = scenario.until_reason("scratch", "Waiting")
    assert condition(claim, "Ready")["status"] == "True"
    eventually_later(1)
    before = len(requests(audit, scenario, "create", "update", "patch", "delete"))
    eventually_later(4)
    assert phase(scenario.get("pvc", "scratch")) == "Pending"
    assert len(requests(audit, scenario, "create", "update", "patch", "delete")) == before
    if binding != "missing":
        finished_pod(scenario, "consumer")
        scenario.until_bound("scratch")
    else:
        scenario.patch("evc", "scratch", {"spec": {"minimumWaitSeconds": 0, "expirySeconds": 1}})
        scenario.until_gone("evc", "scratch")
        assert not scenario.get("pvc", "scratch")


def test_a_claim_that_waits_cost_three_writes(
    scenario: Scenario, operator: Operator, audit: Audit
) -> None:
    scenario.create(
        "evc", manifests.claim("scratch", volumeClaimTemplate=of_class("no-such-class"))
    )
    scenario.until_reason("scratch", "Waiting")
    eventually_later(1)
    sent = requests(audit, scenario, "create", "update", "patch", "delete")
    assert [(event["verb"], event["objectRef"]["resource"]) for event in sent] == [
        ("update", "ephemeralvolumeclaims"),
        ("create", "persistentvolumeclaims"),
        ("update", "ephemeralvolumeclaims"),
    ]


# --- owners -----------------------------------------------------------------------------


def test_a_job_that_replaces_only_failed_pods_holds_until_the_replacement_is_through(
    scenario: Scenario, operator: Operator
) -> None:
    """podReplacementPolicy Failed: no new pod before the old one has ended."""
    waiting_claim(scenario, gracePeriodSeconds=0, ttlSecondsAfterFinished=RECORD)
    spec = {"podReplacementPolicy": "Failed", "backoffLimit": 3}
    job = manifests.job("crunch", "scratch", spec=spec, complete_after="1h", stop_after="1500ms")
    scenario.create("job", job)
    scenario.until_reason("scratch", "InUse")
    (first,) = scenario.items("pod")
    scenario.until_phase(first["metadata"]["name"], "Running")
    scenario.delete("pod", first["metadata"]["name"])

    def replacements() -> list[str]:
        assert "deletionTimestamp" not in scenario.get("pvc", "scratch")["metadata"]
        names = {pod["metadata"]["name"] for pod in scenario.items("pod")}
        return [*names - {first["metadata"]["name"]}]

    (second,) = scenario.eventually(replacements, "the pod was replaced")
    scenario.until_phase(second, "Running")
    scenario.stays("pvc", "scratch", seconds=2)
    end(scenario, second)
    claim = scenario.until_reason("scratch", "Deleted")
    assert claim["status"]["outcome"] == "Succeeded"
    assert (
        claim["status"]["finishedTime"] == scenario.get("job", "crunch")["status"]["completionTime"]
    )


def test_a_job_that_is_soon_cleaned_up_was_used_and_succeeded(
    scenario: Scenario, operator: Operator
) -> None:
    """With a ttl of 0 it may be gone before anybody looked, and then nothing proves success."""
    waiting_claim(scenario, ttlSecondsAfterFinished=RECORD)
    spec = {"ttlSecondsAfterFinished": 2}
    scenario.create("job", manifests.job("crunch", "scratch", spec=spec, complete_after="500ms"))
    scenario.until_gone("job", "crunch")
    claim = scenario.until_reason("scratch", "Deleted")
    assert condition(claim, "Used")["status"] == "True"
    assert claim["status"]["outcome"] == "Succeeded"
    assert not scenario.get("pvc", "scratch")


@pytest.fixture(scope="module")
def trains(with_crd: ControlPlane) -> None:
    """A kind that nobody granted the operator to read."""
    manifest = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: trains.train.example.com}
spec:
  group: train.example.com
  scope: Namespaced
  names: {kind: Train, plural: trains}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
"""
    install_kinds(with_crd, manifest)


def test_an_owner_that_may_not_be_read_holds_and_is_said_to(
    scenario: Scenario, operator: Operator, trains: None
) -> None:
    waiting_claim(scenario, gracePeriodSeconds=0)
    train = {"apiVersion": "train.example.com/v1", "kind": "Train", "metadata": {"name": "big"}}
    made = scenario.create("train", train)
    reference = {
        "apiVersion": "train.example.com/v1",
        "kind": "Train",
        "name": "big",
        "uid": made["metadata"]["uid"],
        "controller": True,
    }
    pod = manifests.pod("wagon", "scratch", complete_after="300ms")
    pod["metadata"]["ownerReferences"] = [reference]
    scenario.create("pod", pod)
    scenario.until_phase("wagon", "Succeeded")
    claim = until_message(scenario, "scratch", "held by Train/big (may not be read: ")
    message = condition(claim, "Ready")["message"]
    assert 'cannot get resource "trains" in API group "train.example.com"' in message
    assert claim["status"]["heldBy"]["names"] == ["Train/big"]
    scenario.stays("pvc", "scratch", seconds=3)


# --- explaining itself ------------------------------------------------------------------


def test_kubectl_wait_for_ready_works(scenario: Scenario, with_crd: ControlPlane) -> None:
    process = Operator(
        with_crd.kubeconfig, Path(f"/tmp/{scenario.namespace}.log"), "-n", scenario.namespace
    )
    scenario.create("evc", manifests.claim("scratch"))
    where = f"--namespace={scenario.namespace}"
    not_yet = with_crd.kubectl(
        where, "wait", "--for=condition=Ready", "evc/scratch", "--timeout=1s", check=False
    )
    assert "timed out" in not_yet
    process.start()
    answer = with_crd.kubectl(
        where, "wait", "--for=condition=Ready", "evc/scratch", "--timeout=60s"
    )
    assert "condition met" in answer
    assert scenario.get("pvc", "scratch")
    process.close()
    process.log.unlink()


def columns(table: str) -> Json:
    """Name -> {COLUMN: cell}; cells are separated by two blanks at least."""
    head, *rows = table.splitlines()
    starts = [0] + [i + 1 for i in range(1, len(head) - 1) if head[i] == " " and head[i + 1] != " "]
    spans = list(zip(starts, [*starts[1:], None], strict=True))
    names = [head[a:b].strip() for a, b in spans]
    cells = [[row[a:b].strip() for a, b in spans] for row in rows]
    return {row[0]: dict(zip(names, row, strict=True)) for row in cells}


def test_kubectl_answers_what_a_stranger_asks(
    scenario: Scenario, operator: Operator, with_crd: ControlPlane
) -> None:
    """Why is it still here, who holds it, when will it go, why did it go."""
    where = f"--namespace={scenario.namespace}"
    for name, spec in {
        "busy": {},
        "going": {"gracePeriodSeconds": 3000},
        "gone": {"ttlSecondsAfterFinished": RECORD},
        "kept": {"hold": True},
    }.items():
        scenario.create("evc", manifests.claim(name, **spec))
    for name in ("busy", "going", "gone", "kept"):
        scenario.until_bound(name)
    scenario.create("pod", manifests.pod("worker", "busy"))
    for name in ("going", "gone", "kept"):
        finished_pod(scenario, f"pod-{name}", name)
    scenario.until_reason("busy", "InUse")
    scenario.until_reason("going", "Draining")
    scenario.until_reason("kept", "Held")
    scenario.until_reason("gone", "Deleted")

    table = columns(with_crd.kubectl(where, "get", "evc"))
    due = scenario.get("evc", "going")["status"]["deletionTime"]
    assert list(table["busy"]) == [
        *("NAME", "STATUS", "USED", "DELETES-AT", "HELD-BY", "CAPACITY", "AGE")
    ]
    assert {name: row["STATUS"] for name, row in table.items()} == {
        "busy": "InUse",
        "going": "Draining",
        "gone": "Deleted",
        "kept": "Held",
    }
    assert (table["busy"]["HELD-BY"], table["busy"]["DELETES-AT"]) == ("Pod/worker", "")
    assert (table["going"]["HELD-BY"], table["going"]["DELETES-AT"]) == ("", due)
    assert {row["USED"] for row in table.values()} == {"True"}
    assert {row["CAPACITY"] for row in table.values()} == {"1Gi"}

    def describe(name: str) -> str:
        return " ".join(with_crd.kubectl(where, "describe", "evc", name).split())

    assert "held by Pod/worker (not finished)" in describe("busy")
    assert "Pod/pod-going finished at" in describe("going")
    assert f"the volume will be deleted at {due}" in describe("going")
    assert "kept by spec.hold; without it, it would be deleted at" in describe("kept")
    gone = describe("gone")
    assert "The work was over, and the volume is gone. Pod/pod-gone finished at" in gone
    assert "deleting PersistentVolumeClaim gone: Pod/pod-gone finished at" in gone
    assert "Outcome: Succeeded" in gone


def test_a_claim_with_a_long_name_is_told_of_too(scenario: Scenario, operator: Operator) -> None:
    name = "a" * 199 + "-" + "b" * 20
    scenario.create("evc", manifests.claim(name, expirySeconds=5))
    eventually(lambda: events(scenario, name, "Expiring"), "its event")


# --- options ----------------------------------------------------------------------------


def started(kubeconfig: Path, log: Path, scenario: Scenario, *args: str) -> Operator:
    process = Operator(kubeconfig, log, "-n", scenario.namespace, *args)
    process.start()
    return process


def test_dry_run_writes_nothing_but_status_and_events(
    scenario: Scenario, operator_kubeconfig: Path, audit: Audit, tmp_path: Path
) -> None:
    wet = started(operator_kubeconfig, tmp_path / "wet.log", scenario)
    waiting_claim(scenario, "over", gracePeriodSeconds=3600)
    waiting_claim(scenario, "unused")
    finished_pod(scenario, "quick", "over")
    scenario.until_reason("over", "Draining")
    wet.close()
    marker = len(requests(audit, scenario, "create", "update", "patch", "delete"))
    scenario.patch("evc", "over", {"spec": {"gracePeriodSeconds": 0}})
    scenario.patch("evc", "unused", {"spec": {"expirySeconds": 1}})
    dry = started(operator_kubeconfig, tmp_path / "dry.log", scenario, "--dry-run")
    scenario.create("evc", manifests.claim("fresh"))
    scenario.until_reason("fresh", "Provisioning")
    scenario.until_reason("over", "Releasing")
    scenario.until_reason("unused", "Releasing")
    told = scenario.until_note("over", "Deleting")
    assert "deleting PersistentVolumeClaim over: Pod/quick" in told
    for name in ("over", "unused"):
        scenario.stays("pvc", name, seconds=2)
    assert not scenario.get("pvc", "fresh")
    dry.close()
    sent = requests(audit, scenario, "create", "update", "patch", "delete")[marker:]
    assert {(e["objectRef"]["resource"], e["objectRef"].get("subresource")) for e in sent} <= {
        ("ephemeralvolumeclaims", "status"),
        ("events", None),
    }


def test_dry_run_tells_of_a_deletion_once(
    scenario: Scenario, operator_kubeconfig: Path, tmp_path: Path
) -> None:
    wet = started(operator_kubeconfig, tmp_path / "wet.log", scenario)
    waiting_claim(scenario, gracePeriodSeconds=3600)
    finished_pod(scenario, "quick")
    scenario.until_reason("scratch", "Draining")
    wet.close()
    scenario.patch("evc", "scratch", {"spec": {"gracePeriodSeconds": 0}})
    dry = started(operator_kubeconfig, tmp_path / "dry.log", scenario, "--dry-run")
    scenario.until_reason("scratch", "Releasing")
    for number in range(3):
        change = {"metadata": {"annotations": {"example.com/n": str(number)}}}
        scenario.patch("pod", "quick", change)
        scenario.stays("pvc", "scratch", seconds=0.3)
    dry.close()
    assert len(events(scenario, "scratch", "Deleting")) == 1


def test_no_more_volumes_are_deleted_per_minute_than_allowed(
    scenario: Scenario, operator_kubeconfig: Path, audit: Audit, tmp_path: Path
) -> None:
    names = ("one", "two", "three", "four")
    for name in names:
        scenario.create("evc", manifests.claim(name, hold=True, expirySeconds=1))
    process = started(
        operator_kubeconfig, tmp_path / "log", scenario, "--max-deletions-per-minute=2"
    )
    for name in names:
        scenario.until_bound(name)
        scenario.until_reason(name, "Held")
    eventually_later(2)  # until the control plane has written all it wants to the PVCs
    for name in names:
        scenario.patch("evc", name, {"spec": {"hold": False}})

    def deletions() -> int:
        return len(audit.writes(scenario.namespace, "persistentvolumeclaims", "delete"))

    scenario.eventually(lambda: deletions() == 2, "two are deleted")
    scenario.eventually(lambda: len(scenario.items("pvc")) == 2, "two are left")
    for pvc in scenario.items("pvc"):
        scenario.stays("pvc", pvc["metadata"]["name"], seconds=3)
    assert deletions() == 2
    process.close()


def test_a_claim_over_the_limit_does_not_say_what_is_no_longer_true(
    scenario: Scenario, operator_kubeconfig: Path, tmp_path: Path
) -> None:
    process = started(
        operator_kubeconfig, tmp_path / "log", scenario, "--max-deletions-per-minute=1"
    )
    for name in ("one", "two"):
        waiting_claim(scenario, name, hold=True, expirySeconds=1800)
    eventually_later(2)  # until the control plane has written all it wants to the PVCs
    for name in ("one", "two"):
        scenario.patch("evc", name, {"spec": {"hold": False, "expirySeconds": 1}})
    eventually(lambda: len(scenario.items("evc")) == 1, "one of them goes")
    try:
        (left,) = scenario.items("evc")
        name, generation = left["metadata"]["name"], left["metadata"]["generation"]
        eventually(
            lambda: scenario.get("evc", name)["status"]["observedGeneration"] == generation,
            "the change of the other was seen",
            seconds=30,  # its turn comes after 60, and then it goes
        )
    finally:
        process.close()


# --- crashes ----------------------------------------------------------------------------


def test_a_crash_right_after_the_decision_is_carried_on_with(
    scenario: Scenario, operator: Operator, audit: Audit
) -> None:
    names = ("one", "two", "three", "four")
    spec = {"hold": True, "expirySeconds": 1, "ttlSecondsAfterFinished": RECORD}
    for name in names:
        scenario.create("evc", manifests.claim(name, **spec))
    for name in names:
        scenario.until_bound(name)
        scenario.until_reason(name, "Held")
    for name in names:
        scenario.patch("evc", name, {"spec": {"hold": False}})
        while scenario.reason(name) not in ("Releasing", "Expired"):
            pass  # no pause: it is a matter of milliseconds
        operator.kill()
        operator.start()
        claim = scenario.until_reason(name, "Expired")
        assert claim["status"]["outcome"] == "Expired"
        assert not scenario.get("pvc", name)
    sent = audit.writes(scenario.namespace, "persistentvolumeclaims", "delete")
    assert [event["objectRef"]["name"] for event in sent] == list(names)
    assert len(audit.writes(scenario.namespace, "persistentvolumeclaims", "create")) == len(names)


@contextmanager
def no_deletion(scenario: Scenario, plane: ControlPlane) -> Iterator[None]:
    """Meanwhile the API server refuses to delete any PVC of the namespace."""
    name = f"no-deletion-{scenario.namespace}"
    rule = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["DELETE"],
        "resources": ["persistentvolumeclaims"],
    }
    where = {"matchLabels": {"kubernetes.io/metadata.name": scenario.namespace}}
    specs = {
        "ValidatingAdmissionPolicy": {
            "matchConstraints": {"namespaceSelector": where, "resourceRules": [rule]},
            "validations": [{"expression": "false", "message": "not today"}],
        },
        "ValidatingAdmissionPolicyBinding": {"policyName": name, "validationActions": ["Deny"]},
    }

    def in_force() -> bool:
        probe = ("delete", "pvc", "--all", "--dry-run=server", f"-n={scenario.namespace}")
        return "not today" in plane.kubectl(*probe, check=False)

    for kind, spec in specs.items():
        version = "admissionregistration.k8s.io/v1"
        item = {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec}
        plane.kubectl("create", "-f", "-", input=json.dumps(item))
    try:
        eventually(in_force, "it is in force")
        yield
    finally:
        for kind in specs:
            plane.kubectl("delete", kind, name)
    eventually(lambda: not in_force(), "it is lifted")


def test_a_decision_whose_delete_was_never_accepted_survives_a_crash(
    scenario: Scenario, operator: Operator, audit: Audit, with_crd: ControlPlane
) -> None:
    waiting_claim(scenario, ttlSecondsAfterFinished=RECORD, completedPods="Delete")
    with no_deletion(scenario, with_crd):
        finished_pod(scenario, "quick")
        scenario.until_reason("scratch", "Releasing")
        eventually(lambda: requests(audit, scenario, "delete"), "the DELETE was tried")
        operator.kill()
        scenario.stays("pvc", "scratch", seconds=0.5)
    operator.start()
    scenario.until_reason("scratch", "Deleted")
    assert len(audit.writes(scenario.namespace, "persistentvolumeclaims", "delete")) == 1
    assert len(audit.writes(scenario.namespace, "persistentvolumeclaims", "create")) == 1


def test_a_refused_delete_uses_up_no_right_to_delete(
    scenario: Scenario,
    operator_kubeconfig: Path,
    audit: Audit,
    with_crd: ControlPlane,
    tmp_path: Path,
) -> None:
    process = started(
        operator_kubeconfig, tmp_path / "log", scenario, "--max-deletions-per-minute=1"
    )
    waiting_claim(scenario, hold=True, expirySeconds=1800)
    with no_deletion(scenario, with_crd):
        scenario.patch("evc", "scratch", {"spec": {"hold": False, "expirySeconds": 1}})
        scenario.until_reason("scratch", "Releasing")
        eventually(lambda: requests(audit, scenario, "delete"), "the DELETE was tried")
    try:
        scenario.until_gone("pvc", "scratch", seconds=45)  # a place is taken for 60
    finally:
        process.close()
