"""Lives with a bug switched on, until one of them notices."""

from __future__ import annotations

from dataclasses import dataclass

from seeded_bugs.bugs import Bug
from sim.choices import Seeded
from sim.life import Life
from sim.profile import draw

MOST = 3000
"""Lives per bug; the rarest needs a few hundred."""


@dataclass(frozen=True)
class Kill:
    """The life that noticed."""

    seed: int
    lives: int
    violation: str


def hunt(bug: Bug, most: int = MOST) -> Kill | None:
    """Return the first life that violates the bug's invariant and is clean without it."""
    for seed in range(most):
        with bug.switch():
            found = [v for v in lived(seed, bug) if v.startswith(bug.killed_by)]
        if found and not lived(seed, bug):
            return Kill(seed, seed + 1, found[0])
    return None


def lived(seed: int, bug: Bug) -> list[str]:
    """The violations of one life of the kind in which the bug would show."""
    choices = Seeded(seed)
    return Life(choices, bug.shape(draw(choices))).run().violations
