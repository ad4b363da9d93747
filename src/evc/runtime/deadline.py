"""How long the work of a thread may go on.

A Python thread cannot be killed, and a reconcile that were left behind could still write
after its key was given to another worker.  So a reconcile that takes too long is ended by
the API client: it asks `Deadline.left` before each request and sends none when time is up.
What never asks the API server never times out; it shows as the longest running processor.

Requests that wait for the server, not for each other, may go out `together`: in threads of
their own, which have the time of the thread that waits for them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from typing import Any

from evc.runtime.ports import Clock


class Deadline:
    """One for all threads, each of which has its own time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ends = threading.local()

    @contextmanager
    def within(self, seconds: float | None) -> Iterator[None]:
        """Give this thread so many seconds for what is done inside; None: any time."""
        before: float | None = getattr(self._ends, "at", None)
        self._ends.at = None if seconds is None else self._clock.monotonic() + seconds
        try:
            yield
        finally:
            self._ends.at = before

    def left(self) -> float | None:
        """Return how many seconds this thread has, at most 0 if none; None: any time."""
        at: float | None = getattr(self._ends, "at", None)
        return None if at is None else at - self._clock.monotonic()

    def together(self, calls: Sequence[Callable[[], Any]]) -> list[Any]:
        """Make the calls, at least one, at the same time; return what they do.

        An error is raised once all of them are over, so that no request is left under way.
        """
        time_left = self.left()

        def make(call: Callable[[], Any], future: Future[Any]) -> None:
            try:
                with self.within(time_left):
                    future.set_result(call())
            except Exception as error:
                future.set_exception(error)

        futures: list[Future[Any]] = [Future() for _ in calls]
        first, *others = zip(calls, futures, strict=True)
        for other in others:
            # Daemons: a call that hangs must not keep the process from exiting.
            threading.Thread(target=make, args=other, daemon=True).start()
        make(*first)
        wait(futures)
        return [future.result() for future in futures]
