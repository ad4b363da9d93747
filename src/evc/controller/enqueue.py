"""From a change in a cache to keys on the queue: the way in."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from evc.controller.gather import OWNER, Caches
from evc.model.core import Job, PersistentVolumeClaim, Pod, Workload
from evc.model.evc import EphemeralVolumeClaim
from evc.model.meta import Key, T
from evc.policy.mapping import Designations, keys_of_claim, keys_of_pod, keys_of_template
from evc.policy.status import decided
from evc.runtime.queue import Priority, RateLimitingQueue
from evc.runtime.store import Store


class Enqueue:
    """The informers' handlers: each is told (old, new) after its cache has changed.

    Both versions count: a label that is taken off a pod concerns who selected it before.
    """

    def __init__(
        self, caches: Caches, queue: RateLimitingQueue, designations: Designations
    ) -> None:
        self._caches = caches
        self._queue = queue
        self._designations = designations

    def claim_changed(
        self, old: EphemeralVolumeClaim | None, new: EphemeralVolumeClaim | None
    ) -> None:
        """An EphemeralVolumeClaim concerns itself, and changes whom pods concern.

        A new one comes first: pods wait for its volume, for a deletion nobody does.
        """
        self._designations.change(old, new)
        live = Priority.HIGH if old is None else _live(new is not None and decided(new))
        self._add(self._caches.claims, lambda evc: {evc.metadata.key}, (old, new), live)

    def pvc_changed(
        self, old: PersistentVolumeClaim | None, new: PersistentVolumeClaim | None
    ) -> None:
        """A PersistentVolumeClaim concerns who wants it and whose mark it bears."""
        self._add(
            self._caches.pvcs,
            lambda claim: keys_of_claim(claim, self._designations),
            (old, new),
            _live(new is not None and new.metadata.deleting),
        )

    def pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        """A pod concerns who selects it and whose volume it references."""
        self._add(
            self._caches.pods,
            lambda pod: keys_of_pod(pod, self._designations, self._of_claim),
            (old, new),
        )

    def job_changed(self, old: Job | None, new: Job | None) -> None:
        """A Job concerns whom its pods would."""
        self._add(self._caches.jobs, self._of_maker, (old, new))

    def workload_changed(self, kind: str, old: Workload | None, new: Workload | None) -> None:
        """So does a Deployment or another of the kinds of `Caches.workloads`."""
        self._add(self._caches.workloads[kind], self._of_maker, (old, new))

    def _add(
        self,
        store: Store[Any],
        keys_of: Callable[[T], set[Key]],
        versions: Iterable[T | None],
        live: Priority = Priority.NORMAL,
    ) -> None:
        # What was there before we started can wait.
        priority = live if store.synced else Priority.LOW
        keys = set().union(*(keys_of(item) for item in versions if item is not None))
        for key in keys:
            if self._concerns_us(key):
                self._queue.add(key, priority)

    def _concerns_us(self, key: Key) -> bool:
        """Whether there is anything to reconcile: most pods' volumes are nobody's here."""
        if self._caches.claims.get(key) is not None:
            return True
        return bool(self._caches.pvcs.by_index(OWNER, key))

    def _of_maker(self, maker: Job | Workload) -> set[Key]:
        namespace = maker.metadata.namespace
        return keys_of_template(namespace, maker.template, self._designations, self._of_claim)

    def _of_claim(self, key: Key) -> set[Key]:
        claim = self._caches.pvcs.get(key)
        takers = self._designations.takers(key)
        return takers if claim is None else takers | keys_of_claim(claim, self._designations)


def _live(leaving: bool) -> Priority:
    """Return the priority of a change; DELETEs that are due overtake what was sent one.

    The settle time and a claim that is gone are NORMAL; only pods that ``completedPods: Delete``
    is to delete, and what status says of pins, wait for those DELETEs.
    """
    return Priority.LOW if leaving else Priority.NORMAL
