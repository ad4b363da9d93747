"""`python -m soak`: print a table; the exit code is 1 if anything grows, leaks or fails."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from cluster import ControlPlane
from e2e.scenario import Operator, Scenario
from faults.audit import Entry
from faults.stage import OPERATOR, Stage
from sim.kinds import PVCS
from soak.driver import Driver
from soak.gauges import LIMITS, Gauges, table, trend


def main() -> int:
    """Boot a control plane, let claims live and die, and judge."""
    parser = argparse.ArgumentParser(prog="python -m soak", description=__doc__)
    parser.add_argument("--lives", type=int, default=20_000)
    parser.add_argument("--minutes", type=float, default=60.0, help="begin no life after them")
    parser.add_argument("--threads", type=int, default=4, help="namespaces at the same time")
    args = parser.parse_args()
    with ControlPlane.boot() as plane:
        return soak(plane, args.lives, args.minutes * 60, args.threads)


def soak(plane: ControlPlane, lives: int, seconds: float, threads: int) -> int:
    """Return the exit code."""
    stage = Stage(plane)
    log = plane.directory / "operator.log"
    operator = Operator(stage.kubeconfig, log, "--max-deletions-per-minute=0")
    operator.start()
    began = time.monotonic()
    driver = Driver(plane, lives, threads, began + seconds)
    gauges = Gauges(operator.pid, lambda: driver.done)
    try:
        driver.run()
        took = time.monotonic() - began
    finally:
        gauges.stop()
        operator.close()
    print("\n".join(table(gauges.samples)))
    print(f"{driver.done} lives in {took:.0f} s: {driver.done / took:.1f} per second")
    problems = [*driver.failures, *leaks(plane, driver.done)]
    problems += [f"{limit.name} grows" for limit in LIMITS if not trend(limit, gauges.samples).flat]
    for problem in problems:
        print(f"FAILED: {problem}")
    return bool(problems)


def leaks(plane: ControlPlane, lives: int) -> list[str]:
    """What the API server says is left, or was not done once for each life."""
    world = Scenario(plane.kubeconfig)
    paths = ("/apis/evc.dev/v1alpha1/ephemeralvolumeclaims", "/api/v1/persistentvolumeclaims")
    left = {path: len(world.call("GET", path)["items"]) for path in paths}
    done = {verb: granted(plane.audit_log, verb) for verb in ("create", "delete")}
    return [
        *(f"{count} left of {path}" for path, count in left.items() if count),
        *(
            f"{count} times {verb} of a PersistentVolumeClaim for {lives} lives"
            for verb, count in done.items()
            if count != lives
        ),
    ]


def granted(log: Path, verb: str) -> int:
    """How often the operator did that to PersistentVolumeClaims; the log may have gigabytes."""
    wanted = (f'"verb":"{verb}"'.encode(), b'"resource":"persistentvolumeclaims"')
    with log.open("rb") as lines:
        few = (Entry(json.loads(line)) for line in lines if all(word in line for word in wanted))
        return sum(e.granted for e in few if e.user == OPERATOR and e.resource == PVCS)


if __name__ == "__main__":
    sys.exit(main())
