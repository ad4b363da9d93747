"""Starts the parts of a process in order, waits, and stops them in the reverse order.

| start         | why then                                                                  |
|---------------|---------------------------------------------------------------------------|
| 1. servers    | probes and metrics must answer while the caches fill                      |
| 2. informers  | caches before decisions; followers keep theirs warm for a quick failover  |
| 3. (synced)   | a half-known world looks like one where everything is over                |
| 4. election   | only who could act at once may hold the lease                             |
| 5. workers    | only the leader writes                                                    |

| stop          | why then                                                                  |
|---------------|---------------------------------------------------------------------------|
| 1. workers    | what has begun ends, and nothing begins                                   |
| 2. election   | the lease is released only once nobody here can write any more            |
| 3. informers  | they only read; a LIST under way is not waited for                        |
| 4. servers    | probes and the last metrics answer until the end                          |

Each step has a time limit; together they take at most the grace period.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from evc.runtime.controller import Controller
from evc.runtime.election import Elector
from evc.runtime.ports import Clock, Observer
from evc.runtime.reflector import Reflector

# How often the start looks whether the caches are complete; nothing waits for it but
# the start itself.
_SYNC_POLL = 0.1
# How the grace period is shared out.  Workers may be in the middle of an API call, the
# election has one request to make.
_WORKERS_SHARE, _ELECTION_SHARE = 0.7, 0.2


class Server(Protocol):
    """Something that answers requests in threads of its own: probes, metrics."""

    def start(self) -> None:
        """Answer from now on; raises if it cannot (the port is taken)."""

    def stop(self) -> None:
        """Answer no more; returns soon."""


class NotSynced(Exception):
    """The caches were not complete in time; ``errors`` has each missing one's last error."""

    def __init__(self, errors: Mapping[str, Exception | None]) -> None:
        """``errors`` by resource; None where the server has not answered at all yet."""
        reasons = (f"{name}: {error or 'no answer yet'}" for name, error in errors.items())
        super().__init__("caches did not sync: " + "; ".join(reasons))
        self.errors = dict(errors)


class LeadershipLost(Exception):
    """The lease was lost; the process must exit, for its caches and plans are a leader's."""


class Manager:
    """Runs the parts of one process; used once."""

    def __init__(
        self,
        *,
        servers: Sequence[Server],
        reflectors: Sequence[Reflector[Any]],
        elector: Elector | None,
        controllers: Sequence[Controller],
        sync_timeout: float,
        grace_period: float,
        clock: Clock,
        observer: Observer,
    ) -> None:
        """Times in seconds; without an elector this process acts as if it were alone."""
        self._servers = servers
        self._reflectors = reflectors
        self._elector = elector
        self._controllers = controllers
        self._sync_timeout = sync_timeout
        self._grace_period = grace_period
        self._clock = clock
        self._observer = observer
        self._failure: Exception | None = None
        self._stop_informers = threading.Event()
        self._stop_election = threading.Event()

    def run(self, stop: threading.Event) -> None:
        """Start everything, wait for ``stop``, stop everything that was started.

        Raises `NotSynced`, `LeadershipLost`, or what a part failed with; in each case
        after stopping the others, and with ``stop`` set.
        """
        try:
            with contextlib.ExitStack() as running:
                for server in self._servers:
                    server.start()
                    running.callback(server.stop)
                running.callback(self._end_informers)
                self._start_informers(stop)
                if self._wait_synced(stop):
                    election = self._start_election(stop)
                    running.callback(self._end_work, election)
                    stop.wait()
        finally:
            stop.set()
        if self._failure is not None:
            raise self._failure

    def _start_informers(self, stop: threading.Event) -> None:
        for reflector in self._reflectors:
            self._spawn(
                f"informer-{reflector.resource}",
                functools.partial(reflector.run, self._stop_informers),
                stop,
            )

    def _end_informers(self) -> None:
        self._stop_informers.set()
        for reflector in self._reflectors:
            reflector.interrupt()

    def _wait_synced(self, stop: threading.Event) -> bool:
        """Wait for every cache; false if ``stop`` came first."""
        deadline = self._clock.monotonic() + self._sync_timeout
        while missing := [part for part in self._reflectors if not part.store.synced]:
            if stop.is_set():
                return False
            if self._clock.monotonic() >= deadline:
                raise NotSynced({part.resource: part.store.error for part in missing})
            stop.wait(_SYNC_POLL)
        return True

    def _start_election(self, stop: threading.Event) -> threading.Thread | None:
        if self._elector is None:
            self._lead()
            return None
        campaign = functools.partial(
            self._elector.run,
            self._stop_election,
            on_started_leading=self._lead,
            on_stopped_leading=functools.partial(self._lose, stop),
        )
        return self._spawn("election", campaign, stop)

    def _lead(self) -> None:
        # Should the stop have begun meanwhile, the queues are shut and the workers end
        # at once.
        for controller in self._controllers:
            controller.start()

    def _lose(self, stop: threading.Event) -> None:
        if not self._stop_election.is_set():
            self._fail(LeadershipLost("the lease was lost; exiting"), stop)

    def _end_work(self, election: threading.Thread | None) -> None:
        deadline = self._clock.monotonic() + self._grace_period * _WORKERS_SHARE
        for controller in self._controllers:
            if not controller.stop(max(0.0, deadline - self._clock.monotonic())):
                # It may still write, so the lease is not given away: it goes on being
                # renewed until the process is gone, and then expires.
                self._observer.stop_timed_out(controller.name)
                return
        self._stop_election.set()
        if election is not None:
            self._join([election], _ELECTION_SHARE)

    def _join(self, threads: Sequence[threading.Thread], share: float) -> None:
        deadline = self._clock.monotonic() + self._grace_period * share
        for thread in threads:
            thread.join(max(0.0, deadline - self._clock.monotonic()))
            if thread.is_alive():
                self._observer.stop_timed_out(thread.name)

    def _spawn(
        self, name: str, target: Callable[[], None], stop: threading.Event
    ) -> threading.Thread:
        def contained() -> None:
            try:
                target()
            except Exception as error:
                self._fail(error, stop)

        # A daemon: what does not end in its time dies with the process.
        thread = threading.Thread(target=contained, name=name, daemon=True)
        thread.start()
        return thread

    def _fail(self, error: Exception, stop: threading.Event) -> None:
        """A part is gone, so the process goes; the first reason is the one to tell."""
        if self._failure is None:
            self._failure = error
        stop.set()
