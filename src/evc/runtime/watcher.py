"""The list-and-watch protocol as one step function: no IO, no clock, no randomness.

This is kube-rs' watcher: every way in which a list or a watch can go on, break, be
refused or lie is an input, and `step` says what it leads to.  `evc.runtime.reflector`
performs the effects and lists what the two promise together.

    Pausing -> Streaming (or Paging) -> Watching -> Pausing -> ...
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Generic, NamedTuple, TypeAlias

from evc.model.errors import (
    ApiError,
    Expired,
    Forbidden,
    Invalid,
    NotListening,
    TooManyRequests,
    Unauthorized,
    Unreachable,
)
from evc.model.meta import Key, Page, T, WatchEvent
from evc.runtime.backoff import exponential
from evc.runtime.store import revision

# Client-go's reflector: 0.8 s keeps a server that closes watches at once near one
# request per second, 30 s is how late the end of an outage is noticed at worst.
MIN_DELAY = 0.8
MAX_DELAY = 30.0
# A refused connection costs a server nothing, and one that restarts is back in seconds: the
# delay doubles once, to 1.6 s.  Nor does it slow down what follows: 503 while it warms up.
REFUSED_DOUBLINGS = 1
# A watch that lived as long as the longest delay may be reopened at the shortest:
# that is no more than one request per MAX_DELAY, so it cannot be part of a storm.
HEALTHY_AFTER = MAX_DELAY
# The bookmark that ends a streaming list of 165,000 pods came within 60 s (KEP-3157,
# p99 without gzip).  Servers before 1.27 never send it and do not refuse either.
STREAMING_LIST_LIMIT = 60.0


class BadAnswer(Exception):
    """The server contradicts itself or the protocol: time went back, fields are missing."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What outlives a connection: the last revision, whether lists stream, failures in a row."""

    seen: int = 0
    streams: bool = True
    failures: int = 0


@dataclass(frozen=True, slots=True)
class Streaming(Generic[T]):
    """A streaming list has started and its closing bookmark has not come.

    ``found`` belongs to this state and moves on to the next one; copying it for
    each of 100,000 objects would be quadratic.
    """

    memory: Memory
    since: float
    found: dict[Key, T] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Paging(Generic[T]):
    """Some pages of a list are in ``found``; ``revision`` is the first one's."""

    memory: Memory
    found: dict[Key, T] = field(default_factory=dict)
    revision: str = ""


@dataclass(frozen=True, slots=True)
class Watching:
    """The cache is complete and follows the watch opened at ``since``.

    ``resumed``: it was opened without a list, and has not brought anything yet.
    """

    memory: Memory
    since: float
    resumed: bool = False


@dataclass(frozen=True, slots=True)
class Pausing:
    """Waiting before the next attempt, which resumes the watch or lists from scratch."""

    memory: Memory = Memory()
    resume: bool = False


State: TypeAlias = Streaming[T] | Paging[T] | Watching | Pausing


class Woke(NamedTuple):
    """The pause is over."""


class Listed(NamedTuple, Generic[T]):
    """A page came."""

    page: Page[T]


class Received(NamedTuple, Generic[T]):
    """The watch sent an event."""

    event: WatchEvent[T]


class Ended(NamedTuple):
    """The server closed the watch in good order."""


class Failed(NamedTuple):
    """A request, a stream or the cache failed."""

    error: Exception


Input: TypeAlias = Woke | Listed[T] | Received[T] | Ended | Failed


class Swap(NamedTuple, Generic[T]):
    """Replace the cache by a complete list."""

    objects: dict[Key, T]
    resource_version: str


class Put(NamedTuple, Generic[T]):
    """Add or update one object."""

    object: T
    resource_version: str


class Drop(NamedTuple, Generic[T]):
    """Remove one object."""

    object: T
    resource_version: str


class Advance(NamedTuple):
    """Move the cache's revision: nothing else happened up to it."""

    resource_version: str


class Pause(NamedTuple):
    """Do nothing for ``seconds`` (jitter not yet added); ``because`` of an error, if any."""

    seconds: float
    because: Exception | None


class ListPage(NamedTuple):
    """Read the next page, the first one without a token."""

    continue_token: str = ""


class OpenWatch(NamedTuple):
    """Watch from a revision, or with a streaming list first."""

    resource_version: str
    send_initial_events: bool


Write: TypeAlias = Swap[T] | Put[T] | Drop[T] | Advance
Ask: TypeAlias = Pause | ListPage | OpenWatch


class Step(NamedTuple, Generic[T]):
    """The next state; what to write first; what to do next (None: read on)."""

    state: State[T]
    write: Write[T] | None = None
    ask: Ask | None = None


def step(state: State[T], received: Input[T], now: float) -> Step[T]:
    """Return what one input leads to; ``now`` is monotonic seconds.

    Consumes ``state``: a list under way is extended in place.  After Ended and Failed
    there is always something to ask for.
    """
    match state, received:
        case Pausing(), Woke():
            return _begin(state, now)
        case Streaming(), Received(event):
            return _streaming_event(state, event, now)
        case Streaming(), Ended() | Failed():
            return _streaming_over(state, received, now)
        case Paging(), Listed(page):
            return _page(state, page, now)
        case Watching(), Received(event):
            return _event(state, event)
        case Watching(), Ended() | Failed():
            return _watch_over(state, received, now)
        case _, Failed(error):
            return _pause(state.memory, error, resume=False)
    raise TypeError(f"{type(received).__name__} cannot follow {type(state).__name__}")


