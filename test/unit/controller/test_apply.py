"""Plans become calls: in which order, under which conditions, and what an error leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace as altered

from evc.controller.apply import Apply, NotConfirmed, NotLeading
from evc.controller.events import Recorder
from evc.controller.gather import OwnWrites
from evc.controller.limits import DeletionLimit
from evc.controller.observer import ClaimObserver
from evc.model.core import PersistentVolumeClaim
from evc.model.errors import (
    AlreadyExists,
    ApiError,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    TooManyRequests,
    Unreachable,
)
from evc.model.evc import EphemeralVolumeClaimStatus
from evc.model.meta import Key
from evc.policy.decide import decide
from evc.policy.observed import Observed
from evc.policy.plan import DeleteClaim, DeletePod, DeleteRecord, Plan, ReleaseClaim
from unit.builders import NAMESPACE, EvcBuilder, at, evc, observed, offered, pod, provided, volume

from .fakes import Cluster, RecordingClient, unlimited

KEY = Key(NAMESPACE, "scratch")
STATUS = ("replace", "ephemeralvolumeclaims/status")
CREATE = ("create", "persistentvolumeclaims")
DELETE = ("delete", "persistentvolumeclaims")
EVENT = ("post", "events")


def _always() -> bool:
    return True


def apply(
    client: RecordingClient,
    seen: Observed,
    plan: Plan,
    *,
    leads: Callable[[], bool] = _always,
    writes: OwnWrites | None = None,
    limit: DeletionLimit | None = None,
    dry_run: bool = False,
    observer: ClaimObserver | None = None,
) -> float | None:
    """Carry out a plan, and tell what the next visit would."""
    fake: Any = client
    recorder = Recorder(fake, "test", lambda: at(130))
    carried_by = Apply(
        fake,
        writes or OwnWrites(Cluster().caches),
        recorder,
        leads,
        lambda: at(130),
        limit or unlimited(),
        dry_run=dry_run,
        observer=observer,
    )
    try:
        return carried_by(seen, plan)
    finally:
        recorder.tell(KEY)


def over(*, live: bool = True) -> tuple[Observed, Plan]:
    """Return a world whose work is over and the plan to delete its volume."""
    seen = observed(provided().used(2), volume(), pod().worker().succeeded(at=100), live=live)
    return seen, decide(seen, at(130))


def fresh() -> tuple[Observed, Plan]:
    """Return a new object and the plan to make its claim."""
    seen = observed(evc())
    return seen, decide(seen, at(0))


def test_status_comes_first_then_the_action_then_the_event() -> None:
    client = RecordingClient()
    apply(client, *over())
    assert client.asked == [STATUS, DELETE, EVENT]


def test_the_status_is_written_on_the_version_that_was_read() -> None:
    client = RecordingClient()
    apply(client, *over())
    _, _, key, body = client.calls[0]
    assert key == KEY
    assert body["metadata"]["resourceVersion"] == "10"
    assert body["metadata"]["uid"] == "evc-1"
    assert body["status"]["outcome"] == "Succeeded"


def test_the_delete_has_uid_and_version_of_what_was_read() -> None:
    client = RecordingClient()
    apply(client, *over())
    assert client.calls[1] == (*DELETE, KEY, "claim-1", "20")


def test_a_destructive_plan_without_a_live_read_does_nothing() -> None:
    client = RecordingClient()
    with pytest.raises(NotConfirmed):
        apply(client, *over(live=False))
    assert client.calls == []


def test_a_destructive_plan_without_leadership_does_nothing() -> None:
    client = RecordingClient()
    with pytest.raises(NotLeading):
        apply(client, *over(), leads=lambda: False)
    assert client.calls == []


def test_leadership_lost_while_the_status_was_written_stops_the_delete() -> None:
    """Fault 20: stopped in between past the lease; seeded bug "no lease check before delete"."""
    client, answers = RecordingClient(), iter([True, False])
    with pytest.raises(NotLeading):
        apply(client, *over(), leads=lambda: next(answers, False))
    assert client.asked == [STATUS]


def test_a_status_that_cannot_be_written_stops_everything() -> None:
    """Gate 3: nothing is deleted whose reason is not durable."""
    client = RecordingClient().refuse(*STATUS, Conflict("hold was set", status=409))
    with pytest.raises(Conflict):
        apply(client, *over())
    assert client.asked == [STATUS]


@pytest.mark.parametrize("error", [Conflict("version"), Forbidden("no"), Unreachable("reset")])
def test_a_refused_delete_propagates(error: ApiError) -> None:
    client = RecordingClient().refuse(*DELETE, error)
    with pytest.raises(type(error)):
        apply(client, *over())


LOST = [Unreachable("reset"), ApiError("the request timed out", status=504)]


@pytest.mark.parametrize("error", LOST)
def test_a_deletion_whose_answer_was_lost_has_its_event(error: ApiError) -> None:
    """S7: the volume may be gone, and then this is the only chance to say why."""
    client = RecordingClient().refuse(*DELETE, error)
    with pytest.raises(ApiError):
        apply(client, *over())
    assert client.asked.count(EVENT) == 1


def test_a_deletion_that_needed_two_attempts_has_its_event() -> None:
    """S7: each deletion has an event with its evidence."""
    client = RecordingClient().refuse(*DELETE, Conflict("somebody labelled the claim"))
    seen, plan = over()
    with pytest.raises(Conflict):
        apply(client, seen, plan)
    assert seen.evc is not None
    assert plan.status is not None
    again = replace(seen, evc=altered(seen.evc, status=plan.status))
    client.refusing.clear()
    apply(client, again, decide(again, at(131)))
    assert client.asked.count(EVENT) == 1


@pytest.mark.parametrize(
    ("plan", "verb", "plural"),
    [
        (Plan(actions=(DeleteClaim(volume().value),)), *DELETE),
        (Plan(actions=(DeletePod(pod().value),)), "delete", "pods"),
        (Plan(actions=(DeleteRecord(evc().value),)), "delete", "ephemeralvolumeclaims"),
        (
            Plan(actions=(ReleaseClaim(volume().terminating().value),)),
            "patch",
            "persistentvolumeclaims",
        ),
    ],
    ids=["claim", "pod", "record", "release"],
)
def test_what_is_gone_already_is_fine(plan: Plan, verb: str, plural: str) -> None:
    client = RecordingClient().refuse(verb, plural, NotFound("gone", status=404))
    apply(client, observed(evc(), live=True), replace(plan, irreversible=True))
    assert client.asked == [(verb, plural)]


def test_a_release_tests_uid_version_and_finalizer_before_it_removes_one() -> None:
    client = RecordingClient()
    claim = volume().terminating("example.com/backup", "kubernetes.io/pvc-protection")
    apply(
        client,
        observed(evc(), claim, live=True),
        Plan(actions=(ReleaseClaim(claim.value),), irreversible=True),
    )
    ((_, _, key, patch, content_type),) = client.calls
    assert key == KEY
    assert content_type == "application/json-patch+json"
    assert patch == [
        {"op": "test", "path": "/metadata/uid", "value": "claim-1"},
        {"op": "test", "path": "/metadata/resourceVersion", "value": "20"},
        {"op": "test", "path": "/metadata/finalizers/1", "value": "kubernetes.io/pvc-protection"},
        {"op": "remove", "path": "/metadata/finalizers/1"},
    ]


def test_the_intent_is_durable_before_the_claim_is_made() -> None:
    client = RecordingClient()
    apply(client, *fresh())
    assert client.asked == [STATUS, CREATE]
    assert client.calls[0][3]["status"]["claim"] == {"name": "scratch", "requestId": "10"}


def test_the_claim_carries_mark_owner_and_size() -> None:
    client = RecordingClient()
    apply(client, *fresh())
    manifest = client.calls[1][3]
    assert manifest["metadata"]["annotations"] == {
        "evc.dev/owner-uid": "evc-1",
        "evc.dev/owner-name": "scratch",
        "evc.dev/completed-pods": "Release",
        "evc.dev/request-id": "10",
    }
    (owner,) = manifest["metadata"]["ownerReferences"]
    assert (owner["uid"], owner["controller"]) == ("evc-1", True)
    assert manifest["spec"] == {
        "accessModes": ("ReadWriteOnce",),
        "resources": {"requests": {"storage": "500Gi"}},
    }


def test_when_deleted_retain_leaves_the_owner_out() -> None:
    client = RecordingClient()
    seen = observed(evc().spec(when_deleted="Retain"))
    apply(client, seen, decide(seen, at(0)))
    assert "ownerReferences" not in client.calls[1][3]["metadata"]


def test_own_writes_are_remembered_until_the_cache_shows_them() -> None:
    cluster = Cluster().showing(evc())
    writes = OwnWrites(cluster.caches)
    apply(RecordingClient(), *fresh(), writes=writes)
    assert not writes.visible(KEY)
    cluster.showing(evc().meta(resource_version="50"))
    assert not writes.visible(KEY)
    cluster.showing(volume().meta(resource_version="60"))
    assert writes.visible(KEY)


@pytest.mark.parametrize("error", [Invalid("bad quantity"), Forbidden("exceeded quota")])
def test_a_refused_create_keeps_the_intent_says_why_and_is_tried_again(error: ApiError) -> None:
    client = RecordingClient().refuse(*CREATE, error)
    with pytest.raises(type(error)):
        apply(client, *fresh())
    assert client.asked == [STATUS, CREATE, STATUS, EVENT]
    second = client.calls[2][3]
    assert second["metadata"]["resourceVersion"] == "50"  # that of the first write
    assert second["status"]["claim"] == client.calls[0][3]["status"]["claim"]
    assert str(error) in second["status"]["conditions"][0]["message"]
    assert client.calls[3][2]["reason"] == "ProvisioningFailed"


@pytest.mark.parametrize("error", [Unreachable("reset"), TooManyRequests("busy")])
def test_a_create_without_an_answer_keeps_the_intent(error: ApiError) -> None:
    """Fault 3: it may have happened; the claim that then appears is ours."""
    client = RecordingClient().refuse(*CREATE, error)
    with pytest.raises(type(error)):
        apply(client, *fresh())
    assert client.asked == [STATUS, CREATE]


@pytest.mark.parametrize(
    ("there", "made"),
    [
        pytest.param((evc(),), True, id="still there"),
        pytest.param((), False, id="gone"),
        pytest.param((evc(uid="evc-2"),), False, id="another one"),
        pytest.param((evc().being_deleted(),), False, id="on its way out"),
    ],
)
def test_a_create_is_repeated_only_for_an_object_that_is_there(
    there: tuple[EvcBuilder, ...], made: bool
) -> None:
    """An old cache may still show one that kept its volume (whenDeleted: Retain)."""
    client = RecordingClient().refuse(*CREATE, Unreachable("reset"))
    seen, plan = fresh()
    with pytest.raises(Unreachable):
        apply(client, seen, plan)
    assert seen.evc is not None
    assert plan.status is not None
    again = replace(seen, evc=altered(seen.evc, status=plan.status))
    client = RecordingClient().holding(*there)
    apply(client, again, decide(again, at(1)))
    asked = ("get", "ephemeralvolumeclaims")
    assert client.asked == ([asked, CREATE] if made else [asked])


def test_a_name_that_is_taken_is_neither_adopted_nor_an_error() -> None:
    client = RecordingClient().refuse(*CREATE, AlreadyExists("taken"))
    apply(client, *fresh())
    assert client.asked == [STATUS, CREATE]


def test_an_event_names_object_claim_and_reason_within_the_limits() -> None:
    client = RecordingClient()
    apply(client, *over())
    event = client.calls[-1][2]
    assert event["regarding"].uid == "evc-1"
    assert event["related"].uid == "claim-1"
    assert event["reason"] == "Deleting"
    assert event["metadata"]["namespace"] == NAMESPACE
    assert len(event["note"].encode()) <= 1000


def test_the_event_of_a_deletion_waits_for_the_next_visit_and_tells_of_then() -> None:
    """Of a thousand volumes that are due none waits for another's event."""
    client, times = RecordingClient(), iter([at(130), at(139)])
    fake: Any = client
    recorder, writes = Recorder(fake, "test", lambda: next(times)), OwnWrites(Cluster().caches)
    Apply(fake, writes, recorder, _always, lambda: at(130), unlimited(), dry_run=False)(*over())
    assert client.asked == [STATUS, DELETE]
    recorder.tell(Key(NAMESPACE, "another"))
    assert client.asked == [STATUS, DELETE]
    recorder.tell(KEY)
    recorder.tell(KEY)
    assert client.asked == [STATUS, DELETE, EVENT]
    assert client.calls[-1][2]["eventTime"] == "2026-01-01T00:02:10.000000Z"


