"""Metrics of claims and volumes: what is held, what keeps it, and how it goes."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache

from cachetools import LRUCache
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from evc.model.core import PersistentVolumeClaim
from evc.model.evc import GROUP, OWNER_UID, PLURAL, EphemeralVolumeClaim, EphemeralVolumeClaimStatus
from evc.policy.blocked import Blocker, blocker
from evc.policy.quantity import parse
from evc.policy.reasons import READY, Reason
from evc.serving import catalogue

NEW = "Unknown"
"""The reason of a claim without status."""
OUTCOMES = ("Succeeded", "Failed", "Expired")
UNDER_WAY = 10_000
"""DELETEs whose end is measured at once; beyond it the oldest are not."""


class Volumes:
    """Follows PersistentVolumeClaims by their informer and DELETEs by the controller's word.

    A `evc.controller.observer.ClaimObserver` and an informer's handler.
    """

    def __init__(self, registry: CollectorRegistry, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._sent: LRUCache[str, float] = LRUCache(UNDER_WAY)
        self._held = catalogue.HELD_BYTES.gauge(registry)
        self._reclaimed = catalogue.RECLAIMED_BYTES.counter(registry)
        self._deletions = catalogue.DELETIONS.counter(registry)
        self._delay = catalogue.DELETION_DELAY.histogram(registry)
        self._seconds = catalogue.DELETION_SECONDS.histogram(registry)
        self._stale = catalogue.STALE_SKIPS.counter(registry)
        for outcome in OUTCOMES:
            self._deletions.labels(outcome)
        for group, resource in ((GROUP, PLURAL), ("", "persistentvolumeclaims")):
            self._stale.labels(group, resource)

    def changed(self, old: PersistentVolumeClaim | None, new: PersistentVolumeClaim | None) -> None:
        """Follow one change of the cache: what we hold, and what went."""
        before, after = _bytes_held(old), _bytes_held(new)
        if before != after:
            self._held.inc(after - before)
        if old is None or (new is not None and new.metadata.uid == old.metadata.uid):
            return
        self._reclaimed.inc(before)
        with self._lock:
            sent = self._sent.pop(old.metadata.uid, None)
        if sent is not None:
            self._seconds.observe(self._monotonic() - sent)

    def stale(self, group: str, resource: str) -> None:
        """Count a reconcile that was put off."""
        self._stale.labels(group, resource).inc()

    @contextmanager
    def deleting(
        self, claim: PersistentVolumeClaim, status: EphemeralVolumeClaimStatus, now: datetime
    ) -> Iterator[None]:
        """Count a DELETE if it is accepted, and measure from here until the claim is gone."""
        uid = claim.metadata.uid
        # Before it is sent: the claim may be seen gone before the answer is.
        with self._lock:
            self._sent[uid] = self._monotonic()
        try:
            yield
        except BaseException:
            with self._lock:
                self._sent.pop(uid, None)
            raise
        self._deletions.labels(status.outcome or "Expired").inc()
        if status.deletion_time is not None:
            self._delay.observe(max(0.0, (now - status.deletion_time).total_seconds()))


def _bytes_held(claim: PersistentVolumeClaim | None) -> int:
    """Return the capacity (until it is bound, the request) of a claim with our mark; else 0."""
    if claim is None or OWNER_UID not in claim.metadata.annotations:
        return 0
    return _bytes(claim.status.capacity.storage or claim.spec.resources.requests.storage)


@lru_cache(maxsize=1024)
def _bytes(quantity: str) -> int:
    return int(parse(quantity) or 0)


class Claims(Collector):
    """EphemeralVolumeClaims by status and by what keeps their volume, in one pass."""

    def __init__(self, claims: Callable[[], Iterable[EphemeralVolumeClaim]]) -> None:
        self._claims = claims

    def describe(self) -> Iterable[Metric]:
        """Return the metrics without values."""
        return [catalogue.CLAIMS.family({}), catalogue.BLOCKED.family({})]

    def collect(self) -> Iterable[Metric]:
        """Count the claims there are now."""
        reasons: Counter[str] = Counter({reason.value: 0 for reason in Reason} | {NEW: 0})
        blocked: Counter[Blocker | None] = Counter()
        for evc in self._claims():
            ready = evc.status.condition(READY)
            # A word of another version must not become a label of this one.
            known = ready is not None and ready.reason in reasons
            reasons[ready.reason if ready is not None and known else NEW] += 1
            blocked[blocker(ready, evc.status.held_by)] += 1
        return [
            catalogue.CLAIMS.family({(reason,): count for reason, count in reasons.items()}),
            catalogue.BLOCKED.family({(by.value,): blocked[by] for by in Blocker}),
        ]
