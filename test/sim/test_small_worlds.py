"""Small worlds, exhaustively: see `sim.worlds` for what the bound means.

By default every run with one deviation; ``SIM_DEPTH=2`` goes on to pairs, up to
``SIM_RUNS`` runs per world.
"""

from __future__ import annotations

import os

import pytest

from sim.worlds import PLANS, Plan, explore

DEPTH = int(os.environ.get("SIM_DEPTH", "1"))
RUNS = int(os.environ.get("SIM_RUNS", "5000"))


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.__name__)
def test_every_schedule_within_the_bound(plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    found = explore(plan, DEPTH, RUNS)
    with capsys.disabled():
        print(
            f"\n{plan.__name__}: {found.runs} runs, up to {DEPTH} deviations from {found.choices}"
            f" choices, {found.pruned} came back to a known state"
        )
    assert found.runs > 100
    assert not found.violations, "\n".join(found.violations[:10])
