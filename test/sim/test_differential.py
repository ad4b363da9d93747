"""S5, the differential oracle (Sieve): faults change nothing about what is made and deleted.

The same users live once with every fault of their seed and once with none; where users
leave the claims alone, both must create and delete the same number of volumes per claim.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace

from sim.choices import Seeded
from sim.history import Name
from sim.kinds import EVCS, PVCS
from sim.ledger import OPERATOR
from sim.life import Life
from sim.profile import Profile, draw

SEEDS = int(os.environ.get("SIM_PAIRS", "100"))


Counts = Counter[tuple[Name, str]]


def counts(seed: int, profile: Profile) -> tuple[list[str], set[str], Counts]:
    """Live it; return violations, the claims known to be used, CREATE/DELETE counts."""
    life = Life(Seeded(seed), profile)
    violations = life.run().violations
    found: Counts = Counter()
    used = {
        f"{commit.name.namespace}/{commit.name.name}"
        for commit in life.world.server.events(EVCS)
        if commit.last.get("status", {}).get("firstUsedTime")
    }
    for commit in life.world.server.history:
        if commit.actor.startswith(OPERATOR) and commit.name.plural == PVCS:
            if commit.before is None:
                found[commit.name, "create"] += 1
            elif commit.marks_deletion:
                found[commit.name, "delete"] += 1
    return violations, used, found


def test_faults_change_no_counts() -> None:
    compared = 0
    for seed in range(SEEDS):
        profile = draw(Seeded(seed))
        # Expiry is a race with the clock: it may rightly fall differently under faults.
        profile = replace(profile, mischief=0, patient=True)
        violations, used, faulty = counts(seed, profile)
        _, used_in_calm, calm = counts(seed, profile.without_faults())
        if violations:
            continue
        compared += 1
        # A pod that users removed before its late volume came never used it: no fault of ours.
        both = used & used_in_calm
        assert only(faulty, both) == only(calm, both), f"seed {seed}"
    assert compared > SEEDS * 0.8


def only(found: Counts, claims: set[str]) -> Counts:
    """The counts of these claims' volumes."""
    kept = {k: n for k, n in found.items() if f"{k[0].namespace}/{k[0].name}" in claims}
    return Counter(kept)
