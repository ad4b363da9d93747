"""Kubernetes' own makers of pods besides Jobs: each wants so many, and replaces what ends."""

from __future__ import annotations

from typing import ClassVar

from sim.history import Json, deleting, meta
from sim.kinds import (
    CONTROLLERS,
    DAEMONSETS,
    DEPLOYMENTS,
    PODS,
    REPLICASETS,
    STATEFULSETS,
)
from sim.makers import Makers
from sim.node import terminal
from sim.world import World


class Workloads(Makers):
    """Their controllers."""

    children: ClassVar[tuple[str, ...]] = (PODS, REPLICASETS)
    # Long enough for a status that is of an older spec to matter.
    slowest: ClassVar[dict[str, float]] = {DAEMONSETS: 6.0}

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.sync = {
            REPLICASETS: self._replicas,
            CONTROLLERS: self._replicas,
            DEPLOYMENTS: self._rollout,
            STATEFULSETS: self._ordinals,
            DAEMONSETS: self._daemons,
        }

    def _replicas(self, maker: Json) -> None:
        pods = self.those_of(maker)
        active = [pod for pod in pods if not terminal(pod) and not deleting(pod)]
        wanted = maker["spec"]["replicas"]
        for pod in active[wanted:]:
            self.remove(pod)
        for _ in range(wanted - len(active)):
            self.make_pod(maker, self.next_name(maker))

    def _rollout(self, maker: Json) -> None:
        """One ReplicaSet per template; Recreate ends the old pods before it makes new ones."""
        spec, sets = maker["spec"], self.those_of(maker, REPLICASETS)
        present = [item for item in sets if item["spec"]["template"] == spec["template"]]
        old = [item for item in sets if item not in present]
        for item in old:
            self.scale(item, 0)
        if spec["strategy"]["type"] == "Recreate" and self._running(old):
            if not self.is_pending(maker):  # the pods' ends wake the ReplicaSets, not us
                self.afterwards(maker, 0.5, self._rollout)
        elif present:
            self.scale(present[0], spec["replicas"])
        else:
            body = {"spec": {"replicas": spec["replicas"], "template": spec["template"]}}
            self.make(maker, REPLICASETS, self.next_name(maker), body)

    def _running(self, sets: list[Json]) -> bool:
        return any(not terminal(pod) for item in sets for pod in self.those_of(item))

    def _ordinals(self, maker: Json) -> None:
        """Pods of fixed names, one at a time; one that ended is made again under its name."""
        wanted = maker["spec"]["replicas"]
        names = [f"{meta(maker)['name']}-{ordinal}" for ordinal in range(wanted)]
        pods = {meta(pod)["name"]: pod for pod in self.those_of(maker)}
        for name in sorted(pods.keys() - {*names}, reverse=True):
            self.remove(pods[name])
        for name in names:
            pod = pods.get(name)
            if pod is None:
                self.make_pod(maker, name)
                return
            if terminal(pod):
                self.remove(pod)
                return

    def _daemons(self, maker: Json) -> None:
        """One pod on the one node, unless its nodeSelector is for other nodes."""
        wanted = daemons_wanted(maker)
        seen = meta(maker)["generation"]
        status = {"desiredNumberScheduled": wanted, "observedGeneration": seen}
        if maker["status"] != status:
            self.say(maker, status)
        pods = self.those_of(maker)
        for pod in pods:
            if terminal(pod) or not wanted:
                self.remove(pod)
        if wanted and not pods:
            self.make_pod(maker, self.next_name(maker))


def daemons_wanted(maker: Json) -> int:
    """How many nodes a DaemonSet is for."""
    return 0 if maker["spec"]["template"]["spec"].get("nodeSelector") else 1


def wants_pods(maker: Json) -> bool:
    """Whether one of these wants a pod, whatever its status says."""
    if deleting(maker):
        return False
    if maker["kind"] == "DaemonSet":
        return daemons_wanted(maker) > 0
    return bool(maker["spec"]["replicas"])
