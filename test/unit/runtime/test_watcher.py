"""The list-and-watch protocol, one transition at a time."""

from __future__ import annotations

import pytest

from evc.model.core import Pod
from evc.model.errors import (
    ApiError,
    Expired,
    Forbidden,
    Invalid,
    NotFound,
    NotListening,
    TooManyRequests,
    Unauthorized,
    Unreachable,
)
from evc.model.meta import Page, WatchEvent
from evc.runtime.watcher import (
    Advance,
    BadAnswer,
    Drop,
    Ended,
    Failed,
    Input,
    Listed,
    ListPage,
    Memory,
    OpenWatch,
    Paging,
    Pause,
    Pausing,
    Put,
    Received,
    Streaming,
    Swap,
    Watching,
    Woke,
    step,
)

from .fakes import key, pod

A = pod("a", 11)
FOUND = {key("a"): A}
OPENED = 100.0
ADDED = WatchEvent("ADDED", "11", A)
LIST_END: WatchEvent[Pod] = WatchEvent("BOOKMARK", "20", initial_events_end=True)
CUT = Unreachable("reset")
GONE = Expired("too old", status=410)


def watching(seen: int = 10, failures: int = 0) -> Watching:
    return Watching(Memory(seen=seen, failures=failures), OPENED)


def streaming(*, seen: int = 0) -> Streaming[Pod]:
    return Streaming(Memory(seen=seen), OPENED, dict(FOUND))


def paging(*, seen: int = 0, revision: str = "") -> Paging[Pod]:
    return Paging(Memory(seen=seen, streams=False), dict(FOUND), revision)


def pausing(*, seen: int, resume: bool, failures: int = 1, streams: bool = True) -> Pausing:
    return Pausing(Memory(seen, streams, failures), resume)


def test_the_first_attempt_is_a_streaming_list() -> None:
    after = step(Pausing(), Woke(), OPENED)
    assert after == (Streaming(Memory(), OPENED), None, OpenWatch("", True))


def test_a_server_known_not_to_stream_is_paged() -> None:
    after = step(Pausing(Memory(streams=False)), Woke(), OPENED)
    assert after == (Paging(Memory(streams=False)), None, ListPage(""))


def test_a_resume_asks_for_what_follows_the_last_revision() -> None:
    after = step(pausing(seen=17, resume=True), Woke(), OPENED)
    resumed = Watching(Memory(17, True, 1), OPENED, resumed=True)
    assert after == (resumed, None, OpenWatch("17", False))


def test_a_resume_that_comes_too_late_lists_at_once_and_only_once() -> None:
    resumed = step(pausing(seen=17, resume=True), Woke(), OPENED).state
    lists = step(resumed, Failed(GONE), 101.0)
    assert lists == (Streaming(Memory(17, True, 1), 101.0), None, OpenWatch("", True))
    listed = step(lists.state, Received(LIST_END), 102.0).state
    again = step(listed, Failed(GONE), 103.0)
    assert again == (pausing(seen=20, resume=False, failures=2), None, Pause(1.6, GONE))


def test_a_resumed_watch_that_brought_something_has_a_pause() -> None:
    resumed = step(pausing(seen=10, resume=True), Woke(), OPENED).state
    watches = step(resumed, Received(ADDED), 101.0).state
    assert step(watches, Failed(GONE), 102.0).ask == Pause(1.6, GONE)


def test_a_streaming_list_collects_until_its_bookmark_and_goes_on_as_a_watch() -> None:
    b = pod("b", 15)
    state = step(streaming(), Received(WatchEvent("ADDED", "15", b)), 101.0).state
    state = step(state, Received(WatchEvent("DELETED", "16", A)), 101.0).state
    state = step(state, Received(WatchEvent("BOOKMARK", "17")), 101.0).state
    after = step(state, Received(LIST_END), 102.0)
    assert after == (Watching(Memory(seen=20), OPENED), Swap({key("b"): b}, "20"), None)


@pytest.mark.parametrize(
    ("received", "at"),
    [
        pytest.param(Failed(Invalid("forbidden unless", status=422)), 100.1, id="refused"),
        pytest.param(Ended(), 100.1, id="closed before the bookmark"),
        pytest.param(Failed(CUT), 160.1, id="silent until the client gave up"),
        pytest.param(Received(ADDED), 160.1, id="events but no bookmark in time"),
    ],
)
def test_without_streaming_lists_it_pages_at_once_and_remembers(
    received: Input[Pod], at: float
) -> None:
    after = step(streaming(), received, at)
    assert after == (Paging(Memory(streams=False)), None, ListPage(""))


@pytest.mark.parametrize("error", [CUT, GONE, Forbidden("no", status=403), ValueError("bytes")])
def test_a_streaming_list_that_fails_otherwise_is_tried_again(error: Exception) -> None:
    after = step(streaming(), Failed(error), 101.0)
    assert after == (pausing(seen=0, resume=False), None, Pause(0.8, error))


def test_a_late_bookmark_is_still_welcome() -> None:
    assert step(streaming(), Received(LIST_END), 500.0).write == Swap(FOUND, "20")


def test_pages_are_collected_and_the_watch_starts_at_the_first_ones_revision() -> None:
    b, c = pod("b", 12), pod("c", 13)
    first = step(Paging(Memory()), Listed(Page((b,), "20", "more")), OPENED)
    assert (first.write, first.ask) == (None, ListPage("more"))
    last = step(first.state, Listed(Page((c,), "25")), OPENED)
    assert last.write == Swap({key("b"): b, key("c"): c}, "20")
    assert (last.state, last.ask) == (Watching(Memory(seen=20), OPENED), OpenWatch("20", False))


