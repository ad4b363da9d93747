"""How long to wait before the next attempt.

The shape is client-go's ``RateLimiter`` (``When`` and ``Forget``) with ``now`` passed in.
A policy keeps counts and is not thread-safe; the queue calls it under its lock.
"""

from __future__ import annotations

from random import Random
from typing import Protocol

from evc.model.meta import Key

# 2.0 ** 64 is far beyond any cap and far below what overflows a float.
_MAX_DOUBLINGS = 64


def exponential(failures: int, *, base: float, cap: float) -> float:
    """Return ``base`` seconds doubled once per earlier failure, at most ``cap``."""
    return min(cap, base * 2.0 ** min(failures, _MAX_DOUBLINGS))


def jittered(seconds: float, factor: float, random: Random) -> float:
    """Return ``seconds`` lengthened at random by up to ``factor`` of itself.

    It never shortens, so a minimum that a server asked for stays a minimum
    (``wait.Jitter`` of apimachinery does the same).
    """
    return seconds * (1.0 + factor * random.random())


class Policy(Protocol):
    """Decides the delay of a retry; one object serves all keys of a queue."""

    def when(self, key: Key, now: float) -> float:
        """Count one more failure of ``key`` and return the seconds to wait from ``now``."""

    def forget(self, key: Key) -> None:
        """Stop counting against ``key``: it succeeded."""


class Exponential:
    """Per key: ``base`` seconds after the first failure, doubled by each further one.

    controller-runtime uses 5 ms to 1000 s, reached after 18 failures in a row.
    """

    def __init__(self, *, base: float = 0.005, cap: float = 1000.0) -> None:
        """Both in seconds."""
        self._base = base
        self._cap = cap
        self._failures: dict[Key, int] = {}

    def when(self, key: Key, now: float) -> float:
        """Count a failure of ``key``; the first one waits ``base``."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        return exponential(failures, base=self._base, cap=self._cap)

    def forget(self, key: Key) -> None:
        """Let the next failure of ``key`` wait ``base`` again; frees its memory."""
        self._failures.pop(key, None)
