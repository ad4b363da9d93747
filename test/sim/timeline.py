"""Virtual time: a heap of things to come.  Nothing here waits, and nothing is concurrent.

An actor that waits for an answer calls `Timeline.run_for`: everybody else's events of
that time then happen inside the call, which is how the world moves on under a request.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

T0 = datetime(2026, 1, 1, tzinfo=UTC)


class Timeline:
    """``now`` is seconds since T0; events of one moment keep their order."""

    def __init__(self) -> None:
        self.now = 0.0
        self.steps = 0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = itertools.count()

    def after(self, delay: float, action: Callable[[], None]) -> None:
        """Do ``action`` in so many seconds."""
        heapq.heappush(self._heap, (self.now + delay, next(self._sequence), action))

    def run_for(self, seconds: float) -> None:
        """Let that time pass, with all that happens in it."""
        deadline = self.now + seconds
        while self._heap and self._heap[0][0] <= deadline:
            at, _, action = heapq.heappop(self._heap)
            self.now = max(self.now, at)
            self.steps += 1
            action()
        self.now = max(self.now, deadline)

    def pending(self) -> list[float]:
        """When the things to come will happen."""
        return sorted(round(at, 3) for at, _, _ in self._heap)

    def stamp(self) -> str:
        """The API server's way to write the time: whole seconds."""
        return stamp(self.now)


def stamp(seconds: float) -> str:
    return (T0 + timedelta(seconds=int(seconds))).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds(text: str) -> float:
    """Read a time of the API, as seconds since T0."""
    return (datetime.fromisoformat(text) - T0).total_seconds()


class WallClock:
    """What the operator takes for its clock."""

    def __init__(self, timeline: Timeline, skew: Callable[[], float] = lambda: 0.0) -> None:
        self._timeline = timeline
        self._skew = skew

    def now(self) -> datetime:
        return T0 + timedelta(seconds=self._timeline.now + self._skew())

    def monotonic(self) -> float:
        return self._timeline.now
