"""What holds in every world, not only in those somebody thought of."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, assume, event, example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace as altered

from evc.model.core import PersistentVolumeClaim
from evc.model.evc import ADOPT_BY, HOLD, MARKS, OWNER_UID, REQUEST_ID, EphemeralVolumeClaim
from evc.policy.deadline import due
from evc.policy.decide import decide
from evc.policy.observed import Observed
from evc.policy.plan import (
    CreateClaim,
    DeleteClaim,
    DeletePod,
    DeleteRecord,
    PatchClaim,
    ReleaseClaim,
    UpdateClaim,
)
from evc.policy.usage import Usage, usage
from unit.builders import (
    LABELS,
    EvcBuilder,
    at,
    evc,
    observed,
    offered,
    over,
    pod,
    provided,
    still,
    volume,
    workflow,
)

from .cases import DESTRUCTIVE
from .strategies import nearly_over, periods, times, worlds
from .tiny import TinyWorld, empty

checked = settings(
    max_examples=100,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)


def provably_ours(claim: PersistentVolumeClaim, evc: EphemeralVolumeClaim) -> bool:
    """Return DESIGN section 3's words, written down a second time."""
    known = evc.status.claim
    if known is None or claim.metadata.annotations.get(OWNER_UID) != evc.metadata.uid:
        return False
    if known.uid is None and evc.spec.existing_claim_name is not None:
        return claim.metadata.annotations.get(ADOPT_BY) == evc.metadata.name
    made, asked = claim.metadata.creation_timestamp, evc.metadata.creation_timestamp
    assert made is not None
    assert asked is not None
    request = claim.metadata.annotations.get(REQUEST_ID)
    requested = request is not None and request == known.request_id
    return known.uid == claim.metadata.uid or (known.uid is None and requested and made >= asked)


@checked
@given(worlds(), times)
def test_decide_is_total_and_destroys_only_after_a_second_look(
    seen: Observed, now: datetime
) -> None:
    plan = decide(seen, now)
    assert plan.irreversible or not any(isinstance(a, DESTRUCTIVE) for a in plan.actions)
    assert plan.requeue_after is None or plan.requeue_after >= 0


@checked
@given(worlds(), times)
def test_decide_is_a_function_of_values(seen: Observed, now: datetime) -> None:
    assert decide(seen, now) == decide(replace(seen), now)


@settings(checked, max_examples=400)
@given(nearly_over(), times.map(lambda t: t + timedelta(days=4_000)))
def test_no_volume_is_deleted_that_is_held_or_not_ours(seen: Observed, now: datetime) -> None:
    """S1, S2 and hold; long after every deadline, so that only holds are in the way."""
    plan = decide(seen, now)
    sent = [a.claim for a in plan.actions if isinstance(a, DeleteClaim)]
    outcome = plan.status.outcome if plan.status is not None else None
    event(f"deletes: {len(sent)}")
    if not sent:
        return
    assert seen.evc is not None
    assert sent == [seen.claim]
    assert provably_ours(sent[0], seen.evc)
    assert not seen.evc.spec.hold
    assert sent[0].metadata.annotations.get(HOLD, "false") == "false"
    assert all(p.status.phase in ("Succeeded", "Failed") for p in seen.pods)
    for job in seen.jobs:
        over = {c.type for c in job.status.conditions if c.status == "True"}
        assert over & {"Complete", "Failed"} or job.metadata.deleting
    assert not [owner for owner in seen.owners if owner.ending is None]
    rule = {
        None: seen.evc.spec.on_expiry,
        "Succeeded": seen.evc.spec.on_success,
        "Failed": seen.evc.spec.on_failure,
        "Expired": seen.evc.spec.on_expiry,
    }[outcome]
    assert rule is None or rule.action == "Delete"


