"""Makers of kinds that the operator has no type for: nothing but their status says they go on.

A Workflow is ``spec: {steps, pause, podGC, template}``: its pods run one after the other with
a pause between them.  A JobSet is ``{restarts, pause, jobTemplate}``: one Job, which is
deleted and made again, under the same name, when it fails.  A TrainJob is ``{restarts,
pause, jobSet}`` and does that with a JobSet: an owner of an owner.  A Rollout is ``{revisions,
every, pause, replicas, template}``: its ReplicaSets follow each other, and between two of them
none wants pods; it never says that it is over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from sim.history import Commit, Json, condition, deleting, meta, uid
from sim.kinds import JOBS, JOBSETS, PODS, REPLICASETS, ROLLOUTS, TRAINJOBS, WORKFLOWS
from sim.makers import Makers
from sim.node import terminal
from sim.world import World

FINAL = ("Succeeded", "Failed")


class Foreign(Makers):
    """Their controllers."""

    actor = "foreign-controller"
    children: ClassVar[tuple[str, ...]] = (PODS, JOBS, JOBSETS, REPLICASETS)

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._ended: dict[str, dict[str, str]] = {}
        """Uid of a Workflow -> uids of its pods that ended -> phase."""
        self.sync = {
            WORKFLOWS: self._steps,
            JOBSETS: lambda maker: self._attempts(maker, JOBS, self.make_job),
            TRAINJOBS: lambda maker: self._attempts(maker, JOBSETS, self._make_jobset),
            ROLLOUTS: self._revisions,
        }

    def child_changed(self, owner: str, commit: Commit) -> None:
        last = commit.last
        if commit.name.plural == PODS and (terminal(last) or commit.after is None):
            phase = last["status"].get("phase", "Failed")
            self._ended.setdefault(owner, {}).setdefault(uid(last), phase)

    def _steps(self, maker: Json) -> None:
        if maker["status"].get("phase") in FINAL:
            return
        pods, spec = self.those_of(maker), maker["spec"]
        if any(not terminal(pod) for pod in pods):
            return
        ends = self._ended.get(uid(maker), {})
        failed = "Failed" in ends.values()
        if failed or len(ends) >= spec["steps"]:
            now = self.world.timeline.stamp()
            self.say(maker, {"phase": "Failed" if failed else "Succeeded", "finishedAt": now})
            return
        if spec["podGC"]:
            for pod in pods:
                self.remove(pod)
        if not self.is_pending(maker):
            self.say(maker, {"phase": "Running"})
            pause = spec["pause"] if ends else 0.0
            name = self.next_name(maker)
            self.afterwards(maker, pause, lambda found: self.make_pod(found, name))

    def _attempts(self, maker: Json, plural: str, make: Callable[[Json, str], None]) -> None:
        """Run one child to its end; a failed one is deleted and made again."""
        if final(maker):
            return
        children = self.those_of(maker, plural)
        made, most = self.made.get(uid(maker), 0), maker["spec"]["restarts"] + 1
        if children:
            end = end_of(children[0])
            if end == "Failed" and made < most:
                self.remove(children[0])
            elif end and not deleting(children[0]):
                self._conclude(maker, end)
        elif made < most and not self.is_pending(maker):
            pause, name = maker["spec"]["pause"] if made else 0.0, f"{meta(maker)['name']}-0"
            self.afterwards(maker, pause, lambda found: make(found, name))
        elif made >= most:
            self._conclude(maker, "Failed")

    def _revisions(self, maker: Json) -> None:
        """Scale one ReplicaSet down after a while, and make the next after a pause."""
        spec, made = maker["spec"], self.made.get(uid(maker), 0)
        if made >= spec["revisions"] or self.is_pending(maker):
            return
        if any(item["spec"]["replicas"] for item in self.those_of(maker, REPLICASETS)):
            self.afterwards(maker, spec["every"], self._retire)
            return
        body = {"spec": {"replicas": spec["replicas"], "template": spec["template"]}}
        name, pause = self.next_name(maker), spec["pause"] if made else 0.0
        self.afterwards(maker, pause, lambda found: self.make(found, REPLICASETS, name, body))

    def _retire(self, maker: Json) -> None:
        for item in self.those_of(maker, REPLICASETS):
            self.scale(item, 0)

    def _make_jobset(self, maker: Json, name: str) -> None:
        self.make(maker, JOBSETS, name, {"spec": maker["spec"]["jobSet"]})

    def _conclude(self, maker: Json, end: str) -> None:
        now = self.world.timeline.stamp()
        kind = "Completed" if end == "Complete" else "Failed"
        entry = {"type": kind, "status": "True", "lastTransitionTime": now}
        self.say(maker, {"conditions": [entry]})


def end_of(item: Json) -> str:
    """Complete or Failed for a Job or a JobSet that is over, else nothing."""
    for kind, end in (("Complete", "Complete"), ("Completed", "Complete"), ("Failed", "Failed")):
        if condition(item, kind).get("status") == "True":
            return end
    return ""


def final(maker: Json) -> bool:
    """Whether its status says that it is over."""
    return maker["status"].get("phase") in FINAL or bool(end_of(maker))


def goes_on(maker: Json) -> bool:
    """Whether it may still make pods."""
    return not (deleting(maker) or final(maker))
