"""From a changed object to the keys of the EphemeralVolumeClaims it concerns."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable

from evc.model.core import Job, PersistentVolumeClaim, Pod
from evc.model.evc import OWNER_NAME, OWNER_UID, EphemeralVolumeClaim
from evc.model.meta import Key, ObjectMeta
from evc.policy.usage import matches

Bucket = tuple[str, str, str]


class Designations:
    """Which EphemeralVolumeClaims select pods with given labels, in O(labels).

    Each claim stands under one of its selector's label pairs (or, if it has only
    expressions, under its namespace), so a pod that concerns nobody is looked up
    once per label and costs no reconcile.  Written by the informer of the claims,
    read by those of pods and Jobs.  It also knows who names which volume.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._buckets: defaultdict[Bucket, dict[Key, EphemeralVolumeClaim]] = defaultdict(dict)
        self._takers: defaultdict[Key, set[Key]] = defaultdict(set)

    def change(self, old: EphemeralVolumeClaim | None, new: EphemeralVolumeClaim | None) -> None:
        """Follow one change of a claim."""
        with self._lock:
            if old is not None:
                bucket = _bucket(old)
                self._buckets[bucket].pop(old.metadata.key, None)
                if not self._buckets[bucket]:
                    del self._buckets[bucket]
                self._takers[_claim(old)].discard(old.metadata.key)
                if not self._takers[_claim(old)]:
                    del self._takers[_claim(old)]
            if new is not None:
                self._buckets[_bucket(new)][new.metadata.key] = new
                self._takers[_claim(new)].add(new.metadata.key)

    def keys(self, namespace: str, labels: dict[str, str]) -> set[Key]:
        """Return the claims of the namespace whose selector matches the labels."""
        with self._lock:
            buckets = [(namespace, "", ""), *((namespace, *pair) for pair in labels.items())]
            candidates = [
                evc for bucket in buckets for evc in self._buckets.get(bucket, {}).values()
            ]
        return {e.metadata.key for e in candidates if matches(e.spec.pod_selector, labels)}

    def takers(self, claim: Key) -> set[Key]:
        """Return who makes or takes over the PersistentVolumeClaim of that name."""
        with self._lock:
            return set(self._takers.get(claim, ()))


def _claim(evc: EphemeralVolumeClaim) -> Key:
    return Key(evc.metadata.namespace, evc.claim_name)


def _bucket(evc: EphemeralVolumeClaim) -> Bucket:
    pair = min(evc.spec.pod_selector.match_labels.items(), default=("", ""))
    return (evc.metadata.namespace, *pair)


ClaimKeys = Callable[[Key], set[Key]]
"""From the name of a PersistentVolumeClaim to whom it concerns."""


def keys_of_pod(pod: Pod, designations: Designations, of_claim: ClaimKeys) -> set[Key]:
    """Return whom a pod concerns: who selects it, and whose volume it references."""
    namespace = pod.metadata.namespace
    keys = designations.keys(namespace, pod.metadata.labels)
    return keys.union(*(of_claim(Key(namespace, name)) for name in pod.claim_names))


def keys_of_job(job: Job, designations: Designations, of_claim: ClaimKeys) -> set[Key]:
    """Return whom a Job concerns, by the pods it makes."""
    template = job.spec.template
    meta = ObjectMeta(namespace=job.metadata.namespace, labels=template.metadata.labels)
    return keys_of_pod(Pod(meta, template.spec), designations, of_claim)


def keys_of_claim(claim: PersistentVolumeClaim, designations: Designations) -> set[Key]:
    """Return whom a PersistentVolumeClaim concerns: who wants it, and whose mark it bears."""
    keys = designations.takers(claim.metadata.key)
    owner = marked_for(claim)
    return keys | {owner} if owner is not None else keys


def marked_for(claim: PersistentVolumeClaim) -> Key | None:
    """Return the name of the EphemeralVolumeClaim the mark names; None without a mark."""
    annotations = claim.metadata.annotations
    if OWNER_UID not in annotations:
        return None
    return Key(claim.metadata.namespace, annotations.get(OWNER_NAME, claim.metadata.name))
