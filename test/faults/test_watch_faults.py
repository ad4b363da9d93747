"""Rows 5 and 10 to 14 of the fault matrix: what lists and watches say is late, cut or a lie."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from e2e import manifests
from evc.kube import config as kubeconfig
from evc.kube.client import Client, ResourceWatcher
from evc.kube.resources import CLAIMS
from evc.kube.transport import Transport
from evc.runtime.reflector import Reflector
from evc.runtime.store import Store
from evc.serving.observers import Observing
from faults.life import COMPLETE_SOON, GONE_UNLESS_KEPT, Life, gone, in_use, resident
from faults.proxy import Call, Faults, Lines, Lost, Proxy, Reply, refusal
from faults.scenarios import claim, eventually, until, until_ready
from faults.stage import Stage
from faults.steps import event_of
from sim.kinds import EVCS, PODS

pytestmark = pytest.mark.timeout(300)  # with a boot on a busy machine
Json = dict[str, Any]


class TimeMachine(Faults):
    """Row 5: once `travelling`, lists and watches show the world before the first deletion."""

    def __init__(self) -> None:
        self.travelling = threading.Event()
        self._now: dict[tuple[str, str], Json] = {}
        self._past: dict[tuple[str, str], Json] = {}

    def before(self, call: Call) -> Reply | None:
        # Not from the test: on a busy machine the pod would be gone before it looks.
        if call.verb == "delete" and not self._past:
            self._past = dict(self._now)
        return None

    def remembers(self, resource: str, name: str) -> bool:
        return (resource, name) in self._past

    def stream(self, call: Call, lines: Lines) -> Iterator[bytes]:
        if self.travelling.is_set():
            yield from self._replay(call.resource)
            return
        for line in lines:
            if self.travelling.is_set():
                return
            event = event_of(line)
            if event is not None:
                self._now[call.resource, event[1]["metadata"]["name"]] = event[1]
                if event[0] == "DELETED":
                    del self._now[call.resource, event[1]["metadata"]["name"]]
            yield line

    def _replay(self, resource: str) -> Iterator[bytes]:
        """A streaming list of the past, and then nothing until the present is back."""
        items = [item for (kind, _), item in self._past.items() if kind == resource]
        for item in items:
            yield json.dumps({"type": "ADDED", "object": item}).encode() + b"\n"
        versions = [int(item["metadata"]["resourceVersion"]) for item in self._past.values()]
        end = {"k8s.io/initial-events-end": "true"}
        meta = {"resourceVersion": str(max(versions)), "annotations": end}
        bookmark = {"type": "BOOKMARK", "object": {"metadata": meta}}
        yield json.dumps(bookmark).encode() + b"\n"
        while self.travelling.is_set():
            time.sleep(0.1)
        raise Lost


def test_a_restart_into_the_past_deletes_nothing(life: Life) -> None:
    """cass-operator#412 and others: an old deletion, and a new object of the same name."""
    machine = TimeMachine()
    operator = life.start(machine)
    spec = {"gracePeriodSeconds": 6, "completedPods": "Delete", "expirySeconds": 600}
    life.world.create("evc", manifests.claim("scratch", **spec))
    until_ready(life.world, "scratch")
    life.world.create("pod", manifests.pod("old", "scratch", complete_after="200ms"))
    eventually(lambda: not life.world.get("evc", "scratch"), "all of it is over")
    assert machine.remembers(PODS, "old")
    assert machine.remembers(EVCS, "scratch")
    life.world.create("evc", manifests.claim("scratch", **spec))
    until_ready(life.world, "scratch")
    life.world.create("pod", manifests.pod("new", "scratch"))
    until(life.world, "scratch", "InUse")
    made = life.world.get("pvc", "scratch")["metadata"]["uid"]
    machine.travelling.set()
    operator.crash()
    eventually(operator.watching, "it has travelled", 60)
    time.sleep(GONE_UNLESS_KEPT)
    assert life.judge().deletes == {"scratch": 1}
    assert life.world.get("pvc", "scratch")["metadata"]["uid"] == made
    machine.travelling.clear()
    life.world.patch("pod", "new", COMPLETE_SOON)
    eventually(lambda: not life.world.get("evc", "scratch"), "it goes when its own time comes", 90)
    assert life.judge().deletes == {"scratch": 2}


class Merged(Faults):
    """Row 10: a pod's end and its namesake's beginning arrive as one change."""

    def __init__(self) -> None:
        self.merged = threading.Event()

    def stream(self, call: Call, lines: Lines) -> Iterator[bytes]:
        for line in lines:
            event = event_of(line) if call.resource == PODS else None
            ends = event is not None and event[0] == "DELETED" and not self.merged.is_set()
            yield self._namesake(lines) if ends else line

    def _namesake(self, lines: Lines) -> bytes:
        for line in lines:
            event = event_of(line)
            if event is not None and event[0] == "ADDED":
                self.merged.set()
                return json.dumps({"type": "MODIFIED", "object": event[1]}).encode() + b"\n"
        raise Lost


