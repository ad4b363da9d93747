"""`decide`, sentence by sentence, and what holds for every sentence."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from msgspec.structs import replace as altered

from evc.model.evc import REQUEST_ID, ClaimReference
from evc.model.meta import Condition
from evc.policy.decide import decide, departing
from evc.policy.observed import Observed
from evc.policy.obtain import refused
from evc.policy.plan import CreateClaim, DeleteClaim, Plan
from evc.policy.reasons import (
    FINISHED,
    READY,
    RECONCILING,
    STALLED,
    UNTOLD,
    USED,
    Reason,
)
from evc.policy.world import World
from unit.builders import (
    ClaimBuilder,
    EvcBuilder,
    at,
    claim,
    evc,
    job,
    observed,
    pod,
    provided,
    volume,
)
from unit.policy.cases import ANY, DESTRUCTIVE, Case, params
from unit.policy.catalogue import ALL

every_case = pytest.mark.parametrize("case", params(ALL))


def plan_of(case: Case) -> Plan:
    return decide(case.seen, at(case.now))


def ready(plan: Plan) -> Condition | None:
    return plan.status.condition(READY) if plan.status is not None else None


def written(seen: Observed, plan: Plan) -> Observed:
    """Return the world after the plan's status was written."""
    if plan.status is None or seen.evc is None:
        return seen
    return replace(seen, evc=altered(seen.evc, status=plan.status))


@every_case
def test_sentence(case: Case) -> None:
    plan = plan_of(case)
    condition = ready(plan)
    assert tuple(type(action) for action in plan.actions) == case.does
    if case.reason is not ANY:
        assert (condition.reason if condition else None) == case.reason
    if case.tells is not ANY:
        assert tuple(note.reason for note in plan.notes) == case.tells
    if case.again is not ANY:
        assert plan.requeue_after == case.again
    if case.confirms is not ANY:
        assert plan.irreversible is case.confirms
    if case.says:
        assert condition is not None
        assert case.says in condition.message
    for name, value in case.status.items():
        assert getattr(plan.status, name) == value, name


@every_case
def test_what_destroys_is_confirmed_first(case: Case) -> None:
    plan = plan_of(case)
    assert plan.irreversible or not any(isinstance(a, DESTRUCTIVE) for a in plan.actions)


@pytest.mark.parametrize(
    "case", params([case for case in ALL if departing(case.seen.evc, case.seen.claim)])
)
def test_what_is_done_about_a_claim_that_departs_rests_on_no_job(case: Case) -> None:
    """Gate 5 reads none: only pods could have the volume mounted."""
    done = [
        replace(decide(replace(case.seen, jobs=jobs), at(case.now)), status=None)
        for jobs in (
            (),
            (job().value,),
            (job().complete(at=100).value,),
            (job().suspended().value,),
        )
    ]
    assert done[1:] == done[:1] * 3


@every_case
def test_a_second_look_at_what_was_written_says_nothing_new(case: Case) -> None:
    plan = plan_of(case)
    second = decide(written(case.seen, plan), at(case.now))
    assert second.status is None
    assert not second.notes or second.actions  # what is done again is told again


@pytest.mark.parametrize("seen_as", ["running", "ended"])
def test_messages_do_not_depend_on_the_order_of_the_world(seen_as: str) -> None:
    pods = [
        p.running(since=2) if seen_as == "running" else p.succeeded(at=100)
        for p in (pod("a").worker(), pod("b").worker())
    ]
    one, other = (
        decide(observed(provided(), volume(), *order), at(200)) for order in (pods, pods[::-1])
    )
    assert one == other


@every_case
def test_the_first_status_has_all_five_conditions_from_then_on(case: Case) -> None:
    plan = plan_of(case)
    if plan.status is None:
        return
    kinds = [condition.type for condition in plan.status.conditions]
    assert kinds == [READY, USED, FINISHED, RECONCILING, STALLED]
    assert {c.status for c in plan.status.conditions} <= {"True", "False"}
    assert all(c.reason for c in plan.status.conditions)  # the API refuses an empty one


