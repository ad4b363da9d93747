"""Keeps a store equal to the API server's truth: list, watch, and start again when it must.

Promises (each has a test of its name in ``test/unit/runtime/test_reflector.py``):

1.  *The cache ends equal to the server's truth*, whatever mix of pages, events, 410s,
    disconnects, duplicates and bookmarks came before.
2.  *The old cache stays readable until a list is complete*; then one swap.
3.  *Missing from a partial list is not gone*: a list cut short changes nothing.
4.  *Never hot*: at most one attempt per 0.8 s, slowing down to one per 30 s (1.6 s where
    connections are refused), until a watch has lived for 30 s.
5.  *A closed watch resumes* after the last revision seen, bookmarks included.
6.  *410 lists again from scratch*, in a watch and in the middle of a paged list; at once if
    it answers the resume of a watch, which had its pause.
7.  *A server without streaming lists is paged*, and not asked again.
8.  *Retry-After is a minimum.*
9.  *The past is refused*: a list older than the cache is not believed, an event older
    than the last one makes a new list.
10. *Handlers are told after the store changed*, in the server's order, and one that
    raises stops nothing.
11. *A relist of what is known takes no second copy* of it.
12. *A stop does not wait for the server's next line.*
13. *The store says when it is not kept up*, and why, until it follows the server again.

`watcher.step` decides all of this; here is what performs it, in one thread.  Delays and
their reset follow client-go's reflector.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from random import Random
from typing import Generic

from msgspec import structs

from evc.model.meta import T, WatchEvent
from evc.runtime import watcher
from evc.runtime.backoff import jittered
from evc.runtime.ports import Clock, ListerWatcher, Observer
from evc.runtime.store import Change, Store, Writer

PAGE_SIZE = 500
# Client-go's: a delay is lengthened by up to itself, so that replicas and informers
# which lost the server together do not come back together.
JITTER = 1.0


class Reflector(Generic[T]):
    """Fills one store from one resource type, in one thread of the caller's.

    ``on_change(old, new)`` hears of every change after the store has it: ``old`` is
    None for a new object, ``new`` is None for one that went.  While ``store.synced``
    is false it is told what was there before we started.
    """

    def __init__(
        self,
        resource: str,
        source: ListerWatcher[T],
        store: Store[T],
        *,
        on_change: Callable[[T | None, T | None], None],
        observer: Observer,
        clock: Clock,
        random: Random,
    ) -> None:
        """Claim ``store``; ``resource`` names the type to the observer and to people."""
        self.resource = resource
        self.store = store
        self.heard_at: float | None = None
        """When the server last said something (monotonic); how stale the cache may be."""
        self._source = source
        self._writer = Writer(store)
        self._on_change = on_change
        self._observer = observer
        self._clock = clock
        self._random = random
        self._state: watcher.State[T] = watcher.Pausing()

    def run(self, stop: threading.Event) -> None:
        """Follow the server until ``stop`` is set.  Raises nothing.

        `interrupt`, called after that, ends a watch that waits for its next line.  A LIST
        under way is not cut short; it only reads, so make the thread a daemon.
        """
        ask = self.advance(watcher.Woke())
        while ask is not None and not stop.is_set():
            with contextlib.closing(self._answers(ask, stop)) as answers:
                for answer in answers:
                    ask = self.advance(answer)
                    if ask is not None or stop.is_set():
                        break

    def interrupt(self) -> None:
        """Wake `run` from a watch that has nothing to say, after ``stop`` was set."""
        self._source.interrupt()

    def advance(self, received: watcher.Input[T]) -> watcher.Ask | None:
        """Take one step, make its write and tell the handlers; return what to do next.

        What `run` does with each answer; it starts with ``Woke()``.  None: read on.
        """
        before = self._state.memory
        self._state, write, ask = watcher.step(self._state, received, self._clock.monotonic())
        try:
            if write is not None:
                self._write(write)
        except Exception as error:
            # An index function failed: the store is unchanged, and only a new list
            # can bring what it has missed.
            failure = watcher.Failed(error)
            self._state, _, ask = watcher.step(self._state, failure, self._clock.monotonic())
        if before.streams and not self._state.memory.streams:
            self._observer.streaming_refused(self.resource)
        if isinstance(received, watcher.Failed):
            self.store.error = received.error
        return ask

    def contact(self) -> None:
        """Note that the server answers: a page, an open watch or an event came."""
        self.heard_at = self._clock.monotonic()
        if isinstance(self._state, watcher.Watching):  # not before a list is complete
            self.store.error = None

    def _answers(
        self, ask: watcher.Ask, stop: threading.Event
    ) -> Generator[watcher.Input[T], None, None]:
        """Do what was asked for; the last input always leads to another ask."""
        try:
            match ask:
                case watcher.Pause():
                    self._pause(ask, stop)
                    yield watcher.Woke()
                case watcher.ListPage(token):
                    page = self._source.list(limit=PAGE_SIZE, continue_token=token)
                    self.contact()
                    known = tuple(map(self._writer.known, page.items))
                    yield watcher.Listed(structs.replace(page, items=known))
                case watcher.OpenWatch(version, initial):
                    with self._source.watch(
                        resource_version=version, send_initial_events=initial
                    ) as events:
                        self.contact()
                        for event in events:
                            self.contact()
                            yield watcher.Received(self._shared(event))
                    yield watcher.Ended()
        except Exception as error:
            yield watcher.Failed(error)

    def _shared(self, event: WatchEvent[T]) -> WatchEvent[T]:
        if event.object is None:
            return event
        known = self._writer.known(event.object)
        return event if known is event.object else structs.replace(event, object=known)

    def _write(self, write: watcher.Write[T]) -> None:
        match write:
            case watcher.Swap(found, version):
                changes = self._writer.replace(found.values(), version)
                self.store.error = None
                self._tell(changes)
                self._announce_synced()
            case watcher.Put(item, version):
                self._tell([self._writer.apply(item, version)])
            case watcher.Drop(item, version):
                self._tell([self._writer.remove(item, version)])
            case watcher.Advance(version):
                self._writer.bookmark(version)

    def _tell(self, changes: Iterable[Change[T] | None]) -> None:
        for change in changes:
            if change is not None:
                with self._contained():
                    self._on_change(*change)

    def _announce_synced(self) -> None:
        # Only now, after the handlers: they tell what was there at the start from what
        # happened since, and whoever waits for the sync finds every key enqueued.
        self._writer.mark_synced()
        self._observer.synced(self.resource, len(self.store))

    @contextlib.contextmanager
    def _contained(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._observer.handler_failed(self.resource, error)

    def _pause(self, pause: watcher.Pause, stop: threading.Event) -> None:
        seconds = jittered(pause.seconds, JITTER, self._random)
        if pause.because is not None:
            self._observer.watch_failed(self.resource, pause.because, seconds)
        stop.wait(seconds)