@pytest.mark.parametrize("error", [GONE, CUT, TooManyRequests("wait", status=429)])
def test_a_list_cut_short_is_thrown_away(error: ApiError) -> None:
    after = step(paging(revision="20"), Failed(error), OPENED)
    assert after == (pausing(seen=0, resume=False, streams=False), None, Pause(0.8, error))


@pytest.mark.parametrize("version", ["9", "", "abc"], ids=["older", "missing", "garbage"])
def test_a_list_of_an_impossible_revision_is_not_believed(version: str) -> None:
    """An empty 200 answer or a stale API server must not empty the cache."""
    for state, received in [
        (paging(seen=10), Listed[Pod](Page((), version))),
        (streaming(seen=10), Received[Pod](WatchEvent("BOOKMARK", version, None, True))),
    ]:
        after = step(state, received, OPENED)
        assert after.write is None
        assert isinstance(after.ask, Pause)
        assert isinstance(after.ask.because, BadAnswer)
        assert after.state == pausing(seen=10, resume=False, streams=state.memory.streams)


@pytest.mark.parametrize(
    ("event", "write"),
    [
        (ADDED, Put(A, "11")),
        (WatchEvent("MODIFIED", "11", A), Put(A, "11")),
        (WatchEvent("DELETED", "11", A), Drop(A, "11")),
        (WatchEvent("BOOKMARK", "11"), Advance("11")),
    ],
    ids=lambda value: value.type if isinstance(value, WatchEvent) else "",
)
def test_a_watch_event_is_written_and_moves_the_revision(
    event: WatchEvent[Pod], write: object
) -> None:
    assert step(watching(), Received(event), 101.0) == (watching(11), write, None)


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(WatchEvent("MODIFIED", "9", A), id="older than the last"),
        pytest.param(WatchEvent("BOOKMARK", "9"), id="a bookmark of the past"),
        pytest.param(WatchEvent("MODIFIED", "", A), id="without a version"),
        pytest.param(WatchEvent("ADDED", "11"), id="without an object"),
        pytest.param(WatchEvent("RENAMED", "11", A), id="of an unknown type"),
    ],
)
def test_an_impossible_event_leads_to_a_new_list(event: WatchEvent[Pod]) -> None:
    after = step(watching(10), Received(event), 101.0)
    assert (after.state, after.write) == (pausing(seen=10, resume=False), None)
    assert isinstance(after.ask, Pause)
    assert isinstance(after.ask.because, BadAnswer)


@pytest.mark.parametrize(
    ("over", "resume"),
    [
        (Ended(), True),
        (Failed(CUT), True),
        (Failed(Unauthorized("rotated", status=401)), True),
        (Failed(Forbidden("RBAC", status=403)), True),
        (Failed(TooManyRequests("wait", status=429)), True),
        (Failed(ApiError("too large resource version", status=504)), True),
        (Failed(ApiError("no upstream", status=503)), True),
        (Failed(GONE), False),
        (Failed(NotFound("CRD deleted", status=404)), False),
        (Failed(Invalid("bad version", status=400)), False),
        (Failed(ApiError("etcd is unhappy", status=500)), False),
        (Failed(ApiError("cannot decode")), False),
        (Failed(RecursionError()), False),
    ],
    ids=lambda value: repr(getattr(value, "error", value)),
)
def test_how_a_watch_ends_decides_between_resume_and_relist(
    over: Ended | Failed, resume: bool
) -> None:
    after = step(watching(10), over, 101.0)
    assert after.state == pausing(seen=10, resume=resume)
    assert after.ask == Pause(0.8, getattr(over, "error", None))


def test_delays_double_to_thirty_seconds_and_a_healthy_watch_resets_them() -> None:
    state, delays = watching(10), []
    for _ in range(8):
        after = step(state, Ended(), OPENED + 29.9)
        delays.append(after.ask.seconds)  # type: ignore[union-attr]
        state = Watching(after.state.memory, OPENED)
    assert delays == pytest.approx([0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0])
    assert step(state, Ended(), OPENED + 30.0).ask == Pause(0.8, None)


def test_a_server_that_listens_again_is_found_within_two_delays() -> None:
    state, delays = pausing(seen=10, resume=True, failures=6), []
    for error in (NotListening("refused"),) * 3 + (CUT,):
        woke = step(state, Woke(), OPENED)
        after = step(woke.state, Failed(error), OPENED)
        assert isinstance(after.ask, Pause)
        assert isinstance(after.state, Pausing)
        state = after.state
        delays.append(after.ask.seconds)
    assert delays == [1.6, 1.6, 1.6, 3.2], "and what comes then is not punished for it"


def test_retry_after_is_a_minimum() -> None:
    patient = TooManyRequests("wait", status=429, retry_after=9.0)
    assert step(watching(failures=0), Failed(patient), 101.0).ask == Pause(9.0, patient)
    assert step(watching(failures=5), Failed(patient), 101.0).ask == Pause(25.6, patient)


def test_an_input_that_cannot_be_is_a_bug() -> None:
    with pytest.raises(TypeError, match="Listed cannot follow Watching"):
        step(watching(), Listed(Page((), "1")), 0.0)
