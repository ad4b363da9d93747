"""Figures with their spread."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

Json = dict[str, Any]


def spread(values: Sequence[float], digits: int = 2) -> Json:
    """Median, least and greatest of several runs."""
    return {
        "median": round(statistics.median(values), digits),
        "min": round(min(values), digits),
        "max": round(max(values), digits),
        "runs": len(values),
    }


def percentile(values: Iterable[float], share: float) -> float:
    """The smallest value that this share of all does not exceed; NaN without values."""
    ordered = sorted(values)
    if not ordered:
        return float("nan")
    return ordered[max(0, min(len(ordered) - 1, round(share * len(ordered) + 0.5) - 1))]


def milliseconds(values: Iterable[float]) -> Json:
    """p50, p99 and greatest of latencies given in seconds."""
    seconds = list(values)
    return {
        "p50_ms": round(1000 * percentile(seconds, 0.5), 1),
        "p99_ms": round(1000 * percentile(seconds, 0.99), 1),
        "max_ms": round(1000 * max(seconds, default=float("nan")), 1),
        "count": len(seconds),
    }
