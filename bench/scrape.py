"""The operator's own metrics, for what no audit log can know: its queue and its reconciles."""

from __future__ import annotations

import re

from .stage import Program, page

_LINE = re.compile(r"^(\w+?)(?:\{([^}]*)\})? (\S+)$", re.MULTILINE)
_BOUND = re.compile(r'le="([^"]+)"')


class Scrape:
    """One reading of /metrics."""

    def __init__(self, program: Program) -> None:
        self._lines = _LINE.findall(page(program.metrics))

    def total(self, name: str) -> float:
        """The sum over all labels of a counter."""
        return sum(float(value) for found, _, value in self._lines if found == name)

    def buckets(self, name: str) -> dict[float, float]:
        """Cumulative counts by upper bound, of a histogram."""
        counts: dict[float, float] = {}
        for found, labels, value in self._lines:
            if found == f"{name}_bucket" and (bound := _BOUND.search(labels)):
                counts[float(bound[1])] = counts.get(float(bound[1]), 0.0) + float(value)
        return counts


def bucket_of_p99(before: Scrape, after: Scrape, name: str) -> float:
    """The smallest upper bound, in seconds, that holds 99 % of what came in between."""
    old, new = before.buckets(name), after.buckets(name)
    grown = {bound: new[bound] - old.get(bound, 0.0) for bound in sorted(new)}
    total = max(grown.values(), default=0.0)
    return next((bound for bound, count in grown.items() if count >= 0.99 * total), float("nan"))
