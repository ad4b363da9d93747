"""A namespace with operators in it, for faults that are written by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from e2e import manifests
from e2e.manifests import COMPLETE_AFTER
from e2e.scenario import Json, Scenario
from faults.judge import Judge, within
from faults.play import MOST_REQUESTS, WINDOW
from faults.proxy import Faults
from faults.scenarios import claim, eventually, until, until_ready
from faults.stage import Operator, Stage
from sim.kinds import LEASES

COMPLETE_SOON = {"metadata": {"annotations": {COMPLETE_AFTER: "100ms"}}}
GONE_UNLESS_KEPT = 5.0
"""Seconds after which a volume of these tests would be gone if nothing kept it."""


class Life:
    """What a test needs: `world` for users, `start` for operators, a judge at the end."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.world: Scenario = stage.world()
        self.operators: list[Operator] = []
        self.most_requests = MOST_REQUESTS
        """In any ten seconds (L2); a test with many claims allows more."""

    def start(self, faults: Faults, *args: str) -> Operator:
        """Start one more operator, behind these faults."""
        name = "abc"[len(self.operators)]
        operator = self.stage.operator(self.world, faults, *args, name=name)
        self.operators.append(operator)
        operator.start()
        return operator

    def electing(self) -> tuple[str, ...]:
        """The arguments of an operator that is one of several."""
        return ("--leader-elect", f"--leader-election-namespace={self.world.namespace}")

    def close(self) -> None:
        for operator in self.operators:
            operator.close()

    def judge(self) -> Judge:
        """What the operators did so far."""
        return Judge(self.stage.audit, self.world.namespace)

    def violations(self) -> list[str]:
        """S1 to S8 by the audit log, L2 by the proxies."""
        found = self.judge()()
        for operator in self.operators:
            found += operator.complaints()
            calls = [call.time for call in operator.proxy.calls if call.resource != LEASES]
            if (most := within(calls, WINDOW)) > self.most_requests:
                found.append(f"L2: {most} requests within {WINDOW:.0f} s")
        return found


def resident(operator: Operator) -> int:
    """Bytes of memory of the process."""
    assert operator.process is not None
    status = Path(f"/proc/{operator.process.pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) << 10


def gone(life: Life, name: str = "scratch") -> None:
    """Wait until the volume's claim is gone."""
    eventually(lambda: not life.world.get("pvc", name), f"pvc {name} is gone", 60)


def in_use(life: Life, **spec: Any) -> Json:
    """A claim with a running pod `user`; returns its PersistentVolumeClaim."""
    defaults: Json = {"completedPods": "Delete", "gracePeriodSeconds": 1}
    life.world.create("evc", claim("scratch", **(defaults | spec)))
    until_ready(life.world, "scratch")
    life.world.create("pod", manifests.pod("user", "scratch"))
    until(life.world, "scratch", "InUse")
    return life.world.get("pvc", "scratch")