@checked
@given(worlds(), times)
def test_protection_is_taken_off_only_from_a_deleted_unmounted_claim(
    seen: Observed, now: datetime
) -> None:
    """Gate 5, live: what the design says, in other words than the code's."""
    seen = replace(seen, live=True)
    for action in decide(seen, now).actions:
        if not isinstance(action, ReleaseClaim):
            continue
        assert action.claim is seen.claim
        deleted = action.claim.metadata.deletion_timestamp
        assert deleted is not None
        assert deleted + timedelta(seconds=10) <= now
        for condition in action.claim.status.conditions:
            assert condition.last_transition_time is not None
            unused = condition.last_transition_time + timedelta(seconds=10)
            assert condition.status == "False" or unused <= now
        assert OWNER_UID in action.claim.metadata.annotations
        assert seen.mounted_by == ()
        for p in seen.pods:
            if "scratch" not in p.claim_names:
                continue
            if not p.terminal:
                assert not p.spec.node_name  # it can never start on a Terminating claim
                continue
            for status in (*p.status.container_statuses, *p.status.init_container_statuses):
                assert status.state.running is None
                ended = status.state.terminated
                if ended is not None and ended.finished_at is not None:
                    assert ended.finished_at + timedelta(seconds=10) <= now


@checked
@given(worlds(), times)
def test_only_completed_designated_pods_are_deleted_and_only_if_asked(
    seen: Observed, now: datetime
) -> None:
    for action in decide(seen, now).actions:
        if isinstance(action, DeletePod):
            assert action.pod.terminal
            assert action.pod.metadata.labels == LABELS
            assert seen.evc is not None
            assert seen.claim is not None
            assert seen.claim.metadata.deleting


@checked
@given(worlds(), times)
def test_a_claim_is_made_only_where_there_is_none(seen: Observed, now: datetime) -> None:
    plan = decide(seen, now)
    if any(isinstance(action, CreateClaim) for action in plan.actions):
        assert seen.claim is None
        assert seen.evc is not None
        assert not seen.evc.metadata.deleting


@checked
@given(periods, periods, periods, st.integers(2, 100_000))
def test_due_is_max_of_created_plus_n_and_finished_plus_grace(
    n: int, m: int, grace: int, end: int
) -> None:
    assume(m >= n)
    owner = _with(n, m, grace)
    assert _due(owner, at(end)) == at(max(n, end + grace))
    seen = observed(owner, volume(), pod().worker().succeeded(at=end))
    moment = at(max(n, end + grace))
    assert not decide(seen, moment - timedelta(microseconds=1)).actions
    assert [type(a) for a in decide(seen, moment).actions] == [DeleteClaim]


@checked
@given(periods, periods, periods)
def test_due_is_created_plus_m_if_never_used(n: int, m: int, grace: int) -> None:
    assume(m >= n)
    owner = _with(n, m, grace)
    assert _due(owner, None) == at(m)
    seen = observed(owner, volume())
    assert not decide(seen, at(m) - timedelta(microseconds=1)).actions
    assert [type(a) for a in decide(seen, at(m)).actions] == [DeleteClaim]


@checked
@given(periods, periods, periods, st.none() | times, st.sampled_from(("n", "m", "grace")), periods)
def test_a_longer_period_never_means_an_earlier_deletion(
    n: int, m: int, grace: int, finished: datetime | None, which: str, more: int
) -> None:
    fields = {"n": n, "m": m, "grace": grace}
    before = _due(_with(**fields), finished)
    after = _due(_with(**fields | {which: fields[which] + more}), finished)
    assert before is not None
    assert after is not None
    assert before <= after


def _with(n: int, m: int, grace: int) -> EvcBuilder:
    return provided().spec(minimum_wait_seconds=n, expiry_seconds=m, grace_period_seconds=grace)


def _due(owner: EvcBuilder, finished: datetime | None) -> datetime | None:
    used = at(2) if finished else None
    seen = Usage((), (), used, finished, failed=False, untraced=False, owners=(), evidence=())
    return due(owner.value, seen)


@checked
@given(worlds(sound=True), times)
def test_a_hold_means_no_end_and_no_deadline(seen: Observed, now: datetime) -> None:
    assert seen.evc is not None
    found = usage(seen, seen.evc, now, since=at(0))
    if found.holds:
        assert found.finished is None
        assert due(seen.evc, found) is None


