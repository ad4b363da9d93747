"""What `kubectl wait`, Flux, Argo CD and Helm make of the conditions."""

from __future__ import annotations

from dataclasses import replace

import pytest
from msgspec.structs import replace as altered

from evc.model.evc import EphemeralVolumeClaim
from evc.policy.decide import decide
from evc.policy.reasons import READY, RECONCILING, STALLED, Reason
from unit.builders import at, evc, observed
from unit.policy.cases import Case, params
from unit.policy.catalogue import ALL

VERDICTS = {
    Reason.PROVISIONING: "InProgress",
    Reason.PROVISIONING_FAILED: "Failed",
    Reason.WAITING: "Current",
    Reason.IN_USE: "Current",
    Reason.DRAINING: "Current",
    Reason.HELD: "Current",
    Reason.RELEASING: "InProgress",
    Reason.DELETED: "Current",
    Reason.EXPIRED: "Current",
    Reason.RETAINING: "InProgress",
    Reason.RETAINED: "Current",
    Reason.CLAIM_NOT_FOUND: "Failed",
    Reason.CONFLICT: "Failed",
    Reason.INVALID: "Failed",
}
"""Lost is told apart below."""


def kstatus(value: EphemeralVolumeClaim) -> str:
    """Return the verdict of cli-utils' kstatus for a resource type it does not know."""
    conditions = {c.type: c.status for c in value.status.conditions}
    if value.metadata.deletion_timestamp is not None:
        return "Terminating"
    if value.status.observed_generation != value.metadata.generation:
        return "InProgress"
    if conditions.get(RECONCILING) == "True":
        return "InProgress"
    if conditions.get(STALLED) == "True":
        return "Failed"
    if READY in conditions:
        return "Current" if conditions[READY] == "True" else "InProgress"
    return "Current"


@pytest.mark.parametrize("case", params(c for c in ALL if isinstance(c.reason, Reason)))
def test_verdict(case: Case) -> None:
    plan = decide(case.seen, at(case.now))
    assert case.seen.evc is not None
    assert plan.status is not None
    verdict = kstatus(altered(case.seen.evc, status=plan.status))
    if case.reason is Reason.LOST:
        assert verdict == ("Failed" if plan.status.held_by else "Current")
    else:
        assert isinstance(case.reason, Reason)
        assert verdict == VERDICTS[case.reason]


def test_every_reason_has_a_verdict() -> None:
    assert set(VERDICTS) | {Reason.LOST} == set(Reason)


def test_every_reason_has_a_case_and_a_meaning() -> None:
    assert {case.reason for case in ALL if isinstance(case.reason, Reason)} == set(Reason)
    assert all(reason.meaning.endswith(".") for reason in Reason)


def test_a_fresh_object_without_conditions_would_count_as_done() -> None:
    """Why all five are written from the first visit on."""
    assert kstatus(evc().status(observed_generation=1).value) == "Current"


def test_a_changed_spec_leaves_a_finished_object_current() -> None:
    seen = observed(
        evc()
        .status(observed_generation=1)
        .tombstone(at=5)
        .meta(generation=2)
        .spec(ttl_seconds_after_finished=1_000)
    )
    plan = decide(seen, at(10))
    assert seen.evc is not None
    after = replace(seen, evc=altered(seen.evc, status=plan.status or seen.evc.status)).evc
    assert after is not None
    assert kstatus(after) == "Current"
