"""The promises at the top of `evc.runtime.queue`, and a comparison with a simple model."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from evc.model.meta import Key
from evc.runtime.backoff import Exponential
from evc.runtime.queue import Priority, RateLimitingQueue, WorkQueue

from .fakes import FakeClock, RecordingObserver, key

A, B, C = key("a"), key("b"), key("c")
LOW, NORMAL, HIGH = Priority.LOW, Priority.NORMAL, Priority.HIGH


def drain(queue: WorkQueue, now: float = 0.0) -> Iterator[Key]:
    """Take and finish until nothing is left."""
    queue.promote(now)
    while (taken := queue.get(now)) is not None:
        queue.done(taken.key, now)
        yield taken.key


def test_fair_keys_come_out_in_the_order_they_came_in() -> None:
    queue = WorkQueue()
    for item in (B, A, C):
        assert queue.add(item, 0.0)
    assert list(drain(queue)) == [B, A, C]


def test_stingy_a_key_added_many_times_is_handed_out_once() -> None:
    queue = WorkQueue()
    assert [queue.add(A, 0.0) for _ in range(3)] == [True, False, False]
    assert list(drain(queue)) == [A]


def test_one_worker_per_key_and_no_change_is_missed() -> None:
    queue = WorkQueue()
    queue.add(A, 0.0)
    assert queue.get(1.0) == (A, 1.0)
    assert queue.add(A, 2.0), "it changed while being worked on"
    assert not queue.add(A, 3.0)
    assert queue.get(4.0) is None, "not while somebody has it"
    assert queue.depth() == {HIGH: 0, NORMAL: 0, LOW: 0}
    assert queue.done(A, 5.0) == 4.0
    assert queue.get(6.0) == (A, 4.0), "waiting since it was added, not since it was done"
    queue.done(A, 7.0)
    assert queue.get(8.0) is None


def test_done_without_get_is_a_bug() -> None:
    with pytest.raises(KeyError):
        WorkQueue().done(A, 0.0)


@pytest.mark.parametrize("delays", [(5.0, 9.0), (9.0, 5.0), (9.0, 5.0, 7.0, 5.0)])
def test_delays_keep_the_earliest_time(delays: tuple[float, ...]) -> None:
    queue = WorkQueue()
    for delay in delays:
        queue.add_after(A, delay, 100.0)
    assert queue.next_time() == 105.0
    assert list(drain(queue, 104.9)) == []
    assert list(drain(queue, 105.0)) == [A]
    assert list(drain(queue, 200.0)) == [], "the later times are gone, not pending"
    assert queue.next_time() is None


def test_a_success_drops_the_delay_and_leaves_nothing_behind() -> None:
    """A claim's last visit comes days before the deadline that its first one asked for."""
    queue = Setup().queue
    for number in range(10_000):
        queue.add_after(key(f"claim-{number}"), 7 * 86400.0)
        queue.forget(key(f"claim-{number}"))
    assert queue.next_time() is None
    assert len(queue._core._heap) < 100
    assert queue._core._delays == {}


def test_a_delay_that_has_passed_is_due_at_once_and_nan_is_refused() -> None:
    queue = WorkQueue()
    queue.add_after(A, -1.0, 100.0)
    assert list(drain(queue, 100.0)) == [A]
    with pytest.raises(ValueError, match="not a number"):
        queue.add_after(A, float("nan"), 100.0)


def test_a_delayed_key_keeps_its_time_when_the_key_is_added_meanwhile() -> None:
    queue = WorkQueue()
    queue.add_after(A, 5.0, 0.0)
    queue.add(A, 1.0)
    assert list(drain(queue, 1.0)) == [A]
    assert list(drain(queue, 5.0)) == [A]


def test_live_events_overtake_the_start_up() -> None:
    queue = WorkQueue()
    queue.add(A, 0.0, LOW)
    queue.add(B, 0.0, LOW)
    queue.add(C, 1.0)
    assert not queue.add(B, 2.0), "wanted already, but it moves up"
    assert queue.depth() == {HIGH: 0, NORMAL: 2, LOW: 1}
    assert not queue.add(C, 3.0, LOW), "and nothing moves down"
    assert list(drain(queue)) == [C, B, A]


def test_a_key_that_moved_up_has_waited_since_it_was_first_added() -> None:
    queue = WorkQueue()
    queue.add(A, 1.0, LOW)
    queue.add(A, 5.0)
    assert queue.get(7.0) == (A, 6.0)


