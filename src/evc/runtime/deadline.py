"""How long the work of a thread may go on.

A Python thread cannot be killed, and a reconcile that were left behind could still write
after its key was given to another worker.  So a reconcile that takes too long is ended by
the API client: it asks `Deadline.left` before each request and sends none when time is up.
What never asks the API server never times out; it shows as the longest running processor.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from evc.runtime.ports import Clock


class Deadline:
    """One for all threads, each of which has its own time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ends = threading.local()

    @contextmanager
    def within(self, seconds: float | None) -> Iterator[None]:
        """Give this thread so many seconds for what is done inside; None: any time."""
        self._ends.at = None if seconds is None else self._clock.monotonic() + seconds
        try:
            yield
        finally:
            self._ends.at = None

    def left(self) -> float | None:
        """Return how many seconds this thread has, at most 0 if none; None: any time."""
        at: float | None = getattr(self._ends, "at", None)
        return None if at is None else at - self._clock.monotonic()
