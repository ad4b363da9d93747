"""The promises at the top of `evc.runtime.reflector`, kept against a server that misbehaves."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evc.model.core import Pod
from evc.model.errors import Unreachable
from evc.model.meta import Page, WatchEvent
from evc.runtime import watcher
from evc.runtime.reflector import Reflector
from evc.runtime.store import Store
from evc.runtime.watcher import MAX_DELAY, MIN_DELAY

from .fakes import (
    FAULTS,
    FakeClock,
    FakeServer,
    NotRandom,
    RecordingObserver,
    VirtualStop,
    key,
)


class Room:
    """A reflector with its store, a scripted server, and what the handlers were told."""

    def __init__(self, *script: str, end: float = float("inf")) -> None:
        self.clock = FakeClock()
        self.stop = VirtualStop(self.clock, end)
        self.server = FakeServer([*script], self.clock, self.stop)
        self.store: Store[Pod] = Store({"phase": lambda item: [item.status.phase]})
        self.observer = RecordingObserver()
        self.told: list[tuple[Any, Any]] = []
        self.handle: Callable[[Pod | None, Pod | None], None] = lambda old, new: None
        self.reflector = Reflector(
            "pods",
            self.server,
            self.store,
            on_change=self._on_change,
            observer=self.observer,
            clock=self.clock,
            random=NotRandom(),  # type: ignore[arg-type]
        )

    def _on_change(self, old: Pod | None, new: Pod | None) -> None:
        self.told.append((old, new))
        self.handle(old, new)

    def run(self) -> Room:
        self.reflector.run(self.stop)
        return self

    def opened(self) -> list[float]:
        return [request[1] for request in self.server.requests]

    def verbs(self) -> list[str]:
        return [
            "stream" if request[0] == "watch" and request[3] else request[0]
            for request in self.server.requests
        ]


def names(store: Store[Pod]) -> list[str]:
    return [item.metadata.name for item in store.list()]


WORDS = ["serve"] * 4 + ["bookmark", "repeat", "replay", "close", *FAULTS]
CHANGES = [f"{verb}-{n}" for verb in ("add", "change", "delete", "recreate") for n in "abcde"]


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(WORDS) | st.sampled_from(CHANGES), max_size=60))
def test_the_cache_ends_equal_to_the_servers_truth(script: list[str]) -> None:
    """And on the way it always equals the truth at the revision it claims to have."""
    room = Room(*script)

    def cache_is_a_moment_of_the_past(old: Pod | None, new: Pod | None) -> None:
        moment = room.server.past[int(room.store.resource_version)]
        cached = {item.metadata.key: item for item in room.store.list()}
        assert moment == cached

    room.handle = cache_is_a_moment_of_the_past
    room.run()
    assert room.observer.heard("handler_failed") == []
    assert {p.metadata.key: p for p in room.store.list()} == room.server.pods
    assert room.store.resource_version == str(room.server.revision)
    assert room.store.synced
    mirror: dict[Any, Pod] = {}
    for old, new in room.told:
        assert old is None or mirror.pop(old.metadata.key) == old, "changes chain up"
        if new is not None:
            mirror[new.metadata.key] = new
    assert mirror == room.server.pods, "the handlers know what the store knows"


def test_the_old_cache_stays_readable_until_a_list_is_complete() -> None:
    room = Room("refuse", "add-a", "add-b", "add-c", "serve", "serve", "serve", "gone", "add-d")
    seen: list[list[str]] = []
    answer = room.server.list

    def spied(**request: Any) -> Any:
        seen.append(names(room.store))
        return answer(**request)

    room.server.list = spied  # type: ignore[method-assign]
    room.run()
    assert seen == [[], [], ["a", "b", "c"], ["a", "b", "c"]]
    assert names(room.store) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("streams", [True, False], ids=["streamed", "paged"])
def test_a_relist_of_what_is_known_takes_no_second_copy(streams: bool) -> None:
    first = ["add-a", "add-b", "serve"] if streams else ["refuse", "add-a", "add-b", "serve"]
    room = Room(*first, *["serve"] * 3, "gone", "change-b", *["serve"] * 3)
    copies: list[bool] = []
    step = watcher.step

    def spied(state: Any, received: Any, now: float) -> Any:
        result = step(state, received, now)
        if isinstance(result.write, watcher.Swap) and room.store.synced:
            copies.extend(item is not room.store.get(k) for k, item in result.write[0].items())
        return result

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(watcher, "step", spied)
        room.server.page_size = 1
        serve_copies(room.server)
        room.run()
    assert copies == [False, True], "a is shared, b has changed"


def serve_copies(server: FakeServer) -> None:
    """Have the server decode each object anew, as from a socket."""
    listed, streamed = server.list, server._stream

    def copied(item: Pod) -> Pod:
        return msgspec.json.decode(msgspec.json.encode(item), type=Pod)

    def list_copies(**request: Any) -> Page[Pod]:
        page = listed(**request)
        return msgspec.structs.replace(page, items=tuple(map(copied, page.items)))

    def stream_copies(*request: Any) -> Iterator[WatchEvent[Pod]]:
        for event in streamed(*request):
            item = event.object
            yield event if item is None else msgspec.structs.replace(event, object=copied(item))

    server.list = list_copies  # type: ignore[method-assign]
    server._stream = stream_copies  # type: ignore[method-assign]


@pytest.mark.parametrize("fault", ["cut", "gone", "busy", "broken", "garbage"])
def test_missing_from_a_partial_list_is_not_gone(fault: str) -> None:
    setup = ["refuse", "add-a", "add-b", "add-c", "serve", "serve", "serve"]
    room = Room(*setup, "gone", "serve", fault, "cut", "cut").run()
    assert (room.server.pods[key("c")], None) not in room.told
    assert len(room.told) == 3, "nothing was announced twice"
    assert names(room.store) == ["a", "b", "c"]


def test_never_hot_when_every_watch_is_closed_at_once() -> None:
    room = Room(*["close"] * 5000, end=3600).run()
    gaps = [b - a for a, b in zip(room.opened(), room.opened()[1:], strict=False)]
    # The first gap is none: a stream that ends makes one immediate page instead.
    assert min(gaps[2:]) >= MIN_DELAY
    assert len(gaps) <= 3600 / MAX_DELAY + 10
    assert max(gaps) == pytest.approx(MAX_DELAY)


@pytest.mark.parametrize("fault", [*FAULTS, "close"])
def test_never_hot_when_every_request_fails(fault: str) -> None:
    room = Room(*[fault] * 5000, end=3600).run()
    times = room.opened()
    for start in times:
        assert sum(start <= other < start + MIN_DELAY for other in times) <= 2, (
            "at most the one immediate page after the refused stream"
        )
    assert len(times) <= 3600 / MAX_DELAY + 12


def test_never_hot_when_every_resume_is_too_late() -> None:
    room = Room(*["serve", "close", "gone"] * 2000, end=3600).run()
    assert room.verbs()[:6] == ["stream", "watch", "stream", "watch", "stream", "watch"]
    lists = [
        when for verb, when in zip(room.verbs(), room.opened(), strict=True) if verb == "stream"
    ]
    gaps = [b - a for a, b in itertools.pairwise(lists)]
    assert gaps[:7] == pytest.approx([0.8, 1.6, 3.2, 6.4, 12.8, 25.6, MAX_DELAY])
    assert len(lists) <= 3600 / MAX_DELAY + 10


def test_a_watch_that_lived_long_is_reopened_after_the_shortest_delay() -> None:
    room = Room()
    plain = room.server._stream

    def long_lived(version: str, initial: bool) -> Any:
        if initial:
            yield from (event for event in plain(version, True) if event.type == "BOOKMARK")
            room.stop.clear()
        room.clock.advance(MAX_DELAY)

    room.stop.end = room.clock.time + 400
    room.server._stream = long_lived  # type: ignore[method-assign]
    room.run()
    gaps = [b - a for a, b in zip(room.opened(), room.opened()[1:], strict=False)]
    assert gaps == pytest.approx([MAX_DELAY + MIN_DELAY] * len(gaps))
    assert len(gaps) > 10


def test_a_closed_watch_resumes_after_the_last_revision_seen() -> None:
    room = Room("add-a", "serve", "serve", "serve", "close", "serve", "add-b", "serve", "cut")
    room.run()
    watched = [request[2:] for request in room.server.requests]
    assert watched == [("", True), ("11", False), ("12", False)]
    assert room.verbs().count("list") == 0


def test_a_bookmark_moves_the_resume_point_and_what_counts_as_seen() -> None:
    room = Room("serve", "bookmark", "close")
    room.server.revision = 77
    room.server.past[77] = {}
    room.run()
    assert room.server.requests[1][2:] == ("77", False)
    assert room.store.has_seen("77")


@pytest.mark.parametrize(
    ("script", "verbs"),
    [
        (["serve", "gone"], ["stream", "stream"]),
        (["gone"], ["stream", "stream"]),
        (["refuse", "serve", "gone"], ["stream", "list", "watch", "list", "watch"]),
        (["refuse", "serve", "serve", "gone"], ["stream", "list", "watch", "list", "watch"]),
        (["refuse", "add-a", "add-b", "add-c", "serve", "gone"],
         ["stream", "list", "list", "list", "list", "watch"]),
    ],
    ids=["in a watch", "in a streaming list", "opening a watch", "in a watch, paged",
         "between two pages"],
)  # fmt: skip
def test_410_lists_again_from_scratch(script: list[str], verbs: list[str]) -> None:
    room = Room(*script).run()
    assert room.verbs() == verbs
    assert all(r[3] == "" for r in room.server.requests[-3:-2] if r[0] == "list")


def test_a_server_without_streaming_lists_is_paged_and_not_asked_again() -> None:
    room = Room("refuse", "serve", "serve", "gone", "serve", "serve", "gone").run()
    assert room.verbs() == ["stream", "list", "watch", "list", "watch", "list", "watch"]
    assert room.observer.heard("streaming_refused") == [("pods",)]
    assert room.server.requests[1][2] == 500, "the page size"


def test_retry_after_is_a_minimum() -> None:
    room = Room("busy").run()
    assert room.opened()[1] - room.opened()[0] == 7.0
    assert room.observer.heard("watch_failed") == [("pods", FAULTS["busy"], 7.0)]


def test_the_past_is_refused() -> None:
    """A stale API server answers the relist: its answer is not believed."""
    room = Room("add-a", "add-b", "serve", "serve", "serve", "serve", "delete-a", "serve", "gone")
    now, stale = room.server._stream, []

    def second_is_stale(version: str, initial: bool) -> Any:
        if initial and room.store.synced and not stale:
            stale.append(1)
            yield from [room.server.history[0], room.server.history[1]]
            yield type(room.server.history[0])("BOOKMARK", "12", None, True)
        else:
            yield from now(version, initial)

    room.server._stream = second_is_stale  # type: ignore[method-assign]
    room.run()
    assert stale
    assert names(room.store) == ["b"]
    added = [new.metadata.name for old, new in room.told if old is None]
    assert added == ["a", "b"], "a was not brought back"


def test_handlers_are_told_after_the_store_changed_and_one_that_raises_stops_nothing() -> None:
    room = Room("add-a", "serve", "serve", "change-a", "serve", "delete-a", "serve")
    found: list[bool] = []

    def failing(old: Pod | None, new: Pod | None) -> None:
        found.append(room.store.get(key("a")) is new)
        raise RecursionError

    room.handle = failing
    room.run()
    assert found == [True, True, True]
    failures = room.observer.heard("handler_failed")
    assert [type(error) for _, error in failures] == [RecursionError] * 3


def test_handlers_can_tell_start_up_objects_from_live_ones_by_synced() -> None:
    room = Room("add-a", "serve", "serve", "add-b", "serve")
    live: list[bool] = []
    room.handle = lambda old, new: live.append(room.store.synced)
    room.run()
    assert live == [False, True]
    assert room.observer.heard("synced") == [("pods", 1)]


def test_the_store_says_when_it_is_not_kept_up() -> None:
    room = Room("forbid", "forbid")
    seen: list[Exception | None] = []
    opened = room.server.watch

    def spied(**request: Any) -> Any:
        seen.append(room.store.error)
        return opened(**request)

    room.server.watch = spied  # type: ignore[method-assign]
    assert room.reflector.heard_at is None
    room.run()
    assert seen == [None, FAULTS["forbid"], FAULTS["forbid"]]
    assert room.store.error is None
    assert room.reflector.heard_at == room.clock.time


def test_a_store_is_not_kept_up_before_a_list_is_complete() -> None:
    """A page is an answer, and says nothing of what is not on it."""
    room = Room("refuse", "add-a", "add-b", "add-c", "serve", "serve", "serve", "gone")
    room.server.page_size = 1
    seen: list[tuple[str, bool]] = []
    listed = room.server.list

    def spied(**request: Any) -> Any:
        seen.append((request["continue_token"], room.store.error is None))
        return listed(**request)

    room.server.list = spied  # type: ignore[method-assign]
    room.run()
    assert len([token for token, _ in seen if token]) >= 4, "two lists of three pages"
    assert not any(kept_up for _, kept_up in seen)
    assert room.store.error is None


def test_an_index_function_that_fails_leads_to_a_new_list() -> None:
    room = Room("serve", "add-a", "serve")
    poisoned = iter([RecursionError()])
    plain = room.store._indexers["phase"]

    def poison_once(item: Pod) -> Any:
        for error in poisoned:
            raise error
        return plain(item)

    room.store._indexers["phase"] = poison_once
    room.run()
    assert room.verbs() == ["stream", "stream"]
    assert names(room.store) == ["a"]


def test_a_stop_during_a_pause_ends_the_run() -> None:
    room = Room(*["cut"] * 100, end=5.0).run()
    assert 0 < len(room.opened()) < 6


def test_a_stop_while_reading_closes_the_stream() -> None:
    room = Room("add-a", "add-b", "serve")
    room.handle = lambda old, new: room.stop.set()
    room.run()
    assert room.verbs() == ["stream"]
    assert names(room.store) == ["a", "b"]


class SilentServer:
    """Serves one watch on which nothing ever comes, until it is interrupted."""

    def __init__(self) -> None:
        self.asked, self.interrupted = threading.Event(), threading.Event()

    def list(self, *, limit: int, continue_token: str = "") -> Page[Pod]:
        raise AssertionError("a stop asks for nothing more")

    @contextlib.contextmanager
    def watch(self, **request: Any) -> Iterator[Iterator[WatchEvent[Pod]]]:
        yield self._silence()

    def _silence(self) -> Iterator[WatchEvent[Pod]]:
        self.asked.set()
        assert self.interrupted.wait(10.0), "nobody interrupted"
        raise Unreachable("shut down")
        yield

    def interrupt(self) -> None:
        self.interrupted.set()


def test_a_stop_does_not_wait_for_the_servers_next_line() -> None:
    room = Room()
    server, stop = SilentServer(), threading.Event()
    room.reflector._source = server
    thread = threading.Thread(target=room.reflector.run, args=(stop,))
    thread.start()
    assert server.asked.wait(10.0)
    stop.set()
    room.reflector.interrupt()
    thread.join(10.0)
    assert not thread.is_alive()
    assert room.observer.heard("watch_failed") == [], "that it ended is not a failure"
