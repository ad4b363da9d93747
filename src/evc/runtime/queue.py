"""The work queue: keys to visit, each at most once at a time.

Promises (each has a test of its name in ``test/unit/runtime/test_queue.py``):

1.  *Fair*: keys of one priority come out in the order in which they came in.
2.  *Stingy*: a key added many times before it is taken is handed out once.
3.  *One worker per key*: a key that is being worked on is not handed out.
4.  *No change is missed*: a key added while it is worked on comes again after that.
5.  *Delays keep the earliest time*, until a visit succeeds: that says anew when the next is
    due, and a key that is never due again takes no memory, however late it once was to be.
6.  *Live events overtake the start-up*: NORMAL keys come before LOW ones, and a LOW key
    added again as NORMAL moves up.
7.  *Shutdown is prompt*: nothing more is taken in or handed out, waiting workers wake.
8.  *One key wakes one worker*: the others sleep on, also when a delay ends.

`WorkQueue` is client-go's: three collections, and time is an argument.  `RateLimitingQueue`
gives it a lock, a clock and a retry policy.

Unlike client-go's, a queue that shuts down drops what nobody has begun: controllers are
level-triggered, so the next process finds the same keys by listing, and an end that
depends on a backlog would be killed half-way.
"""

from __future__ import annotations

import enum
import heapq
import itertools
import threading
from collections import OrderedDict
from typing import NamedTuple

from evc.model.meta import Key
from evc.runtime.backoff import Policy
from evc.runtime.ports import Clock, Observer

# A waiting worker looks at the clock this often at least, however far the next deadline
# is: waiting has an upper limit in the C library, and machines get suspended.
_LONGEST_WAIT = 3600.0
_LEFT_OVER = 64
"""How many entries of a heap may be left over before it is worth making anew."""


class Priority(enum.IntEnum):
    """Which keys come first; controller-runtime's values, as its metric label shows them."""

    LOW = -100
    """What was there when the process started, and what has only to be seen out."""
    NORMAL = 0
    """What happened since."""
    HIGH = 100
    """What somebody waits for, or would have to be begun again if it waited long."""


class Taken(NamedTuple):
    """A key that is now being worked on, and how many seconds it had waited."""

    key: Key
    waited: float


class _Wanted(NamedTuple):
    priority: Priority
    since: float


class WorkQueue:
    """The collections and their rules; not thread-safe, ``now`` is monotonic seconds."""

    def __init__(self) -> None:
        """Start empty."""
        # Keys that must be visited, whether or not somebody is visiting them now.
        self._dirty: dict[Key, _Wanted] = {}
        # Dirty keys that nobody is working on, in order: what `get` hands out.
        self._queue: dict[Priority, OrderedDict[Key, None]] = {
            priority: OrderedDict() for priority in sorted(Priority, reverse=True)
        }
        # Keys being worked on, and since when.  One of them may be dirty again; `done`
        # then moves it to the queue.
        self._processing: dict[Key, float] = {}
        # Keys to be added at a time; `_delays` holds the truth, entries of the heap
        # that differ from it are left over and skipped.
        self._delays: dict[Key, tuple[float, int]] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._sequence = itertools.count()
        self.closed = False

    def add(self, key: Key, now: float, priority: Priority = Priority.NORMAL) -> bool:
        """Want ``key`` visited; return whether it was not wanted yet."""
        wanted = self._dirty.get(key)
        if self.closed or (wanted is not None and wanted.priority >= priority):
            return False
        self._dirty[key] = _Wanted(priority, wanted.since if wanted else now)
        if key not in self._processing:
            if wanted is not None:
                del self._queue[wanted.priority][key]
            self._queue[priority][key] = None
        return wanted is None

    def add_after(self, key: Key, delay: float, now: float) -> None:
        """Want ``key`` visited in ``delay`` seconds, or earlier if that is pending already.

        ValueError: the delay is not a number.
        """
        at = now + delay
        if at != at:
            raise ValueError("the delay is not a number")
        pending = self._delays.get(key)
        if self.closed or (pending is not None and pending[0] <= at):
            return
        self._delays[key] = at, next(self._sequence)
        heapq.heappush(self._heap, (*self._delays[key], key))

    def forget_delay(self, key: Key) -> None:
        """Want ``key`` visited at no later time any more."""
        self._delays.pop(key, None)
        if len(self._heap) > 2 * len(self._delays) + _LEFT_OVER:
            self._heap = [(*when, key) for key, when in self._delays.items()]
            heapq.heapify(self._heap)

    def promote(self, now: float) -> int:
        """Add the keys whose time has come; return how many were not wanted yet."""
        entered = 0
        while self._heap and self._heap[0][0] <= now:
            *when, key = heapq.heappop(self._heap)
            if self._delays.get(key) == tuple(when):
                del self._delays[key]
                entered += self.add(key, now)
        return entered

    def next_time(self) -> float | None:
        """Return when `promote` will next have something to do; None: not before an add."""
        while self._heap and self._delays.get(self._heap[0][2]) != self._heap[0][:2]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def get(self, now: float) -> Taken | None:
        """Hand out the next key, None if there is none; pair each with `done`."""
        for keys in self._queue.values():
            if keys:
                key, _ = keys.popitem(last=False)
                self._processing[key] = now
                return Taken(key, now - self._dirty.pop(key).since)
        return None

    def done(self, key: Key, now: float) -> float:
        """Note that the work on ``key`` is over and return the seconds it took.

        KeyError: nobody was working on it.
        """
        started = self._processing.pop(key)
        wanted = self._dirty.get(key)
        if wanted is not None:
            self._queue[wanted.priority][key] = None
        return now - started

    def close(self) -> None:
        """Drop what waits and take nothing more; work that has begun goes on."""
        self.closed = True
        self._dirty.clear()
        self._delays.clear()
        self._heap.clear()
        for keys in self._queue.values():
            keys.clear()

    @property
    def ready(self) -> bool:
        """Whether a key could be handed out now."""
        return any(self._queue.values())

    def depth(self) -> dict[Priority, int]:
        """Return how many keys could be handed out now, by priority."""
        return {priority: len(keys) for priority, keys in self._queue.items()}

    def unfinished_seconds(self, now: float) -> float:
        """Return the sum of the times spent on what is being worked on."""
        return sum((now - started for started in self._processing.values()), 0.0)

    def longest_running_seconds(self, now: float) -> float:
        """Return how long the oldest work in progress has taken; 0 when idle."""
        return max((now - started for started in self._processing.values()), default=0.0)


