"""What the operator must still know after it was away."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from e2e import manifests
from e2e.scenario import Audit, Operator, Scenario, condition, eventually, when


@pytest.mark.disruptive
def test_a_jobs_pods_ran_finished_and_vanished_while_the_operator_was_down(
    scenario: Scenario, operator: Operator
) -> None:
    scenario.create("evc", manifests.claim("scratch", ttlSecondsAfterFinished=60))
    scenario.until_bound("scratch")
    operator.kill()
    scenario.create("job", manifests.job("crunch", "scratch", complete_after="200ms"))
    eventually(lambda: condition(scenario.get("job", "crunch"), "Complete"), "the Job is complete")
    for pod in scenario.items("pod"):
        scenario.delete("pod", pod["metadata"]["name"], gracePeriodSeconds=0)
    eventually(lambda: not scenario.items("pod"), "the pods are gone")
    ended = scenario.get("job", "crunch")["status"]["completionTime"]
    operator.start()
    claim = scenario.until_reason("scratch", "Deleted")
    assert claim["status"]["finishedTime"] == ended
    assert claim["status"]["outcome"] == "Succeeded"
    assert condition(claim, "Used")["status"] == "True"
    assert not scenario.get("pvc", "scratch")


@pytest.mark.disruptive
def test_a_bare_pod_vanished_while_the_operator_was_down(
    scenario: Scenario, operator: Operator
) -> None:
    scenario.create("evc", manifests.claim("scratch", ttlSecondsAfterFinished=60))
    scenario.until_bound("scratch")
    scenario.create("pod", manifests.pod("worker", "scratch"))
    scenario.until_reason("scratch", "InUse")
    operator.kill()
    scenario.delete("pod", "worker", gracePeriodSeconds=0)
    scenario.until_gone("pod", "worker")
    back = datetime.now(UTC)
    operator.start()
    claim = scenario.until_reason("scratch", "Deleted")
    # Nobody can tell how long it ran, so its end is when that was noticed.
    assert when(claim["status"]["finishedTime"]) >= back
    # Nobody saw how it ended, so nothing proves that it succeeded.
    assert claim["status"]["outcome"] == "Failed"


@pytest.mark.disruptive
def test_a_restart_with_settled_claims_writes_nothing(
    scenario: Scenario, operator: Operator, audit: Audit
) -> None:
    """One in each stage that lasts: waiting, used, held, in conflict, kept, a record."""
    kept = {"onExpiry": {"action": "Retain"}}
    settled = {
        "unused": ("Waiting", {}),
        "used": ("InUse", {}),
        "held": ("Held", {"hold": True, "expirySeconds": 1}),
        "taken": ("Conflict", {}),
        "kept": ("Retained", {"expirySeconds": 5, "ttlSecondsAfterFinished": 600} | kept),
        "over": ("Expired", {"expirySeconds": 1, "ttlSecondsAfterFinished": 600}),
    }
    scenario.create("pvc", manifests.pvc("taken"))
    for name, (_, spec) in settled.items():
        scenario.create("evc", manifests.claim(name, **spec))
    scenario.create("pod", manifests.pod("worker", "used"))
    for name, (reason, _) in settled.items():
        scenario.until_reason(name, reason)
    for name in ("unused", "used", "held"):
        eventually(
            lambda name=name: scenario.get("evc", name)["status"]["claim"].get("volumeName"),
            f"{name} knows its volume",
        )
    operator.stop()
    before = len(audit.all_writes(scenario.namespace))
    operator.start()
    scenario.create("evc", manifests.claim("another"))
    scenario.until_reason("another", "Waiting")
    since = audit.all_writes(scenario.namespace)[before:]
    assert {event["objectRef"].get("name", "another") for event in since} == {"another"}
