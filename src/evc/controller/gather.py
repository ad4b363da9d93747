"""Key -> what the caches know about it."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

from evc.model.core import Job, PersistentVolumeClaim, Pod
from evc.model.evc import EphemeralVolumeClaim
from evc.model.meta import Key
from evc.policy.observed import Observed
from evc.policy.usage import designated, makes_users
from evc.runtime.store import Store

NAMESPACE = "namespace"
"""Index of pods and Jobs by namespace."""
OWNER = "owner"
"""Index of PersistentVolumeClaims by the key their mark names."""


@dataclass(frozen=True)
class Caches:
    """The informers' stores."""

    claims: Store[EphemeralVolumeClaim]
    pvcs: Store[PersistentVolumeClaim]
    pods: Store[Pod]
    jobs: Store[Job]


@dataclass
class OwnWrites:
    """The last resourceVersions we wrote, until the caches have seen them (KEP-5647).

    A decision on a cache that does not know what we did a moment ago would do it again.
    """

    caches: Caches
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
            for store, written in (
                (self.caches.claims, self._claims),
                (self.caches.pvcs, self._pvcs),
            ):
                version = written.get(key)
                if version is None:
                    continue
                if not store.has_seen(version):
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
        claim = next((claim for claim in marked if claim.metadata.deleting), None)
        if claim is None:
            return None
    pods = caches.pods.by_index(NAMESPACE, key.namespace)
    jobs = caches.jobs.by_index(NAMESPACE, key.namespace)
    return surroundings(evc, claim, pods, jobs)


def surroundings(
    evc: EphemeralVolumeClaim | None,
    claim: PersistentVolumeClaim | None,
    pods: Iterable[Pod],
    jobs: Iterable[Job],
) -> Observed:
    """Keep of a namespace's pods and Jobs those that are about this claim."""
    claim_name = claim.metadata.name if claim is not None else ""
    if evc is not None:
        claim_name = evc.claim_name
    near = tuple(
        pod
        for pod in pods
        if claim_name in pod.claim_names or (evc is not None and designated(pod, evc))
    )
    controllers = {o.uid for pod in near for o in pod.metadata.owner_references if o.controller}
    return Observed(
        evc=evc,
        claim=claim,
        pods=near,
        jobs=tuple(
            job
            for job in jobs
            if job.metadata.uid in controllers or makes_users(job.spec.template, claim_name, evc)
        ),
    )