def test_a_pod_recreated_under_its_name_is_another_pod(life: Life) -> None:
    faults = Merged()
    life.start(faults)
    made = in_use(life)
    life.world.delete("pod", "user", gracePeriodSeconds=0)
    eventually(lambda: not life.world.get("pod", "user"), "the first one is gone")
    life.world.create("pod", manifests.pod("user", "scratch"))
    assert faults.merged.wait(10)
    time.sleep(GONE_UNLESS_KEPT)
    assert life.world.get("pvc", "scratch")["metadata"]["uid"] == made["metadata"]["uid"]
    life.world.patch("pod", "user", COMPLETE_SOON)
    gone(life)


class Shredder(Faults):
    """Row 11: every line comes twice, in pieces that end anywhere, also inside a character."""

    def stream(self, call: Call, lines: Lines) -> Iterator[bytes]:
        random = Random(11)
        for line in lines:
            twice, at = line * 2, 0
            while at < len(twice):
                length = random.choice((1, 2, 3, 700))
                yield twice[at : at + length]
                at += length


def test_pieces_and_repetitions_of_lines_change_nothing(life: Life) -> None:
    life.start(Shredder())
    spec = claim("scratch", completedPods="Delete")
    spec["metadata"]["annotations"] = {"example.com/text": "naïve Grüße 試験 🧪" * 20}
    life.world.create("evc", spec)
    until_ready(life.world, "scratch")
    life.world.create("pod", manifests.pod("user", "scratch", complete_after="200ms"))
    gone(life)
    assert life.judge().creates == life.judge().deletes == {"scratch": 1}


class Endless(Faults):
    """Row 11: one line of a watch has no end."""

    def __init__(self) -> None:
        self.refused = threading.Event()
        self._once = threading.Lock()

    def stream(self, call: Call, lines: Lines) -> Iterator[bytes]:
        if call.resource == PODS and self._once.acquire(blocking=False):
            try:
                for _ in range(200):
                    yield b"x" * (1 << 20)
            finally:
                self.refused.set()  # the operator hung up: here a write fails
            return
        yield from lines


def test_an_endless_line_is_given_up_with_bounded_memory(life: Life) -> None:
    faults = Endless()
    operator = life.start(faults)
    assert faults.refused.wait(30)
    in_use(life)
    life.world.patch("pod", "user", COMPLETE_SOON)
    gone(life)
    assert resident(operator) < 300 << 20


class Gate(Faults):
    """Row 12: while it is shut no watch is to be had; notes what the server says of the past."""

    def __init__(self) -> None:
        self.shut = threading.Event()
        self.expired = threading.Event()

    def before(self, call: Call) -> Reply | None:
        if call.watches and self.shut.is_set():
            raise Lost
        return None

    def after(self, call: Call, reply: Reply) -> Reply:
        if reply.status == 410:
            self.expired.set()
        return reply

    def stream(self, call: Call, lines: Lines) -> Iterator[bytes]:
        for line in lines:
            if self.shut.is_set():
                raise Lost
            if b'"code":410' in line:
                self.expired.set()
            yield line


def compact(stage: Stage, revision: str) -> None:
    """Let etcd forget everything older, over its JSON gateway."""
    body = json.dumps({"revision": revision, "physical": True}).encode()
    request = urllib.request.Request(f"{stage.plane.etcd_url}/v3/kv/compaction", data=body)
    urllib.request.urlopen(request, timeout=10).read()


def test_a_compaction_during_an_interruption_loses_nothing(life: Life) -> None:
    gate = Gate()
    operator = life.start(gate)
    in_use(life)
    gate.shut.set()
    operator.proxy.reset()
    life.world.patch("pod", "user", COMPLETE_SOON)
    life.world.until_phase("user", "Succeeded")
    newest = life.world.call("GET", life.world.path("pvc"))["metadata"]["resourceVersion"]
    compact(life.stage, newest)
    life.stage.plane.restart("kube-apiserver")  # its watch cache forgets, too
    gate.shut.clear()
    gone(life)
    assert gate.expired.is_set()


class Pages(Faults):
    """Rows 12 and 13: no streaming lists, pages of two, and the second one is refused at first."""

    def __init__(self) -> None:
        self.refused = 0

    def before(self, call: Call) -> Reply | None:
        if "sendInitialEvents" in call.query:
            return refusal(400, "Invalid")
        if call.verb != "list" or "limit" not in call.query:
            return None
        if "continue" in call.query and self.refused < 4:
            self.refused += 1
            return refusal(410, "Expired")
        call.target = call.target.replace("limit=500", "limit=2")
        return None


