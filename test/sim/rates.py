"""Judges how many volumes an operator process deletes (S8, the blast radius).

The bound, for ``--max-deletions-per-minute`` R and ``--max-deletions-percent`` P:

- One process deletes at most R volumes within any 60 seconds, whatever is refused, lost
  or repeated.  What counts is the DELETE that the API server accepted, also if its answer
  was lost; not the operator's decision, which may be a pause earlier.
- One process deletes at most max(20, P % of the claims) of the volumes that are due
  within 60 seconds, and then no more until it is restarted: that is the only thing that
  closes the breaker.
- Neither is shared or stored.  A successor, after a crash or an election, begins at zero:
  within 60 seconds a cluster loses at most R times as many volumes as it had leaders,
  and those are at most five unless they leave of themselves (a lease lasts 15 seconds).
"""

from __future__ import annotations

from collections import defaultdict

from sim.history import Commit
from sim.kinds import EVCS
from sim.ledger import Judge, Ledger

WINDOW = 60.0
FLOOR = 20
"""Deletions that never open the breaker."""


def most(percent: int, claims: int) -> int:
    """The volumes that may fall before the breaker opens."""
    return max(FLOOR, percent * claims // 100)


class Rates(Judge):
    """Counts the accepted DELETEs of each process."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self.sent: defaultdict[str, list[float]] = defaultdict(list)

    def judge(self, commit: Commit) -> None:
        """Judge a DELETE, the moment it is accepted."""
        limits = self._ledger.limits[commit.actor]
        times = self.sent[commit.actor]
        times.append(commit.time)
        recent = sum(time > commit.time - WINDOW for time in times)
        if limits.per_minute and recent > limits.per_minute:
            self._violated("S8", f"{commit.actor} deleted {recent} volumes within {WINDOW:.0f} s")
        # Who sets a percentage in these worlds has a herd whose volumes are due all at once.
        bound = most(limits.percent, len(self._server.items(EVCS)))
        if limits.percent and len(times) > bound:
            self._violated("S8", f"{commit.actor} deleted {len(times)} of a herd, not {bound}")