@every_case
def test_transition_times_move_only_with_the_status(case: Case) -> None:
    plan = plan_of(case)
    if plan.status is None or case.seen.evc is None:
        return
    for new in plan.status.conditions:
        old = case.seen.evc.status.condition(new.type)
        same = old is not None and old.status == new.status
        assert new.last_transition_time == (
            old.last_transition_time if old and same else at(case.now)
        )


@every_case
def test_every_claim_that_is_asked_for_was_announced_in_status(case: Case) -> None:
    plan = plan_of(case)
    if not any(isinstance(action, CreateClaim) for action in plan.actions):
        return
    after = written(case.seen, plan).evc
    assert after is not None
    intent = after.status.claim
    assert intent is not None
    assert (intent.name, intent.uid) == (after.claim_name, None)
    assert intent.request_id
    (create,) = plan.actions
    assert isinstance(create, CreateClaim)
    assert create.manifest["metadata"]["annotations"][REQUEST_ID] == intent.request_id
    # Tried again by whoever, on whatever version, it is the same request.
    bumped = replace(
        case.seen, evc=altered(after, metadata=altered(after.metadata, resource_version="11"))
    )
    assert decide(bumped, at(case.now)).actions == plan.actions


@pytest.mark.parametrize(
    ("owner", "forged"),
    [
        pytest.param(evc(), claim(), id="nothing"),
        pytest.param(evc(), claim().marked_for(evc()), id="mark alone"),
        pytest.param(evc().claiming(), claim(), id="uid in status alone"),
        pytest.param(evc().claiming(uid=None), claim(), id="intent alone"),
        pytest.param(evc().claiming(uid="other"), claim().marked_for(evc()), id="mark, other uid"),
        pytest.param(
            evc().claiming(), claim().marked_for(evc(uid="evc-0")), id="uid, mark for another"
        ),
        pytest.param(
            evc().claiming(uid=None),
            claim().marked_for(evc()).created(at=-1),
            id="intent and mark, but older than the object",
        ),
        pytest.param(
            evc().claiming(uid=None),
            claim().marked_for(evc()).annotated(request_id="9"),
            id="intent and mark, but of another request",
        ),
        pytest.param(
            evc().claiming(uid=None),
            claim().annotated(owner_uid="evc-1", owner_name="scratch"),
            id="intent and mark, but of no request",
        ),
        pytest.param(
            evc().status(claim=ClaimReference("scratch")),
            claim().annotated(owner_uid="evc-1", owner_name="scratch"),
            id="mark, but neither intent nor claim has a request",
        ),
    ],
)
def test_no_forged_subset_of_mark_uid_and_intent_deletes(
    owner: EvcBuilder, forged: ClaimBuilder
) -> None:
    seen = observed(owner.used(at=2).finished(at=3), forged.bound())
    plan = decide(seen, at(1e6))
    assert not any(isinstance(action, DESTRUCTIVE) for action in plan.actions)


def test_the_delete_names_exactly_the_claim_that_was_seen() -> None:
    seen = observed(provided().used(2).finished(100), volume())
    (action,) = decide(seen, at(5_000)).actions
    assert action == DeleteClaim(volume().value)


def test_a_refused_claim_keeps_the_intent_and_says_why() -> None:
    seen = observed(evc().claiming(uid=None).ready(Reason.PROVISIONING, ready=False))
    assert seen.evc is not None
    plan = refused(World(seen, seen.evc, at(5)), "exceeded quota")
    assert plan.status is not None
    assert plan.status.claim == seen.evc.status.claim
    assert plan.actions == ()
    assert "exceeded quota" in ready(plan).message  # type: ignore[union-attr]
    assert [note.reason for note in plan.notes] == ["ProvisioningFailed"]
    later = replace(seen, evc=altered(seen.evc, status=plan.status), claim=volume().value)
    # The refused answer may have been that of a repetition: what the first one made is ours.
    assert ready(decide(later, at(6))).reason == Reason.WAITING  # type: ignore[union-attr]
    other = volume().annotated(request_id="9").value
    assert ready(decide(replace(later, claim=other), at(6))).reason == Reason.CONFLICT  # type: ignore[union-attr]


