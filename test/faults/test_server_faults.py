"""Rows 15 to 17, 19, 25 and 38 of the fault matrix: the API server is away, slow or says no."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from cluster import ClusterError
from e2e import manifests
from e2e.scenario import Refused, evc_cli
from faults.judge import within
from faults.life import (
    COMPLETE_SOON,
    GONE_UNLESS_KEPT,
    Life,
    gone,
    in_use,
    resident,
)
from faults.proxy import Call, Faults, Reply, refusal
from faults.scenarios import claim, eventually, until, until_ready
from faults.stage import RBAC, Operator

pytestmark = pytest.mark.timeout(300)  # with a boot on a busy machine
BINDING = "evc-manager-rolebinding"
OUTAGE = 20.0
"""Seconds; long enough for every delay to have grown to its largest."""
MOST_IN_OUTAGE = 90
"""Requests in ten seconds of it: nine watches, whose backoff allows five or six each, the lease,
and one claim's retries."""
GROWTH = 30 << 20
"""Bytes of memory that an outage may cost."""


def asked_since(operator: Operator, began: float) -> list[float]:
    return [call.time for call in operator.proxy.calls if call.time >= began]


def test_an_outage_makes_no_storm_and_nothing_is_forgotten(life: Life) -> None:
    operator = life.start(Faults())
    in_use(life, gracePeriodSeconds=5)  # until then the completed pod is there to be looked at
    before, began = resident(operator), time.monotonic()
    life.world.patch("pod", "user", COMPLETE_SOON)
    life.world.until_phase("user", "Succeeded")
    life.stage.plane.pause("kube-apiserver")
    try:
        time.sleep(OUTAGE)
    finally:
        life.stage.plane.resume("kube-apiserver")
    gone(life)
    assert within(asked_since(operator, began), 10.0) < MOST_IN_OUTAGE
    assert resident(operator) < before + GROWTH


class Slow(Faults):
    """Every answer takes its time."""

    def before(self, call: Call) -> Reply | None:
        time.sleep(1.5)
        return None


def test_slow_answers_change_nothing_but_the_pace(life: Life) -> None:
    life.start(Slow())
    life.world.create("evc", claim("scratch", completedPods="Delete"))
    until_ready(life.world, "scratch")
    life.world.create("pod", manifests.pod("user", "scratch", complete_after="200ms"))
    until(life.world, "scratch", "Deleted")
    assert life.judge().creates == life.judge().deletes == {"scratch": 1}


class Refusing(Faults):
    """While it is on, every request is refused, or those of which ``which`` says so."""

    def __init__(self, reply: Reply, which: Callable[[Call], bool] = lambda call: True) -> None:
        self.on = threading.Event()
        self._reply = reply
        self._which = which

    def before(self, call: Call) -> Reply | None:
        return self._reply if self.on.is_set() and self._which(call) else None


@pytest.mark.parametrize(
    "reply",
    [
        refusal(401, "Unauthorized"),
        refusal(500, "InternalError"),
        refusal(503, "ServiceUnavailable"),
        refusal(504, "Timeout"),
    ],
    ids=lambda reply: str(reply.status),
)
def test_refusals_are_no_permission_and_end_well(life: Life, reply: Reply) -> None:
    faults = Refusing(reply)
    operator = life.start(faults)
    in_use(life)
    faults.on.set()
    began = time.monotonic()
    operator.proxy.reset()
    life.world.patch("pod", "user", COMPLETE_SOON)
    time.sleep(GONE_UNLESS_KEPT)
    assert not life.judge().deletes
    assert within(asked_since(operator, began), 10.0) < MOST_IN_OUTAGE
    faults.on.clear()
    gone(life)


def test_a_delete_that_is_refused_for_long_makes_no_storm(life: Life) -> None:
    """A policy, or a webhook that is down: only this one verb fails."""
    faults = Refusing(refusal(403, "Forbidden"), lambda call: call.verb == "delete")
    operator = life.start(faults)
    in_use(life)
    faults.on.set()
    began = time.monotonic()
    life.world.patch("pod", "user", COMPLETE_SOON)
    time.sleep(2 * GONE_UNLESS_KEPT)
    assert [call for call in operator.proxy.calls if call.status == 403]
    # Eleven tries in ten seconds, doubling from 5 ms, and what each reads anew.
    assert within(asked_since(operator, began), 10.0) < 11 * 20
    faults.on.clear()
    gone(life)


def test_retry_after_is_honoured(life: Life) -> None:
    faults = Refusing(refusal(429, "TooManyRequests", Retry_After="3"))
    operator = life.start(faults)
    in_use(life, gracePeriodSeconds=6)
    life.world.patch("pod", "user", COMPLETE_SOON)
    until(life.world, "scratch", "Draining")
    time.sleep(1)  # what changes by itself would be answered at once
    faults.on.set()
    began = time.monotonic()
    time.sleep(10)
    faults.on.clear()
    calls = [c for c in operator.proxy.calls if c.time >= began and c.status == 429]
    assert calls
    for one, other in ((a, b) for a in calls for b in calls if a is not b):
        if one.path == other.path and one.method == other.method and other.method != "POST":
            assert abs(other.time - one.time) >= 2.9, (one.target, other.time - one.time)
    gone(life)


