"""What the controller tells whoever measures it; metrics are an implementation."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from typing import Protocol

from evc.model.core import PersistentVolumeClaim
from evc.model.evc import EphemeralVolumeClaimStatus


class ClaimObserver(Protocol):
    """Hears of single steps in claims' lives, from many threads; must not raise or block."""

    def stale(self, group: str, resource: str) -> None:
        """A reconcile was put off: this cache has not seen our own last write (KEP-5647)."""

    def deleting(
        self, claim: PersistentVolumeClaim, status: EphemeralVolumeClaimStatus, now: datetime
    ) -> AbstractContextManager[None]:
        """Return a context around the DELETE of a volume; it ends with the error if refused.

        ``status`` is the one that tells of the decision, ``now`` when the DELETE is sent.
        """


class Unobserved:
    """Nobody measures."""

    def stale(self, group: str, resource: str) -> None:
        """Ignore."""

    def deleting(
        self, claim: PersistentVolumeClaim, status: EphemeralVolumeClaimStatus, now: datetime
    ) -> AbstractContextManager[None]:
        """Surround nothing."""
        return nullcontext()
