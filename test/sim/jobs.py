"""The Job controller (pods, retries, suspension, ttl), and the CronJob controller above it.

``sim/fail-first`` on the pod template: so many of the first pods fail.
"""

from __future__ import annotations

from sim.history import Commit, Json, condition, deleting, marks_of, meta, uid
from sim.kinds import CRONJOBS, JOBS, PODS
from sim.makers import Makers
from sim.node import terminal
from sim.world import Controller, World

BACKOFF = 2.0
"""Seconds before the first retry, then doubled (10 in Kubernetes: too long for a life)."""


class Jobs(Controller):
    actor = "job-controller"

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._ended: dict[str, dict[str, str]] = {}
        """Job uid -> pod uid -> phase: what the job-tracking finalizer makes certain."""
        self._made: dict[str, int] = {}
        self._not_before: dict[str, float] = {}
        self._tries: dict[tuple[str, str], int] = {}
        """Pods made for Jobs of that name: what fails first succeeds when it is made again."""

    def committed(self, commit: Commit) -> None:
        name, last = commit.name, commit.last
        if name.plural == JOBS and commit.after is not None:
            self._later(name.namespace, name.name)
        if name.plural == PODS:
            owner = next(iter(meta(last).get("ownerReferences", ())), None)
            if owner is not None and owner["kind"] == "Job":
                if terminal(last):
                    phases = self._ended.setdefault(owner["uid"], {})
                    phases.setdefault(uid(last), last["status"]["phase"])
                self._later(name.namespace, owner["name"])

    def _later(self, namespace: str, name: str, low: float = 0.01, high: float = 1.0) -> None:
        self.world.soon("job pace", lambda: self._sync(namespace, name), low, high)

    def _sync(self, namespace: str, name: str) -> None:
        job = self.server.find(JOBS, namespace, name)
        if job is None or deleting(job):
            return
        if condition(job, "Complete") or condition(job, "Failed"):
            return
        pods = [
            pod
            for pod in self.server.items(PODS, namespace)
            if any(o["uid"] == uid(job) for o in meta(pod).get("ownerReferences", ()))
        ]
        active = [pod for pod in pods if not terminal(pod)]
        phases = list(self._ended.get(uid(job), {}).values())
        good, bad = phases.count("Succeeded"), phases.count("Failed")
        spec = job["spec"]
        over = self._verdict(spec, good, bad)
        if spec["suspend"] or over:
            for pod in active:
                if not deleting(pod):
                    self._ended.setdefault(uid(job), {})[uid(pod)] = "Stopped"
                    self.server.delete(self.actor, PODS, namespace, meta(pod)["name"])
        else:
            wanted = min(spec.get("parallelism", 1), spec.get("completions", 1) - good)
            self._make(job, wanted - len(active), bad)
        self._report(job, len(active), good, bad, over if not active else "")

    @staticmethod
    def _verdict(spec: Json, good: int, bad: int) -> str:
        if good >= spec.get("completions", 1):
            return "Complete"
        return "Failed" if bad > spec["backoffLimit"] else ""

    def _make(self, job: Json, missing: int, failures: int) -> None:
        namespace, name = meta(job)["namespace"], meta(job)["name"]
        made = self._made.get(uid(job), 0)
        if missing <= 0:
            return
        if failures and made <= failures:
            ready = self._not_before.setdefault(
                f"{uid(job)}/{failures}", self.world.now + BACKOFF * 2 ** (failures - 1)
            )
            if self.world.now < ready:
                self._later(namespace, name, ready - self.world.now, ready - self.world.now)
                return
        template = job["spec"]["template"]
        labels = dict(template["metadata"].get("labels", {}))
        marks = dict(template["metadata"].get("annotations", {}))
        tries = self._tries.get((namespace, name), 0)
        self._tries[namespace, name] = tries + 1
        if tries < int(marks.get("sim/fail-first", 0)):
            marks["sim/exit"] = "1"
        owner = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "name": name,
            "uid": uid(job),
            "controller": True,
            "blockOwnerDeletion": True,
        }
        metadata = {
            "name": f"{name}-{made}",
            "labels": labels,
            "annotations": marks,
            "ownerReferences": [owner],
        }
        self._made[uid(job)] = made + 1
        body = {"metadata": metadata, "spec": template["spec"]}
        self.server.create(self.actor, PODS, namespace, body)

    def _report(self, job: Json, active: int, good: int, bad: int, over: str) -> None:
        status = dict(job["status"])
        status |= {"active": active, "succeeded": good, "failed": bad}
        now = self.world.timeline.stamp()
        if job["spec"]["suspend"]:
            status.pop("startTime", None)
        else:
            status.setdefault("startTime", now)
        if over:
            end = {"type": over, "status": "True", "lastTransitionTime": now}
            status["conditions"] = [end]
            if over == "Complete":
                status["completionTime"] = now
            ttl = job["spec"].get("ttlSecondsAfterFinished")
            if ttl is not None:
                self.world.soon("ttl pace", lambda: self._expire(job), ttl, ttl + 1.0)
        where = meta(job)["namespace"], meta(job)["name"]
        self.server.replace(self.actor, JOBS, *where, job | {"status": status}, "status")

    def _expire(self, job: Json) -> None:
        where = meta(job)["namespace"], meta(job)["name"]
        options = {"preconditions": {"uid": uid(job)}}
        self.server.delete(self.actor, JOBS, *where, options)


class CronJobs(Makers):
    """Every ``spec.every`` seconds a Job, unless suspended; of the finished ones it keeps one."""

    actor = "cronjob-controller"

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.sync = {CRONJOBS: self._wait}

    def _wait(self, maker: Json) -> None:
        if not self.is_pending(maker):
            self.afterwards(maker, maker["spec"]["every"], self._tick)

    def _tick(self, maker: Json) -> None:
        self._wait(maker)
        finished = [job for job in self.those_of(maker, JOBS) if not unfinished(job)]
        for job in finished[:-1]:
            self.remove(job)
        if not maker["spec"]["suspend"]:
            self.make_job(maker, self.next_name(maker))


def unfinished(job: Json) -> bool:
    """Whether it may still make pods."""
    over = any(condition(job, kind).get("status") == "True" for kind in ("Complete", "Failed"))
    return not over and not deleting(job) and marks_of(job).get("sim/ignored") is None
