"""Writes the test data of Argo CD's health check: statuses as `decide` writes them.

`python -m unit.docs.argocd` (with src and test on PYTHONPATH) brings it up to date.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import yaml
from msgspec.structs import replace

from evc.model.evc import API_VERSION, KIND, EphemeralVolumeClaim
from evc.policy.decide import decide, update_refused
from evc.policy.obtain import refused
from evc.policy.plan import Plan
from evc.policy.world import World
from unit.builders import at, evc, observed, provided, volume
from unit.policy.catalogue import ALL
from unit.policy.test_kstatus import kstatus

FOLDER = (
    Path(__file__).parents[3] / "config/argocd/resource_customizations/evc.dev" / KIND
)  # as in Argo CD's own repository
HEALTH = {"Current": "Healthy", "InProgress": "Progressing", "Failed": "Degraded"}
"""What Argo CD calls kstatus' verdicts."""


TELLING = {"Progressing": "Reconciling", "Degraded": "Stalled", "Healthy": "Ready"}
"""The condition that says why."""
UNSEEN = "Waiting for the operator"


def written() -> Iterator[EphemeralVolumeClaim]:
    """Objects with the status that is written about them: every sentence, every refusal."""
    asked = observed(evc().claiming(uid=None))
    yield _with(asked.evc, refused(World(asked, asked.evc, at(1)), "exceeded quota: storage"))
    there = observed(provided(), volume())
    waits = _with(there.evc, decide(there, at(2)))
    reason = "the class does not allow expansion"
    yield _with(waits, update_refused(World(there, waits, at(9)), reason))
    for case in ALL:
        plan = decide(case.seen, at(case.now))
        if case.seen.evc is not None and plan.status is not None:
            yield _with(case.seen.evc, plan)


def files() -> dict[str, str]:
    """Name and text of every file below FOLDER that is generated.

    There is one object for each health and reason for it: that of the first sentence about it.
    """
    objects = {"progressing_noStatus": (evc().value, "Progressing", UNSEEN)}
    for item in written():
        health = HEALTH.get(kstatus(item))
        if health is None:
            continue  # Argo CD itself judges what is being deleted
        found = item.status.condition(TELLING[health])
        assert found is not None
        name = f"{health.lower()}_{found.reason[0].lower()}{found.reason[1:]}"
        objects.setdefault(name, (item, health, found.message))
    used = objects["healthy_inUse"][0]
    changed = replace(used, metadata=replace(used.metadata, generation=2))
    objects["progressing_changedSpec"] = (changed, "Progressing", UNSEEN)
    tests = [
        {
            "healthStatus": {"status": health, "message": message},
            "inputPath": f"testdata/{name}.yaml",
        }
        for name, (_, health, message) in objects.items()
    ]
    texts = {f"testdata/{name}.yaml": _dump(wire(item)) for name, (item, *_) in objects.items()}
    return {"health_test.yaml": _dump({"tests": tests})} | texts


def _with(item: EphemeralVolumeClaim, plan: Plan) -> EphemeralVolumeClaim:
    assert plan.status is not None
    return replace(item, status=plan.status, malformed="")


def wire(item: EphemeralVolumeClaim) -> dict[str, Any]:
    """The object as the API server gives it out."""
    return {"apiVersion": API_VERSION, "kind": KIND} | msgspec.to_builtins(item)


def _dump(value: dict[str, Any]) -> str:
    return yaml.safe_dump(value, sort_keys=False, width=1000)


def main() -> None:
    """Write the files, and remove those that are none any more."""
    wanted = files()
    for old in (FOLDER / "testdata").glob("*.yaml"):
        if f"testdata/{old.name}" not in wanted:
            old.unlink()
    for name, text in wanted.items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    main()