@checked
@given(worlds(), times)
def test_a_claim_is_changed_only_if_it_is_ours_or_given_to_us(
    seen: Observed, now: datetime
) -> None:
    """What is written to a claim is for this very version of it, and marks only what we may."""
    for action in decide(seen, now).actions:
        if isinstance(action, UpdateClaim):
            assert seen.evc is not None
            assert action.claim is seen.claim
            assert provably_ours(action.claim, seen.evc)
            assert action.manifest["metadata"]["uid"] == action.claim.metadata.uid
            assert not action.claim.metadata.deleting
        if isinstance(action, PatchClaim):
            assert seen.evc is not None
            assert action.claim is seen.claim
            meta, found = action.patch["metadata"], action.claim.metadata
            assert (meta["uid"], meta["resourceVersion"]) == (found.uid, found.resource_version)
            given_to_us = (
                seen.evc.spec.existing_claim_name is not None
                and found.annotations.get(ADOPT_BY) == seen.evc.metadata.name
            )
            assert given_to_us or provably_ours(action.claim, seen.evc)
            assert found.annotations.get(OWNER_UID, seen.evc.metadata.uid) == seen.evc.metadata.uid


@checked
@given(worlds(sound=True), times, st.lists(st.booleans(), max_size=6))
def test_a_crash_after_any_status_changes_nothing_of_the_end(
    seen: Observed, now: datetime, crashes: list[bool]
) -> None:
    """Gate 3: what was decided is carried on with, so all roads lead to the same claim."""
    calm, shaken = TinyWorld(seen, now), TinyWorld(seen, now)
    for crash in crashes:
        shaken.step(crash=crash)
    assert calm.settle()
    assert shaken.settle()
    kept = [
        None if c is None else (c.metadata.uid.startswith("made"), c.metadata.annotations.keys())
        for c in (calm.seen.claim, shaken.seen.claim)
    ]
    assert kept[0] == kept[1]


@checked
@given(worlds(sound=True), times)
def test_what_was_retained_has_no_mark_of_ours_and_goes_with_nobody(
    seen: Observed, now: datetime
) -> None:
    world = TinyWorld(seen, now)
    world.settle()
    evc = world.seen.evc
    ready = evc.status.condition("Ready") if evc is not None else None
    event(f"ends as {ready.reason if ready is not None else None}")
    if ready is None or ready.reason != "Retained" or world.seen.claim is None:
        return
    assert not world.history or not isinstance(world.history[-1], DeleteClaim)
    if any(isinstance(action, PatchClaim) for action in world.history):
        meta = world.seen.claim.metadata
        assert not {*MARKS, ADOPT_BY} & meta.annotations.keys()
        assert not [o for o in meta.owner_references if o.uid == "evc-1"]


@settings(checked, max_examples=250)
@given(worlds(), times)
def test_every_world_comes_to_rest_and_stays_there(seen: Observed, now: datetime) -> None:
    """ESR (Anvil): carrying out plans leads to an empty plan, and that stays empty."""
    world = TinyWorld(seen, now)
    assert world.settle()
    for later in (timedelta(0), timedelta(days=1), timedelta(days=8_000)):
        world.now += later
        assert empty(world.plan())


@checked
@given(worlds(sound=True), times)
@example(
    observed(
        evc().adopting(),
        offered(),
        pod().worker().owned_by(workflow()),
        owners=(still(seen=workflow()),),
    ),
    at(10),
)
def test_a_dry_run_says_what_it_would_do_and_then_is_quiet(seen: Observed, now: datetime) -> None:
    """What caches say and what a live read says must not take turns in status."""
    world = TinyWorld(seen, now)
    for _ in range(5):
        world.step(crash=True)
    assert world.step(crash=True).status is None


@checked
@given(worlds(sound=True), times)
def test_at_most_one_claim_is_made_and_each_is_deleted_at_most_once(
    seen: Observed, now: datetime
) -> None:
    """S5, in a world where nobody else deletes anything."""
    world = TinyWorld(seen, now)
    world.settle()
    made = [a for a in world.history if isinstance(a, CreateClaim)]
    deleted = [a.claim.metadata.uid for a in world.history if isinstance(a, DeleteClaim)]
    assert len(made) <= 1
    assert len(set(deleted)) == len(deleted)


