"""Makes a claim follow its changed template, as far as the API server lets it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog

from evc.controller.gather import OwnWrites
from evc.kube.client import Client
from evc.kube.resources import PVCS
from evc.model.core import PersistentVolumeClaim
from evc.model.errors import Forbidden, Invalid
from evc.model.evc import EphemeralVolumeClaim
from evc.policy.template import metadata_differs
from evc.runtime.backoff import exponential

FIRST_RETRY = 5.0
"""Seconds; rights that are granted a moment too late are there by then."""
LONGEST_RETRY = 300.0
"""Seconds; a class that cannot grow may be changed some day."""
REFUSALS_KEPT = 10_000

log = structlog.get_logger("evc")

Attempt = tuple[str, int, str]
"""What was tried: the claim's uid, the template's generation, and the claim's phase, because
an unbound claim cannot grow yet."""


class Refused(Exception):
    """The API server refused the change for now; tried again after ``again_in`` seconds."""

    def __init__(self, error: Exception, again_in: float) -> None:
        super().__init__(str(error))
        self.again_in = again_in


@dataclass(frozen=True)
class _Refusal:
    count: int
    until: datetime


class UpdateClaims:
    """Applies template changes; a class that cannot grow must not stop a claim's life.

    A refused change of size or class does not keep labels from changing.  It is tried
    again with a backoff of its own, not at each of the claim's events, and at once when
    the template or the claim's phase changes.
    """

    def __init__(self, client: Client, writes: OwnWrites, now: Callable[[], datetime]) -> None:
        self._client = client
        self._writes = writes
        self._now = now
        self._lock = threading.Lock()
        self._refusals: dict[Attempt, _Refusal] = {}

    def __call__(
        self,
        claim: PersistentVolumeClaim,
        manifest: dict[str, Any],
        evc: EphemeralVolumeClaim,
    ) -> float | None:
        """Apply all of it or, until the spec is to be tried again, the metadata alone.

        Returns the seconds until then, None if the claim follows; raises Refused when an
        attempt fails.
        """
        attempt = (claim.metadata.uid, evc.metadata.generation, claim.status.phase)
        left = self._seconds_left(attempt)
        if 0 < left <= LONGEST_RETRY:  # more: the clock was set back
            if metadata_differs(claim, evc):
                self._apply(claim, {name: v for name, v in manifest.items() if name != "spec"})
            return left
        try:
            self._apply(claim, manifest)
        except (Invalid, Forbidden) as error:
            again_in = self._refuse(attempt)
            # The metadata follows at once, at the version of the claim there is then.
            raise Refused(error, 0.0 if metadata_differs(claim, evc) else again_in) from error
        with self._lock:
            self._refusals.pop(attempt, None)
        return None

    def _seconds_left(self, attempt: Attempt) -> float:
        with self._lock:
            refusal = self._refusals.get(attempt)
        return (refusal.until - self._now()).total_seconds() if refusal is not None else 0.0

    def _refuse(self, attempt: Attempt) -> float:
        """Count a refusal; return the seconds until the next attempt."""
        with self._lock:
            if len(self._refusals) >= REFUSALS_KEPT:
                self._refusals.clear()
            known = self._refusals.get(attempt)
            count = known.count if known is not None else 0
            delay = exponential(count, base=FIRST_RETRY, cap=LONGEST_RETRY)
            self._refusals[attempt] = _Refusal(count + 1, self._now() + timedelta(seconds=delay))
        return delay

    def _apply(self, claim: PersistentVolumeClaim, manifest: dict[str, Any]) -> None:
        updated = self._client.apply(PVCS, claim.metadata.key, manifest)
        if updated.metadata.resource_version != claim.metadata.resource_version:
            self._writes.wrote_pvc(updated)
            log.info("Updated PersistentVolumeClaim", claim=claim.metadata.name)
