"""What a reconcile leads to, and that nothing stops a worker."""

from __future__ import annotations

import threading

import pytest

from evc.model.errors import Conflict, DeadlineExceeded, Forbidden, TooManyRequests
from evc.model.meta import Key
from evc.runtime.backoff import Exponential
from evc.runtime.controller import Controller
from evc.runtime.deadline import Deadline
from evc.runtime.ports import UNFINISHED, Reconciler
from evc.runtime.queue import RateLimitingQueue

from .fakes import FakeClock, RecordingObserver, key

A = key("a")
CONFLICT = Conflict("changed", status=409)
BUSY = TooManyRequests("wait", status=429, retry_after=9.0)


class Room:
    """A controller over a real queue; ``visit`` does in this thread what a worker does."""

    def __init__(
        self, reconcile: Reconciler, workers: int = 1, timeout: float | None = None
    ) -> None:
        self.clock = FakeClock(0.0)
        self.observer = RecordingObserver()
        policy = Exponential(base=1.0, cap=60.0)
        self.queue = RateLimitingQueue("evc", policy, clock=self.clock, observer=self.observer)
        self.deadline = Deadline(self.clock)
        self.controller = Controller(
            "evc",
            reconcile,
            self.queue,
            workers=workers,
            clock=self.clock,
            observer=self.observer,
            deadline=self.deadline,
            timeout=timeout,
        )


def outcome(value: float | Exception | None) -> Reconciler:
    def reconcile(item: Key) -> float | None:
        if isinstance(value, Exception):
            raise value
        return value

    return reconcile


@pytest.mark.parametrize(
    ("value", "result", "again_at", "forgets"),
    [
        (None, "success", None, True),
        (30.0, "requeue_after", 30.0, True),
        (0.0, "requeue", 4.0, False),
        (-5.0, "requeue", 4.0, False),
        (CONFLICT, "error", 4.0, False),
        (BUSY, "error", 9.0, False),
        (RecursionError("deep"), "error", 4.0, False),
        (float("nan"), "error", 4.0, True),
    ],
    ids=repr,
)
def test_what_a_reconcile_leads_to(
    value: float | Exception | None, result: str, again_at: float | None, forgets: bool
) -> None:
    """The third attempt: two failures of the key are remembered, the next waits 4 s."""
    room = Room(outcome(value))
    room.queue._policy.when(A, 0.0)
    room.queue._policy.when(A, 0.0)
    room.controller.visit(A)
    assert room.observer.heard("reconciled") == [("evc", A, result, 0.0)]
    if value == value:
        assert room.queue.next_time() == again_at
        assert room.queue._policy.when(A, 0.0) == (1.0 if forgets else 8.0)


def test_a_visit_that_waits_for_something_is_neither_success_nor_failure() -> None:
    """Else what fails after every wait would be tried again at once, for ever."""
    room = Room(outcome(UNFINISHED))
    room.queue._policy.when(A, 0.0)
    room.queue._policy.when(A, 0.0)
    room.controller.visit(A)
    assert room.observer.heard("reconciled") == [("evc", A, "requeue", 0.0)]
    assert room.queue.next_time() is None
    assert room.queue._policy.when(A, 0.0) == 4.0


def test_a_failure_is_reported_with_its_error_and_delay() -> None:
    room = Room(outcome(BUSY))
    room.controller.visit(A)
    assert room.observer.heard("reconcile_failed") == [("evc", A, BUSY, 9.0)]


def test_the_observers_context_is_entered_around_the_reconcile_and_time_is_measured() -> None:
    def reconcile(item: Key) -> None:
        assert room.observer.calls == [("reconciling", "evc", A)]
        room.clock.advance(3.0)

    room = Room(reconcile)
    room.controller.visit(A)
    assert room.observer.heard("reconciled") == [("evc", A, "success", 3.0)]


