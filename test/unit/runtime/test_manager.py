"""Start and stop in order, with limits; every way a process ends."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from evc.model.core import Pod
from evc.model.errors import Forbidden
from evc.model.meta import Key
from evc.runtime.backoff import Exponential
from evc.runtime.controller import Controller
from evc.runtime.election import Elector, Timing
from evc.runtime.manager import LeadershipLost, Manager, NotSynced
from evc.runtime.queue import RateLimitingQueue
from evc.runtime.reflector import Reflector
from evc.runtime.store import Store

from .fakes import (
    FakeClock,
    FakeLease,
    FakeLock,
    FakeServer,
    NotRandom,
    RecordingObserver,
    VirtualStop,
    key,
)


class Log:
    """What happened, in order, from any thread."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, line: str) -> None:
        self.lines.append(line)


class FakePort:
    """A server of the manager's."""

    def __init__(self, log: Log, name: str, broken: bool = False) -> None:
        self.log, self.name, self.broken = log, name, broken

    def start(self) -> None:
        if self.broken:
            raise OSError("the port is taken")
        self.log(f"{self.name} up")

    def stop(self) -> None:
        self.log(f"{self.name} down")


class LoggingObserver(RecordingObserver):
    """Logs when a cache is complete."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def synced(self, resource: str, objects: int) -> None:
        self._log("synced")


class LoggedReflector(Reflector[Pod]):
    """Logs its start and end; its requests go to a scripted server."""

    log: Log

    def run(self, stop: threading.Event) -> None:
        self.log("informer up")
        super().run(VirtualStop(self._clock, 5.0))  # type: ignore[arg-type]
        stop.wait(10.0)
        self.log("informer down")


class LoggedElector(Elector):
    """Logs when it leads and when it gives up."""

    log: Log

    def run(self, stop: threading.Event, **callbacks: Any) -> None:
        self.log("election up")
        super().run(stop, **callbacks)
        self.log("election down")


class Process:
    """All the parts; ``work`` is the reconcile function."""

    def __init__(self, *script: str, work: Any = None, elect: bool = True) -> None:
        self.log = Log()
        self.clock = FakeClock()
        self.observer = LoggingObserver(self.log)
        self.stop = threading.Event()
        self.lease = FakeLease()
        shared: dict[str, Any] = {"clock": self.clock, "observer": self.observer}
        self.queue = RateLimitingQueue("evc", Exponential(), **shared)
        self.queue.add(key("a"))
        self.controller = Controller("evc", work or self.work, self.queue, workers=1, **shared)
        self.source = FakeServer([*script], self.clock, threading.Event())
        self.reflector = LoggedReflector(
            "pods", self.source, Store[Pod]({}), on_change=lambda old, new: None,
            random=NotRandom(), **shared,
        )  # fmt: skip
        self.elector = LoggedElector(
            "evc", FakeLock(self.lease, "me"), Timing(), random=NotRandom(), **shared
        )
        self.reflector.log = self.elector.log = self.log
        self.ports = [FakePort(self.log, "probes"), FakePort(self.log, "metrics")]
        self.manager = Manager(
            servers=self.ports, reflectors=[self.reflector],
            elector=self.elector if elect else None, controllers=[self.controller],
            sync_timeout=60.0, grace_period=30.0, **shared,
        )  # fmt: skip

    def work(self, item: Key) -> None:
        self.log("work")
        self.stop.set()

    def holder(self) -> str:
        assert self.lease.stored is not None
        return self.lease.stored[0].holder_identity


def last_of(process: Process) -> str:
    """Return what stopped last, but for informers: nobody waits for them."""
    return [line for line in process.log.lines if not line.startswith("informer")][-1]


def test_parts_start_and_stop_in_order() -> None:
    process = Process()
    process.manager.run(process.stop)
    # Informers are told to stop, not waited for: where that line stands is chance.
    assert [line for line in process.log.lines if line != "informer down"] == [
        "probes up", "metrics up", "informer up", "synced", "election up", "work",
        "election down", "metrics down", "probes down",
    ]  # fmt: skip
    assert process.manager._stop_informers.is_set()
    assert process.source.interrupted, "a watch that is silent is not waited for"
    assert process.holder() == "", "released"
    assert process.observer.heard("stop_timed_out") == []


def test_without_election_it_works_at_once() -> None:
    process = Process(elect=False)
    process.manager.run(process.stop)
    assert "work" in process.log.lines
    assert "election up" not in process.log.lines


def test_caches_that_do_not_sync_say_why() -> None:
    process = Process(*["forbid"] * 1000)
    stop = VirtualStop(process.clock)
    with pytest.raises(NotSynced, match="pods: RBAC") as raised:
        process.manager.run(stop)
    assert isinstance(raised.value.errors["pods"], Forbidden)
    lines = [line for line in process.log.lines if not line.startswith("informer")]
    assert lines == ["probes up", "metrics up", "metrics down", "probes down"]
    assert process.manager._stop_informers.is_set()
    assert stop.is_set()
    assert "election up" not in process.log.lines


def test_a_stop_while_caches_fill_ends_without_an_error() -> None:
    process = Process(*["forbid"] * 1000)
    process.stop.set()
    process.manager.run(process.stop)
    assert "election up" not in process.log.lines
    assert last_of(process) == "probes down"


def test_a_port_that_is_taken_stops_what_was_started_and_is_told() -> None:
    process = Process()
    process.ports[1].broken = True
    with pytest.raises(OSError, match="taken"):
        process.manager.run(process.stop)
    assert process.log.lines == ["probes up", "probes down"]


def test_a_lost_lease_ends_the_process() -> None:
    def lose(item: Key) -> None:
        process.clock.advance(11.0)

    process = Process(work=lose)
    # The election thread waits in real time for its next attempt: make that nothing.
    process.elector._timing = Timing(15.0, 10.0, 0.001)
    with pytest.raises(LeadershipLost):
        process.manager.run(process.stop)
    assert process.holder() == "me", "not released: it expires"
    assert last_of(process) == "probes down"


def test_a_part_that_dies_ends_the_process_with_its_error() -> None:
    process = Process()

    def broken(stop: threading.Event) -> None:
        raise RuntimeError("a bug in the informer")

    process.reflector.run = broken  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="a bug"):
        process.manager.run(process.stop)
    assert last_of(process) == "probes down"


def test_the_lease_is_kept_when_a_worker_does_not_end() -> None:
    """A worker that hangs may still write: nobody else may lead until the lease expires."""
    hang = threading.Event()

    def work(item: Key) -> None:
        process.stop.set()
        hang.wait(10.0)

    process = Process(work=work)
    process.manager._grace_period = 0.0
    process.manager.run(process.stop)
    hang.set()
    assert ("evc",) in process.observer.heard("stop_timed_out")
    assert not process.manager._stop_election.is_set(), "nobody asked for the release"
    assert process.holder() == "me"
    assert last_of(process) == "probes down"
