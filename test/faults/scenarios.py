"""The reference scenarios: what users and workloads do, whatever the operator goes through.

Each step waits for what the cluster shows, never for a time, and for nothing that may have
passed when somebody looks: so a scenario takes its way through every fault.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from e2e import manifests
from e2e.manifests import COMPLETE_AFTER
from e2e.scenario import PATHS, Scenario, condition, phase

Json = dict[str, Any]
PATIENCE = 90.0
"""Seconds a step may take, faults included."""
POLL = 0.2
"""Seconds between two looks: many plans are played on one API server at once."""
PATHS["statefulset"] = "/apis/apps/v1/namespaces/{ns}/statefulsets"
RECORD = 600
"""A ttl that lets the finished object stay, so that its status can be judged."""


def job(world: Scenario) -> None:
    """A template, a Job that completes, its pod stays; the record goes at once."""
    world.create("evc", manifests.claim("scratch", gracePeriodSeconds=4, expirySeconds=600))
    until_ready(world, "scratch")
    world.create("job", manifests.job("crunch", "scratch", complete_after="1h"))
    finish(world, "scratch")


def pair(world: Scenario) -> None:
    """Two claims, one selector, one pod that uses both; one lets go of it, one deletes it."""
    selector = {"matchLabels": {"app": "pair"}}
    world.create("evc", claim("one", podSelector=selector, completedPods="Wait"))
    world.create("evc", claim("two", podSelector=selector, completedPods="Delete"))
    for name in ("one", "two"):
        until_ready(world, name)
    both = manifests.pod("both", "one", app="pair")
    volume = {"name": "more", "persistentVolumeClaim": {"claimName": "two"}}
    both["spec"]["volumes"].append(volume)
    world.create("pod", both)
    finish(world, "one", "two")


def adopt(world: Scenario) -> None:
    """Somebody's own volume is taken over, used, and let go of again."""
    data = manifests.pvc("data")
    data["metadata"]["annotations"] = {"evc.dev/adopt-by": "cleanup"}
    world.create("pvc", data)
    until_bound(world, "data")
    keeping = claim("cleanup", existingClaimName="data", onSuccess={"action": "Retain"})
    del keeping["spec"]["volumeClaimTemplate"]
    world.create("evc", keeping)
    until_ready(world, "cleanup")
    world.create("pod", manifests.pod("user", "data", app="cleanup"))
    finish(world, "cleanup")


def pinned(world: Scenario) -> None:
    """A completed pod stays and would pin the volume for ever."""
    world.create("evc", claim("scratch"))
    until_ready(world, "scratch")
    world.create("pod", manifests.pod("done", "scratch"))
    finish(world, "scratch")


def orphan(world: Scenario) -> None:
    """The user deletes the claim while its volume is pinned by a completed pod."""
    world.create("evc", claim("scratch", gracePeriodSeconds=600))
    until_ready(world, "scratch")
    world.create("pod", manifests.pod("done", "scratch"))
    finish(world, "scratch")
    until(world, "scratch", "Draining")
    world.delete("evc", "scratch")


def hold(world: Scenario) -> None:
    """Hold keeps the volume when its work is over; without it, it goes."""
    world.create("evc", claim("scratch", gracePeriodSeconds=0))
    until_ready(world, "scratch")
    world.create("pod", manifests.pod("user", "scratch"))
    until(world, "scratch", "InUse")
    world.patch("evc", "scratch", {"spec": {"hold": True}})
    finish(world)
    until(world, "scratch", "Held")
    world.delete("pod", "user")
    world.patch("evc", "scratch", {"spec": {"hold": False}})


def replicas(world: Scenario) -> None:
    """A StatefulSet holds the volume until it wants no pod; one that failed before stays."""
    world.create("evc", claim("scratch"))
    until_ready(world, "scratch")
    template = manifests.pod_template("scratch", app="scratch")
    template["spec"]["restartPolicy"] = "Always"
    spec = {
        "replicas": 1,
        "serviceName": "web",
        "selector": {"matchLabels": {"app": "scratch"}},
        "template": template,
    }
    world.create("statefulset", {"metadata": {"name": "web"}, "spec": spec})
    until(world, "scratch", "InUse")
    world.create("pod", manifests.pod("done", "scratch", fail_after="100ms"))
    eventually(lambda: phase(world.get("pod", "done")) == "Failed", "pod done is Failed")
    world.patch("statefulset", "web", {"spec": {"replicas": 0}})


REFERENCE: dict[str, Callable[[Scenario], None]] = {
    step.__name__: step for step in (job, pair, adopt, pinned, orphan, hold, replicas)
}


def claim(name: str, **spec: Any) -> Json:
    """A claim whose record stays; the grace period is long enough to be seen to run."""
    defaults = {"ttlSecondsAfterFinished": RECORD, "expirySeconds": 600, "gracePeriodSeconds": 4}
    return manifests.claim(name, **(defaults | spec))


def finish(world: Scenario, *claims: str) -> None:
    """Let the only pod complete, once these claims say that it uses them."""
    for name in claims:
        until(world, name, "InUse")
    (pod,) = world.items("pod")
    done = {"metadata": {"annotations": {COMPLETE_AFTER: "100ms"}}}
    world.patch("pod", pod["metadata"]["name"], done)


def eventually(reached: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    """Wait until something is so; AssertionError when it is not in time."""
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(POLL)


def until(world: Scenario, name: str, reason: str) -> None:
    """Wait for a stage."""
    eventually(lambda: world.reason(name) == reason, f"{name} becomes {reason}")


def until_ready(world: Scenario, name: str) -> None:
    """Wait until the claim's status knows its volume."""

    def capacity() -> object:
        return world.get("evc", name).get("status", {}).get("claim", {}).get("capacity")

    eventually(capacity, f"evc {name} knows its volume")


def until_bound(world: Scenario, name: str) -> None:
    """Wait for the volume."""
    eventually(lambda: phase(world.get("pvc", name)) == "Bound", f"pvc {name} is Bound")


def ends(world: Scenario) -> list[str]:
    """What is left of claims and volumes, as sentences that are the same in every good run."""
    found = []
    for evc in world.items("evc"):
        status = evc.get("status", {})
        reason = condition(evc, "Ready").get("reason")
        words = (evc["metadata"]["name"], reason, status.get("outcome"))
        found.append("evc {} {} {}".format(*words))
    for pvc in world.items("pvc"):
        meta = pvc["metadata"]
        marks = sorted(key for key in meta.get("annotations", {}) if key.startswith("evc.dev/"))
        deleting = "Terminating" if "deletionTimestamp" in meta else "alive"
        owners = [owner["name"] for owner in meta.get("ownerReferences", ())]
        found.append(f"pvc {meta['name']} {deleting} marks={marks} owners={owners}")
    return sorted(found)
