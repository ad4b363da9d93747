"""Every plan of every reference scenario; a test's id is the plan's."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from faults.plans import Plan, Trace, all_plans, generate, load
from faults.play import Verdict, record
from faults.scenarios import REFERENCE
from faults.stage import Stage


@pytest.mark.timeout(0)  # the first one plays them all
@pytest.mark.parametrize("plan", all_plans(), ids=lambda plan: plan.id)
def test_plan(plan: Plan, verdicts: dict[str, Verdict]) -> None:
    verdict = verdicts[plan.id]
    again = f"\npython -m faults replay '{plan.id}'"
    for log in verdict.log if verdict.violations else ():
        print(f"--- {log}\n{Path(log).read_text()}")
    assert not verdict.violations, "\n".join(verdict.violations) + again
    assert verdict.struck, f"the fault never struck: its trace is old{again}"


@pytest.fixture(scope="module")
def traces(stage: Stage) -> dict[str, Trace]:
    """Today's, recorded all at once."""
    with ThreadPoolExecutor(len(REFERENCE)) as pool:
        recorded = pool.map(lambda name: record(stage, name), REFERENCE)
        return dict(zip(REFERENCE, recorded, strict=True))


@pytest.mark.timeout(240)
@pytest.mark.parametrize("scenario", REFERENCE)
def test_the_recorded_trace_is_todays(scenario: str, traces: dict[str, Trace]) -> None:
    """Otherwise plans would be missing: `python -m faults record`."""
    recorded, today = load(scenario), traces[scenario]
    assert set(recorded.writes) == set(today.writes)
    assert {k: set(v) for k, v in recorded.states.items()} == {
        k: set(v) for k, v in today.states.items()
    }
    assert (recorded.creates, recorded.deletes) == (today.creates, today.deletes)
    assert recorded.ends == today.ends


def test_every_write_and_every_deletion_has_its_plans() -> None:
    for scenario in REFERENCE:
        trace = load(scenario)
        plans = list(generate(scenario, trace))
        assert len({plan.id for plan in plans}) == len(plans)
        for write in trace.writes:
            faults = {plan.fault for plan in plans if plan.step == write}
            assert faults >= {"lost-before", "lost-after", "ambiguous"}
            if write.startswith(("delete-", "release-")):
                assert faults >= {"late-hold", "paused-leader", "new-pod"}
