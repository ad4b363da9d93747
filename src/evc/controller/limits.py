"""How many volumes may be deleted: a rate, and a breaker for when too many fall at once."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

WINDOW = 60.0
"""Seconds in which deletions are counted."""
BREAKER_FLOOR = 20
"""Deletions within a window that are never too many, whatever their share."""
BREAKER_RECHECK = 60.0

log = structlog.get_logger("evc")


class DeletionLimit:
    """Admits deletions, at most so many a minute and so large a share of all claims.

    A controller with a bug, or one that was shown a wrong world, tends to delete much at
    once.  When a minute's deletions would exceed ``max_percent`` of the claims there
    were at its beginning (and `BREAKER_FLOOR`), the breaker opens: nothing is deleted
    any more until somebody has looked and restarts the operator.

    All this is one process's own count: a successor, after a crash or an election, begins
    at zero.

    A volume takes one place however often its DELETE is repeated: from its admission on,
    until it is given back or a minute has passed since the DELETE was answered.  So no
    minute sees more deletions than that, not even after a pause in the middle of one.
    """

    def __init__(
        self,
        *,
        per_minute: int,
        max_percent: int,
        claims: Callable[[], int],
        monotonic: Callable[[], float],
    ) -> None:
        """``claims`` counts the claims there are; 0 switches either limit off."""
        self._per_minute = per_minute
        self._max_percent = max_percent
        self._claims = claims
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._reserved: dict[str, int] = {}
        """Volumes that are being deleted, and how many claims there were."""
        self._deleted: dict[str, tuple[float, int]] = {}
        """Volumes deleted within the window, oldest first: when, and of how many claims."""
        self.open = False
        """Whether the breaker is; it never closes."""
        self.put_off = {"rate": 0, "breaker": 0}
        """How often a deletion was not admitted, by what did not admit it."""

    def delay(self, volume: str) -> float:
        """Return 0 and reserve a place for the volume, or the seconds after which to ask again.

        Whoever got a place says `deleted` or `give_back`, or both in this order.
        """
        with self._lock:
            now = self._monotonic()
            while self._deleted and next(iter(self._deleted.values()))[0] <= now - WINDOW:
                del self._deleted[next(iter(self._deleted))]
            taken = {*self._reserved, *self._deleted} - {volume}
            claims = self._claims()
            if self._breaks(len(taken) + 1, self._claims_before(claims)):
                self.put_off["breaker"] += 1
                return BREAKER_RECHECK
            if self._per_minute and len(taken) >= self._per_minute:
                self.put_off["rate"] += 1
                times = (time for time, _ in self._deleted.values())
                return max(0.1, next(times, now + 1.0 - WINDOW) + WINDOW - now)
            self._reserved[volume] = claims
            return 0.0

    def deleted(self, volume: str) -> None:
        """Count a volume that has a place: its DELETE was accepted, or may have been."""
        with self._lock:
            claims = self._reserved.pop(volume, None)
            if claims is not None:
                self._deleted.pop(volume, None)  # the newest come last
                self._deleted[volume] = self._monotonic(), claims

    def give_back(self, volume: str) -> None:
        """Free the place of a volume whose DELETE was refused or never sent."""
        with self._lock:
            self._reserved.pop(volume, None)

    def _claims_before(self, now: int) -> int:
        """Return how many claims there were when the window began."""
        before = [claims for _, claims in self._deleted.values()]
        return next(iter([*before, *self._reserved.values()]), now)

    def _breaks(self, count: int, claims_before: int) -> bool:
        share = 100 * count > self._max_percent * claims_before
        if self._max_percent and not self.open and count > BREAKER_FLOOR and share:
            self.open = True
            log.error(
                "Opened deletion breaker: find out why so many claims end, then restart",
                deletions=count,
                claims=claims_before,
                maxPercent=self._max_percent,
            )
        return self.open
