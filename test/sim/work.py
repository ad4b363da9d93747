"""What uses a volume: pods, Jobs and whatever else makes pods.

To add something: a method, and its name in `WORK`.
"""

from __future__ import annotations

from collections.abc import Callable

from sim.hands import CHAOS, LONG, Hands
from sim.history import Json
from sim.kinds import (
    CONTROLLERS,
    CRONJOBS,
    DAEMONSETS,
    DEPLOYMENTS,
    JOBS,
    JOBSETS,
    PODS,
    REPLICASETS,
    ROLLOUTS,
    STATEFULSETS,
    TRAINJOBS,
    WORKFLOWS,
)


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
        plural = self.one((REPLICASETS, CONTROLLERS, STATEFULSETS))
        spec = {"replicas": self.one((1, 2)), "template": self._evicted(namespace, claim, name)}
        self._scaled(plural, namespace, name, start, spec)

    def _deployment(self, namespace: str, claim: str, name: str, start: float) -> None:
        """With new templates now and then; between two ReplicaSets of Recreate none wants pods."""
        spec = {
            "replicas": self.one((1, 2)),
            "strategy": {"type": self.one(("Recreate", "RollingUpdate"))},
            "template": self._evicted(namespace, claim, name),
        }
        self._scaled(DEPLOYMENTS, namespace, name, start, spec)
        for number in range(self.one((0, 1, 2))):
            change = {"metadata": {"annotations": {"sim/rollout": str(number)}}}
            time = self.when(start, CHAOS)
            self.change(time, DEPLOYMENTS, namespace, name, {"spec": {"template": change}})

    def _scaled(self, plural: str, namespace: str, name: str, start: float, spec: Json) -> None:
        """Run it, scale it down and perhaps up again, and in the end remove it."""
        self.at(start, "runs", plural, namespace, {"metadata": {"name": name}, "spec": spec})
        end = self.when(start, CHAOS)
        if self.one((True, False)):
            self.change(end, plural, namespace, name, {"spec": {"replicas": 0}})
            if self.one((False, False, True)):
                again = self.when(end, CHAOS)
                self.change(again, plural, namespace, name, {"spec": {"replicas": 1}})
        self.remove(CHAOS - 1.0, plural, namespace, name)

    def _daemons(self, namespace: str, claim: str, name: str, start: float) -> None:
        """Switched off, and perhaps on again, by a nodeSelector that no node fits."""
        spec = {"template": self._evicted(namespace, claim, name)}
        self.at(start, "runs", DAEMONSETS, namespace, {"metadata": {"name": name}, "spec": spec})
        time = self.when(start, CHAOS)
        for selector in self.one((({"no": "node"},), ({"no": "node"}, None), ())):
            off = {"spec": {"template": {"spec": {"nodeSelector": selector}}}}
            self.change(time, DAEMONSETS, namespace, name, off)
            time = self.when(time, CHAOS)
        self.remove(CHAOS - 1.0, DAEMONSETS, namespace, name)

    def _evicted(self, namespace: str, claim: str, name: str) -> Json:
        does = {"sim/exit": "1", "sim/seconds": str(self.one((6, 20)))}
        return self._template(namespace, claim, name, does)

    def _template(self, namespace: str, claim: str, name: str, does: dict[str, str]) -> Json:
        one = self.user(namespace, claim, name, does)
        return {"metadata": one["metadata"], "spec": one["spec"]}

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
        self._unknown(WORKFLOWS, namespace, name, start, spec)

    def _jobset(self, namespace: str, claim: str, name: str, start: float) -> None:
        """Of an unknown kind, too: it deletes its Job when that fails, and makes it again."""
        spec = self._attempts(namespace, claim, name)
        self._unknown(JOBSETS, namespace, name, start, spec)

    def _trainjob(self, namespace: str, claim: str, name: str, start: float) -> None:
        """Does the same with a JobSet: while that is gone only the owner's owner is left."""
        spec = {
            "restarts": self.one((0, 1, 2)),
            "pause": self.one((0.5, 5.0, 25.0)),
            "jobSet": self._attempts(namespace, claim, name) | {"restarts": self.one((0, 1))},
        }
        self._unknown(TRAINJOBS, namespace, name, start, spec)

    def _rollout(self, namespace: str, claim: str, name: str, start: float) -> None:
        """Of an unknown kind that makes ReplicaSets; it goes on until it is removed."""
        spec = {
            "revisions": self.one((1, 2, 3)),
            "every": self.one((10.0, 20.0)),
            "pause": self.one((0.5, 5.0, 25.0)),
            "replicas": self.one((1, 2)),
            "template": self._evicted(namespace, claim, name),
        }
        self.at(start, "runs", ROLLOUTS, namespace, {"metadata": {"name": name}, "spec": spec})
        self.remove(self.when(start + 20, CHAOS - 1.0), ROLLOUTS, namespace, name)

    def _attempts(self, namespace: str, claim: str, name: str) -> Json:
        return {
            "restarts": self.one((0, 1, 2)),
            "pause": self.one((0.5, 5.0, 25.0)),
            "jobTemplate": {"spec": self._one_pod(namespace, claim, name)},
        }

    def _one_pod(self, namespace: str, claim: str, name: str) -> Json:
        """The spec of a Job of one pod, the first of which fail."""
        does = {"sim/seconds": str(self.one((3, 10)))}
        does["sim/fail-first"] = str(self.one((0, 1, 1, 2)))
        template = self._template(namespace, claim, name, does)
        return {"template": template, "backoffLimit": self.one((0, 0, 1))}

    def _unknown(self, plural: str, namespace: str, name: str, start: float, spec: Json) -> None:
        """Run it; perhaps remove it on the way, or long after its end."""
        self.at(start, "runs", plural, namespace, {"metadata": {"name": name}, "spec": spec})
        if self.one((False, False, True)):
            self.remove(self.when(start, CHAOS), plural, namespace, name)
        elif not self.patient:
            self.remove(CHAOS + 5.0, plural, namespace, name)

    def _cronjob(self, namespace: str, claim: str, name: str, start: float) -> None:
        """Each run is a Job of its own: between two of them nothing holds."""
        spec = {
            "every": self.one((10.0, 30.0)),
            "suspend": False,
            "jobTemplate": {"spec": self._one_pod(namespace, claim, name)},
        }
        self.at(start, "runs", CRONJOBS, namespace, {"metadata": {"name": name}, "spec": spec})
        end = self.when(start, CHAOS)
        if self.one((True, False)):
            self.change(end, CRONJOBS, namespace, name, {"spec": {"suspend": True}})
        else:
            self.remove(end, CRONJOBS, namespace, name)
        self.remove(CHAOS - 1.0, CRONJOBS, namespace, name)

    WORK: tuple[Callable[..., None], ...] = (
        _job,
        _job,
        _pod,
        _pod,
        _late_pod,
        _stranger,
        _bystander,
        _rerun,
        _replicas,
        _deployment,
        _daemons,
        _workflow,
        _jobset,
        _trainjob,
        _rollout,
        _cronjob,
    )
