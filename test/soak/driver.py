"""Lives of claims, many at a time: each thread has a namespace and a batch in it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from cluster import ControlPlane
from e2e import manifests
from e2e.scenario import Json, Scenario

BATCH = 25
"""Claims of one namespace that live at the same time."""
NODE = "nobody"
PATIENCE = 120.0
POLL = 0.1


class Driver:
    """Lets claims live and die until enough have, or time is up."""

    def __init__(self, plane: ControlPlane, lives: int, threads: int, deadline: float) -> None:
        self.done = 0
        """Lives that are over."""
        self.failures: list[str] = []
        self._plane = plane
        self._left = lives
        self._deadline = deadline
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._work) for _ in range(threads)]

    def run(self) -> None:
        """Return when all threads are through."""
        # Of a node that does not exist, Kubernetes deletes every pod within a minute (podgc).
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}
        Scenario(self._plane.kubeconfig).call("POST", "/api/v1/nodes", node)
        for thread in self._threads:
            thread.start()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        world = Scenario(self._plane.kubeconfig)
        number = 0
        try:
            while size := self._take():
                live(world, [f"claim-{number + index}" for index in range(size)])
                number += size
                with self._lock:
                    self.done += size
        except Exception as error:  # told in the end, where the lives are counted
            self.failures += [repr(error), *map(told, world.items("evc"))]

    def _take(self) -> int:
        with self._lock:
            size = min(BATCH, self._left)
            if time.monotonic() > self._deadline or self.failures:
                size = 0
            self._left -= size
            return size


def live(world: Scenario, names: list[str]) -> None:
    """One batch, from creation until nothing is left of it."""
    for name in names:
        world.create("evc", claim(name))
    until(lambda: len(world.items("pvc")) == len(names), "all claims are made")
    for name in names:
        world.create("pod", pod(name))
        put_status(world, name, "Running", {"running": {"startedAt": now()}})
    for name in names:
        ended = {"exitCode": 0, "startedAt": now(), "finishedAt": now()}
        put_status(world, name, "Succeeded", {"terminated": ended})
    until(lambda: all(map(deleting, world.items("pvc"))), "all claims are deleted")
    for name in names:
        world.delete("pod", name, gracePeriodSeconds=0)
    until(lambda: not world.items("evc"), "all records are gone")


def told(evc: Json) -> str:
    """What a record says of itself."""
    return f"{evc['metadata']['name']} is there: {evc.get('status')}"


def until(reached: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not reached():
        assert time.monotonic() < deadline, f"not within {PATIENCE:.0f} s: {what}"
        time.sleep(POLL)


def deleting(item: Json) -> bool:
    return "deletionTimestamp" in item["metadata"]


def claim(name: str) -> Json:
    """Of a class that does not exist: no provisioner takes part."""
    template = {"spec": manifests.pvc_spec() | {"storageClassName": "none"}}
    return manifests.claim(name, gracePeriodSeconds=0, volumeClaimTemplate=template)


def pod(name: str) -> Json:
    """A pod that is on a node already, of which no kubelet knows."""
    item = manifests.pod(name, name)
    item["spec"]["nodeName"] = NODE
    return item


def put_status(world: Scenario, name: str, phase: str, state: Json) -> None:
    """Write what a kubelet would."""
    container = {"name": "main", "image": "busybox", "imageID": "", "ready": False}
    status = {
        "phase": phase,
        "containerStatuses": [container | {"restartCount": 0, "state": state}],
    }
    path = world.path("pod", name) + "/status"
    world.call("PATCH", path, {"status": status}, "application/merge-patch+json")


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
