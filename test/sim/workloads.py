"""Makers of pods besides Jobs: a ReplicaSet, and a Workflow, whose kind the operator does not know.

A Workflow is ``spec: {steps, pause, podGC, template}``: its pods run one after the other with
a pause between them, in which nothing but the Workflow's own status says that it goes on.
"""

from __future__ import annotations

from sim.history import Commit, Json, deleting, marks_of, meta, uid
from sim.kinds import PODS, REPLICASETS, WORKFLOWS, Kind
from sim.node import terminal
from sim.world import Controller, World

KINDS = {"ReplicaSet": REPLICASETS, "Workflow": WORKFLOWS}
FINAL = ("Succeeded", "Failed")


class Workloads(Controller):
    """Their controllers."""

    actor = "workload-controller"

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._made: dict[str, int] = {}
        self._ended: dict[str, dict[str, str]] = {}

    def committed(self, commit: Commit) -> None:
        name, last = commit.name, commit.last
        if name.plural in KINDS.values() and commit.after is not None:
            self._later(name.plural, name.namespace, name.name)
        if name.plural == PODS:
            owner = next(iter(meta(last).get("ownerReferences", ())), None)
            if owner is None or owner["kind"] not in KINDS:
                return
            if terminal(last) or commit.after is None:
                phase = last["status"].get("phase", "Failed")
                self._ended.setdefault(owner["uid"], {}).setdefault(uid(last), phase)
            self._later(KINDS[owner["kind"]], name.namespace, owner["name"])

    def _later(self, plural: str, namespace: str, name: str) -> None:
        sync = self._replicas if plural == REPLICASETS else self._steps
        self.world.soon("workload pace", lambda: sync(namespace, name), 0.01, 1.0)

    def _pods(self, owner: Json) -> list[Json]:
        return [
            pod
            for pod in self.server.items(PODS, meta(owner)["namespace"])
            if any(o["uid"] == uid(owner) for o in meta(pod).get("ownerReferences", ()))
        ]

    def _replicas(self, namespace: str, name: str) -> None:
        found = self.server.find(REPLICASETS, namespace, name)
        if found is None or deleting(found):
            return
        active = [pod for pod in self._pods(found) if not terminal(pod) and not deleting(pod)]
        wanted = found["spec"]["replicas"]
        for pod in active[wanted:]:
            self.server.delete(self.actor, PODS, namespace, meta(pod)["name"])
        for _ in range(wanted - len(active)):
            self._make(found)

    def _steps(self, namespace: str, name: str) -> None:
        found = self.server.find(WORKFLOWS, namespace, name)
        if found is None or deleting(found) or found["status"].get("phase") in FINAL:
            return
        pods, spec = self._pods(found), found["spec"]
        if any(not terminal(pod) for pod in pods):
            return
        ends = self._ended.get(uid(found), {})
        failed = "Failed" in ends.values()
        if failed or len(ends) >= spec["steps"]:
            now = self.world.timeline.stamp()
            status = {"phase": "Failed" if failed else "Succeeded", "finishedAt": now}
            self._say(found, status)
            return
        if spec["podGC"]:
            for pod in pods:
                self.server.delete(self.actor, PODS, namespace, meta(pod)["name"])
        made = self._made.get(uid(found), 0)
        if made == len(ends):
            self._say(found, {"phase": "Running"})
            self._made[uid(found)] = made + 1
            pause = spec["pause"] if made else 0.0
            known = uid(found)

            def step() -> None:
                again = self.server.get(WORKFLOWS, namespace, name)
                if uid(again) == known and not deleting(again):
                    self._make(again, made)

            self.world.timeline.after(pause, lambda: self.world.attempt(step))

    def _say(self, workflow: Json, status: Json) -> None:
        where = meta(workflow)["namespace"], meta(workflow)["name"]
        self.server.replace(self.actor, WORKFLOWS, *where, workflow | {"status": status}, "status")

    def _make(self, owner: Json, number: int | None = None) -> None:
        if number is None:
            number = self._made.get(uid(owner), 0)
            self._made[uid(owner)] = number + 1
        template = owner["spec"]["template"]
        reference = {
            "apiVersion": owner["apiVersion"],
            "kind": owner["kind"],
            "name": meta(owner)["name"],
            "uid": uid(owner),
            "controller": True,
            "blockOwnerDeletion": True,
        }
        metadata = {
            "name": f"{meta(owner)['name']}-{number}",
            "labels": dict(template["metadata"].get("labels", {})),
            "annotations": dict(marks_of(template)),
            "ownerReferences": [reference],
        }
        body = {"metadata": metadata, "spec": template["spec"]}
        self.server.create(self.actor, PODS, meta(owner)["namespace"], body)


def going_on(owner: Json) -> bool:
    """Whether it may still make pods."""
    if deleting(owner):
        return False
    if Kind.plural_of(owner) == REPLICASETS:
        return bool(owner["spec"]["replicas"])
    return owner["status"].get("phase") not in FINAL