def test_a_claim_that_others_deleted_is_pinned_in_status_once_it_is_due() -> None:
    """In one status: that it is due, that it was deleted already, and who keeps it."""
    owner = provided().used(2).finished(100).spec(completed_pods="Wait")
    gone = volume().terminating(at=105)
    seen = observed(owner, gone, pod().worker().succeeded(at=100))
    plan = decide(seen, at(130))
    assert plan.status is not None
    assert plan.status.held_by is not None
    assert (ready(plan).reason, plan.status.held_by.names) == (Reason.RELEASING, ("Pod/worker",))  # type: ignore[union-attr]
    assert ["which somebody else deleted" in note.text for note in plan.notes] == [True]
    after = decide(written(seen, plan), at(130))
    assert (plan.actions, after) == ((), Plan())


@pytest.mark.parametrize(
    ("seen", "now", "left"),
    [
        pytest.param(
            observed(
                provided().used(2).finished(100),
                volume(),
                pod().worker().succeeded(at=100),
                live=True,
                time=109,
            ),
            170,
            20,
            id="a deadline",
        ),
        pytest.param(
            observed(
                provided().used(2).finished(100).releasing(),
                volume().terminating(at=131),
                pod().worker().succeeded(at=100),
                live=True,
                mounted_by=(),
                time=133,
            ),
            170,
            7,
            id="the settle time of gate 5",
        ),
    ],
)
def test_a_clock_that_is_ahead_of_the_api_servers_shortens_nothing(
    seen: Observed, now: float, left: float
) -> None:
    """Fault 22.  The server's time is cut to the second, which may be about to end."""
    plan = decide(seen, at(now))
    assert (plan.actions, plan.requeue_after) == ((), left)
    for behind in (1, 0):
        in_step = replace(seen, time=at(now - behind))
        assert [type(a) for a in decide(in_step, at(now)).actions] != []


def test_what_no_event_announces_is_the_ordinary_course() -> None:
    told = {note.reason for case in ALL for note in plan_of(case).notes}
    assert not told & UNTOLD
    assert {reason for reason in Reason if reason not in told | UNTOLD} <= {
        Reason.PROVISIONING_FAILED  # `refused` tells it
    }


def test_no_more_than_five_holders_are_named() -> None:
    many = [pod(f"w{i}").worker().running(since=2) for i in range(7)]
    plan = decide(observed(provided(), volume(), *many), at(5))
    assert plan.status is not None
    assert plan.status.held_by is not None
    assert (plan.status.held_by.count, len(plan.status.held_by.names)) == (7, 5)
    assert "and 2 more" in ready(plan).message  # type: ignore[union-attr]


def test_a_message_fits_into_a_condition() -> None:
    many = [pod("w" * 250 + str(i)).worker().running(since=2) for i in range(5)]
    plan = decide(observed(provided(), volume(), *many), at(5))
    assert len(ready(plan).message) == 1024  # type: ignore[union-attr]


def test_a_time_at_the_end_of_the_calendar_is_no_crash() -> None:
    """Attack 18: odd values in a pod's status stop one object, not the operator."""
    end = (at(0).replace(year=9999, month=12, day=31) - at(0)).total_seconds() + 86_399
    decide(observed(provided(), volume(), pod().worker().succeeded(at=end)), at(5))


@pytest.mark.parametrize("kind", ["pod", "job"])
def test_the_deadline_is_met_to_the_second(kind: str) -> None:
    end = pod().worker().succeeded(at=100) if kind == "pod" else job().complete(at=100)
    seen = observed(provided(), volume(), end)
    assert not decide(seen, at(130) - timedelta(microseconds=1)).actions
    assert decide(seen, at(130)).actions