def test_a_lost_event_stops_nothing() -> None:
    client = RecordingClient().refuse(*EVENT, Forbidden("no events"))
    apply(client, *over())
    assert client.asked == [STATUS, DELETE, EVENT]


@pytest.mark.parametrize("ttl", [0, 60])
@pytest.mark.parametrize("lost", [True, False], ids=["its event was lost", "it was told"])
def test_the_event_of_a_decision_is_told_at_the_end_if_it_was_not(ttl: int, lost: bool) -> None:
    """Also if whoever sent the DELETE died before its event: a new process has told nothing."""
    client = RecordingClient()
    if lost:
        client.refuse(*EVENT, Unreachable("x"))
    fake: Any = client
    writes = OwnWrites(Cluster().caches)
    recorder = Recorder(fake, "test", lambda: at(130))
    carried_by = Apply(fake, writes, recorder, _always, lambda: at(130), unlimited(), dry_run=False)
    owner = provided().used(2).spec(ttl_seconds_after_finished=ttl)
    seen = observed(owner, volume(), pod().worker().succeeded(at=100), live=True)
    plan = decide(seen, at(130))
    carried_by(seen, plan)
    recorder.tell(KEY)
    client.calls.clear()
    client.refusing.clear()
    assert plan.status is not None
    gone = observed(EvcBuilder(altered(owner.value, status=plan.status)), live=True)
    carried_by(gone, decide(gone, at(131)))
    end = STATUS if ttl else ("delete", "ephemeralvolumeclaims")
    assert client.asked == ([EVENT, end] if lost else [end])
    if lost:
        body = client.calls[0][2]
        assert body["reason"] == "Deleting"
        assert "Pod/worker finished at 2026-01-01T00:01:40Z" in body["note"]


