"""One operator process: the product's own parts, wired by the product, in virtual time.

`Process._build` is the only place that knows how `evc.app` wires things.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

from evc import app
from evc.controller.limits import DeletionLimit
from evc.kube import resources
from evc.kube.lease import Lock
from evc.model.errors import ApiError
from evc.model.meta import Key
from evc.policy.mapping import Designations
from evc.runtime.backoff import Exponential
from evc.runtime.controller import Controller
from evc.runtime.election import Elector, Timing
from evc.runtime.ports import Reconciler
from evc.runtime.queue import RateLimitingQueue
from evc.serving.observers import Observing
from sim.client import Crashed, SimClient
from sim.faults import Faults
from sim.ledger import Limits
from sim.observer import Observer
from sim.streams import Lag, Stream
from sim.timeline import WallClock
from sim.world import World

RESOURCES = {r.plural: r for r in resources.WATCHED}
RETRY = 2.0
"""Seconds between attempts at the lease."""


class Bugs(Observing):
    """Hears of exceptions that are no API errors: the observer counts them as violations."""

    def __init__(self, report: Callable[[str], None], world: World, name: str) -> None:
        self._report = report
        self._world = world
        self._name = name

    def reconcile_failed(
        self, controller: str, key: Key, error: Exception, retry_in: float
    ) -> None:
        self._world.say(f"{self._name}: {key} failed, again in {retry_in:.3f} s: {error!r}")
        if not isinstance(error, ApiError):
            self._report(f"reconcile of {key} raised {error!r}")

    def handler_failed(self, resource: str, error: Exception) -> None:
        self._report(f"handler of {resource} raised {error!r}")


@dataclass
class Desk:
    """A queue, what is done with its keys, and for what moment somebody will look at it."""

    queue: RateLimitingQueue
    controller: Controller
    armed: float | None = None


class Process:
    """From start to crash; a restart is a new one."""

    def __init__(
        self,
        world: World,
        faults: Faults,
        name: str,
        lag: Lag,
        *,
        elects: bool,
        limits: Limits,
        observer: Observer,
        died: Callable[[Process], None],
    ) -> None:
        self.name = name
        self.alive = True
        self.visit = 0
        self.key = ""
        """What is reconciled at the moment, and in which visit."""
        self.leads = not elects
        self._visits = 0
        self._world = world
        self._faults = faults
        self._died = died
        self._observer = observer
        self._synced = False
        client = SimClient(world, self, faults, observer)
        self._build(client, lag, elects, limits, observer.bug)

    def _build(
        self,
        client: Any,
        lag: Lag,
        elects: bool,
        limits: Limits,
        report: Callable[[str], None],
    ) -> None:
        """Wire the product's parts as `evc.app.build` does."""
        world, random = self._world, Random(0)
        clock = WallClock(world.timeline, lambda: world.skew)
        observer = Bugs(report, world, self.name)
        self.queue, self.reads = (
            RateLimitingQueue(
                name, Exponential(cap=app.MAX_BACKOFF), clock=clock, observer=observer
            )
            for name in (app.CONTROLLER, app.READER)
        )
        self.scope = app.informers(client, "", self.queue, Designations(), observer, clock, random)
        lock = Lock(client, Key("evc-system", "evc"), self.name)
        self.elector = Elector("evc", lock, Timing(), clock=clock, observer=observer, random=random)
        may_write = self.elector.is_leader if elects else lambda: True
        limit = DeletionLimit(
            per_minute=limits.per_minute,
            max_percent=limits.percent,
            claims=lambda: len(self.scope.caches.claims),
            monotonic=clock.monotonic,
        )
        self.reconcile = app.reconciler(
            client,
            self.scope.caches,
            self.queue,
            self.reads,
            clock,
            self.name,
            may_write,
            limit,
            dry_run=limits.dry_run,
            together=self._together,
        )
        self._elects = elects
        work: dict[RateLimitingQueue, Reconciler] = {
            self.queue: self.reconcile,
            self.reads: self.reconcile.reads.read,
        }
        self.desks = [
            Desk(
                queue,
                Controller(
                    queue.name,
                    partial(self._visit, visit),
                    queue,
                    workers=0,
                    clock=clock,
                    observer=observer,
                ),
            )
            for queue, visit in work.items()
        ]
        self.streams = [
            Stream(
                world,
                self._faults,
                reflector,
                RESOURCES[reflector.resource],
                lag,
                moved=self._arm,
                told=partial(self._observer.told, self.name, reflector.resource),
                deaf=partial(self._observer.deaf, self.name, reflector.resource),
                alive=lambda: self.alive,
            )
            for reflector in self.scope.reflectors
        ]

    def _together(self, calls: Sequence[Callable[[], Any]]) -> list[Any]:
        """Make calls that are under way at the same time in any order."""
        order = self._world.choices.among("order", (1, -1))
        return [call() for call in calls[::order]][::order]

    def start(self) -> None:
        self._world.say(f"{self.name}: starts")
        for stream in self.streams:
            stream.start()
        if self._elects:
            self._world.timeline.after(0.0, self._campaign)

    def die(self, why: str) -> None:
        """Lose everything but what the server stored."""
        if self.alive:
            self._world.say(f"{self.name}: dies ({why})")
            self.alive = False
            for stream in self.streams:
                stream.stop()
            self._died(self)

    @property
    def synced(self) -> bool:
        """Whether every cache has been filled; once it was, a cache stays so."""
        self._synced = self._synced or all(r.store.synced for r in self.scope.reflectors)
        return self._synced

    def _campaign(self) -> None:
        """Try for the lease, as the election thread does; a lost lease ends the process."""
        if not self.alive:
            return
        try:
            self.elector.attempt()
        except Crashed:
            return
        leads = self.elector.is_leader()
        if self.leads and not leads:
            self.die("lost the lease")
            return
        if leads and not self.leads:
            self._world.say(f"{self.name}: leads")
            self.leads = True
            self._arm()
        self._world.timeline.after(RETRY, self._campaign)

    def _arm(self) -> None:
        """Have a worker look at each queue when there is something in it."""
        if self.alive and self.leads and self.synced:
            for desk in self.desks:
                self._arm_desk(desk)

    def _arm_desk(self, desk: Desk) -> None:
        now = self._world.now
        at = desk.queue.next_time()
        if any(desk.queue.depth().values()):
            at = now
        if at is None or (desk.armed is not None and desk.armed <= at):
            return
        delay = max(0.0, at - now) + self._world.choices.seconds("worker pace", 0.0, 0.02)
        desk.armed = at
        self._world.timeline.after(delay, partial(self._work, desk, at))

    def _work(self, desk: Desk, armed: float) -> None:
        if not (self.alive and self.leads) or desk.armed != armed:
            return  # somebody else looks earlier
        desk.armed = None
        key = desk.queue.poll()
        if key is not None:
            outer = self.visit, self.key
            try:
                desk.controller.visit(key)
            except Crashed:
                return
            finally:
                self.visit, self.key = outer
                desk.queue.done(key)
        self._arm()

    def _visit(self, visit: Reconciler, key: Key) -> float | None:
        self._visits += 1
        self.visit, self.key = self._visits, str(key)
        number = self.visit
        self._observer.began(self.name, number)
        again = visit(key)
        self._observer.ended(self.name, number)
        self._world.say(f"{self.name}: visited {key}, again in {again}")
        return again
