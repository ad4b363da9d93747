"""From a changed object to the keys of the EphemeralVolumeClaims it concerns."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable

from evc.model.core import PersistentVolumeClaim, Pod, PodTemplate
from evc.model.evc import OWNER_NAME, OWNER_UID, EphemeralVolumeClaim
from evc.model.meta import Key, Meta
from evc.policy.usage import matches

Bucket = tuple[str, str, str]
"""Namespace and one label pair; the empty pair files everything of the namespace."""


def buckets(namespace: str, labels: dict[str, str]) -> list[Bucket]:
    """Return where something with these labels is filed."""
    return [(namespace, "", ""), *((namespace, *pair) for pair in labels.items())]


def wanted_buckets(evc: EphemeralVolumeClaim) -> list[Bucket]:
    """Return the buckets each of which holds everything that the selector can match."""
    pairs = list(evc.spec.pod_selector.match_labels.items()) or [("", "")]
    return [(evc.metadata.namespace, *pair) for pair in pairs]


class Designations:
    """Which EphemeralVolumeClaims select pods with given labels, in O(labels).

    Each claim stands in the least crowded bucket of its selector's, so a pod that
    concerns nobody is looked up once per label and costs no reconcile, and a label that
    all claims share crowds none.  Written by the informer of the claims, read by those
    of pods and Jobs.  It also knows who names which volume.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._buckets: defaultdict[Bucket, dict[Key, EphemeralVolumeClaim]] = defaultdict(dict)
        self._filed: dict[Key, Bucket] = {}
        self._takers: defaultdict[Key, set[Key]] = defaultdict(set)

    def change(self, old: EphemeralVolumeClaim | None, new: EphemeralVolumeClaim | None) -> None:
        """Follow one change of a claim."""
        with self._lock:
            if old is not None and old.metadata.key in self._filed:
                self._remove(old)
            if new is not None:
                bucket = min(wanted_buckets(new), key=lambda b: len(self._buckets.get(b, ())))
                self._filed[new.metadata.key] = bucket
                self._buckets[bucket][new.metadata.key] = new
                self._takers[_claim(new)].add(new.metadata.key)

    def _remove(self, old: EphemeralVolumeClaim) -> None:
        bucket, taken = self._filed.pop(old.metadata.key), _claim(old)
        del self._buckets[bucket][old.metadata.key]
        if not self._buckets[bucket]:
            del self._buckets[bucket]
        self._takers[taken].discard(old.metadata.key)
        if not self._takers[taken]:
            del self._takers[taken]

    def keys(self, namespace: str, labels: dict[str, str]) -> set[Key]:
        """Return the claims of the namespace whose selector matches the labels."""
        with self._lock:
            candidates = [
                evc
                for bucket in buckets(namespace, labels)
                for evc in self._buckets.get(bucket, {}).values()
            ]
        return {e.metadata.key for e in candidates if matches(e.spec.pod_selector, labels)}

    def takers(self, claim: Key) -> set[Key]:
        """Return who makes or takes over the PersistentVolumeClaim of that name."""
        with self._lock:
            return set(self._takers.get(claim, ()))


def _claim(evc: EphemeralVolumeClaim) -> Key:
    return Key(evc.metadata.namespace, evc.claim_name)


ClaimKeys = Callable[[Key], set[Key]]
"""From the name of a PersistentVolumeClaim to whom it concerns."""


def keys_of_pod(pod: Pod, designations: Designations, of_claim: ClaimKeys) -> set[Key]:
    """Return whom a pod concerns: who selects it, and whose volume it references."""
    namespace = pod.metadata.namespace
    keys = designations.keys(namespace, pod.metadata.labels)
    return keys.union(*(of_claim(Key(namespace, name)) for name in pod.claim_names))


def keys_of_template(
    namespace: str, template: PodTemplate, designations: Designations, of_claim: ClaimKeys
) -> set[Key]:
    """Return whom a Job or workload concerns, by the pods it makes."""
    meta = Meta(namespace=namespace, labels=template.metadata.labels)
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