@pytest.mark.parametrize("lost", [True, False], ids=["its event was lost", "it was told"])
def test_the_event_of_a_decision_is_told_before_status_tells_of_something_else(lost: bool) -> None:
    """Completed pods may keep the claim for ever, and with it the end at which it was told."""
    client = RecordingClient()
    fake: Any = client
    recorder = Recorder(fake, "test", lambda: at(130))
    writes = OwnWrites(Cluster().caches)
    carried_by = Apply(fake, writes, recorder, _always, lambda: at(130), unlimited(), dry_run=False)
    owner, worker = provided().used(2).spec(completed_pods="Wait"), pod().worker().succeeded(at=100)
    seen = observed(owner, volume(), worker, live=True)
    plan = decide(seen, at(130))
    if not lost:
        carried_by(seen, plan)
        recorder.tell(KEY)
        client.calls.clear()
    assert plan.status is not None
    owner = EvcBuilder(altered(owner.value, status=plan.status))
    kept = observed(owner, volume().terminating(at=131), worker, live=True, mounted_by=())
    carried_by(kept, decide(kept, at(131)))
    assert client.asked == ([EVENT, STATUS] if lost else [STATUS])
    if lost:
        body = client.calls[0][2]
        assert body["reason"] == "Deleting"
        assert "Pod/worker finished at 2026-01-01T00:01:40Z" in body["note"]


