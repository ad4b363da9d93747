"""How many volumes may be deleted: a rate, and a breaker for when too many fall at once."""

from __future__ import annotations

import threading
from collections import deque
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
        self._admitted: deque[tuple[float, int]] = deque()
        self.open = False

    def delay(self) -> float:
        """Return 0 and count one deletion, or the seconds after which to ask again."""
        with self._lock:
            now = self._monotonic()
            while self._admitted and self._admitted[0][0] <= now - WINDOW:
                self._admitted.popleft()
            claims = self._claims()
            if self._breaks(self._admitted[0][1] if self._admitted else claims):
                return BREAKER_RECHECK
            if self._per_minute and len(self._admitted) >= self._per_minute:
                return max(0.1, self._admitted[0][0] + WINDOW - now)
            self._admitted.append((now, claims))
            return 0.0

    def give_back(self) -> None:
        """Take back the last admission: its DELETE was refused."""
        with self._lock:
            if self._admitted:
                self._admitted.pop()

    def _breaks(self, claims_before: int) -> bool:
        count = len(self._admitted) + 1
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