def test_a_key_added_low_and_then_normal_while_worked_on_comes_back_normal() -> None:
    queue = WorkQueue()
    queue.add(A, 0.0)
    queue.get(0.0)
    queue.add(A, 0.0, LOW)
    queue.add(A, 0.0)
    queue.add(B, 0.0, LOW)
    queue.done(A, 0.0)
    assert queue.depth() == {HIGH: 0, NORMAL: 1, LOW: 1}


def test_shutdown_is_prompt() -> None:
    queue = WorkQueue()
    queue.add(A, 0.0)
    queue.add(B, 0.0, LOW)
    queue.add_after(C, 1.0, 0.0)
    queue.get(0.0)
    queue.add(A, 0.0)
    queue.close()
    assert not queue.add(C, 1.0)
    queue.add_after(C, 0.0, 1.0)
    assert queue.next_time() is None
    assert queue.done(A, 3.0) == 3.0, "what was begun may end"
    assert queue.get(9.0) is None


def test_running_times_are_summed_and_the_longest_is_known() -> None:
    queue = WorkQueue()
    assert (queue.unfinished_seconds(0.0), queue.longest_running_seconds(0.0)) == (0.0, 0.0)
    for start, item in ((0.0, A), (3.0, B)):
        queue.add(item, start)
        queue.get(start)
    assert queue.unfinished_seconds(10.0) == 17.0
    assert queue.longest_running_seconds(10.0) == 10.0


KEYS = st.sampled_from([key(name) for name in "abcd"])
DELAYS = st.sampled_from([-1.0, 0.0, 0.5, 1.0, 2.0, 5.0])


class QueueMachine(RuleBasedStateMachine):
    """The queue against a model that scans one list of (key, priority) in order of arrival."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = WorkQueue()
        self.now = 0.0
        self.waiting: list[tuple[Key, Priority]] = []
        self.again: dict[Key, Priority] = {}
        self.working: set[Key] = set()
        self.delays: dict[Key, tuple[float, int]] = {}
        self.adds = 0

    def model_add(self, item: Key, priority: Priority) -> bool:
        if item in self.working:
            new = item not in self.again
            self.again[item] = max(priority, self.again.get(item, LOW))
            return new
        for waiting in self.waiting:
            if waiting[0] == item:
                if waiting[1] < priority:
                    self.waiting.remove(waiting)
                    self.waiting.append((item, priority))
                return False
        self.waiting.append((item, priority))
        return True

    @rule(item=KEYS, priority=st.sampled_from(Priority))
    def add(self, item: Key, priority: Priority) -> None:
        assert self.queue.add(item, self.now, priority) == self.model_add(item, priority)

    @rule(item=KEYS, delay=DELAYS)
    def add_after(self, item: Key, delay: float) -> None:
        self.queue.add_after(item, delay, self.now)
        self.adds += 1
        at = self.now + delay
        if item not in self.delays or at < self.delays[item][0]:
            self.delays[item] = (at, self.adds)

    @rule(item=KEYS)
    def forget_delay(self, item: Key) -> None:
        self.queue.forget_delay(item)
        self.delays.pop(item, None)

    @rule(seconds=st.sampled_from([0.25, 1.0, 3.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        entered = self.queue.promote(self.now)
        due = [(when, item) for item, when in self.delays.items() if when[0] <= self.now]
        expected = 0
        for _, item in sorted(due):
            del self.delays[item]
            expected += self.model_add(item, NORMAL)
        assert entered == expected

    @rule()
    def get(self) -> None:
        taken = self.queue.get(self.now)
        if not self.waiting:
            assert taken is None
            return
        best = max(priority for _, priority in self.waiting)
        expected = next(entry for entry in self.waiting if entry[1] == best)
        assert taken is not None
        assert taken.key == expected[0]
        assert taken.key not in self.working, "one worker per key"
        self.waiting.remove(expected)
        self.working.add(taken.key)

    @precondition(lambda self: self.working)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        item = data.draw(st.sampled_from(sorted(self.working)))
        self.queue.done(item, self.now)
        self.working.remove(item)
        if item in self.again:
            self.waiting.append((item, self.again.pop(item)))

    @invariant()
    def counts_agree(self) -> None:
        depth = {p: sum(entry[1] == p for entry in self.waiting) for p in Priority}
        assert self.queue.depth() == depth
        times = [when[0] for when in self.delays.values()]
        assert self.queue.next_time() == (min(times) if times else None)


TestQueueAgainstModel = QueueMachine.TestCase


class Setup:
    """A queue for threads, with its clock and what its observer heard."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.observer = RecordingObserver()
        policy = Exponential(base=1.0, cap=60.0)
        self.queue = RateLimitingQueue("evc", policy, clock=self.clock, observer=self.observer)