@pytest.mark.parametrize(
    ("completed_pods", "end", "settling"),
    [("Release", [ReleaseClaim], 10), ("Delete", [DeletePod], 0)],
)
@pytest.mark.parametrize("ttl", [0, 3600])
def test_a_whole_life(completed_pods: str, end: list[type], settling: int, ttl: int) -> None:
    """Provided, used, drained, deleted, let go of, recorded, gone."""
    owner = evc().spec(completed_pods=completed_pods, ttl_seconds_after_finished=ttl)
    world = TinyWorld(observed(owner), at(0))
    world.step()
    for now, worker in (
        (5, pod().worker().running(since=3)),
        (101, pod().worker().succeeded(at=100, since=3)),
    ):
        world.seen = replace(world.seen, pods=(worker.value,))
        world.now = at(now)
        world.step()
    assert world.settle()
    assert (world.seen.evc, world.seen.claim) == (None, None)
    assert [type(a) for a in world.history] == [CreateClaim, DeleteClaim, *end, DeleteRecord]
    assert world.now == at(130 + settling + ttl)


@pytest.mark.parametrize("crash", [False, True])
@pytest.mark.parametrize("adopts", [False, True])
def test_a_life_that_ends_with_a_volume_that_stays(adopts: bool, crash: bool) -> None:
    """Made or given, used, kept; in between a crash right after the decision."""
    owner = evc().when("success", "Retain").spec(ttl_seconds_after_finished=60)
    before = offered().meta(name="scratch", labels={"team": "a"}) if adopts else None
    world = TinyWorld(observed(owner.adopting("scratch") if adopts else owner, before), at(0))
    world.step()
    world.seen = replace(world.seen, pods=(pod().worker().succeeded(at=100, since=3).value,))
    world.now = at(130)
    plan = world.step(crash=crash)
    assert [type(action) for action in plan.actions] == [PatchClaim]
    assert world.seen.claim is not None
    assert (OWNER_UID in world.seen.claim.metadata.annotations) is crash
    assert world.settle()
    assert world.now == at(190)
    assert world.seen.evc is None
    assert world.seen.claim is not None
    meta = world.seen.claim.metadata
    assert (meta.annotations, meta.owner_references) == ({}, ())
    assert meta.labels == ({"team": "a"} if adopts else {})
    first = PatchClaim if adopts else CreateClaim
    assert [type(action) for action in world.history] == [first, PatchClaim, DeleteRecord]


def test_a_template_that_changes_is_followed_once_and_others_labels_stay() -> None:
    owner = evc().template_labels({"team": "a", "tier": "x"})
    world = TinyWorld(observed(owner), at(0))
    assert not world.settle(steps=3)  # it waits to be used
    claim = world.seen.claim
    assert claim is not None
    labels = claim.metadata.labels | {"theirs": "b"}
    changed = evc().template_labels({"team": "c"}).sized("1Ti").value.spec
    world.seen = replace(
        world.seen,
        evc=altered(world.seen.evc, spec=changed),
        claim=altered(claim, metadata=altered(claim.metadata, labels=labels)),
    )
    world.history.clear()
    world.now = at(10)
    for _ in range(3):
        world.step()
    assert [type(action) for action in world.history] == [UpdateClaim]
    assert world.seen.claim is not None
    assert world.seen.claim.metadata.labels == {
        "team": "c",
        "theirs": "b",
        "app.kubernetes.io/managed-by": "evc",
    }
    assert world.seen.claim.spec.resources.requests.storage == "1Ti"


def test_an_owner_holds_over_the_time_in_which_it_has_no_pod() -> None:
    owner = provided().used(at=2).ready("InUse")
    first = pod("first").worker().owned_by(workflow()).running(since=2)
    world = TinyWorld(observed(owner, volume(), first, owners=(still(),)), at(5))
    world.step()
    world.seen = replace(world.seen, pods=())
    for world.now in (at(100), at(50_000), at(1e7)):
        assert not world.step().actions
    world.owners = (over(at=1e7),)
    assert world.settle()
    assert (world.seen.evc, world.seen.claim) == (None, None)
    assert world.now == at(1e7 + 30)
