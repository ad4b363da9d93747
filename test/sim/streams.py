"""Lists and watches: what brings the model server's history into an operator's caches.

Each resource type has its own stream with its own delay, so that events of different
types overtake each other, as they do between real informers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from evc.kube.resources import Resource
from evc.model.errors import Expired, Invalid, Unreachable
from evc.model.meta import Page, WatchEvent
from evc.runtime import watcher
from evc.runtime.reflector import Reflector
from sim.faults import Faults
from sim.history import Json
from sim.world import World

BOOKMARKS = 60.0
"""Seconds between bookmarks."""
PAGE = 3
"""Objects per page: small, so that lists have several."""
TAIL = 0.05
"""Seconds a healthy watch lags at most."""


@dataclass
class Lag:
    """How late a process hears of things, by resource type."""

    longest: dict[str, float]
    streaming: bool = True
    """Whether the server has streaming lists (KEP-3157)."""


class Stream:
    """Drives one reflector: performs what it asks for, in virtual time."""

    def __init__(
        self,
        world: World,
        faults: Faults,
        reflector: Reflector[Any],
        resource: Resource[Any],
        lag: Lag,
        moved: Callable[[], None],
        told: Callable[[int], None],
        deaf: Callable[[bool], None],
        alive: Callable[[], bool],
    ) -> None:
        """``told`` hears up to which revision the process knows everything, ``deaf`` whether it
        has failed and does not follow the server again.
        """
        self._world = world
        self._server = world.server
        self._faults = faults
        self._reflector = reflector
        self._resource = resource
        self._lag = lag
        self._moved = moved
        self._told = told
        self._deaf = deaf
        self._lied = False
        """Whether the last list left something out that no later event makes up for."""
        self._alive = alive
        self._events = world.server.events(resource.plural)
        self._connection = 0
        """Counts asks: what was scheduled for an earlier one is dropped."""
        self._position = 0
        self._open = False
        self._pumping = False

    def stop(self) -> None:
        """Hear of nothing any more."""
        self._server.watching[self._resource.plural].remove(self._wake)

    def start(self) -> None:
        self._server.watching[self._resource.plural].append(self._wake)
        self._feed(watcher.Woke())

    def _feed(self, received: watcher.Input[Any]) -> None:
        if isinstance(received, watcher.Failed):
            self._deaf(True)
        ask = self._reflector.advance(received)
        self._moved()
        if ask is not None:
            self._connection += 1
            self._open = False
            self._perform(ask)

    def _perform(self, ask: watcher.Ask) -> None:
        choices = self._world.choices
        match ask:
            case watcher.Pause(seconds):
                wait = choices.seconds("stream jitter", seconds, 2 * seconds)
                self._later(wait, lambda: self._feed(watcher.Woke()))
            case watcher.ListPage(token):
                wait = choices.seconds("stream latency", 0.001, self._longest())
                self._later(wait, lambda: self._page(token))
            case watcher.OpenWatch(version, initial):
                wait = choices.seconds("stream latency", 0.001, self._longest())
                self._later(wait, lambda: self._connect(version, initial))

    def _later(self, seconds: float, action: Callable[[], None]) -> None:
        connection = self._connection

        def act() -> None:
            if self._alive() and self._connection == connection:
                action()

        self._world.timeline.after(seconds, act)

    def _longest(self) -> float:
        if not self._faults.on:
            return TAIL
        return self._lag.longest.get(self._resource.plural, TAIL)

    def _snapshot(self) -> int:
        """The revision a list shows: an API server behind a slow watch cache shows an old one."""
        revision = self._server.revision
        if self._faults.stream("stale list"):
            behind = self._world.choices.among("stale by", (3, 10, 30))
            return max(1, revision - behind)
        return revision

    def _page(self, token: str) -> None:
        if self._faults.outage or self._faults.stream("lost stream"):
            return self._feed(watcher.Failed(Unreachable("simulated")))
        if token and self._faults.stream("compacted"):
            return self._feed(watcher.Failed(Expired("simulated: token too old", status=410)))
        revision, start = (int(part) for part in token.split("/")) if token else (0, 0)
        revision = revision or self._snapshot()
        items = self._server.items_at(self._resource.plural, revision)
        page = tuple(self._decode(item) for item in items[start : start + PAGE])
        more = f"{revision}/{start + PAGE}" if start + PAGE < len(items) else ""
        self._lied = self._faults.stream("short list")
        if self._lied:
            page, more = page[: len(page) // 2], ""
        self._reflector.contact()
        self._feed(watcher.Listed(Page(page, str(revision), more)))
        if not more:
            self._tell(revision)
        return None

    def _tell(self, revision: int) -> None:
        self._deaf(False)
        self._told(0 if self._lied else revision)

    def _connect(self, version: str, initial: bool) -> None:
        if self._faults.outage or self._faults.stream("lost stream"):
            return self._feed(watcher.Failed(Unreachable("simulated")))
        if initial and not self._lag.streaming:
            return self._feed(watcher.Failed(Invalid("no streaming lists", status=422)))
        if not initial and self._faults.stream("compacted"):
            return self._feed(watcher.Failed(Expired("simulated: compacted", status=410)))
        revision = self._snapshot() if initial else int(version)
        connection = self._connection
        self._reflector.contact()
        if not initial:
            self._deaf(False)
        if initial and not self._initial(revision, connection):
            return None
        self._position = self._after(revision)
        self._open = True
        self._pumping = False
        self._wake()
        self._later(BOOKMARKS, self._bookmark)
        return None

    def _initial(self, revision: int, connection: int) -> bool:
        """Send every object, then the bookmark; False if the stream broke meanwhile."""
        for item in self._server.items_at(self._resource.plural, revision):
            if self._faults.stream("disconnect"):
                self._feed(watcher.Failed(Unreachable("simulated: cut")))
                return False
            version = item["metadata"]["resourceVersion"]
            self._feed(watcher.Received(WatchEvent("ADDED", version, self._decode(item))))
        end: WatchEvent[Any] = WatchEvent("BOOKMARK", str(revision), None, initial_events_end=True)
        self._lied = False
        self._feed(watcher.Received(end))
        self._tell(revision)
        return self._connection == connection

    def _after(self, revision: int) -> int:
        position = len(self._events)
        while position and self._events[position - 1].revision > revision:
            position -= 1
        return position

    def _wake(self) -> None:
        if not (self._alive() and self._open) or self._pumping:
            return
        if self._position < len(self._events):
            self._pumping = True
            wait = self._world.choices.seconds("watch lag", 0.001, self._longest())
            self._later(wait, self._pump)

    def _pump(self) -> None:
        """Deliver the next event; a burst follows at once, in order."""
        self._pumping = False
        if self._faults.outage or self._faults.stream("disconnect"):
            return self._feed(watcher.Failed(Unreachable("simulated: connection lost")))
        connection = self._connection
        while self._position < len(self._events) and self._connection == connection:
            commit = self._events[self._position]
            self._position += 1
            kind, changed = commit.event
            item = self._decode(changed)
            self._feed(watcher.Received(WatchEvent(kind, str(commit.revision), item)))
            self._tell(commit.revision)
            if self._world.choices.chance("watch hiccup", 0.3):
                break
        if self._connection == connection:
            self._wake()
        return None

    def _bookmark(self) -> None:
        if self._position == len(self._events):
            event: WatchEvent[Any] = WatchEvent("BOOKMARK", str(self._server.revision))
            self._feed(watcher.Received(event))
        self._later(BOOKMARKS, self._bookmark)

    def _decode(self, item: Json) -> Any:
        return self._world.decoded(self._resource, item)
