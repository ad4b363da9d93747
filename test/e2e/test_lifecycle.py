"""The life of a claim, rule by rule, on a real control plane."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from e2e import manifests
from e2e.scenario import Audit, Operator, Scenario, condition, eventually, phase, when

DATA = Path(__file__).parent / "data"
LATE = timedelta(seconds=10)
"""What a machine with too much to do may take; virtual time shows that nothing waits."""
RECORD = 600
"""A ttl that outlives the test."""

pytestmark = pytest.mark.usefixtures("operator")


def deletion(audit: Audit, scenario: Scenario) -> dict[str, object]:
    """The operator's one DELETE of a PersistentVolumeClaim."""
    (event,) = audit.writes(scenario.namespace, "persistentvolumeclaims", "delete")
    return event


def test_a_jobs_claim_is_deleted_while_its_completed_pod_stays(
    scenario: Scenario, audit: Audit
) -> None:
    scenario.create("evc", manifests.claim("scratch", ttlSecondsAfterFinished=RECORD))
    volume = scenario.until_bound("scratch")["spec"]["volumeName"]
    scenario.create("job", manifests.job("crunch", "scratch", complete_after="1s"))
    scenario.until_gone("pvc", "scratch")
    (pod,) = scenario.items("pod")
    assert phase(pod) == "Succeeded"
    scenario.until_gone("pv", volume)
    claim = scenario.until_reason("scratch", "Deleted")
    assert claim["status"]["outcome"] == "Succeeded"
    assert condition(claim, "Finished")["status"] == "True"
    assert "Job/crunch finished at" in scenario.notes("scratch")["Deleting"]
    preconditions = deletion(audit, scenario)["requestObject"]["preconditions"]  # type: ignore[index]
    assert preconditions["uid"] == claim["status"]["claim"]["uid"]
    assert preconditions["resourceVersion"]


def test_a_pending_unscheduled_pod_keeps_its_claim(scenario: Scenario) -> None:
    scenario.create("evc", manifests.claim("scratch"))
    scenario.until_bound("scratch")
    scenario.create("pod", manifests.pod("waiting", "scratch", nowhere=True))
    scenario.until_reason("scratch", "Waiting")
    # Only now, or it could expire before the pod is there.
    scenario.until_seen(scenario.patch("evc", "scratch", {"spec": {"expirySeconds": 1}}))
    scenario.stays("pvc", "scratch", seconds=5)
    assert phase(scenario.get("pod", "waiting")) == "Pending"
    # Status may tell of it ten seconds after the pod came (docs/writes.md).
    held = scenario.eventually(
        lambda: found if "heldBy" in (found := scenario.get("evc", "scratch")["status"]) else None,
        "status says who waits",
    )
    assert held["heldBy"] == {"count": 1, "names": ["Pod/waiting"], "summary": "Pod/waiting"}
    assert "deletionTime" not in held


def test_a_second_pod_inside_the_grace_period_cancels_the_deletion(scenario: Scenario) -> None:
    scenario.create("evc", manifests.claim("scratch", gracePeriodSeconds=600))
    scenario.until_bound("scratch")
    scenario.create("pod", manifests.pod("first", "scratch", complete_after="500ms"))
    draining = scenario.until_reason("scratch", "Draining")
    assert draining["status"]["deletionTime"]
    scenario.create("pod", manifests.pod("second", "scratch", complete_after="15s"))
    scenario.until_reason("scratch", "InUse")
    # By the first pod's end alone it would be due now.
    shorter = {"spec": {"gracePeriodSeconds": 1}}
    used = scenario.until_seen(scenario.patch("evc", "scratch", shorter))
    assert "deletionTime" not in used["status"]
    scenario.until_phase("second", "Running")
    scenario.stays("pvc", "scratch", seconds=6)
    scenario.until_gone("pvc", "scratch")
    assert phase(scenario.get("pod", "second")) == "Succeeded"
    scenario.until_gone("evc", "scratch")


def test_a_claim_never_used_expires_at_m_and_not_before(scenario: Scenario, audit: Audit) -> None:
    created = scenario.create("evc", manifests.claim("scratch", expirySeconds=10))
    scenario.until_reason("scratch", "Waiting")
    scenario.until_gone("evc", "scratch")
    assert not scenario.get("pvc", "scratch")
    sent = when(deletion(audit, scenario)["requestReceivedTimestamp"])  # type: ignore[arg-type]
    late = sent - when(created["metadata"]["creationTimestamp"]) - timedelta(seconds=10)
    assert timedelta(0) <= late < LATE
    assert "no designated pod ever used it" in scenario.notes("scratch")["Expiring"]


def test_a_claim_is_not_deleted_before_n_even_if_its_pod_finished_at_once(
    scenario: Scenario, audit: Audit
) -> None:
    created = scenario.create(
        "evc", manifests.claim("scratch", minimumWaitSeconds=15, gracePeriodSeconds=0)
    )
    scenario.until_bound("scratch")
    scenario.create("pod", manifests.pod("quick", "scratch", complete_after="100ms"))
    scenario.until_reason("scratch", "Draining")
    scenario.until_gone("pvc", "scratch")
    sent = when(deletion(audit, scenario)["requestReceivedTimestamp"])  # type: ignore[arg-type]
    waited = sent - when(created["metadata"]["creationTimestamp"])
    assert timedelta(seconds=15) <= waited < timedelta(seconds=15) + LATE