def test_rights_taken_away_and_given_back(life: Life) -> None:
    """403 for everything from RBAC itself, in the middle of a countdown."""
    kubectl = life.stage.plane.kubectl
    life.start(Faults())
    in_use(life)
    kubectl("delete", "clusterrolebinding", BINDING)
    try:
        life.world.patch("pod", "user", COMPLETE_SOON)
        time.sleep(GONE_UNLESS_KEPT)
        assert not life.judge().deletes
    finally:
        kubectl("apply", "-k", str(RBAC))
    gone(life)


@pytest.mark.parametrize("resource", ["pods", "jobs", "persistentvolumeclaims"])
def test_one_right_missing_in_a_live_read_keeps_the_volume(life: Life, resource: str) -> None:
    faults = Refusing(
        refusal(403, "Forbidden"), lambda call: call.live and call.resource == resource
    )
    life.start(faults)
    in_use(life)
    faults.on.set()
    life.world.patch("pod", "user", COMPLETE_SOON)
    time.sleep(GONE_UNLESS_KEPT)
    assert not life.judge().deletes
    faults.on.clear()
    gone(life)


def test_workloads_that_may_not_be_watched_any_more_keep_the_volume(life: Life) -> None:
    """Whether one of them wants pods is found out from the cache, which hears nothing now."""
    faults = Refusing(refusal(403, "Forbidden"), lambda call: call.resource == "statefulsets")
    operator = life.start(faults)
    in_use(life)
    faults.on.set()
    operator.proxy.reset()
    life.world.patch("pod", "user", COMPLETE_SOON)
    eventually(
        lambda: (
            life.world.get("evc", "scratch")["status"].get("heldBy", {}).get("names")
            == ["StatefulSet/*"]
        ),
        "status says what may not be listed",
    )
    assert not life.judge().deletes
    faults.on.clear()
    gone(life)


def test_a_restart_of_etcd_is_survived(life: Life) -> None:
    life.start(Faults())
    in_use(life)
    life.world.patch("pod", "user", COMPLETE_SOON)
    life.stage.plane.restart("etcd")
    gone(life)
    assert life.judge().deletes == {"scratch": 1}


def test_a_lost_crd_is_no_permission(life: Life) -> None:
    """Row 25: every object of ours goes with it, and volumes that are to stay do."""
    plane = life.stage.plane
    operator = life.start(Faults())
    made = in_use(life, whenDeleted="Retain")
    began = time.monotonic()
    plane.kubectl("delete", "crd", "ephemeralvolumeclaims.evc.dev")
    try:
        life.world.patch("pod", "user", COMPLETE_SOON)
        time.sleep(2 * GONE_UNLESS_KEPT)
        kept = life.world.get("pvc", "scratch")["metadata"]
        assert (kept["uid"], "deletionTimestamp" in kept) == (made["metadata"]["uid"], False)
        assert not life.judge().deletes
        assert within(asked_since(operator, began), 10.0) < MOST_IN_OUTAGE
    finally:
        plane.kubectl("apply", "-f", "-", input=evc_cli("crd").stdout)

    def served() -> bool:
        with suppress(Refused, json.JSONDecodeError, ClusterError):
            return bool(life.world.create("evc", claim("another")))
        return False

    eventually(served, "our API is back")
    eventually(lambda: life.world.get("pvc", "another"), "it works again", 60)


MANY = 400
SYNC_SECONDS = 30.0
FIRST_SECONDS = 10.0
PER_CLAIM = 60 << 10
"""Bytes of memory that a settled claim with its PersistentVolumeClaim may cost."""


def test_a_restart_with_many_settled_claims_writes_nothing_and_serves_the_new_one(
    life: Life,
) -> None:
    """Row 38. Their volumes never bind: what is measured is the operator, not a provisioner."""
    life.most_requests = 10 * MANY
    operator = life.start(Faults(), "--workers=10")
    empty = resident(operator)
    unbound = manifests.pvc_spec() | {"storageClassName": "none"}
    template = {"volumeClaimTemplate": {"spec": unbound}}
    for number in range(MANY):
        life.world.create("evc", claim(f"settled-{number}", **template))
    eventually(lambda: len(life.world.items("pvc")) == MANY, "all have a claim", 120)
    eventually(
        lambda: all(
            evc.get("status", {}).get("claim", {}).get("uid") for evc in life.world.items("evc")
        ),
        "all are settled",
    )
    time.sleep(2)
    before = versions(life)
    operator.kill()
    began = time.monotonic()
    operator.start()
    assert time.monotonic() - began < SYNC_SECONDS
    began = time.monotonic()
    life.world.create("evc", claim("new", **template))
    eventually(lambda: life.world.get("pvc", "new"), "the new one is served", FIRST_SECONDS)
    time.sleep(2)
    after = versions(life)
    assert {name: after[name] for name in before} == before
    assert resident(operator) - empty < MANY * PER_CLAIM + GROWTH


def versions(life: Life) -> dict[str, str]:
    return {
        evc["metadata"]["name"]: evc["metadata"]["resourceVersion"]
        for evc in life.world.items("evc")
    }
