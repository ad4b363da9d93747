"""One live read of a namespace for all the claims that waited for it.

A consistent LIST of pods costs the API server the same for one claim as for a thousand
that end together, so no claim has one of its own.  A claim *asks* and is left; its
namespace goes on a queue of its own, whose workers do nothing but read, since a LIST is
mostly waiting; afterwards every claim that asked comes again and finds what was read.  The
queue's promises (a key is once on it, never with two workers, and again if added meanwhile)
make this sound: what a claim is given was read from the beginning to the end after it had
asked, and it has not stopped wanting it since.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Generic, NamedTuple

from evc.controller.gather import JOB_INDEXERS, POD_INDEXERS, Indexed
from evc.controller.mounts import Mounts
from evc.kube.client import Client
from evc.kube.resources import JOBS, PODS
from evc.model.core import Job, PersistentVolumeClaim, Pod
from evc.model.evc import EphemeralVolumeClaim
from evc.model.meta import Key, Page, T
from evc.policy.decide import departing
from evc.runtime.store import Indexers

MAX_AGE = 2.0
"""Seconds from the end of a read within which a decision may rest on it.

Not from its beginning: an API server that needs longer than this for an answer would keep
every claim from being decided, for ever.
"""

Together = Callable[[Sequence[Callable[[], Any]]], list[Any]]


class Stage(NamedTuple):
    """How far a claim is in its life, on which depends what has to be read."""

    uid: str = ""
    """Empty: there is no claim."""
    deleting: bool = False
    """Whether it gets no new users, whoever wants them."""
    departing: bool = False
    """Whether only pods can keep it."""


def stage(evc: EphemeralVolumeClaim | None, claim: PersistentVolumeClaim | None) -> Stage:
    """Return how far the claim is."""
    if claim is None:
        return Stage()
    return Stage(claim.metadata.uid, claim.metadata.deleting, departing(evc, claim))


def one_by_one(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """Make the calls in this thread, in order."""
    return [call() for call in calls]


def namespace_key(namespace: str) -> Key:
    """Return the key of the Namespace, which itself is in none."""
    return Key("", namespace)


@dataclass(frozen=True)
class Surroundings:
    """What was read: everything that may use a volume, and the Jobs, which may have no pod yet."""

    jobs: Indexed[Job]
    pods: Indexed[Pod]
    mounts: Mounts
    time: datetime | None
    """The API server's clock when it listed the pods."""


@dataclass(frozen=True)
class Shared:
    """What one claim is given."""

    surroundings: Surroundings
    stage: Stage
    """How far the claim was when it asked."""


@dataclass(frozen=True)
class _Given:
    shared: Shared
    until: float


class SharedReads:
    """Collects who needs a live read of a namespace, reads, and calls them back."""

    def __init__(
        self,
        client: Client,
        read_soon: Callable[[Key], None],
        call: Callable[[Key], None],
        monotonic: Callable[[], float],
        together: Together = one_by_one,
    ) -> None:
        """``read_soon`` has `read` called for a namespace, ``call`` has a claim come again.

        A claim that is called should overtake others, or what was read is old when it comes.
        ``together`` makes several calls and returns what they do, or raises one's error.
        """
        self._client = client
        self._read_soon = read_soon
        self._call = call
        self._monotonic = monotonic
        self._together = together
        self._lock = threading.Lock()
        self._waiting: defaultdict[str, dict[Key, Stage]] = defaultdict(dict)
        self._reading: dict[str, dict[Key, Stage]] = {}
        """Who had asked before the read began that is under way."""
        self._given: dict[Key, _Given] = {}

    def ask(self, key: Key, at: Stage) -> None:
        """Have the namespace read; the key is called when that is done.

        Who asks again while it is being read is given that read, unless it is at another stage.
        While a read that failed waits for its retry, its backoff is left alone.
        """
        with self._lock:
            reading = self._reading.get(key.namespace, {})
            if reading.get(key) == at:
                return
            reading.pop(key, None)
            waiting = self._waiting[key.namespace]
            first = not waiting
            waiting[key] = at
        if first:
            self._read_soon(namespace_key(key.namespace))

    def take(self, key: Key) -> Shared | None:
        """Return, once, what was read since this key asked."""
        with self._lock:
            given = self._given.pop(key, None)
        return given.shared if given is not None and self._monotonic() <= given.until else None

    def drop(self, key: Key) -> None:
        """Forget that this key asked, and what was or is being read for it.

        What it asked for has changed: should it ask again, all that was read before is too old.
        """
        with self._lock:
            self._given.pop(key, None)
            for asked in (self._waiting, self._reading):
                asked.get(key.namespace, {}).pop(key, None)

    def read(self, namespace: Key) -> float | None:
        """Read for all who asked; on an error nobody is called, and the same again later.

        Returns after how many seconds what nobody came for can be forgotten.
        """
        name = namespace.name
        with self._lock:
            asked = self._reading[name] = self._waiting.pop(name, {})
            stages = tuple(asked.values())
        try:
            read = self._read(name, stages) if stages else None
        except Exception:
            with self._lock:
                self._waiting[name] = self._reading.pop(name) | self._waiting[name]
            raise
        with self._lock:
            del self._reading[name]  # from here on nobody changes `asked`
            now = self._monotonic()
            self._given = {key: given for key, given in self._given.items() if given.until >= now}
            if read is not None:
                until = now + MAX_AGE
                self._given |= {key: _Given(Shared(read, at), until) for key, at in asked.items()}
            kept = any(key.namespace == name for key in self._given)
        for key in asked:
            self._call(key)
        return MAX_AGE if kept else None

    def _read(self, namespace: str, stages: Collection[Stage]) -> Surroundings:
        # At the same time, since each LIST may wait 0.1 s until the API server knows its cache
        # to be fresh (KEP-2340).  The order in which they are answered does not matter: a pod
        # that is made and a Job that goes away between the two would need to do so within one
        # read, and the pod is then one that came after the last look, as any other.
        # All pods, completed ones too: one that started and ended unseen by the cache
        # used the volume, and its end starts the grace period.
        calls: list[Callable[[], Page[Any]]] = [partial(self._client.list, PODS, namespace)]
        if not all(at.departing for at in stages):
            calls.append(partial(self._client.list, JOBS, namespace))
        pods, *jobs = self._together(calls)
        return Surroundings(
            Listed((job for page in jobs for job in page.items), JOB_INDEXERS),
            Listed(pods.items, POD_INDEXERS),
            Mounts(self._client),
            pods.time,
        )


class Listed(Generic[T]):
    """A list, found through the same indices as a cache."""

    def __init__(self, items: Iterable[T], indexers: Indexers[T]) -> None:
        self._filed: Mapping[str, dict[Hashable, list[T]]] = {name: {} for name in indexers}
        for item in items:
            for name, values in indexers.items():
                for value in values(item):
                    self._filed[name].setdefault(value, []).append(item)

    def by_index(self, index: str, value: Hashable) -> list[T]:
        """See `evc.controller.gather.Indexed`."""
        return self._filed[index].get(value, [])

    def by_rarest(self, index: str, values: Iterable[Hashable]) -> list[T]:
        """See `evc.controller.gather.Indexed`."""
        filed = self._filed[index]
        return min((filed.get(value, []) for value in values), key=len)
