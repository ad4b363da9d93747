"""What uses a volume: pods, Jobs and whatever else makes pods.

To add something: a method, and its name in `WORK`.
"""

from __future__ import annotations

from collections.abc import Callable

from sim.hands import CHAOS, LONG, Hands
from sim.kinds import JOBS, PODS, REPLICASETS, WORKFLOWS


class Work(Hands):
    """Each method plans one piece of work for a claim."""

    def _pod(self, namespace: str, claim: str, name: str, start: float) -> None:
        does = {"sim/exit": self.one(("0", "0", "1"))}
        length = self.one((3, 0, 15, 40, None))
        if length is not None:
            does["sim/seconds"] = str(length)
        self.at(start, "runs", PODS, namespace, self.user(namespace, claim, name, does))
        if self.one((False, True)):
            self.remove(self.when(start, CHAOS), PODS, namespace, name)

    def _late_pod(self, namespace: str, claim: str, name: str, start: float) -> None:
        does = {"sim/seconds": "5", "sim/schedule-after": str(self.one((20, 60, LONG)))}
        self.at(start, "runs", PODS, namespace, self.user(namespace, claim, name, does))

    def _stranger(self, namespace: str, claim: str, name: str, start: float) -> None:
        """References the volume without matching the selector."""
        does = {"sim/seconds": str(self.one((5, 50)))}
        self.at(start, "runs", PODS, namespace, self.user(namespace, claim, name, does, "stranger"))

    def _bystander(self, namespace: str, claim: str, name: str, start: float) -> None:
        """Matches the selector without referencing the volume."""
        manifest = self.user(namespace, claim, name, {"sim/seconds": str(self.one((5, 50)))})
        manifest["spec"]["volumes"] = []
        self.at(start, "runs", PODS, namespace, manifest)

    def _job(self, namespace: str, claim: str, name: str, start: float) -> None:
        does = {"sim/seconds": str(self.one((3, 10, 30)))}
        does["sim/fail-first"] = str(self.one((0, 0, 1, 3)))
        one = self.user(namespace, claim, name, does)
        spec = {
            "template": {"metadata": one["metadata"], "spec": one["spec"]},
            "completions": self.one((1, 2)),
            "parallelism": self.one((1, 2)),
            "backoffLimit": self.one((0, 1, 2)),
            "suspend": self.one((False, False, True)),
        }
        ttl = self.one((None, None, 0, 10))
        if ttl is not None:
            spec["ttlSecondsAfterFinished"] = ttl
        job = {"metadata": {"name": name}, "spec": spec}
        self.at(start, "runs", JOBS, namespace, job)
        for _ in range(self.one((0, 0, 1, 2))):
            change = {"spec": {"suspend": self.one((True, False))}}
            self.change(self.when(start, CHAOS), JOBS, namespace, name, change)

    def _rerun(self, namespace: str, claim: str, name: str, start: float) -> None:
        """The same name again and again: Kubernetes tells them apart by uid only."""
        for _ in range(2):
            manifest = self.user(namespace, claim, name, {"sim/seconds": "4"})
            self.at(start, "runs", PODS, namespace, manifest)
            start = self.when(start + 4, start + 25)
            self.remove(start, PODS, namespace, name)
            start += 0.5

    def _replicas(self, namespace: str, claim: str, name: str, start: float) -> None:
        """Pods that are evicted, one after the other, and replaced until nobody wants them."""
        does = {"sim/exit": "1", "sim/seconds": str(self.one((6, 20)))}
        one = self.user(namespace, claim, name, does)
        template = {"metadata": one["metadata"], "spec": one["spec"]}
        spec = {"replicas": self.one((1, 2)), "template": template}
        self.at(start, "runs", REPLICASETS, namespace, {"metadata": {"name": name}, "spec": spec})
        end = self.when(start, CHAOS)
        if self.one((True, False)):
            self.change(end, REPLICASETS, namespace, name, {"spec": {"replicas": 0}})
            if self.one((False, False, True)):
                again = self.when(end, CHAOS)
                self.change(again, REPLICASETS, namespace, name, {"spec": {"replicas": 1}})
        self.remove(CHAOS - 1.0, REPLICASETS, namespace, name)

    def _workflow(self, namespace: str, claim: str, name: str, start: float) -> None:
        """Of a kind the operator does not know; between its steps there is no pod at all."""
        does = {"sim/seconds": str(self.one((3, 10))), "sim/exit": self.one(("0", "0", "1"))}
        one = self.user(namespace, claim, name, does)
        spec = {
            "steps": self.one((1, 2, 3)),
            "pause": self.one((0.5, 5.0, 25.0)),
            "podGC": self.one((True, False)),
            "template": {"metadata": one["metadata"], "spec": one["spec"]},
        }
        self.at(start, "runs", WORKFLOWS, namespace, {"metadata": {"name": name}, "spec": spec})
        if self.one((False, False, True)):
            self.remove(self.when(start, CHAOS), WORKFLOWS, namespace, name)
        elif not self.patient:
            self.remove(CHAOS + 5.0, WORKFLOWS, namespace, name)

    WORK: tuple[Callable[..., None], ...] = (
        _job,
        _pod,
        _pod,
        _late_pod,
        _stranger,
        _bystander,
        _rerun,
        _replicas,
        _workflow,
    )
