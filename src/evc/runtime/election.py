"""Leader election on a Lease: at most one replica acts, as long as it checks that it may.

The rules and figures are client-go's ``leaderelection``: the leader renews every 2 s,
gives up when it could not for 10 s, and a follower takes over when the record has not
changed for 15 s *by the follower's own clock*.  Times in the record are for people:
they are never compared, so clocks may differ between nodes.

What it does not do: fence.  A leader that was paused (SIGSTOP, a suspended machine) for
longer than the lease has a successor when it wakes, and this thread may not have noticed.
So `Elector.is_leader` compares the clock on every call; ask it right before each write
that must not be made twice.  What is in flight at that moment needs preconditions.

Hands in the record: a Lease that is deleted, or whose times or duration are edited, lets
nobody in early who has seen its holder.  One whose holder is emptied or replaced looks like
a release; its leader notices at its next renewal, within one retry period.

Promises (tests in ``test/unit/runtime/test_election.py``):

1. *There is never more than one leader*, whatever is lost, paused, or skewed.
2. *A paused leader knows on waking* before its thread does anything.
3. *A leader that cannot renew gives up in time*, and does not come back.
4. *A released lease has a new leader in 3 s*, a dead leader's in 20: its last renewal is
   seen after 2.4 s at most, respected for 15 s, and the next attempt comes 2.4 s later.
5. *Only local time counts*: wall clocks may differ by hours.
6. *A deleted or edited Lease lets nobody in early.*
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import NamedTuple, TypeAlias

from evc.model.core import LeaseSpec
from evc.model.errors import Conflict, NotFound
from evc.runtime.backoff import jittered
from evc.runtime.ports import Clock, LeaseLock, Observer

# A follower waits up to this much longer than the retry period, and the renew deadline must
# leave room for one attempt so delayed.  client-go's factor of the same name and value adds
# up to 1.2 retry periods; so here a released lease is taken within 2.4 s instead of 4.4 s.
JITTER = 1.2


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds: how long a lease lasts, when its holder gives up, how often it tries."""

    lease: float = 15.0
    renew: float = 10.0
    retry: float = 2.0

    def __post_init__(self) -> None:
        """Refuse figures with which two leaders, or none, would be the rule.

        ValueError unless lease (cut to whole seconds) > renew > 1.2 x retry > 0.
        """
        # Whole seconds are what the record says to followers.
        if not int(self.lease) > self.renew:
            raise ValueError(f"lease duration {self.lease} must exceed renew deadline {self.renew}")
        if not self.renew > self.retry * JITTER:
            raise ValueError(
                f"renew deadline {self.renew} must exceed {JITTER} x retry period {self.retry}"
            )
        if self.retry <= 0:
            raise ValueError("retry period must be positive")


class Seen(NamedTuple):
    """A record, its resourceVersion ("": deleted), and when we first saw it so (monotonic)."""

    record: LeaseSpec
    version: str
    at: float


class Create(NamedTuple):
    """There is no Lease: make one."""

    record: LeaseSpec


class Replace(NamedTuple):
    """The lease is ours, free, or not renewed in time: write this over that version."""

    record: LeaseSpec
    version: str


class Follow(NamedTuple):
    """Somebody else leads, until ``until`` (monotonic) at least."""

    holder: str
    until: float


Decision: TypeAlias = Create | Replace | Follow


def observe(before: Seen | None, read: tuple[LeaseSpec, str] | None, now: float) -> Seen | None:
    """Return what is known after a read: the time moves only when the record does.

    A Lease that is gone is remembered without version: whoever held it may not know yet.
    """
    if read is None:
        return None if before is None else before._replace(version="")
    record, version = read
    at = before.at if before is not None and before.record == record else now
    return Seen(record, version, at)


def step(seen: Seen | None, me: str, lease: float, now: float, wall: datetime) -> Decision:
    """Return what to do about the record; ``wall`` is written into it for people to read."""

    def ours(acquired: datetime | None, transitions: int) -> LeaseSpec:
        return LeaseSpec(
            holder_identity=me,
            lease_duration_seconds=int(lease),
            acquire_time=acquired,
            renew_time=wall,
            lease_transitions=transitions,
        )

    if seen is None:
        return Create(ours(wall, 0))
    record, version, at = seen
    # Not less than our own: a duration that was edited to nothing must not let us in.
    until = at + max(record.lease_duration_seconds, int(lease))
    if record.holder_identity == me:
        new = ours(record.acquire_time, record.lease_transitions)
    elif record.holder_identity and now < until:
        return Follow(record.holder_identity, until)
    else:
        new = ours(wall, record.lease_transitions + 1)
    return Replace(new, version) if version else Create(new)