def test_failures_back_off_and_success_forgets_them() -> None:
    setup = Setup()
    queue = setup.queue
    assert [queue.add_rate_limited(A) for _ in range(3)] == [1.0, 2.0, 4.0]
    assert queue.add_rate_limited(B, at_least=30.0) == 30.0
    queue.forget(A)
    assert queue.add_rate_limited(A) == 1.0
    assert queue.next_time() == 1001.0, "the first, earliest one still counts"
    assert setup.observer.heard("retried") == [("evc",)] * 5
    assert setup.observer.heard("enqueued") == [], "not before they are due"


def test_a_delayed_key_is_polled_when_due_and_counted_then() -> None:
    setup = Setup()
    setup.queue.add_after(A, 5.0)
    assert setup.queue.poll() is None
    setup.clock.advance(7.0)
    assert setup.queue.poll() == A
    assert setup.observer.heard("enqueued") == [("evc",)]
    setup.clock.advance(2.0)
    assert setup.queue.unfinished_seconds() == setup.queue.longest_running_seconds() == 2.0
    setup.queue.done(A)
    assert setup.observer.heard("worked") == [("evc", 2.0)]


def test_additions_are_counted_after_deduplication() -> None:
    setup = Setup()
    for _ in range(3):
        setup.queue.add(A, LOW)
    setup.clock.advance(4.0)
    assert setup.queue.depth() == {HIGH: 0, NORMAL: 0, LOW: 1}
    assert setup.queue.get() == A
    assert setup.observer.calls == [("enqueued", "evc"), ("dequeued", "evc", 4.0)]


def test_waiting_workers_wake_for_adds_and_for_the_shutdown() -> None:
    setup = Setup()
    got: list[Key | None] = []
    worked = threading.Semaphore(0)

    def work() -> None:
        while (item := setup.queue.get()) is not None:
            got.append(item)
            setup.queue.done(item)
            worked.release()
        got.append(None)

    workers = [threading.Thread(target=work, daemon=True) for _ in range(4)]
    for worker in workers:
        worker.start()
    for item in (A, B, C):
        setup.queue.add(item)
    for _ in (A, B, C):
        assert worked.acquire(timeout=10.0)
    setup.queue.shut_down()
    setup.queue.shut_down()
    for worker in workers:
        worker.join(10.0)
    assert sorted(got[:3], key=str) == [A, B, C]
    assert got[3:] == [None] * 4


class Waits:
    """Workers that wait for one key each, and with what patience: 0.0 is for ever."""

    def __init__(self, queue: RateLimitingQueue, workers: int) -> None:
        self.patience: list[float] = []
        self.got: list[Key | None] = []
        self._waiting = threading.Semaphore(0)
        self._ended = threading.Semaphore(0)
        self._queue = queue
        plain = queue._changed.wait

        def spied(timeout: float | None = None) -> bool:
            self.patience.append(timeout or 0.0)
            self._waiting.release()
            return plain(timeout)

        queue._changed.wait = spied  # type: ignore[method-assign]
        for _ in range(workers):
            threading.Thread(target=self._work, daemon=True).start()
        self.heard(workers)

    def _work(self) -> None:
        self.got.append(self._queue.get())
        self._ended.release()

    def heard(self, count: int) -> None:
        """Come back when so many more waits have begun."""
        for _ in range(count):
            assert self._waiting.acquire(timeout=10.0)

    def ended(self, count: int) -> None:
        """Come back when so many more workers have got something."""
        for _ in range(count):
            assert self._ended.acquire(timeout=10.0)


def test_one_worker_watches_the_clock_and_learns_of_an_earlier_deadline() -> None:
    queue = Setup().queue
    queue.add_after(A, 90.0)
    workers = Waits(queue, 3)
    assert sorted(workers.patience) == [0.0, 0.0, 90.0]
    queue.add_after(B, 30.0)
    workers.heard(3)
    queue.add_after(C, 60.0)
    queue.shut_down()
    workers.ended(3)
    assert sorted(workers.patience[3:]) == [0.0, 0.0, 30.0], "C is later: nobody need know"


def test_one_key_wakes_one_worker_and_another_watches_the_clock() -> None:
    """What a worker takes while it watches must not leave the others asleep for ever."""
    queue = Setup().queue
    queue.add_after(A, 30.0)
    workers = Waits(queue, 3)
    queue.add(B)
    workers.ended(1)
    workers.heard(1)
    queue.add(C)
    workers.ended(1)
    queue.shut_down()
    workers.ended(1)
    assert workers.got == [B, C, None]
    assert workers.patience == [30.0, 0.0, 0.0, 30.0], "nobody else woke"
