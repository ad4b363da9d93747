"""Writes the test data of Argo CD's health check: statuses as `decide` writes them.

`python -m unit.docs.argocd` (with src and test on PYTHONPATH) brings it up to date.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import yaml
from msgspec.structs import replace

from evc.model.evc import API_VERSION, KIND, EphemeralVolumeClaim
from evc.policy.decide import decide
from evc.policy.obtain import refused
from evc.policy.reasons import Reason
from evc.policy.world import World
from unit.builders import at, evc, observed
from unit.policy.catalogue import ALL
from unit.policy.test_kstatus import kstatus

FOLDER = (
    Path(__file__).parents[3] / "config/argocd/resource_customizations/evc.dev" / KIND
)  # as in Argo CD's own repository
HEALTH = {"Current": "Healthy", "InProgress": "Progressing", "Failed": "Degraded"}
"""What Argo CD calls kstatus' verdicts."""


def files() -> dict[str, str]:
    """Name and text of every file below FOLDER that is generated.

    There is one object for each reason of Ready and health: that of the first sentence
    about it.
    """
    objects = {"progressing_noStatus": (evc().value, "Progressing", "Waiting for the operator")}
    stale = replace(
        evc().ready(Reason.IN_USE).value, metadata=evc().meta(generation=2).value.metadata
    )
    objects["progressing_changedSpec"] = (stale, "Progressing", "Waiting for the operator")
    asked = evc().claiming(uid=None)
    refusal = refused(World(observed(asked), asked.value, at(1)), "exceeded quota: storage").status
    seen = [(asked.value, refusal)]
    seen += [(c.seen.evc, decide(c.seen, at(c.now)).status) for c in ALL if not c.defect]
    for item, status in seen:
        if item is None or status is None:
            continue
        written = replace(item, status=status, malformed="")
        health = HEALTH.get(kstatus(written))
        told = {"Progressing": "Reconciling", "Degraded": "Stalled", "Healthy": "Ready"}
        if health is None:
            continue  # Argo CD itself judges what is being deleted
        ready, found = status.condition("Ready"), status.condition(told[health])
        assert ready is not None
        assert found is not None
        name = f"{health.lower()}_{ready.reason[0].lower()}{ready.reason[1:]}"
        objects.setdefault(name, (written, health, found.message))
    tests = [
        {
            "healthStatus": {"status": health, "message": message},
            "inputPath": f"testdata/{name}.yaml",
        }
        for name, (_, health, message) in objects.items()
    ]
    texts = {f"testdata/{name}.yaml": _dump(wire(o)) for name, (o, *_) in objects.items()}
    return {"health_test.yaml": _dump({"tests": tests})} | texts


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
