"""One live read of a namespace for all the claims that waited for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from evc.controller.confirm import Confirm
from evc.controller.gather import Caches
from evc.controller.shared import MAX_AGE, SharedReads, Stage, namespace_key, stage
from evc.model.errors import Unreachable
from evc.model.meta import Key
from unit.builders import NAMESPACE, observed, pod, provided, volume

from .fakes import RecordingClient

KEY, OTHER = Key(NAMESPACE, "scratch"), Key(NAMESPACE, "other")
ELSEWHERE = Key("elsewhere", "scratch")
HERE = namespace_key(NAMESPACE)
THERE, LEAVING = Stage("pvc-1"), Stage("pvc-1", deleting=True)
DEPARTING = LEAVING._replace(departing=True)


class Desk:
    """Shared reads with whom they call and what they want read, at a time that stands still."""

    def __init__(self, client: RecordingClient | None = None) -> None:
        self.client = client or RecordingClient()
        self.wanted: list[Key] = []
        self.called: list[Key] = []
        self.now = 0.0
        fake: Any = self.client
        self.reads = SharedReads(fake, self.wanted.append, self.called.append, lambda: self.now)


def test_a_thousand_claims_that_wait_are_served_by_one_read() -> None:
    desk = Desk()
    keys = [Key(NAMESPACE, f"claim-{number}") for number in range(1000)]
    for key in keys:
        desk.reads.ask(key, THERE)
    assert desk.wanted == [HERE]
    desk.reads.read(HERE)
    assert desk.client.asked.count(("list", "pods")) == 1
    assert desk.called == keys
    assert all(desk.reads.take(key) is not None for key in keys)


def test_what_was_read_is_given_to_those_who_asked_and_once() -> None:
    desk = Desk()
    desk.reads.ask(KEY, THERE)
    desk.reads.read(HERE)
    assert desk.reads.take(OTHER) is None
    assert desk.reads.take(KEY) is not None
    assert desk.reads.take(KEY) is None


def test_who_asks_during_a_read_waits_for_the_next() -> None:
    """What it would be given might have been read before it asked."""
    desk = Desk()

    class Slow(RecordingClient):
        def list(self, *args: Any, **named: Any) -> Any:
            if not desk.wanted[1:]:
                desk.reads.ask(OTHER, THERE)
            return super().list(*args, **named)

    desk = Desk(Slow())
    desk.reads.ask(KEY, THERE)
    desk.reads.read(HERE)
    assert desk.reads.take(OTHER) is None
    assert (desk.wanted, desk.called) == ([HERE, HERE], [KEY])
    desk.reads.read(HERE)
    assert desk.reads.take(OTHER) is not None


class During(RecordingClient):
    """A client during whose first LIST something happens."""

    def __init__(self, happens: Callable[[], None]) -> None:
        super().__init__()
        self._happens: Callable[[], None] | None = happens

    def list(self, *args: Any, **named: Any) -> Any:
        happens, self._happens = self._happens, None
        if happens is not None:
            happens()
        return super().list(*args, **named)


def test_who_asks_again_during_its_read_is_given_it() -> None:
    """It had asked before; a second read would tell it no more."""
    desk = Desk(During(lambda: desk.reads.ask(KEY, THERE)))
    desk.reads.ask(KEY, THERE)
    desk.reads.read(HERE)
    assert (desk.wanted, desk.called) == ([HERE], [KEY])
    assert desk.reads.take(KEY) is not None


def test_who_asks_again_at_another_stage_waits_for_the_next() -> None:
    desk = Desk(During(lambda: desk.reads.ask(KEY, LEAVING)))
    desk.reads.ask(KEY, THERE)
    desk.reads.read(HERE)
    assert (desk.wanted, desk.called) == ([HERE, HERE], [])
    assert desk.reads.take(KEY) is None
    desk.reads.read(HERE)
    shared = desk.reads.take(KEY)
    assert shared is not None
    assert shared.stage == LEAVING


@pytest.mark.parametrize("asks_again", [False, True])
def test_who_wanted_it_no_more_for_a_moment_is_not_given_what_was_read_before(
    asks_again: bool,
) -> None:
    """A pod that came and went in that moment may be in it."""

    def changes_its_mind() -> None:
        desk.reads.drop(KEY)
        if asks_again:
            desk.reads.ask(KEY, THERE)

    desk = Desk(During(changes_its_mind))
    desk.reads.ask(KEY, THERE)
    desk.reads.read(HERE)
    assert desk.called == []
    assert desk.reads.take(KEY) is None
    desk.reads.read(HERE)
    assert (desk.reads.take(KEY) is not None) is asks_again


def test_who_wants_it_no_more_is_not_called_after_a_failure() -> None:
    desk = Desk(During(lambda: desk.reads.drop(KEY)).refuse("list", "pods", Unreachable("no")))
    desk.reads.ask(KEY, THERE)
    with pytest.raises(Unreachable):
        desk.reads.read(HERE)
    asked = len(desk.client.asked)
    desk.reads.read(HERE)
    assert (desk.called, len(desk.client.asked)) == ([], asked)


def test_namespaces_are_read_apart() -> None:
    desk = Desk()
    desk.reads.ask(KEY, THERE)
    desk.reads.ask(ELSEWHERE, THERE)
    desk.reads.read(HERE)
    assert desk.reads.take(KEY) is not None
    assert desk.reads.take(ELSEWHERE) is None


@pytest.mark.parametrize(("age", "given"), [(MAX_AGE, True), (MAX_AGE + 0.1, False)])
def test_a_read_is_good_for_two_seconds(age: float, given: bool) -> None:
    desk = Desk()
    desk.reads.ask(KEY, THERE)
    desk.reads.read(HERE)
    desk.now = age
    assert (desk.reads.take(KEY) is not None) is given


def test_a_server_that_needs_long_for_its_answers_keeps_nobody_from_being_decided() -> None:
    """L1 with slow answers: a read is as good as one that the claim made itself."""
    desk = Desk()

    class Slow(RecordingClient):
        def list(self, *args: Any, **named: Any) -> Any:
            desk.now += 30
            return super().list(*args, **named)

    desk = Desk(Slow())
    desk.reads.ask(KEY, THERE)
    desk.reads.read(HERE)
    assert desk.reads.take(KEY) is not None


def test_what_nobody_came_for_is_forgotten() -> None:
    desk = Desk()
    desk.reads.ask(KEY, THERE)
    assert desk.reads.read(HERE) == MAX_AGE
    desk.now = MAX_AGE + 0.1
    assert desk.reads.read(HERE) is None
    assert desk.reads._given == {}


def test_a_read_that_fails_serves_nobody_and_keeps_who_waits() -> None:
    client = RecordingClient().refuse("list", "pods", Unreachable("timeout"))
    desk = Desk(client)
    desk.reads.ask(KEY, THERE)
    with pytest.raises(Unreachable):
        desk.reads.read(HERE)
    assert desk.reads.take(KEY) is None
    client.refusing.clear()
    desk.reads.read(HERE)
    assert desk.reads.take(KEY) is not None


def test_who_has_yet_to_come_keeps_what_was_read_for_him() -> None:
    """Or a queue that is long would keep him asking for ever, while others are served."""
    desk = Desk()
    desk.reads.ask(KEY, THERE)
    desk.reads.read(HERE)
    desk.reads.ask(OTHER, THERE)
    desk.reads.read(HERE)
    assert desk.reads.take(KEY) is not None
    assert desk.reads.take(OTHER) is not None


def test_a_bug_in_a_read_keeps_who_waits() -> None:
    client = RecordingClient().refuse("list", "jobs", RecursionError())
    desk = Desk(client)
    desk.reads.ask(KEY, THERE)
    with pytest.raises(RecursionError):
        desk.reads.read(HERE)
    client.refusing.clear()
    desk.reads.read(HERE)
    assert desk.reads.take(KEY) is not None


def test_the_backoff_of_a_read_that_fails_is_left_alone() -> None:
    desk = Desk(RecordingClient().refuse("list", "pods", Unreachable("timeout")))
    desk.reads.ask(KEY, THERE)
    with pytest.raises(Unreachable):
        desk.reads.read(HERE)
    desk.reads.ask(OTHER, THERE)
    assert desk.wanted == [HERE]


def test_for_a_claim_that_only_pods_can_keep_nothing_else_is_read() -> None:
    desk = Desk()
    desk.reads.ask(KEY, DEPARTING)
    desk.reads.read(HERE)
    assert desk.client.asked == [("list", "pods")]
    desk.reads.ask(KEY, DEPARTING)
    desk.reads.ask(OTHER, LEAVING)
    desk.reads.read(HERE)
    assert desk.client.asked[1:] == [("list", "pods"), ("list", "jobs")]


def test_pods_and_jobs_are_read_at_the_same_time() -> None:
    desk = Desk()
    together: list[int] = []

    def at_once(calls: Any) -> list[Any]:
        together.append(len(calls))
        return [call() for call in calls]

    fake: Any = desk.client
    reads = SharedReads(fake, lambda _: None, lambda _: None, lambda: 0.0, at_once)
    reads.ask(KEY, THERE)
    reads.read(HERE)
    assert together == [2]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda c: c.holding(volume().terminating()), id="it was deleted meanwhile"),
        pytest.param(lambda c: c.objects["persistentvolumeclaims"].clear(), id="it is gone"),
        pytest.param(lambda c: c.holding(volume().meta(uid="b")), id="it is another one"),
    ],
)
def test_a_read_from_another_stage_of_the_claims_life_is_not_used(
    change: Callable[[RecordingClient], Any],
) -> None:
    """A pod may have started after that read and before the deletion: gate 5 must see it."""
    client = RecordingClient().holding(provided(), volume(), pod().worker().succeeded(at=9))
    desk = Desk(client)
    fake: Any = client
    confirm = Confirm(fake, Caches(), desk.reads)
    cached = observed(provided(), volume(), pod().worker().succeeded(at=9))
    assert confirm(KEY, cached) is None
    desk.reads.read(HERE)
    change(client)
    assert confirm(KEY, cached) is None
    desk.reads.read(HERE)
    # Asked anew at the stage that etcd showed, so a lagging cache cannot make it ask for ever.
    assert confirm(KEY, cached) is not None


def test_a_record_is_confirmed_by_a_look_for_its_claim_alone() -> None:
    """What is written to the object itself names the version that the cache has."""
    done = provided().used(at=2).releasing()
    client = RecordingClient().holding(done)
    desk = Desk(client)
    fake: Any = client
    seen = Confirm(fake, Caches(), desk.reads)(KEY, observed(done))
    assert seen is not None
    assert seen.live
    assert client.asked == [("get", "persistentvolumeclaims")]
    assert desk.wanted == []


def test_a_record_whose_claim_is_still_there_is_judged_after_a_read() -> None:
    """The cache had not heard of the claim."""
    done = provided().used(at=2).releasing()
    client = RecordingClient().holding(done, volume().terminating())
    desk = Desk(client)
    fake: Any = client
    confirm = Confirm(fake, Caches(), desk.reads)
    assert confirm(KEY, observed(done)) is None
    assert desk.wanted == [HERE]
    desk.reads.read(HERE)
    seen = confirm(KEY, observed(done))
    assert seen is not None
    assert seen.claim == volume().terminating().value


def test_stages_tell_claims_apart() -> None:
    decided, there, leaving = provided().releasing().value, volume().value, volume().terminating()
    assert stage(decided, None) == Stage()
    assert stage(decided, there) == stage(decided, volume().annotated(hold="true").value)
    assert stage(decided, there).uid != stage(decided, volume().meta(uid="b").value).uid
    assert stage(decided, leaving.value) == Stage(there.metadata.uid, deleting=True, departing=True)
    assert not stage(provided().value, leaving.value).departing, "somebody else deleted it"
    assert stage(provided().value, there) == Stage(there.metadata.uid)
