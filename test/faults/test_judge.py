"""The judge can fail: seeded bugs, each in a plan whose fault makes it do harm."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from faults.plans import all_plans
from faults.play import Verdict, play
from faults.stage import Stage

KILLED: dict[str, tuple[str, str]] = {
    "no UID precondition": ("hold:late-hold:delete-pvc-scratch", "S2: scratch deleted with"),
    "skip live LIST": ("pinned:stale-pods:status-scratch-Draining", "S4: scratch deleted without"),
    "hold read from cache": ("pinned:stale-evc:status-scratch-Draining", "S7: scratch deleted"),
    "decision not durable": ("hold:ambiguous:create-pvc-scratch", "S7: scratch deleted while"),
    "retry create without marker": ("hold:ambiguous:create-pvc-scratch", "S5: claims created"),
    "finalizer stripped always": ("pinned:ambiguous:create-pvc-scratch", "S1: scratch released"),
    "retain ignored": ("adopt:ambiguous:patch-pvc-data", "S7: data deleted, and is to be"),
}
"""Bug -> the plan that must notice it, and how the sentence begins by which it does."""


@pytest.fixture(scope="module")
def verdicts(stage: Stage) -> dict[str, Verdict]:
    """All bugs in their plans, at once."""
    plans = {plan.id: plan for plan in all_plans()}
    with ThreadPoolExecutor(len(KILLED)) as pool:
        futures = {
            bug: pool.submit(play, stage, plans[plan], bug) for bug, (plan, _) in KILLED.items()
        }
        return {bug: future.result() for bug, future in futures.items()}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("bug", KILLED, ids=lambda bug: bug.replace(" ", "-"))
def test_a_seeded_bug_is_killed(bug: str, verdicts: dict[str, Verdict]) -> None:
    _, sentence = KILLED[bug]
    found = verdicts[bug].violations
    assert any(violation.startswith(sentence) for violation in found), found
