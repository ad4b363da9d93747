"""Every seeded bug is noticed: the proof that the simulation is worth its time.

All of them take a minute or two (CI: ``SEEDED_BUGS=all``); by default the quick ones.
"""

from __future__ import annotations

import os

import pytest

from seeded_bugs.bugs import BUGS, EQUIVALENT, Bug
from seeded_bugs.hunt import MOST, hunt
from sim.life import live

QUICK = 150
"""Lives that most bugs need less than."""
RARE = {
    "ttl from wall clock",
    "no lease check before delete",
    "partial page treated as full",
    "hold read from cache",
}
ALL = os.environ.get("SEEDED_BUGS") == "all"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name.replace(" ", "-"))
def test_the_simulation_notices(bug: Bug) -> None:
    if bug.name in RARE and not ALL:
        pytest.skip("needs many lives: SEEDED_BUGS=all")
    assert hunt(bug, MOST if ALL else QUICK) is not None, f"survived: {bug.breaks}"


@pytest.mark.parametrize("bug", EQUIVALENT, ids=lambda bug: bug.name.replace(" ", "-"))
def test_what_the_design_absorbs_can_be_switched_on(bug: Bug) -> None:
    with bug.switch():
        live(0)
