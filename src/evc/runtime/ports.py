"""What the runtime needs from the outside, as narrow protocols.

The runtime knows nothing of HTTP, Prometheus or EphemeralVolumeClaims: the
composition root hands it objects of these shapes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol

from evc.model.core import LeaseSpec
from evc.model.meta import Key, Page, T, WatchEvent


class ListerWatcher(Protocol[T]):
    """Reads one resource type in one namespace or in all.

    Both methods, and the stream itself, raise `evc.model.errors.ApiError`: an ERROR
    line of a watch is raised as the error it carries, and a stream on which nothing
    came for too long (no bookmark either) as Unreachable.  A watch ends silently when
    the server closes it, which is normal (every few minutes).
    """

    def list(self, *, limit: int, continue_token: str = "") -> Page[T]:
        """Return one page of at most ``limit`` objects, consistent at one revision."""

    def watch(
        self, *, resource_version: str, send_initial_events: bool
    ) -> AbstractContextManager[Iterator[WatchEvent[T]]]:
        """Stream changes after ``resource_version``, with bookmarks.

        Entering the context sends the request and raises if it is refused; leaving
        it closes the connection.  With ``send_initial_events`` the stream starts with
        every object as ADDED and a bookmark that says the list is complete (KEP-3157);
        ``resource_version`` is then empty, which asks for the most recent state.
        """

    def interrupt(self) -> None:
        """End the watch that is open, and any later one, at once; from another thread.

        For the end of the process: nothing is read afterwards.
        """


class LeaseLock(Protocol):
    """Where leader election keeps its record, with optimistic locking.

    Reads must be live, never from a cache.  Every call must end, well or badly, within
    half the renew deadline: a call that hangs longer cannot be told from a lost lease.
    ``identity`` must be new for each process, or a restart takes its predecessor's lease.
    """

    @property
    def identity(self) -> str:
        """Return who we are in the record."""

    def read(self) -> tuple[LeaseSpec, str] | None:
        """Return the record and its resourceVersion; None if there is no Lease yet."""

    def create(self, record: LeaseSpec) -> str:
        """Write the first record and return its resourceVersion."""

    def update(self, record: LeaseSpec, resource_version: str) -> str:
        """Replace the record of exactly that version; raise Conflict if it changed."""


class Clock(Protocol):
    """The two clocks: wall time to compare with the API's timestamps, and one for delays."""

    def now(self) -> datetime:
        """Return the wall clock, UTC."""

    def monotonic(self) -> float:
        """Return seconds that never jump; meaningless but for differences.

        It should go on counting while the machine is suspended (CLOCK_BOOTTIME), or a
        leader that was suspended with its machine believes its lease to be fresh.
        """


UNFINISHED = math.inf
"""Returned by a `Reconciler` that has asked for something and goes on when it is there."""


class Reconciler(Protocol):
    """Makes the world match one object's spec.

    Called by one worker at a time per key.  Returns the seconds after which it
    wants to be called again even if nothing changes, or None.  Raising means:
    call again with backoff.  `UNFINISHED`: what it waits for will add the key again, and
    until then this was no success: the backoff of earlier failures goes on growing.
    """

    def __call__(self, key: Key, /) -> float | None:
        """Visit one object, which may be gone."""


class Observer(Protocol):
    """Hears what the runtime does; metrics and logs are implementations of it.

    Called from many threads, outside every lock of the runtime.  Must not raise and
    must not block.  Gauges that are a state rather than an event (queue depth, longest
    running reconcile, revision of a cache) are read from the object that has them.
    """

    def reconciling(self, controller: str, key: Key) -> AbstractContextManager[None]:
        """Return a context entered around one reconcile, in the worker's thread.

        The place to count active workers and to bind a reconcileID for log lines.
        """

    def reconciled(self, controller: str, key: Key, result: str, seconds: float) -> None:
        """One reconcile ended: ``result`` is success, error, requeue or requeue_after."""

    def reconcile_failed(
        self, controller: str, key: Key, error: Exception, retry_in: float
    ) -> None:
        """A reconcile raised, and will be called again in so many seconds.

        Anything but an ApiError is a bug: it counts as a panic and deserves a traceback.
        """

    def reconcile_timed_out(self, controller: str, key: Key) -> None:
        """A reconcile took longer than it may; told before `reconciled`, whatever its result."""

    def enqueued(self, queue: str) -> None:
        """A key entered the queue (after de-duplication)."""

    def retried(self, queue: str) -> None:
        """A key was put back with backoff."""

    def dequeued(self, queue: str, waited: float) -> None:
        """A worker took a key that had waited so many seconds."""

    def worked(self, queue: str, seconds: float) -> None:
        """A worker was done with a key after so many seconds."""

    def watch_failed(self, resource: str, error: Exception, retry_in: float) -> None:
        """A LIST or watch failed; the next attempt comes in so many seconds."""

    def streaming_refused(self, resource: str) -> None:
        """The server has no streaming lists; pages from now on."""

    def handler_failed(self, resource: str, error: Exception) -> None:
        """An informer's handler raised: a bug; the change it was told of is lost to it."""

    def synced(self, resource: str, objects: int) -> None:
        """An informer's cache became complete, for the first time or again."""

    def candidate(self, name: str) -> None:
        """From now on leadership is tried for."""

    def leading(self, name: str, is_leader: bool) -> None:
        """Leadership was won or lost."""

    def election_failed(self, name: str, error: Exception) -> None:
        """The lease could not be read, taken, renewed or released."""

    def election_slowpath(self, name: str) -> None:
        """A leader had to read the lease before it could renew it."""

    def stop_timed_out(self, part: str) -> None:
        """A part did not end in its time and is left to die with the process."""
