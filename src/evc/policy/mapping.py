"""From a changed object to the keys of the EphemeralVolumeClaims it concerns."""

from __future__ import annotations

import threading
from collections import defaultdict

from evc.model.core import Job, PersistentVolumeClaim, Pod
from evc.model.evc import OWNER_NAME, OWNER_UID, EphemeralVolumeClaim
from evc.model.meta import Key
from evc.policy.usage import matches

Bucket = tuple[str, str, str]


class Designations:
    """Which EphemeralVolumeClaims select pods with given labels, in O(labels).

    Each claim stands under one of its selector's label pairs (or, if it has only
    expressions, under its namespace), so a pod that concerns nobody is looked up
    once per label and costs no reconcile.  Written by the informer of the claims,
    read by those of pods and Jobs.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._buckets: defaultdict[Bucket, dict[Key, EphemeralVolumeClaim]] = defaultdict(dict)

    def change(self, old: EphemeralVolumeClaim | None, new: EphemeralVolumeClaim | None) -> None:
        """Follow one change of a claim."""
        with self._lock:
            if old is not None:
                bucket = _bucket(old)
                self._buckets[bucket].pop(old.metadata.key, None)
                if not self._buckets[bucket]:
                    del self._buckets[bucket]
            if new is not None:
                self._buckets[_bucket(new)][new.metadata.key] = new

    def keys(self, namespace: str, labels: dict[str, str]) -> set[Key]:
        """Return the claims of the namespace whose selector matches the labels."""
        with self._lock:
            buckets = [(namespace, "", ""), *((namespace, *pair) for pair in labels.items())]
            candidates = [
                evc for bucket in buckets for evc in self._buckets.get(bucket, {}).values()
            ]
        return {e.metadata.key for e in candidates if matches(e.spec.pod_selector, labels)}


def _bucket(evc: EphemeralVolumeClaim) -> Bucket:
    pair = min(evc.spec.pod_selector.match_labels.items(), default=("", ""))
    return (evc.metadata.namespace, *pair)


def keys_of_pod(pod: Pod, designations: Designations) -> set[Key]:
    """Return whom a pod concerns: who selects it, and whose volume it references."""
    namespace = pod.metadata.namespace
    return designations.keys(namespace, pod.metadata.labels) | {
        Key(namespace, name) for name in pod.claim_names
    }


def keys_of_job(job: Job, designations: Designations) -> set[Key]:
    """Return whom a Job concerns, by the pods it makes."""
    pod = Pod(job.metadata, job.spec.template.spec)
    namespace = job.metadata.namespace
    return designations.keys(namespace, job.spec.template.metadata.labels) | {
        Key(namespace, name) for name in pod.claim_names
    }


def keys_of_claim(claim: PersistentVolumeClaim) -> set[Key]:
    """Return whom a PersistentVolumeClaim concerns: its namesake and the one it is marked for."""
    keys = {claim.metadata.key}
    if OWNER_UID in claim.metadata.annotations:
        owner = claim.metadata.annotations.get(OWNER_NAME, claim.metadata.name)
        keys.add(Key(claim.metadata.namespace, owner))
    return keys
