"""Key -> what the caches know about it."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

from evc.controller.observer import ClaimObserver, Unobserved
from evc.kube.resources import WORKLOADS
from evc.model.core import Job, PersistentVolumeClaim, Pod, Workload
from evc.model.evc import GROUP, PLURAL, EphemeralVolumeClaim
from evc.model.meta import Key, T
from evc.policy.mapping import buckets, marked_for, wanted_buckets
from evc.policy.observed import Observed
from evc.policy.owners import as_owner
from evc.policy.template import left_behind
from evc.policy.usage import designated, makes_users
from evc.runtime.store import Indexers, Store

LABELS = "labels"
"""Index of pods and of what makes them by `evc.policy.mapping.Bucket` of the pods' labels."""
VOLUME = "volume"
"""Index of pods and of what makes them by the key of each PersistentVolumeClaim they use."""
UID = "uid"
OWNER = "owner"
"""Index of PersistentVolumeClaims by the key their mark names."""

POD_INDEXERS: Indexers[Pod] = {
    LABELS: lambda pod: buckets(pod.metadata.namespace, pod.metadata.labels),
    VOLUME: lambda pod: (Key(pod.metadata.namespace, name) for name in pod.claim_names),
}
WORKLOAD_INDEXERS: Indexers[Job | Workload] = {
    LABELS: lambda maker: buckets(maker.metadata.namespace, maker.template.metadata.labels),
    VOLUME: lambda maker: (
        Key(maker.metadata.namespace, name) for name in maker.template.spec.claim_names
    ),
}
JOB_INDEXERS: Indexers[Job] = {**WORKLOAD_INDEXERS, UID: lambda job: (job.metadata.uid,)}
PVC_INDEXERS: Indexers[PersistentVolumeClaim] = {
    OWNER: lambda claim: filter(None, (marked_for(claim),))
}


@dataclass(frozen=True)
class Caches:
    """The informers' stores."""

    claims: Store[EphemeralVolumeClaim] = field(default_factory=lambda: Store({}))
    pvcs: Store[PersistentVolumeClaim] = field(default_factory=lambda: Store(PVC_INDEXERS))
    pods: Store[Pod] = field(default_factory=lambda: Store(POD_INDEXERS))
    jobs: Store[Job] = field(default_factory=lambda: Store(JOB_INDEXERS))
    workloads: Mapping[str, Store[Workload]] = field(
        default_factory=lambda: {kind: Store(WORKLOAD_INDEXERS) for kind in WORKLOADS}
    )
    """By kind."""


@dataclass
class OwnWrites:
    """The last resourceVersions we wrote, until the caches have seen them (KEP-5647).

    A decision on a cache that does not know what we did a moment ago would do it again.
    """

    caches: Caches
    observer: ClaimObserver = field(default_factory=Unobserved)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _claims: dict[Key, str] = field(default_factory=dict)
    _pvcs: dict[Key, str] = field(default_factory=dict)

    def wrote_claim(self, evc: EphemeralVolumeClaim) -> None:
        """Remember a write to an EphemeralVolumeClaim."""
        with self._lock:
            self._claims[evc.metadata.key] = evc.metadata.resource_version

    def wrote_pvc(self, claim: PersistentVolumeClaim) -> None:
        """Remember a write to a PersistentVolumeClaim."""
        with self._lock:
            self._pvcs[claim.metadata.key] = claim.metadata.resource_version

    def visible(self, key: Key) -> bool:
        """Whether the caches have seen all we wrote for this key."""
        with self._lock:
            for store, written, of in (
                (self.caches.claims, self._claims, (GROUP, PLURAL)),
                (self.caches.pvcs, self._pvcs, ("", "persistentvolumeclaims")),
            ):
                version = written.get(key)
                if version is None:
                    continue
                if not store.has_seen(version):
                    self.observer.stale(*of)
                    return False
                del written[key]
        return True


def gather(caches: Caches, key: Key) -> Observed | None:
    """Return what the caches know; None if neither the object nor a claim it left exists."""
    evc = caches.claims.get(key)
    if evc is not None:
        claim = caches.pvcs.get(Key(key.namespace, evc.claim_name))
    else:
        marked = caches.pvcs.by_index(OWNER, key)
        claim = next((claim for claim in marked if left_behind(claim)), None)
        if claim is None:
            return None
    seen = surroundings(evc, claim, caches.pods, caches.jobs)
    if evc is None or claim is None:
        return seen
    return replace(seen, owners=tuple(map(as_owner, workloads_near(evc, caches))))


def workloads_near(evc: EphemeralVolumeClaim, caches: Caches) -> list[Workload]:
    """Return the built-in workloads whose pods would use the claim, found by their template.

    A Deployment counts besides its ReplicaSets: with strategy Recreate there is a moment in
    which it wants pods and none of its ReplicaSets does.
    """
    volume = Key(evc.metadata.namespace, evc.claim_name)
    stores = caches.workloads.values()
    return [workload for store in stores for workload in _making(store, volume, evc).values()]


Maker = TypeVar("Maker", Job, Workload)


class Indexed(Protocol[T]):
    """Where things of one kind are found: a cache, or what was just read from etcd."""

    def by_index(self, index: str, value: Hashable) -> list[T]:
        """Return the objects which ``index`` files under ``value``."""

    def by_rarest(self, index: str, values: Iterable[Hashable]) -> list[T]:
        """Return the objects filed under that one of ``values`` which has the fewest."""


def surroundings(
    evc: EphemeralVolumeClaim | None,
    claim: PersistentVolumeClaim | None,
    pods: Indexed[Pod],
    jobs: Indexed[Job],
) -> Observed:
    """Find those pods and Jobs that are about this claim, without a look at the others."""
    if evc is not None:
        volume = Key(evc.metadata.namespace, evc.claim_name)
    else:
        assert claim is not None  # without an object there is a claim it left
        volume = claim.metadata.key
    near = {pod.metadata.key: pod for pod in pods.by_index(VOLUME, volume)}
    makers = _making(jobs, volume, evc)
    if evc is not None:
        for pod in pods.by_rarest(LABELS, wanted_buckets(evc)):
            if designated(pod, evc):
                near[pod.metadata.key] = pod
    controllers = {
        owner.uid
        for pod in near.values()
        for owner in pod.metadata.owner_references
        if owner.controller
    }
    for uid in controllers:
        makers |= {job.metadata.key: job for job in jobs.by_index(UID, uid)}
    return Observed(evc=evc, claim=claim, pods=tuple(near.values()), jobs=tuple(makers.values()))


def _making(
    makers: Indexed[Maker], volume: Key, evc: EphemeralVolumeClaim | None
) -> dict[Key, Maker]:
    """Return those whose pods would be designated or reference the claim."""
    near = {maker.metadata.key: maker for maker in makers.by_index(VOLUME, volume)}
    if evc is not None:
        for maker in makers.by_rarest(LABELS, wanted_buckets(evc)):
            if makes_users(maker.template, volume.name, evc):
                near[maker.metadata.key] = maker
    return near
