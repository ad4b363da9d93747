"""Rows 1, 20 to 22, 32, 36 and 37 of the fault matrix: several processes, a hand in the works."""

from __future__ import annotations

import json
import signal
import threading
import time
from contextlib import closing
from dataclasses import replace
from http.client import HTTPSConnection
from pathlib import Path

import pytest

from e2e import manifests
from faults.life import (
    COMPLETE_SOON,
    GONE_UNLESS_KEPT,
    Life,
    gone,
    in_use,
)
from faults.proxy import Call, Faults, Proxy, Reply
from faults.scenarios import claim, eventually, until, until_ready
from sim.choices import Seeded
from sim.kinds import PVCS
from sim.life import Life as SimulatedLife
from sim.profile import draw

pytestmark = pytest.mark.timeout(300)  # with a boot on a busy machine
TAKEOVER = 40.0
"""Seconds: the lease lasts 15, and a follower tries every 2."""


@pytest.mark.parametrize("arrives", ["head", "half"])
@pytest.mark.parametrize("at", ["server", "proxy"])
def test_a_delete_that_a_crash_cuts_short_deletes_nothing(
    life: Life, tmp_path: Path, at: str, arrives: str
) -> None:
    """Row 1, in the midst of the request: the preconditions are sent after its head.

    The proxy, which asks in the operator's place, must be as careful as the server.
    """
    world = life.world
    world.create("pvc", manifests.pvc("scratch"))
    uid = world.get("pvc", "scratch")["metadata"]["uid"]
    body = json.dumps({"kind": "DeleteOptions", "preconditions": {"uid": uid}}).encode()
    server = Proxy(life.stage.plane.kubeconfig, tmp_path, "server", Faults())
    proxy = Proxy(server.kubeconfig, tmp_path, "proxy", Faults())
    way = {"server": server, "proxy": proxy}[at]

    def send(connection: HTTPSConnection, arriving: bytes) -> None:
        connection.putrequest("DELETE", world.path("pvc", "scratch"))
        connection.putheader("Content-Type", "application/json")
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(arriving)

    with closing(way.connect()) as cut:
        send(cut, body[: {"head": 0, "half": len(body) // 2}[arrives]])
    time.sleep(GONE_UNLESS_KEPT)
    kept = world.get("pvc", "scratch")["metadata"]
    assert (kept["uid"], "deletionTimestamp" in kept) == (uid, False)
    with closing(way.connect()) as whole:
        send(whole, body)
        with whole.getresponse() as answer:
            assert answer.status == 200
    proxy.close()
    server.close()


class HeldBack(Faults):
    """The first DELETE of a volume waits until it is let go; what becomes of it is noted."""

    def __init__(self) -> None:
        self.waiting = threading.Event()
        self.go = threading.Event()
        self.answer = 0

    def before(self, call: Call) -> Reply | None:
        if (call.resource, call.verb) == (PVCS, "delete") and not self.waiting.is_set():
            self.waiting.set()
            self.go.wait(2 * TAKEOVER)
            call.step = "late"
        return None

    def after(self, call: Call, reply: Reply) -> Reply:
        if call.step == "late":
            self.answer = reply.status
        return reply


def test_the_late_delete_of_a_frozen_leader_spares_the_namesake(life: Life) -> None:
    """Row 20: by the time it arrives, another volume bears the name, and is in use."""
    faults = HeldBack()
    leader = life.start(faults, *life.electing())
    life.start(Faults(), *life.electing())
    spec = {"completedPods": "Delete", "ttlSecondsAfterFinished": 0}
    life.world.create("evc", claim("scratch", **spec))
    until_ready(life.world, "scratch")
    life.world.create("pod", manifests.pod("old", "scratch", complete_after="100ms"))
    assert faults.waiting.wait(60)
    leader.signal(signal.SIGSTOP)
    eventually(lambda: not life.world.get("evc", "scratch"), "the successor sees it out", TAKEOVER)
    life.world.create("evc", claim("scratch"))
    until_ready(life.world, "scratch")
    life.world.create("pod", manifests.pod("new", "scratch"))
    until(life.world, "scratch", "InUse")
    made = life.world.get("pvc", "scratch")["metadata"]["uid"]
    faults.go.set()
    leader.signal(signal.SIGCONT)
    eventually(lambda: faults.answer, "the late DELETE is answered")
    assert faults.answer == 409
    process = leader.process
    assert process is not None
    eventually(lambda: process.poll() is not None, "the old leader ends")
    assert "lease was lost" in leader.log.read_text()
    kept = life.world.get("pvc", "scratch")["metadata"]
    assert (kept["uid"], "deletionTimestamp" in kept) == (made, False)
    assert life.judge().deletes == {"scratch": 1}


@pytest.mark.parametrize("how", ["deleted", "seized"])
def test_a_lease_that_somebody_changes_costs_no_volume(life: Life, how: str) -> None:
    """Row 21: whoever leads then, everything is done once."""
    first = life.start(Faults(), *life.electing())
    life.start(Faults(), *life.electing())
    in_use(life)
    path = f"/apis/coordination.k8s.io/v1/namespaces/{life.world.namespace}/leases"
    lease = f"{path}/ephemeralvolumeclaim.evc.dev"
    if how == "deleted":
        life.world.call("DELETE", lease)
    else:
        seized = {"spec": {"holderIdentity": "nobody"}}
        life.world.call("PATCH", lease, seized, "application/merge-patch+json")
        process = first.process
        assert process is not None
        eventually(lambda: process.poll() is not None, "the leader steps down", 60)
    life.world.patch("pod", "user", COMPLETE_SOON)
    gone(life)
    assert life.judge().deletes == {"scratch": 1}


@pytest.mark.parametrize("days", [-1, 1])
def test_a_clock_that_jumps_a_day_harms_no_volume_in_use(days: int) -> None:
    """Row 22, simulated: a process of the real machine cannot be given another clock.

    What N, M and grace periods promise is lost with the clock (README, Limits): deletions
    come up to a day early or late.  What is in use or not ours stays safe, with volumes whose
    attachment the API shows; of others only the settle time says when they are unmounted.
    """
    for seed in range(60):
        choices = Seeded(seed)
        profile = replace(draw(choices).without_faults(), attachable=True)
        life = SimulatedLife(choices, profile)
        life.world.timeline.after(
            choices.seconds("jump", 1.0, 120.0),
            lambda life=life: jump(life, days),  # type: ignore[misc]
        )
        harm = ("S1", "S2", "S3", "S4", "S5", "bug")
        assert not [v for v in life.run().violations if v.startswith(harm)], seed


def jump(life: SimulatedLife, days: int) -> None:
    life.world.skew = days * 86_400.0
    life.world.most_skew = max(0.0, life.world.skew)


def test_a_mark_that_was_taken_off_means_hands_off(life: Life) -> None:
    """Row 32."""
    life.start(Faults())
    made = in_use(life)
    off = {"evc.dev/owner-uid": None}
    life.world.patch("pvc", "scratch", {"metadata": {"annotations": off}})
    life.world.patch("pod", "user", COMPLETE_SOON)
    until(life.world, "scratch", "Conflict")
    time.sleep(GONE_UNLESS_KEPT)
    kept = life.world.get("pvc", "scratch")["metadata"]
    assert (kept["uid"], "deletionTimestamp" in kept) == (made["metadata"]["uid"], False)
    assert not life.judge().deletes


def test_a_rolling_update_during_churn_does_everything_once(life: Life) -> None:
    """Row 36, with two processes of one version: there is no release before the first."""
    old = life.start(Faults(), *life.electing())
    names = [f"claim-{number}" for number in range(6)]
    for name in names:
        life.world.create("evc", claim(name, completedPods="Delete"))
        until_ready(life.world, name)
        pod = manifests.pod(name, name, complete_after="300ms")
        life.world.create("pod", pod)
        if name == names[2]:
            life.start(Faults(), *life.electing())
            old.signal(signal.SIGTERM)
    for name in names:
        gone(life, name)
    once = dict.fromkeys(names, 1)
    assert (life.judge().creates, life.judge().deletes) == (once, once)
    process = old.process
    assert process is not None
    eventually(lambda: process.poll() is not None, "the old leader ends")
    assert "Stopped operator" in old.log.read_text()


class Slow(Faults):
    """While it is on, answers come late."""

    def __init__(self) -> None:
        self.on = threading.Event()

    def after(self, call: Call, reply: Reply) -> Reply:
        if self.on.is_set():
            time.sleep(3)
        return reply


def test_a_stop_with_work_in_flight_and_a_second_to_live(life: Life) -> None:
    """Row 37: SIGTERM while every answer is 3 s away, SIGKILL 1 s later."""
    faults = Slow()
    operator = life.start(faults)
    in_use(life)
    faults.on.set()
    life.world.patch("pod", "user", COMPLETE_SOON)
    eventually(lambda: life.world.reason("scratch") == "Releasing", "the DELETE is near", 40)
    operator.signal(signal.SIGTERM)
    time.sleep(1)
    faults.on.clear()
    operator.crash()
    gone(life)
    assert life.judge().creates == life.judge().deletes == {"scratch": 1}