class RateLimitingQueue:
    """A `WorkQueue` for many threads; ``name`` is its name in metrics.

    Observers are called after the lock is released, so a slow or locking one cannot
    stop the other workers.
    """

    def __init__(self, name: str, policy: Policy, *, clock: Clock, observer: Observer) -> None:
        """``policy`` becomes this queue's own: it is called under the queue's lock."""
        self.name = name
        self._policy = policy
        self._clock = clock
        self._observer = observer
        self._core = WorkQueue()
        self._changed = threading.Condition()
        # Whether one of the workers that wait will wake by itself when the next delay ends.
        # At most one does; whenever it stops waiting, another takes its place.
        self._watched = False

    def add(self, key: Key, priority: Priority = Priority.NORMAL) -> None:
        """Want ``key`` visited as soon as a worker is free."""
        with self._changed:
            entered = self._core.add(key, self._clock.monotonic(), priority)
            if entered:
                self._changed.notify()
        self._report_entered(entered)

    def add_after(self, key: Key, delay: float) -> None:
        """Want ``key`` visited in ``delay`` seconds, or earlier if that is pending already."""
        with self._changed:
            self._add_after(key, delay)

    def add_rate_limited(self, key: Key, at_least: float = 0.0) -> float:
        """Count a failure of ``key`` and want it again later; return in how many seconds.

        That is the policy's delay or ``at_least``, whichever is longer.
        """
        with self._changed:
            delay = max(at_least, self._policy.when(key, self._clock.monotonic()))
            self._add_after(key, delay)
        self._observer.retried(self.name)
        return delay

    def forget(self, key: Key) -> None:
        """Note that ``key`` succeeded: its next failure is its first, and no visit is due."""
        with self._changed:
            self._policy.forget(key)
            self._core.forget_delay(key)

    def get(self) -> Key | None:
        """Wait for a key and hand it out; None means that the queue was shut down."""
        entered = 0
        with self._changed:
            while True:
                promoted, taken = self._take()
                entered += promoted
                if taken is not None or self._core.closed:
                    break
                self._wait()
            if not self._watched:
                self._changed.notify()
        return self._report_taken(entered, taken)

    def poll(self) -> Key | None:
        """Hand out a key if there is one now; None does not mean shut down."""
        with self._changed:
            entered, taken = self._take()
        return self._report_taken(entered, taken)

    def next_time(self) -> float | None:
        """Return when the earliest delay ends (monotonic), None if none is pending."""
        with self._changed:
            return self._core.next_time()

    def done(self, key: Key) -> None:
        """Note that the work on ``key`` is over; every key of `get` needs exactly one."""
        with self._changed:
            seconds = self._core.done(key, self._clock.monotonic())
            if self._core.ready:
                self._changed.notify()
        self._observer.worked(self.name, seconds)

    def shut_down(self) -> None:
        """Take in and hand out nothing more; may be called twice."""
        with self._changed:
            self._core.close()
            self._changed.notify_all()

    def depth(self) -> dict[Priority, int]:
        """Return how many keys wait, by priority (``workqueue_depth``)."""
        with self._changed:
            return self._core.depth()

    def unfinished_seconds(self) -> float:
        """Return the sum of the running times (``workqueue_unfinished_work_seconds``)."""
        with self._changed:
            return self._core.unfinished_seconds(self._clock.monotonic())

    def longest_running_seconds(self) -> float:
        """Return the longest (``workqueue_longest_running_processor_seconds``)."""
        with self._changed:
            return self._core.longest_running_seconds(self._clock.monotonic())

    def _add_after(self, key: Key, delay: float) -> None:
        before = self._core.next_time()
        self._core.add_after(key, delay, self._clock.monotonic())
        if self._core.next_time() != before:
            # The one that watches the clock among them must know, or it sleeps too long.
            self._changed.notify_all()

    def _take(self) -> tuple[int, Taken | None]:
        now = self._clock.monotonic()
        entered = self._core.promote(now)
        taken = self._core.get(now)
        self._changed.notify(entered - (taken is not None))
        return entered, taken

    def _wait(self) -> None:
        if self._watched:
            self._changed.wait()
            return
        self._watched = True
        self._changed.wait(self._patience())
        self._watched = False

    def _patience(self) -> float:
        at = self._core.next_time()
        if at is None:
            return _LONGEST_WAIT
        return min(_LONGEST_WAIT, max(0.0, at - self._clock.monotonic()))

    def _report_entered(self, count: int) -> None:
        for _ in range(count):
            self._observer.enqueued(self.name)

    def _report_taken(self, entered: int, taken: Taken | None) -> Key | None:
        self._report_entered(entered)
        if taken is None:
            return None
        self._observer.dequeued(self.name, taken.waited)
        return taken.key