def _begin(state: Pausing, now: float) -> Step[T]:
    memory = state.memory
    if state.resume:
        resumed = Watching(memory, now, resumed=True)
        return Step(resumed, ask=OpenWatch(str(memory.seen), False))
    if memory.streams:
        return Step(Streaming(memory, now), ask=OpenWatch("", True))
    return Step(Paging(memory), ask=ListPage())


def _streaming_event(state: Streaming[T], event: WatchEvent[T], now: float) -> Step[T]:
    if event.initial_events_end:
        return _complete(state.memory, state.found, event.resource_version, state.since)
    match _write(event):
        case Put(item):
            state.found[item.metadata.key] = item
        case Drop(item):
            state.found.pop(item.metadata.key, None)
        case None:
            error = BadAnswer(f"{event.type} in a streaming list")
            return _pause(state.memory, error, resume=False)
    if now - state.since > STREAMING_LIST_LIMIT:
        return _page_instead(state.memory)
    return Step(state)


def _streaming_over(state: Streaming[T], over: Ended | Failed, now: float) -> Step[T]:
    late = now - state.since > STREAMING_LIST_LIMIT
    if isinstance(over, Failed) and not isinstance(over.error, Invalid) and not late:
        return _pause(state.memory, over.error, resume=False)
    return _page_instead(state.memory)


def _page_instead(memory: Memory) -> Step[T]:
    # At once and without counting a failure: it can happen only once per process.
    # Should a restarting server have cut the stream, paging costs it some memory and
    # us nothing, so it is not worth finding out.
    return Step(Paging(replace(memory, streams=False)), ask=ListPage())


def _page(state: Paging[T], page: Page[T], now: float) -> Step[T]:
    state.found.update((item.metadata.key, item) for item in page.items)
    # All pages should be of one revision.  If they are not, watching from the first
    # one's replays whatever happened between them.
    since = state.revision or page.resource_version
    if page.continue_token:
        return Step(replace(state, revision=since), ask=ListPage(page.continue_token))
    done = _complete(state.memory, state.found, since, now)
    return done if done.ask else done._replace(ask=OpenWatch(since, False))


def _complete(memory: Memory, found: dict[Key, T], resource_version: str, since: float) -> Step[T]:
    seen = _revision(resource_version)
    if seen is None or seen < memory.seen:
        # An API server with a stale cache, or etcd restored from a backup.  To believe
        # it could take everything newer for deleted; a restart clears the cache.
        error = BadAnswer(f"list of {resource_version!r} after {memory.seen} was seen")
        return _pause(memory, error, resume=False)
    memory = Memory(seen, memory.streams, memory.failures)
    return Step(Watching(memory, since), write=Swap(found, resource_version))


def _event(state: Watching, event: WatchEvent[T]) -> Step[T]:
    memory = state.memory
    seen = _revision(event.resource_version)
    # A watch is ordered.  The same revision again is a repeated line, for the store to
    # ignore; an older one means that something is wrong which only a list can mend.
    write = _write(event)
    if seen is None or seen < memory.seen or write is None:
        error = BadAnswer(f"{event.type} of {event.resource_version!r} after {memory.seen}")
        return _pause(memory, error, resume=False)
    memory = Memory(seen, memory.streams, memory.failures)
    return Step(Watching(memory, state.since), write=write)


def _write(event: WatchEvent[T]) -> Write[T] | None:
    match event:
        case WatchEvent(type="BOOKMARK"):
            return Advance(event.resource_version)
        case WatchEvent(type="ADDED" | "MODIFIED", object=item) if item is not None:
            return Put(item, event.resource_version)
        case WatchEvent(type="DELETED", object=item) if item is not None:
            return Drop(item, event.resource_version)
    return None


def _watch_over(state: Watching, over: Ended | Failed, now: float) -> Step[T]:
    memory = state.memory
    if state.resumed and isinstance(over, Failed) and isinstance(over.error, Expired):
        # Its pause is behind it, and a list is all that this attempt can be.  After a list
        # no watch is resumed, so the next 410 does pause.
        return _begin(Pausing(memory), now)
    if now - state.since >= HEALTHY_AFTER:
        memory = replace(memory, failures=0)
    if isinstance(over, Failed):
        return _pause(memory, over.error, resume=_can_resume(over.error))
    return _pause(memory, None, resume=True)


def _can_resume(error: Exception) -> bool:
    """Whether the revision is still good; any doubt means a new list.

    Client-go lists again after all but the first and the third.  A permission that
    comes back, or a gateway that had no server, says nothing about the revision
    (504 with "Too large resource version" asks for exactly this: the same again).
    """
    resumable = (Unreachable, Unauthorized, TooManyRequests, Forbidden)
    gateway = isinstance(error, ApiError) and error.status in (502, 503, 504)
    return gateway or isinstance(error, resumable)


def _pause(memory: Memory, error: Exception | None, *, resume: bool) -> Step[T]:
    failures = memory.failures
    if isinstance(error, NotListening):
        failures = min(failures, REFUSED_DOUBLINGS)
    delay = exponential(failures, base=MIN_DELAY, cap=MAX_DELAY)
    if isinstance(error, ApiError) and error.retry_after is not None:
        delay = max(delay, error.retry_after)
    memory = replace(memory, failures=failures + 1)
    return Step(Pausing(memory, resume), ask=Pause(delay, error))


def _revision(resource_version: str) -> int | None:
    try:
        return revision(resource_version)
    except ValueError:
        return None