def test_a_list_that_expires_in_the_middle_hides_nothing(life: Life) -> None:
    pages = Pages()
    operator = life.start(pages)
    names = ("one", "two", "three", "four", "five")
    for name in names:
        life.world.create("evc", claim(name))
    for name in names:
        until_ready(life.world, name)
    pages.refused = 0
    operator.crash()
    eventually(lambda: pages.refused == 4, "pages are refused")
    eventually(operator.watching, "it watches again", 60)
    assert life.judge().creates == dict.fromkeys(sorted(names), 1)
    assert not life.judge().deletes
    life.world.patch("evc", "five", {"spec": {"expirySeconds": 1}})
    gone(life, "five")


class Liar(Faults):
    """Row 13: live lists of pods are answered with 200, and wrongly."""

    def __init__(self, how: str) -> None:
        self._how = how
        self.lying = threading.Event()
        self.lies = 0

    def after(self, call: Call, reply: Reply) -> Reply:
        if not (self.lying.is_set() and call.live and call.resource == PODS):
            return reply
        self.lies += 1
        body = reply.body[: len(reply.body) // 2] if self._how == "truncated" else b""
        return Reply(200, body)


@pytest.mark.parametrize("how", ["truncated", "empty"])
def test_a_broken_list_is_no_permission(life: Life, how: str) -> None:
    liar = Liar(how)
    life.start(liar)
    in_use(life)
    liar.lying.set()
    life.world.patch("pod", "user", COMPLETE_SOON)
    eventually(lambda: liar.lies > 2, "it is lied to")
    time.sleep(GONE_UNLESS_KEPT)
    assert not life.judge().deletes
    liar.lying.clear()
    gone(life)


class EmptyWorld(Faults):
    """Row 13: informers are shown no pods at all."""

    def __init__(self) -> None:
        self.empty = threading.Event()

    def stream(self, call: Call, lines: Lines) -> Iterator[bytes]:
        for line in lines:
            if not (self.empty.is_set() and call.resource == PODS and event_of(line)):
                yield line


def test_an_empty_world_is_no_permission(life: Life) -> None:
    faults = EmptyWorld()
    operator = life.start(faults)
    made = in_use(life)
    faults.empty.set()
    operator.crash()
    eventually(operator.watching, "it watches again", 60)
    time.sleep(GONE_UNLESS_KEPT)
    assert life.world.get("pvc", "scratch")["metadata"]["uid"] == made["metadata"]["uid"]
    assert not life.judge().deletes
    faults.empty.clear()
    operator.proxy.reset()
    life.world.patch("pod", "user", COMPLETE_SOON)
    gone(life)


class HalfOpen(Faults):
    """Row 14: watches fall silent, and no packet says that they are dead."""

    def __init__(self) -> None:
        self.silent = threading.Event()

    def stream(self, call: Call, lines: Lines) -> Iterator[bytes]:
        for line in lines:
            if self.silent.is_set():
                self.silent.clear()
                threading.Event().wait(60)
            yield line


class RealClock:
    def now(self) -> Any:
        raise NotImplementedError

    def monotonic(self) -> float:
        return time.monotonic()


def test_a_half_open_watch_is_noticed_and_resumed(life: Life) -> None:
    """The product's own reflector, with two seconds of silence in place of 120."""
    faults = HalfOpen()
    proxy = Proxy(life.stage.kubeconfig, life.stage.plane.directory, "half-open", faults)
    config = kubeconfig.load(str(proxy.kubeconfig))
    transport = Transport(
        config, user_agent="evc", connections=2, on_request=lambda *_: None, wait=lambda _: False
    )
    client = Client(transport, watch_silence=2.0)
    store: Store[Any] = Store({})
    reflector = Reflector(
        EVCS,
        ResourceWatcher(client, CLAIMS, life.world.namespace),
        store,
        on_change=lambda *_: None,
        observer=Observing(),
        clock=RealClock(),
        random=Random(0),
    )
    stop = threading.Event()
    threading.Thread(target=reflector.run, args=(stop,), daemon=True).start()
    try:
        eventually(lambda: store.synced, "it has listed")
        faults.silent.set()
        life.world.create("evc", claim("scratch"))
        eventually(lambda: not faults.silent.is_set(), "the line is swallowed")
        began = time.monotonic()
        eventually(lambda: len(store) == 1, "it is seen nevertheless", 20)
        assert time.monotonic() - began < 10
    finally:
        stop.set()
        proxy.close()
