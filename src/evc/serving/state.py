"""Metrics that are a state other parts keep anyway: read when somebody scrapes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Protocol

from evc.model.evc import EphemeralVolumeClaim
from evc.runtime.queue import RateLimitingQueue
from evc.serving import catalogue
from evc.serving.health import Freshness
from evc.serving.metrics import Metrics
from evc.serving.volumes import Claims


class Limit(Protocol):
    """How many volumes may be deleted; `evc.controller.limits.DeletionLimit` is one."""

    @property
    def open(self) -> bool:
        """Whether the breaker is."""

    @property
    def put_off(self) -> Mapping[str, int]:
        """How often a deletion was not admitted, by what did not admit it."""


def measure(
    metrics: Metrics,
    *,
    claims: Callable[[], Iterable[EphemeralVolumeClaim]],
    queues: Collection[RateLimitingQueue],
    limit: Limit,
    per_minute: int,
    freshness: Freshness,
) -> None:
    """Serve claims, queues, limit (``per_minute`` deletions) and the age of the caches."""
    metrics.measure_queues(queues)
    metrics.registry.register(Claims(claims))
    metrics.read(catalogue.DELETION_CAP, lambda: {(): float(per_minute)})
    metrics.read(catalogue.BREAKER_OPEN, lambda: {(): float(limit.open)})
    metrics.read(catalogue.DELETIONS_PUT_OFF, lambda: {(by,): n for by, n in limit.put_off.items()})
    metrics.read(catalogue.INFORMER_STALE, freshness.silence)