@pytest.mark.parametrize("notices", [True, False], ids=["asks the API", "asks nobody"])
def test_a_reconcile_that_takes_too_long_is_counted_and_its_requests_end(notices: bool) -> None:
    def reconcile(item: Key) -> None:
        assert room.deadline.left() == 10.0
        room.clock.advance(11.0)
        assert room.deadline.left() == -1.0
        if notices:
            raise DeadlineExceeded("no time left")

    room = Room(reconcile, timeout=10.0)
    room.controller.visit(A)
    result = "error" if notices else "success"
    assert room.observer.heard("reconcile_timed_out") == [("evc", A)]
    assert room.observer.heard("reconciled") == [("evc", A, result, 11.0)]
    assert room.deadline.left() is None, "the next key has its own time"


def test_a_reconcile_in_time_and_one_without_limit_are_not_timed_out() -> None:
    def reconcile(item: Key) -> None:
        room.clock.advance(9.9)

    for timeout in (10.0, None):
        room = Room(reconcile, timeout=timeout)
        room.controller.visit(A)
        assert room.observer.heard("reconcile_timed_out") == []


def test_a_right_taken_away_mid_run_costs_a_request_per_minute_and_work_recovers() -> None:
    """403 for ten hours: no hot loop; and granted again, the key is done within the cap."""
    granted_at = 36_000.0
    attempts: list[float] = []

    def reconcile(item: Key) -> None:
        attempts.append(room.clock.time)
        if room.clock.time < granted_at:
            raise Forbidden("RBAC", status=403)

    room = Room(reconcile)
    room.queue.add(A)
    while (taken := room.queue.poll()) is not None:
        room.controller.visit(taken)
        room.queue.done(taken)
        if (at := room.queue.next_time()) is not None:
            room.clock.time = at
    assert len(attempts) <= 10 * 60 + 10
    assert granted_at <= attempts[-1] <= granted_at + 60.0


def test_a_worker_survives_any_exception_and_goes_on_with_other_keys() -> None:
    done = threading.Semaphore(0)

    def reconcile(item: Key) -> None:
        done.release()
        if item.name != "good":
            raise {"deep": RecursionError, "full": MemoryError, "odd": KeyError}[item.name]

    room = Room(reconcile)
    for name in ("deep", "full", "odd", "good"):
        room.queue.add(key(name))
    room.controller.start()
    for _ in range(4):
        assert done.acquire(timeout=10.0)
    assert room.controller.stop(10.0)
    results = [result for _, _, result, _ in room.observer.heard("reconciled")]
    assert results == ["error", "error", "error", "success"]
    assert len(room.observer.heard("worked")) == 4, "done was called for each"


def test_stop_lets_what_has_begun_end_and_begins_nothing() -> None:
    begun, go_on = threading.Event(), threading.Event()
    visited: list[Key] = []

    def reconcile(item: Key) -> None:
        visited.append(item)
        begun.set()
        assert go_on.wait(10.0)

    room = Room(reconcile)
    room.queue.add(A)
    room.queue.add(key("b"))
    room.controller.start()
    assert begun.wait(10.0)
    assert not room.controller.stop(0.0), "still working"
    go_on.set()
    assert room.controller.stop(10.0)
    assert visited == [A]


def test_workers_run_at_the_same_time_but_never_two_on_one_key() -> None:
    together = threading.Barrier(3)
    working: list[Key] = []
    clashes: list[Key] = []

    def reconcile(item: Key) -> None:
        clashes.extend(other for other in working if other == item)
        working.append(item)
        room.queue.add(item)
        together.wait(10.0)
        working.remove(item)

    room = Room(reconcile, workers=3)
    for name in "abc":
        room.queue.add(key(name))
    room.controller.start()
    room.controller.stop(0.0)
    together.abort()
    assert room.controller.stop(10.0)
    assert clashes == []


def test_a_start_after_the_stop_does_nothing() -> None:
    room = Room(outcome(None))
    room.queue.add(A)
    assert room.controller.stop(10.0)
    room.controller.start()
    assert room.controller.stop(10.0)
    assert room.observer.heard("reconciled") == []
