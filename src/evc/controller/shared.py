"""One live read of a namespace for all the claims that waited for it.

A consistent LIST of pods costs the API server the same for one claim as for a thousand
that end together, so no claim has one of its own.  A claim *asks* and is left; the
namespace itself becomes a key on the queue, whose turn is the read; afterwards every
claim that asked comes again and finds what was read.  The queue's own promises (a key is
once on it, never with two workers, and again if added meanwhile) make this sound: what a
claim is given was read from the beginning to the end after it had asked.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Generic

from evc.controller.gather import JOB_INDEXERS, POD_INDEXERS, Indexed
from evc.controller.mounts import Mounts
from evc.controller.owners import Workloads, list_workloads
from evc.kube.client import Client
from evc.kube.resources import JOBS, PODS
from evc.model.core import Job, PersistentVolumeClaim, Pod
from evc.model.errors import ApiError
from evc.model.meta import Key, T
from evc.runtime.store import Indexers

MAX_AGE = 2.0
"""Seconds from the end of a read within which a decision may rest on it.

Not from its beginning: an API server that needs longer than this for an answer would keep
every claim from being decided, for ever.
"""

Stage = tuple[str, bool] | None
"""How far a claim is in its life: its uid and whether it is being deleted; None: not there."""


def stage(claim: PersistentVolumeClaim | None) -> Stage:
    """Return how far the claim is."""
    return (claim.metadata.uid, claim.metadata.deleting) if claim is not None else None


def namespace_key(namespace: str) -> Key:
    """Return the key that stands for the namespace itself: no object has an empty name."""
    return Key(namespace, "")


@dataclass(frozen=True)
class Surroundings:
    """What was read: everything that may use a volume or make pods that do."""

    workloads: Workloads
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
class _Round:
    read: Surroundings
    ended: float
    asked: dict[Key, Stage]
    """Who still has to come, and how far its claim was when it asked."""


class SharedReads:
    """Collects who needs a live read of a namespace, reads, and calls them back."""

    def __init__(
        self, client: Client, enqueue: Callable[[Key], None], monotonic: Callable[[], float]
    ) -> None:
        self._client = client
        self._enqueue = enqueue
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._waiting: defaultdict[str, dict[Key, Stage]] = defaultdict(dict)
        self._rounds: dict[str, _Round] = {}

    def ask(self, key: Key, claim: PersistentVolumeClaim | None) -> None:
        """Have the namespace read; the key is enqueued when that is done.

        While a read that failed waits for its retry, its backoff is left alone.
        """
        with self._lock:
            waiting = self._waiting[key.namespace]
            first = not waiting
            waiting[key] = stage(claim)
        if first:
            self._enqueue(namespace_key(key.namespace))

    def take(self, key: Key) -> Shared | None:
        """Return, once, what was read since this key asked."""
        with self._lock:
            self._forget_old()
            found = self._rounds.get(key.namespace)
            if found is None or key not in found.asked:
                return None
            asked_at = found.asked.pop(key)
            if not found.asked:
                del self._rounds[key.namespace]
            return Shared(found.read, asked_at)

    def read(self, namespace: str) -> float | None:
        """Read for all who asked; ApiError: nobody is called, and the same again later.

        Returns after how many seconds what nobody came for can be forgotten.
        """
        with self._lock:
            self._forget_old()
            asked = self._waiting.pop(namespace, {})
        if not asked:
            return None
        try:
            read = self._read(namespace, asked)
        except ApiError:
            with self._lock:
                self._waiting[namespace] = asked | self._waiting[namespace]
            raise
        with self._lock:
            self._rounds[namespace] = _Round(read, self._monotonic(), asked)
        for key in list(asked):
            self._enqueue(key)
        return MAX_AGE

    def _read(self, namespace: str, asked: dict[Key, Stage]) -> Surroundings:
        # Makers of pods first: a pod made after they were read has one that was seen to
        # want it.  A claim that is being deleted gets no new users, whoever wants them.
        # All pods, completed ones too: one that started and ended unseen by the cache
        # used the volume, and its end starts the grace period.
        undecided = any(at is None or not at[1] for at in asked.values())
        workloads = list_workloads(self._client, namespace) if undecided else {}
        jobs = self._client.list(JOBS, namespace).items
        pods = self._client.list(PODS, namespace)
        return Surroundings(
            workloads,
            Listed(jobs, JOB_INDEXERS),
            Listed(pods.items, POD_INDEXERS),
            Mounts(self._client),
            pods.time,
        )

    def _forget_old(self) -> None:
        oldest = self._monotonic() - MAX_AGE
        for namespace, found in list(self._rounds.items()):
            if found.ended < oldest:
                del self._rounds[namespace]


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
