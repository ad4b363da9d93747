"""Small worlds, exhaustively: see `sim.worlds` for what the bound means.

By default every run with one deviation; ``SIM_DEPTH=2`` goes on to pairs, of which
``SIM_RUNS`` per world are drawn by ``SIM_SEED``.
"""

from __future__ import annotations

import os

import pytest

from sim.kinds import EVCS, PODS, PVCS
from sim.worlds import PLANS, Plan, explore

DEPTH = int(os.environ.get("SIM_DEPTH", "1"))
RUNS = int(os.environ.get("SIM_RUNS", "5000"))
SEED = int(os.environ.get("SIM_SEED", "0"))


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.__name__)
def test_every_schedule_within_the_bound(plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    found = explore(plan, DEPTH, RUNS, SEED)
    with capsys.disabled():
        print(
            f"\n{plan.__name__}: {found.runs} runs with up to {DEPTH} deviations from"
            f" {found.choices} choices; with {DEPTH} there are {found.possible};"
            f" {found.pruned} came back to a known state"
        )
    assert found.runs > 100
    assert found.most == {EVCS: 2, PVCS: 2, PODS: 3}
    assert not found.violations, "\n".join(found.violations[:10])