def test_a_dry_run_retells_nothing() -> None:
    client = RecordingClient()
    gone = observed(provided().used(2).releasing(), live=True)
    plan = decide(gone, at(131))
    assert plan.retold is not None
    apply(client, gone, plan, dry_run=True)
    assert client.asked == []


def test_an_orphans_release_is_told_of_the_claim_and_writes_no_status() -> None:
    client = RecordingClient()
    seen = observed(
        None, volume().terminating(), pod().using().succeeded(at=9), live=True, mounted_by=()
    )
    apply(client, seen, decide(seen, at(130)))
    assert client.asked == [("patch", "persistentvolumeclaims"), EVENT]
    assert client.calls[1][2]["regarding"].uid == "claim-1"


def given_claim() -> tuple[Observed, Plan]:
    """Return a claim that is given to an object and the plan to take it over."""
    seen = observed(evc().adopting("data"), offered(), live=True)
    return seen, decide(seen, at(1))


def retained() -> tuple[Observed, Plan]:
    """Return a world whose volume is to stay and the plan to let go of it."""
    owner = provided().used(2).when("success", "Retain")
    seen = observed(owner, volume(), pod().worker().succeeded(at=100), live=True)
    return seen, decide(seen, at(130))


def changed() -> tuple[Observed, Plan]:
    """Return a claim whose template grew and the plan to follow it."""
    seen = observed(provided().sized("1Ti"), volume())
    return seen, decide(seen, at(1))


