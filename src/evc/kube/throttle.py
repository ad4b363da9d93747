"""A limit on the requests of one client, for clusters that ask for one."""

from __future__ import annotations

import threading
from collections.abc import Callable


class TokenBucket:
    """``burst`` requests at once, then ``qps`` per second; for many threads.

    Off by default, as in controller-runtime since v0.21: the API server's priority and
    fairness shares itself out better than any client can guess.
    """

    def __init__(
        self,
        *,
        qps: float,
        burst: int,
        monotonic: Callable[[], float],
        wait: Callable[[float], object],
    ) -> None:
        """Both positive; ``wait`` takes seconds, and may end early when the process stops."""
        self._qps = qps
        self._burst = float(burst)
        self._monotonic = monotonic
        self._wait = wait
        self._lock = threading.Lock()
        self._tokens = self._burst
        self._filled_at = monotonic()

    def take(self) -> None:
        """Return when it is this request's turn; turns are given in the order of calls."""
        delay = self._reserve()
        if delay > 0:
            self._wait(delay)

    def _reserve(self) -> float:
        """Take a token, also one that is not there yet, and return the seconds until it is."""
        with self._lock:
            now = self._monotonic()
            grown = self._tokens + (now - self._filled_at) * self._qps
            self._tokens = min(self._burst, grown) - 1.0
            self._filled_at = now
            return max(0.0, -self._tokens / self._qps)
