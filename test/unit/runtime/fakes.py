"""Stand-ins for what the runtime gets from outside: clocks, an observer, an API server."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from evc.model.core import LeaseSpec, Pod, PodStatus
from evc.model.errors import (
    AlreadyExists,
    ApiError,
    Conflict,
    Expired,
    Forbidden,
    Invalid,
    NotFound,
    TooManyRequests,
    Unreachable,
)
from evc.model.meta import Key, ObjectMeta, Page, WatchEvent

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


def key(name: str) -> Key:
    return Key("ns", name)


def pod(name: str, version: int = 1, *, uid: str = "", phase: str = "", **labels: str) -> Pod:
    meta = ObjectMeta(
        name=name,
        namespace="ns",
        uid=uid or f"uid-{name}",
        resource_version=str(version),
        labels=labels,
    )
    return Pod(metadata=meta, status=PodStatus(phase=phase or "Pending"))


class FakeClock:
    """Time that moves when told to; the wall clock follows it, wrong by ``skew`` seconds."""

    def __init__(self, monotonic: float = 1000.0, skew: float = 0.0) -> None:
        self.time = monotonic
        self.skew = skew

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self.time + self.skew)

    def monotonic(self) -> float:
        return self.time

    def advance(self, seconds: float) -> None:
        self.time += seconds


class VirtualStop(threading.Event):
    """A stop event on which waiting takes virtual time; sets itself at ``end``."""

    def __init__(self, clock: FakeClock, end: float = float("inf")) -> None:
        super().__init__()
        self.clock = clock
        self.end = clock.time + end

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None, "would wait for ever"
        self.clock.advance(timeout)
        return self.is_set()

    def is_set(self) -> bool:
        return super().is_set() or self.clock.time >= self.end


class RecordingObserver:
    """Writes down what it hears as ``(method, *arguments)``."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def __getattr__(self, method: str) -> Any:
        return lambda *arguments: self.calls.append((method, *arguments))

    @contextlib.contextmanager
    def reconciling(self, controller: str, key: Key) -> Iterator[None]:
        self.calls.append(("reconciling", controller, key))
        yield

    def heard(self, method: str) -> list[tuple[Any, ...]]:
        return [call[1:] for call in self.calls if call[0] == method]


class NotRandom:
    """Instead of random.Random: always the same share."""

    def __init__(self, share: float = 0.0) -> None:
        self.share = share

    def random(self) -> float:
        return self.share


FAULTS: dict[str, Exception] = {
    "cut": Unreachable("connection reset"),
    "gone": Expired("too old", status=410),
    "busy": TooManyRequests("wait", status=429, retry_after=7.0),
    "refuse": Invalid("sendInitialEvents is forbidden", status=422),
    "forbid": Forbidden("RBAC", status=403),
    "missing": NotFound("no such resource", status=404),
    "broken": ApiError("internal error", status=500),
    "garbage": ValueError("cannot decode"),
}