PATCH = ("patch", "persistentvolumeclaims")
APPLY = ("apply", "persistentvolumeclaims")


@pytest.mark.parametrize(
    ("made", "verb"), [(given_claim, PATCH), (retained, PATCH), (changed, APPLY)]
)
def test_a_claim_is_changed_after_the_status_and_the_write_is_remembered(
    made: Callable[[], tuple[Observed, Plan]], verb: tuple[str, str]
) -> None:
    client, writes = RecordingClient(), OwnWrites(Cluster().caches)
    seen, plan = made()
    apply(client, seen, plan, writes=writes)
    assert client.asked[:2] == [STATUS, verb]
    assert seen.claim is not None
    assert writes._pvcs == {seen.claim.metadata.key: "70"}


@pytest.mark.parametrize("made", [given_claim, retained])
def test_a_mark_is_put_on_or_taken_off_in_exactly_the_version_that_was_read(
    made: Callable[[], tuple[Observed, Plan]],
) -> None:
    client = RecordingClient()
    apply(client, *made())
    patch, content_type = client.calls[1][3:]
    assert (patch["metadata"]["uid"], patch["metadata"]["resourceVersion"]) == ("claim-1", "20")
    assert content_type == "application/merge-patch+json"


def test_a_refused_update_is_told_said_in_status_and_tried_again() -> None:
    client = RecordingClient().refuse(*APPLY, Forbidden("the class cannot grow"))
    assert apply(client, *changed()) == 5.0
    assert client.asked[:4] == [STATUS, APPLY, STATUS, EVENT]
    before, after = ({c["type"]: c for c in call[3]["status"]["conditions"]} for call in
                     (client.calls[0], client.calls[2]))  # fmt: skip
    stalled = after.pop("Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "UpdateRefused")
    assert "the class cannot grow" in stalled["message"]
    before.pop("Stalled")
    assert after == before, "its life goes on"
    assert client.calls[2][3]["metadata"]["resourceVersion"] == "50"  # that of the first write
    event = client.calls[3][2]
    assert (event["type"], event["reason"]) == ("Warning", "UpdateRefused")
    assert "the class cannot grow" in event["note"]


def test_a_deadline_is_not_put_off_by_an_update_that_is_tried_again_later() -> None:
    client = RecordingClient().refuse(*APPLY, Forbidden("the class cannot grow"))
    seen, plan = changed()
    assert apply(client, seen, replace(plan, requeue_after=2.0)) == 2.0


def test_what_was_refused_before_in_the_same_words_is_not_told_again() -> None:
    """Another process, after a restart: it tries, and there is nothing new to say."""
    client = RecordingClient().refuse(*APPLY, Forbidden("the class cannot grow"))
    seen, plan = changed()
    apply(client, seen, plan)
    assert seen.evc is not None
    said = msgspec.convert(client.calls[2][3]["status"], EphemeralVolumeClaimStatus)
    known = replace(seen, evc=altered(seen.evc, status=said))
    client.calls.clear()
    again = decide(known, at(2))
    assert again.status is None
    apply(client, known, again)
    assert client.asked == [APPLY]
    grown = replace(known, claim=volume().sized("1Ti").value)
    stalled = decide(grown, at(3)).status.condition("Stalled")  # type: ignore[union-attr]
    assert stalled is not None
    assert stalled.status == "False", "the claim follows"


def test_an_update_without_an_answer_is_tried_again() -> None:
    client = RecordingClient().refuse(*APPLY, Unreachable("reset"))
    with pytest.raises(Unreachable):
        apply(client, *changed())


class TestLimit:
    """--max-deletions-per-minute and the breaker."""

    def one_a_minute(self) -> DeletionLimit:
        return DeletionLimit(per_minute=1, max_percent=0, claims=lambda: 1, monotonic=lambda: 5.0)

    def used_up(self) -> DeletionLimit:
        limit = self.one_a_minute()
        assert limit.delay("another") == 0
        limit.deleted("another")
        return limit

    def test_a_deletion_that_is_not_admitted_yet_says_that_it_waits_and_comes_again(self) -> None:
        client = RecordingClient()
        assert apply(client, *over(), limit=self.used_up()) == 60.0
        assert client.asked == [STATUS]
        ready = client.calls[0][3]["status"]["conditions"][0]
        assert (ready["reason"], "deletions are limited" in ready["message"]) == ("Draining", True)

    @pytest.mark.parametrize("made", [fresh, given_claim, retained, changed])
    def test_what_deletes_no_volume_is_not_limited(
        self, made: Callable[[], tuple[Observed, Plan]]
    ) -> None:
        client = RecordingClient()
        apply(client, *made(), limit=self.used_up())
        assert STATUS in client.asked

    def test_what_is_not_confirmed_takes_no_place(self) -> None:
        limit = self.one_a_minute()
        with pytest.raises(NotConfirmed):
            apply(RecordingClient(), *over(live=False), limit=limit)
        with pytest.raises(NotLeading):
            apply(RecordingClient(), *over(), leads=lambda: False, limit=limit)
        assert limit.delay("another") == 0

    def test_a_refused_delete_gives_its_place_back(self) -> None:
        """It deleted nothing; how often it is tried again is the backoff's affair."""
        limit = self.one_a_minute()
        with pytest.raises(Conflict):
            apply(
                RecordingClient().refuse(*DELETE, Conflict("version", status=409)),
                *over(),
                limit=limit,
            )
        assert limit.delay("another") == 0

    def test_an_accepted_delete_takes_a_place(self) -> None:
        limit = self.one_a_minute()
        apply(RecordingClient(), *over(), limit=limit)
        assert limit.delay("another") == 60

    @pytest.mark.parametrize(
        "error", [Unreachable("reset"), ApiError("timeout", status=504)], ids=["reset", "504"]
    )
    def test_a_delete_that_may_have_happened_takes_a_place(self, error: ApiError) -> None:
        limit = self.one_a_minute()
        with pytest.raises(ApiError):
            apply(RecordingClient().refuse(*DELETE, error), *over(), limit=limit)
        assert limit.delay("another") == 60

    def test_a_delete_that_was_never_sent_takes_no_place(self) -> None:
        limit = self.one_a_minute()
        with pytest.raises(Unreachable):
            apply(RecordingClient().refuse(*STATUS, Unreachable("reset")), *over(), limit=limit)
        assert limit.delay("another") == 0


class TestDryRun:
    """Same decisions and events, no writes but status and events."""

    @pytest.mark.parametrize("made", [fresh, over, given_claim, retained, changed])
    def test_only_status_and_events_are_written(
        self, made: Callable[[], tuple[Observed, Plan]]
    ) -> None:
        client = RecordingClient()
        seen, plan = made()
        assert plan.actions
        apply(client, seen, plan, dry_run=True)
        assert set(client.asked) <= {STATUS, EVENT}
        assert client.asked.count(EVENT) == len(plan.notes)

    def test_a_volume_counts_when_its_deletion_is_told_and_not_at_every_look(self) -> None:
        """Else looking at one volume often enough would open the breaker."""
        limit = DeletionLimit(per_minute=1, max_percent=0, claims=lambda: 1, monotonic=lambda: 5.0)
        seen, plan = over()
        apply(RecordingClient(), seen, replace(plan, status=None), dry_run=True, limit=limit)
        assert limit.delay("another") == 0
        limit.give_back("another")
        apply(RecordingClient(), seen, plan, dry_run=True, limit=limit)
        assert limit.delay("another") == 60

    def test_what_the_plan_would_delete_is_limited_and_confirmed_all_the_same(self) -> None:
        with pytest.raises(NotConfirmed):
            apply(RecordingClient(), *over(live=False), dry_run=True)


@pytest.mark.parametrize("made", [fresh, given_claim, changed])
def test_leadership_lost_after_the_status_stops_every_write(
    made: Callable[[], tuple[Observed, Plan]],
) -> None:
    client, answers = RecordingClient(), iter([True, False])
    with pytest.raises(NotLeading):
        apply(client, *made(), leads=lambda: next(answers, False))
    assert client.asked == [STATUS]


def test_a_plan_without_leadership_does_nothing_at_all() -> None:
    client = RecordingClient()
    with pytest.raises(NotLeading):
        apply(client, *fresh(), leads=lambda: False)
    assert client.calls == []


class Deletions:
    """A `ClaimObserver` that writes down how each DELETE went."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str | None, object, object]] = []

    def stale(self, group: str, resource: str) -> None:
        raise AssertionError("nothing is written on a stale cache")

    @contextmanager
    def deleting(
        self, claim: PersistentVolumeClaim, status: EphemeralVolumeClaimStatus, now: datetime
    ) -> Iterator[None]:
        news = (claim.metadata.uid, status.outcome, status.deletion_time, now)
        try:
            yield
        except ApiError as error:
            self.told.append(("refused", str(error), *news[2:]))
            raise
        self.told.append(news)


class TestObservation:
    def test_a_delete_is_told_with_what_was_decided_and_when_it_is_sent(self) -> None:
        told = Deletions()
        apply(RecordingClient(), *over(), observer=told)
        assert told.told == [("claim-1", "Succeeded", at(130), at(130))]

    def test_one_that_is_refused_is_told_as_such(self) -> None:
        told = Deletions()
        client = RecordingClient().refuse(*DELETE, Conflict("version"))
        with pytest.raises(Conflict):
            apply(client, *over(), observer=told)
        assert told.told == [("refused", "version", at(130), at(130))]

    def test_a_dry_run_deletes_nothing_and_tells_of_nothing(self) -> None:
        told = Deletions()
        apply(RecordingClient(), *over(), observer=told, dry_run=True)
        assert told.told == []