def test_a_pvc_of_the_same_name_that_is_not_ours_stays_untouched(
    scenario: Scenario, audit: Audit
) -> None:
    theirs = scenario.create("pvc", manifests.pvc("scratch"))
    scenario.create("evc", manifests.claim("scratch", expirySeconds=1))
    claim = scenario.until_reason("scratch", "Conflict")
    assert condition(claim, "Stalled")["status"] == "True"
    scenario.stays("pvc", "scratch", seconds=3)
    ours = scenario.get("pvc", "scratch")["metadata"]
    assert ours["uid"] == theirs["metadata"]["uid"]
    assert "annotations" not in ours or "evc.dev/owner-uid" not in ours["annotations"]
    for verb in ("delete", "patch", "update", "create"):
        assert not audit.writes(scenario.namespace, "persistentvolumeclaims", verb)


def test_a_conflict_ends_when_the_other_pvc_goes(scenario: Scenario) -> None:
    scenario.create("pvc", manifests.pvc("scratch"))
    scenario.create("evc", manifests.claim("scratch"))
    scenario.until_reason("scratch", "Conflict")
    scenario.delete("pvc", "scratch")
    claim = scenario.until_reason("scratch", "Waiting")
    assert claim["status"]["claim"]["uid"] == scenario.until_bound("scratch")["metadata"]["uid"]


def test_deleting_the_claim_deletes_the_volume(scenario: Scenario) -> None:
    scenario.create("evc", manifests.claim("scratch"))
    volume = scenario.until_bound("scratch")["spec"]["volumeName"]
    scenario.delete("evc", "scratch")
    scenario.until_gone("pvc", "scratch")
    scenario.until_gone("pv", volume)


def test_deleting_the_claim_keeps_the_volume_when_deleted_is_retain(scenario: Scenario) -> None:
    scenario.create("evc", manifests.claim("scratch", whenDeleted="Retain"))
    scenario.until_bound("scratch")
    scenario.until_reason("scratch", "Waiting")
    scenario.delete("evc", "scratch")
    scenario.until_gone("evc", "scratch")
    scenario.stays("pvc", "scratch", seconds=5)


@pytest.mark.disruptive
def test_a_deleted_claims_volume_goes_although_a_completed_pod_pins_it(
    scenario: Scenario, operator: Operator
) -> None:
    scenario.create("evc", manifests.claim("scratch", gracePeriodSeconds=600))
    scenario.until_bound("scratch")
    scenario.create("pod", manifests.pod("done", "scratch", complete_after="100ms"))
    scenario.until_reason("scratch", "Draining")
    scenario.delete("evc", "scratch")
    eventually(
        lambda: "deletionTimestamp" in scenario.get("pvc", "scratch")["metadata"],
        "the garbage collector deleted the PVC",
    )
    operator.kill()
    operator.start()
    scenario.until_gone("pvc", "scratch")
    assert phase(scenario.get("pod", "done")) == "Succeeded"


def test_a_running_pod_keeps_its_volume_when_the_claim_is_deleted(scenario: Scenario) -> None:
    scenario.create("evc", manifests.claim("scratch"))
    scenario.until_bound("scratch")
    scenario.create("pod", manifests.pod("busy", "scratch"))
    scenario.until_reason("scratch", "InUse")
    scenario.delete("evc", "scratch")
    scenario.until_gone("evc", "scratch")
    eventually(
        lambda: "deletionTimestamp" in scenario.get("pvc", "scratch")["metadata"],
        "the garbage collector deleted the PVC",
    )
    with pytest.raises(AssertionError, match="not within"):
        scenario.until_gone("pvc", "scratch", seconds=12)
    scenario.delete("pod", "busy", gracePeriodSeconds=0)
    scenario.until_gone("pvc", "scratch")


def test_hold_on_the_volume_stops_the_countdown(scenario: Scenario) -> None:
    scenario.create("evc", manifests.claim("scratch", gracePeriodSeconds=600))
    scenario.until_bound("scratch")
    scenario.create("pod", manifests.pod("quick", "scratch", complete_after="100ms"))
    scenario.until_reason("scratch", "Draining")
    scenario.patch("pvc", "scratch", {"metadata": {"annotations": {"evc.dev/hold": "true"}}})
    scenario.until_reason("scratch", "Held")
    # Without the hold it would be due now.
    shorter = {"spec": {"gracePeriodSeconds": 1}}
    held = scenario.until_seen(scenario.patch("evc", "scratch", shorter))
    assert "deletionTime" not in held["status"]
    scenario.stays("pvc", "scratch", seconds=4)
    scenario.patch("pvc", "scratch", {"metadata": {"annotations": {"evc.dev/hold": None}}})
    scenario.until_gone("evc", "scratch")


def test_the_indexed_job_of_the_kubernetes_documentation(scenario: Scenario, audit: Audit) -> None:
    """Its pods carry no label of the user's own; the Job controller's does."""
    selector = {"matchLabels": {"batch.kubernetes.io/job-name": "indexed-job"}}
    scenario.create(
        "evc", manifests.claim("input", podSelector=selector, ttlSecondsAfterFinished=RECORD)
    )
    indexed = yaml.safe_load((DATA / "indexed-job.yaml").read_text())
    pod = indexed["spec"]["template"]["spec"]
    for container in [*pod["initContainers"], *pod["containers"]]:
        container["imagePullPolicy"] = "IfNotPresent"  # there may be no registry to be reached
    scenario.create("job", indexed)
    claim = scenario.until_reason("input", "Deleted")
    job, pods = scenario.get("job", "indexed-job"), scenario.items("pod")
    assert job["status"]["completedIndexes"] == "0-4"
    assert [phase(pod) for pod in pods] == ["Succeeded"] * 5
    assert claim["status"]["finishedTime"] >= job["status"]["completionTime"]
    sent = when(deletion(audit, scenario)["requestReceivedTimestamp"])  # type: ignore[arg-type]
    assert sent >= when(job["status"]["completionTime"]) + timedelta(seconds=1)
