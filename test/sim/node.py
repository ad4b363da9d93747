"""A scheduler and one kubelet: pods start, run, end, and are unmounted a little later.

What a pod does is written on it: ``sim/seconds`` (how long it runs, absent: until it is
deleted), ``sim/exit`` (its exit code), ``sim/schedule-after`` (seconds before any node
fits).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from sim.cluster import claim_names
from sim.history import Commit, Json, deleting, marks_of, meta, uid
from sim.kinds import ATTACHMENTS, NODES, PODS, PVCS
from sim.timeline import seconds
from sim.world import Controller, World

NODE = "n1"


class Node(Controller):
    """``mounts`` is the truth about which pod (uid) has which volumes mounted."""

    actor = "kubelet"

    def __init__(self, world: World, *, attachable: bool, unmount_lag: float) -> None:
        super().__init__(world)
        self.mounts: dict[str, tuple[str, ...]] = {}
        self._attachable = attachable
        self._unmount_lag = unmount_lag
        self._killed: set[str] = set()
        body = {"metadata": {"name": NODE}, "status": {"volumesInUse": []}}
        self.server.create(self.actor, NODES, "", body)

    def committed(self, commit: Commit) -> None:
        if commit.name.plural != PODS or commit.after is None:
            return
        pod = commit.after
        if commit.before is None:
            wait = float(marks_of(pod).get("sim/schedule-after", 0))
            self.world.timeline.after(wait, lambda: self._later(pod, self._schedule))
        elif deleting(pod) and uid(pod) not in self._killed:
            self._killed.add(uid(pod))
            self._later(pod, self._kill)

    def _later(
        self, pod: Json, action: Callable[[Json], None], low: float = 0.01, high: float = 1.0
    ) -> None:
        """Do the next thing with this very pod, if it is still there."""
        namespace, name, known = meta(pod)["namespace"], meta(pod)["name"], uid(pod)

        def act() -> None:
            found = self.server.find(PODS, namespace, name)
            if found is not None and uid(found) == known:
                action(found)

        self.world.soon("node pace", act, low, high)

    def _claims(self, pod: Json) -> list[Json] | None:
        """The pod's claims, None while one is missing, unbound or being deleted."""
        found = []
        for name in claim_names(pod):
            claim = self.server.find(PVCS, meta(pod)["namespace"], name)
            if claim is None or deleting(claim) or claim["status"].get("phase") != "Bound":
                return None
            found.append(claim)
        return found

    def _schedule(self, pod: Json) -> None:
        if deleting(pod):
            return
        if self._claims(pod) is None:
            self._later(pod, self._schedule, 1.0, 4.0)
            return
        bound = pod | {"spec": pod["spec"] | {"nodeName": NODE}}
        self._write(pod, bound, "")
        self._later(pod, self._start)

    def _start(self, pod: Json) -> None:
        claims = self._claims(pod)
        if deleting(pod) or pod["status"]["phase"] != "Pending":
            return
        if claims is None:
            self._later(pod, self._start, 1.0, 4.0)
            return
        volumes = tuple(claim["spec"]["volumeName"] for claim in claims)
        self._mount(pod, volumes)
        state = {"running": {"startedAt": self.world.timeline.stamp()}}
        self._report(pod, "Running", state)
        length = marks_of(pod).get("sim/seconds")
        if length is not None:
            self.world.timeline.after(
                float(length), lambda: self._later(pod, self._end, 0.001, 0.002)
            )

    def _end(self, pod: Json) -> None:
        if pod["status"]["phase"] == "Running" and not deleting(pod):
            failed = marks_of(pod).get("sim/exit", "0") != "0"
            self._terminate(pod, "Failed" if failed else "Succeeded")
            self.world.soon("unmount pace", lambda: self._unmount(uid(pod)), 0, self._unmount_lag)

    def _kill(self, pod: Json) -> None:
        """Somebody deleted it: end it, unmount, and only then let the object go."""
        if pod["status"]["phase"] in ("Pending", "Running"):
            self._terminate(pod, "Failed")
        self._unmount(uid(pod))

        def remove(found: Json) -> None:
            where = meta(found)["namespace"], meta(found)["name"]
            self.server.delete(self.actor, PODS, *where, {"gracePeriodSeconds": 0})

        self._later(pod, remove)

    def _terminate(self, pod: Json, phase: str) -> None:
        statuses = pod["status"].get("containerStatuses")
        if not statuses:
            self._report(pod, phase, None)
            return
        start = statuses[0]["state"]["running"]["startedAt"]
        times = {"startedAt": start, "finishedAt": self.world.timeline.stamp()}
        self._report(pod, phase, {"terminated": times})

    def _report(self, pod: Json, phase: str, state: Json | None) -> None:
        status: Json = {"phase": phase}
        if state is not None:
            status["containerStatuses"] = [{"name": "main", "state": state}]
        self._write(pod, pod | {"status": status}, "status")

    def _write(self, pod: Json, new: Json, sub: str) -> None:
        body = new | {"metadata": {k: v for k, v in meta(new).items() if k != "resourceVersion"}}
        where = meta(pod)["namespace"], meta(pod)["name"]
        self.server.replace(self.actor, PODS, *where, body, sub)

    def _mount(self, pod: Json, volumes: tuple[str, ...]) -> None:
        self.mounts[uid(pod)] = volumes
        if self._attachable:
            for volume in volumes:
                name = f"att-{volume}"
                if self.server.find(ATTACHMENTS, "", name) is None:
                    spec = {"nodeName": NODE, "source": {"persistentVolumeName": volume}}
                    body = {"metadata": {"name": name}, "spec": spec}
                    self.server.create(self.actor, ATTACHMENTS, "", body)
        self._report_in_use()

    def _unmount(self, pod_uid: str) -> None:
        volumes = self.mounts.pop(pod_uid, ())
        self._report_in_use()
        for volume in volumes:
            self.world.soon("detach pace", partial(self._detach, volume))

    def _detach(self, volume: str) -> None:
        mounted = any(volume in volumes for volumes in self.mounts.values())
        if not mounted and self.server.find(ATTACHMENTS, "", f"att-{volume}") is not None:
            self.server.delete(self.actor, ATTACHMENTS, "", f"att-{volume}")

    def _report_in_use(self) -> None:
        if not self._attachable:
            return
        used = sorted({v for volumes in self.mounts.values() for v in volumes})
        node = self.server.get(NODES, "", NODE)
        body = node | {"status": {"volumesInUse": [f"kubernetes.io/csi/sim.csi^{v}" for v in used]}}
        self.server.replace(self.actor, NODES, "", NODE, body, "status")


def started(pod: Json) -> bool:
    """Whether a container of the pod ever ran."""
    return bool(pod["status"].get("containerStatuses"))


def terminal(pod: Json) -> bool:
    return pod["status"].get("phase") in ("Succeeded", "Failed")


def finish(pod: Json) -> float | None:
    """When the pod's container ended, by the kubelet's word."""
    for status in pod["status"].get("containerStatuses", ()):
        ended = status["state"].get("terminated")
        if ended:
            return seconds(ended["finishedAt"])
    return None
