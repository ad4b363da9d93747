"""Liveness and readiness, with kubebuilder's paths, and how old the caches are."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import Any

from evc.runtime.ports import Clock
from evc.runtime.reflector import Reflector
from evc.serving.http import Answer, Request, Routes

STALE_AFTER = 150.0
"""Seconds of silence after which a cache counts as stale, and this process as not ready: the
server sends a bookmark every minute, and after 120 s without one the watch is made anew."""


class Freshness:
    """How long the API server has been silent, by the reflectors that listen to it."""

    def __init__(self, reflectors: Iterable[Reflector[Any]], clock: Clock) -> None:
        self._reflectors = tuple(reflectors)
        self._clock = clock

    def silence(self) -> dict[tuple[str, ...], float]:
        """Return the seconds by resource: the longest of its reflectors, inf before the first."""
        ages: dict[tuple[str, ...], float] = {}
        for reflector in self._reflectors:
            label = (reflector.resource,)
            ages[label] = max(ages.get(label, 0.0), self._age(reflector))
        return ages

    def unready(self) -> list[str]:
        """Return why this process should not be relied on; empty when it may be."""
        reasons = []
        for reflector in self._reflectors:
            age = self._age(reflector)
            if not reflector.store.synced:
                reasons.append(f"cache of {reflector.resource} is not synced")
            elif age > STALE_AFTER:
                reasons.append(f"cache of {reflector.resource} is stale for {age:.0f} s")
        return reasons

    def routes(self) -> Routes:
        """Return /healthz and /readyz."""
        return {"/healthz": _healthz, "/readyz": self._readyz}

    def _age(self, reflector: Reflector[Any]) -> float:
        heard = reflector.heard_at
        return inf if heard is None else max(0.0, self._clock.monotonic() - heard)

    def _readyz(self, _: Request) -> Answer:
        reasons = self.unready()
        if not reasons:
            return Answer(200, b"ok\n")
        return Answer(503, "".join(f"not ready: {why}\n" for why in reasons).encode())


def _healthz(_: Request) -> Answer:
    return Answer(200, b"ok\n")