def released(record: LeaseSpec, wall: datetime) -> LeaseSpec:
    """Return the record by which a leader steps down: no holder, over in a second."""
    return LeaseSpec(
        holder_identity="",
        lease_duration_seconds=1,
        acquire_time=wall,
        renew_time=wall,
        lease_transitions=record.lease_transitions,
    )


class Elector:
    """Runs for leader once, and is over when it has lost or released the lease."""

    def __init__(
        self,
        name: str,
        lock: LeaseLock,
        timing: Timing,
        *,
        clock: Clock,
        observer: Observer,
        random: Random,
    ) -> None:
        """``lock`` is where the record is kept; ``name`` is the metrics' label for it."""
        self.name = name
        self._lock = lock
        self._timing = timing
        self._clock = clock
        self._observer = observer
        self._random = random
        self._seen: Seen | None = None
        # Until when we may act (monotonic).  A float is read and written in one piece.
        self._valid_until = float("-inf")

    def is_leader(self) -> bool:
        """Whether we may act now: won, and renewed less than the renew deadline ago.

        False from that moment on whatever the election thread is doing.  Counted from
        before the renewal was sent, so it ends at least ``lease - renew`` seconds
        before anyone else may take over.
        """
        return self._clock.monotonic() < self._valid_until

    @property
    def holder(self) -> str:
        """Who led when we last looked; empty if nobody did."""
        return self._seen.record.holder_identity if self._seen is not None else ""

    def run(
        self,
        stop: threading.Event,
        *,
        on_started_leading: Callable[[], None],
        on_stopped_leading: Callable[[], None],
    ) -> None:
        """Acquire, lead, and release; return when stopped or when the lease is lost.

        Set ``stop`` only when nothing of this process will write any more: releasing
        lets a successor begin at once.  The callbacks run in this thread and must
        return soon, or the lease is not renewed; the second one only after the first.
        """
        self._observer.candidate(self.name)
        if not self._acquire(stop):
            return
        self._observer.leading(self.name, True)
        try:
            on_started_leading()
            self._renew(stop)
        finally:
            self._step_down(release=stop.is_set())
            self._observer.leading(self.name, False)
            on_stopped_leading()

    def attempt(self) -> None:
        """Try once to take or renew the lease; raises nothing, `is_leader` has the outcome.

        What `run` does at each retry period, apart from waiting.
        """
        try:
            if not (self.is_leader() and self._renewed_blindly()):
                read = self._lock.read()
                self._seen = observe(self._seen, read, self._clock.monotonic())
                self._decide()
        except Exception as error:
            self._observer.election_failed(self.name, error)

    def _acquire(self, stop: threading.Event) -> bool:
        while not stop.is_set():
            self.attempt()
            # Not what the attempt did but what the clock says: an answer that took longer
            # than the renew deadline is one that came too late.
            if self.is_leader():
                return True
            stop.wait(jittered(self._timing.retry, JITTER - 1.0, self._random))
        return False

    def _renew(self, stop: threading.Event) -> None:
        # A failed attempt is repeated while the last success is recent enough; once it
        # is not, there is no way back, even if nobody else has taken the lease.
        while self.is_leader() and not stop.wait(self._timing.retry):
            if self.is_leader():
                self.attempt()

    def _renewed_blindly(self) -> bool:
        """Renew over the version we wrote last, without reading; whether it was still that."""
        try:
            self._decide()
            return True
        except (Conflict, NotFound):
            # Written by somebody else, deleted, or by ourselves with the answer lost.
            self._observer.election_slowpath(self.name)
            return False

    def _decide(self) -> None:
        # The time is taken before the request is sent: a successor counts from when it
        # sees the record, which is later.
        sent = self._clock.monotonic()
        wall = self._clock.now()
        match step(self._seen, self._lock.identity, self._timing.lease, sent, wall):
            case Create(record):
                version = self._lock.create(record)
            case Replace(record, before):
                version = self._lock.update(record, before)
            case Follow():
                self._valid_until = float("-inf")
                return
        self._seen = Seen(record, version, sent)
        self._valid_until = sent + self._timing.renew

    def _step_down(self, *, release: bool) -> None:
        seen, held = self._seen, self.is_leader()
        # First, so that nothing of ours begins to write while the release is on its way.
        self._valid_until = float("-inf")
        if not (release and held and seen is not None):
            return
        try:
            self._lock.update(released(seen.record, self._clock.now()), seen.version)
        except Exception as error:
            # It will expire by itself.
            self._observer.election_failed(self.name, error)