class FakeServer:
    """An API server with pods, which does what a script says, then behaves and stops the test.

    The script is a list of words, one taken whenever the server may do something: a
    key of FAULTS fails the request or stream; ``close`` ends a stream; ``add-x``, ``change-x``,
    ``delete-x`` and ``recreate-x`` change a pod before the answer; ``repeat`` and
    ``replay`` send an event again, the last or the first one; ``bookmark`` sends one;
    ``serve`` is one good answer.
    """

    def __init__(self, script: list[str], clock: FakeClock, stop: threading.Event) -> None:
        self.script = deque(script)
        self.clock = clock
        self.stop = stop
        self.page_size = 2
        self.revision = 10
        self.pods: dict[Key, Pod] = {}
        self.past: dict[int, dict[Key, Pod]] = {10: {}}
        self.history: list[WatchEvent[Pod]] = []
        self.requests: list[tuple[Any, ...]] = []
        self.interrupted = False
        self._listed: tuple[int, list[Pod]] = (0, [])

    def change(self, verb: str, name: str) -> None:
        """Change the truth as a user would; verbs that do not apply do nothing."""
        old = self.pods.get(key(name))
        if (old is None) != (verb == "add"):
            return
        self.revision += 1
        if verb in ("delete", "recreate"):
            gone = pod(name, self.revision, uid=self.pods.pop(key(name)).metadata.uid)
            self._happened("DELETED", gone)
        if verb == "recreate":
            self.revision += 1
        if verb != "delete":
            uid = f"uid-{self.revision}" if old is None or verb == "recreate" else old.metadata.uid
            new = pod(name, self.revision, uid=uid, phase=f"at-{self.revision}")
            self.pods[key(name)] = new
            self._happened("MODIFIED" if verb == "change" else "ADDED", new)

    def _happened(self, type_: str, item: Pod) -> None:
        version = item.metadata.resource_version
        self.history.append(WatchEvent(type=type_, resource_version=version, object=item))
        self.past[int(version)] = dict(self.pods)

    def _turn(self) -> str:
        """Take the next word of the script; raise it if it is a fault."""
        while self.script:
            word = self.script.popleft()
            verb, _, name = word.partition("-")
            if name:
                self.change(verb, name)
            elif word in FAULTS:
                raise FAULTS[word]
            else:
                return word
        return "settle"

    def list(self, *, limit: int, continue_token: str = "") -> Page[Pod]:
        self.requests.append(("list", self.clock.time, limit, continue_token))
        self._turn()
        if not continue_token:
            self._listed = (self.revision, [*self.pods.values()])
        revision, found = self._listed
        start = int(continue_token or 0)
        end = start + min(limit, self.page_size)
        token = str(end) if end < len(found) else ""
        return Page(tuple(found[start:end]), str(revision), token)

    def interrupt(self) -> None:
        self.interrupted = True

    @contextlib.contextmanager
    def watch(
        self, *, resource_version: str, send_initial_events: bool
    ) -> Iterator[Iterator[WatchEvent[Pod]]]:
        self.requests.append(("watch", self.clock.time, resource_version, send_initial_events))
        self._turn()
        yield self._stream(resource_version, send_initial_events)

    def _stream(self, resource_version: str, initial: bool) -> Iterator[WatchEvent[Pod]]:
        sent = self.revision if initial else int(resource_version)
        if initial:
            for item in [*self.pods.values()]:
                if self._turn() == "close":
                    return
                yield WatchEvent("ADDED", item.metadata.resource_version, item)
            yield WatchEvent("BOOKMARK", str(sent), initial_events_end=True)
        while (word := self._turn()) != "close":
            pending = [event for event in self.history if int(event.resource_version) > sent]
            if word in ("repeat", "replay") and self.history:
                before = [e for e in self.history if int(e.resource_version) <= sent]
                if before:
                    yield before[-1] if word == "repeat" else before[0]
            elif word == "bookmark":
                yield WatchEvent("BOOKMARK", str(sent if pending else self.revision))
            elif pending:
                sent = int(pending[0].resource_version)
                yield pending[0]
            elif word == "settle":
                self.stop.set()
                return


class FakeLock:
    """A Lease with optimistic locking; ``faults`` are raised before or after a write."""

    def __init__(self, lease: FakeLease, identity: str) -> None:
        self.lease = lease
        self.identity = identity
        self.fault = ""

    def read(self) -> tuple[LeaseSpec, str] | None:
        self._fail("cut")
        return self.lease.stored

    def create(self, record: LeaseSpec) -> str:
        self._fail("cut")
        if self.lease.stored is not None:
            raise AlreadyExists("there is one", status=409)
        return self._store(record)

    def update(self, record: LeaseSpec, resource_version: str) -> str:
        self._fail("cut")
        if self.lease.stored is None:
            raise NotFound("deleted", status=404)
        if self.lease.stored[1] != resource_version:
            raise Conflict("changed", status=409)
        return self._store(record)

    def _store(self, record: LeaseSpec) -> str:
        self.lease.version += 1
        self.lease.stored = (record, str(self.lease.version))
        self._fail("lost answer")
        return str(self.lease.version)

    def _fail(self, fault: str) -> None:
        if self.fault == fault:
            raise Unreachable(fault)


class FakeLease:
    """What is stored: the record and its version."""

    def __init__(self) -> None:
        self.stored: tuple[LeaseSpec, str] | None = None
        self.version = 0
