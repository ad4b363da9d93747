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


def together(runs: Sequence[Json]) -> Json:
    """One row of several runs of the same: medians with their spread; yes only if always."""
    return {name: _together([run[name] for run in runs]) for name in runs[0]}


def _together(values: Sequence[Any]) -> Any:
    match values[0]:
        case {"p50_ms": _}:
            return {
                "p50_ms": spread([value["p50_ms"] for value in values], 1),
                "p99_ms": spread([value["p99_ms"] for value in values], 1),
                "max_ms": max(value["max_ms"] for value in values),
                "count": sum(value["count"] for value in values),
            }
        case {}:
            of_each = {name for value in values for name in value}
            return {
                name: round(statistics.median(value.get(name, 0.0) for value in values), 2)
                for name in sorted(of_each)
            }
        case bool():
            return all(values)
        case _:
            return spread(values)


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
