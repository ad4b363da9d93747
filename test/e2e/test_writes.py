"""What a life costs: every write the operator makes, as the API server's audit log has it.

The table in docs/writes.md names each and says why it cannot go; it is read here.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from e2e import manifests
from e2e.scenario import Audit, Json, Operator, Scenario, condition, eventually

PAGE = Path(__file__).parents[2] / "docs" / "writes.md"
READY = "update ephemeralvolumeclaims/status: Waiting"


def table() -> list[str]:
    """The writes of an ordinary life by the page."""
    rows = [line.split("|") for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    return [cells[2].strip().strip("`") for cells in rows if cells[1].strip().isdigit()]


def named(event: Json) -> str:
    """One write in words: verb, resource and, where it tells a stage, the stage."""
    target = event["objectRef"]
    resource = "/".join(filter(None, (target["resource"], target.get("subresource"))))
    body = event.get("requestObject")
    body = body if isinstance(body, dict) else {}  # a JSON patch is a list
    stage = condition(body, "Ready").get("reason")
    return f"{event['verb']} {resource}" + (f": {stage}" if stage else "")


def all_writes(scenario: Scenario, audit: Audit) -> list[str]:
    """Every write of a life that ended with the object's deletion, in words."""
    audit.until_writes(scenario.namespace, "ephemeralvolumeclaims", "delete")
    return [named(event) for event in audit.all_writes(scenario.namespace)]


def ordinary(name: str) -> Json:
    """An object that leaves every setting at its default."""
    manifest = manifests.claim(name)
    for setting in ("minimumWaitSeconds", "gracePeriodSeconds"):
        del manifest["spec"][setting]
    return manifest


@pytest.mark.timeout(240)  # of which the claim's own settings take 75
def test_an_ordinary_life_makes_the_writes_of_the_table(
    scenario: Scenario, operator: Operator, audit: Audit
) -> None:
    """Claim and Job are created together, as from one file; everything else is default."""
    scenario.create("evc", ordinary("scratch"))
    scenario.create("job", manifests.job("crunch", "scratch", complete_after="3s"))
    scenario.until_gone("evc", "scratch", seconds=100)
    writes = all_writes(scenario, audit)
    assert writes == table()
    assert len(writes) == 9
    assert [*scenario.notes("scratch")] == ["Deleting"]


def test_whoever_waits_for_ready_before_he_starts_his_job_costs_one_write_more(
    scenario: Scenario, operator: Operator, audit: Audit
) -> None:
    scenario.create("evc", manifests.claim("scratch", gracePeriodSeconds=6))
    eventually(
        lambda: condition(scenario.get("evc", "scratch"), "Ready").get("status") == "True",
        "kubectl wait --for=condition=Ready returns",
        seconds=9,  # what is kept back is told after ten
    )
    scenario.create("job", manifests.job("crunch", "scratch", complete_after="6s"))
    scenario.until_gone("evc", "scratch")
    writes = all_writes(scenario, audit)
    assert writes == [*table()[:2], READY, *table()[2:]]


@pytest.mark.parametrize("retain", [False, True])
def test_a_life_nobody_uses_costs_seven_writes(
    scenario: Scenario, operator: Operator, audit: Audit, retain: bool
) -> None:
    more = {"onExpiry": {"action": "Retain"}} if retain else {}
    scenario.create("evc", manifests.claim("scratch", **more))
    scenario.until_reason("scratch", "Waiting")
    scenario.patch("evc", "scratch", {"spec": {"expirySeconds": 0}})
    scenario.until_gone("evc", "scratch")
    assert all_writes(scenario, audit) == [
        *table()[:2],
        READY,
        "update ephemeralvolumeclaims/status: " + ("Retaining" if retain else "Releasing"),
        ("patch" if retain else "delete") + " persistentvolumeclaims",
        "create events",
        "delete ephemeralvolumeclaims",
    ]
    assert [*scenario.notes("scratch")] == ["Retaining" if retain else "Expiring"]
