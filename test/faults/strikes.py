"""What the proxy does in each class of plans."""

from __future__ import annotations

import json
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from e2e import manifests
from e2e.scenario import Scenario
from faults.plans import Plan
from faults.proxy import Call, Faults, Lines, Lost, Reply, refusal
from faults.scenarios import eventually
from faults.steps import Events, Writes, write_name
from sim.kinds import EVCS, PODS

if TYPE_CHECKING:
    from faults.stage import Operator

HIDDEN_AT_MOST = 6.0
"""Seconds: an event that the operator itself must see for the next one to come."""
STALE = 6.0
"""Seconds for which a cache is behind."""
TAKEN_BACK_AFTER = 8.0
"""Seconds after which the user's late change is taken back."""
PROGRESS = 60.0
"""Seconds in which what must happen has happened."""
TAKEOVER = 60.0
"""Seconds in which a successor must have taken over (the lease lasts 15)."""
TARGET = {"pair": ("pair", "one"), "adopt": ("cleanup", "data")}
"""Scenario -> label of its pods and name of its claim, where they are not `scratch`."""
FAILING = {"replicas"}
"""Scenarios whose work fails."""
CONFLICT = 409
GONE_410 = {"type": "ERROR", "object": refusal(410, "Expired").json}


class Recorder(Faults):
    """Passes everything on and remembers the names of what happens."""

    def __init__(self) -> None:
        self.writes = Writes()
        self.events = Events()

    def before(self, call: Call) -> Reply | None:
        call.step = self.writes.name(call)
        return None

    def after(self, call: Call, reply: Reply) -> Reply:
        if reply.status == CONFLICT:
            self.writes.conflicted(call)
        return reply

    def stream(self, call: Call, lines: Lines) -> Iterator[bytes]:
        for line in lines:
            self.events.saw(call.resource, line)
            yield line


class Strike(Recorder):
    """Makes one plan happen, once."""

    same_outcome = True
    """Whether the claims end as without it: a pod that is deleted unfinished has failed."""

    def __init__(self, plan: Plan, world: Scenario) -> None:
        super().__init__()
        self.plan = plan
        self.world = world
        self.operator: Operator | None = None
        self.struck = False
        self.app, self.claim = TARGET.get(plan.scenario, ("scratch", "scratch"))
        self._timers: list[threading.Timer] = []

    def wait_over(self) -> None:
        """Return when everything that the plan does has been done."""
        for timer in self._timers:
            timer.join()

    def hits(self, call: Call) -> bool:
        """Whether this is the moment."""
        if self.struck or call.step != self.plan.step:
            return False
        self.struck = True
        return True

    def later(self, seconds: float, action: Callable[[], object]) -> None:
        timer = threading.Timer(seconds, action)
        timer.start()
        self._timers.append(timer)

    def crash(self) -> None:
        assert self.operator is not None
        self.operator.crash()

    def add_pod(self, *, nowhere: bool = False) -> None:
        """A designated pod comes, uses the volume if it can, and is deleted later."""
        pod = manifests.pod("late", self.claim, app=self.app, nowhere=nowhere, complete_after="1s")
        self.world.create("pod", pod)
        self.later(TAKEN_BACK_AFTER, self._take_back_pod)

    def _take_back_pod(self) -> None:
        """One that runs is left to end: on a slow machine it may not have yet."""
        eventually(lambda: not self._pod_runs(), "the late pod has ended", PROGRESS)
        self.world.delete("pod", "late", gracePeriodSeconds=0)

    def _pod_runs(self) -> bool:
        pod = self.world.get("pod", "late")
        ended = pod.get("status", {}).get("phase") in ("Succeeded", "Failed")
        return bool(pod.get("spec", {}).get("nodeName")) and not ended


class LostBefore(Strike):
    """The process dies before the request is sent."""

    def before(self, call: Call) -> Reply | None:
        super().before(call)
        if self.hits(call):
            self.crash()
            raise Lost
        return None


class LostAfter(Strike):
    """The request is carried out, and the process dies before it reads the answer."""

    def after(self, call: Call, reply: Reply) -> Reply:
        if self.hits(call):
            self.crash()
            raise Lost
        return super().after(call, reply)


class Ambiguous(Strike):
    """The request is carried out, the connection breaks, and the process lives on."""

    def after(self, call: Call, reply: Reply) -> Reply:
        if self.hits(call):
            raise Lost
        return super().after(call, reply)


class Hide(Strike):
    """A watch stands still from one state of an object until another, then must list anew."""

    def stream(self, call: Call, lines: Lines) -> Iterator[bytes]:
        for line in lines:
            saw = ":".join(self.events.saw(call.resource, line))
            if saw == self.plan.step and not self.struck:
                self.struck = True
                self._skip(call, lines)
                yield json.dumps(GONE_410).encode() + b"\n"
                return
            yield line

    def _skip(self, call: Call, lines: Lines) -> None:
        deadline = time.monotonic() + HIDDEN_AT_MOST
        wanted = (self.plan.step.partition(":")[0], self.plan.until)
        while (left := deadline - time.monotonic()) > 0:
            try:
                line = lines.get(left)
            except queue.Empty:
                return
            if line is None or self.events.saw(call.resource, line) == wanted:
                return


class Stale(Strike):
    """What a user does is not seen by the operator's cache for some seconds."""

    resource = ""

    def act(self) -> None:
        """What the user does."""

    def shows(self, line: bytes) -> bool:
        """Whether the line shows what the user did."""
        return False

    def after(self, call: Call, reply: Reply) -> Reply:
        if self.hits(call):
            self.act()
        return super().after(call, reply)

    def stream(self, call: Call, lines: Lines) -> Iterator[bytes]:
        behind = False
        for line in lines:
            if not behind and call.resource == self.resource and self.shows(line):
                behind = True
                time.sleep(STALE)
            yield line


class StalePods(Stale):
    """A new pod is not in the cache; all of its life comes at once, which is seen as no life."""

    same_outcome = False
    resource = PODS

    def act(self) -> None:
        self.add_pod()

    def shows(self, line: bytes) -> bool:
        return b'"name":"late"' in line


class StaleEvc(Stale):
    """A hold that was just set is not in the cache."""

    resource = EVCS

    def act(self) -> None:
        for evc in self.world.items("evc"):
            name = evc["metadata"]["name"]
            self._hold(name, True)
            self.later(TAKEN_BACK_AFTER, lambda name=name: self._hold(name, False))  # type: ignore[misc]

    def shows(self, line: bytes) -> bool:
        return b'"hold":true' in line

    def _hold(self, name: str, value: bool) -> None:
        self.world.patch("evc", name, {"spec": {"hold": value}})


class Between(Strike):
    """Something happens between the live read and the DELETE that follows from it."""

    def act(self) -> None:
        """What happens."""

    def before(self, call: Call) -> Reply | None:
        super().before(call)
        if self.hits(call):
            self.act()
        return None


class LateHold(Between):
    """Somebody puts `evc.dev/hold` on the volume."""

    def act(self) -> None:
        for pvc in self.world.items("pvc"):
            name = pvc["metadata"]["name"]
            self._hold(name, "true")
            self.later(TAKEN_BACK_AFTER, lambda name=name: self._hold(name, None))  # type: ignore[misc]

    def _hold(self, name: str, value: str | None) -> None:
        self.world.patch("pvc", name, {"metadata": {"annotations": {"evc.dev/hold": value}}})


class NewPod(Between):
    """A pod with the volume is created and scheduled."""

    def __init__(self, plan: Plan, world: Scenario) -> None:
        super().__init__(plan, world)
        # It succeeds, and is the last.  Known before it strikes, for then the player may look.
        self.same_outcome = plan.scenario not in FAILING

    def act(self) -> None:
        self.add_pod()
        deadline = time.monotonic() + 2.0
        while time.monotonic() < deadline:
            # With a Terminating claim it never is.
            if self.world.get("pod", "late").get("spec", {}).get("nodeName"):
                return
            time.sleep(0.05)


class NewPodUnscheduled(Between):
    """A pod with the volume is created, and no node fits."""

    same_outcome = False

    def act(self) -> None:
        self.add_pod(nowhere=True)


class PausedLeader(Between):
    """The leader is frozen in the middle of its DELETE until its successor has made it."""

    def __init__(self, plan: Plan, world: Scenario) -> None:
        super().__init__(plan, world)
        self.successor = Successor(plan.step)

    def act(self) -> None:
        assert self.operator is not None
        self.operator.signal(signal.SIGSTOP)
        try:
            self.successor.done.wait(TAKEOVER)
        finally:
            self.operator.signal(signal.SIGCONT)


class Successor(Faults):
    """The other operator; says when it has made the same write."""

    def __init__(self, step: str) -> None:
        self._step = step
        self.done = threading.Event()

    def after(self, call: Call, reply: Reply) -> Reply:
        if write_name(call) == self._step and reply.status < 300:
            self.done.set()
        return reply


KINDS: dict[str, type[Strike]] = {
    "lost-before": LostBefore,
    "lost-after": LostAfter,
    "ambiguous": Ambiguous,
    "stale-pods": StalePods,
    "stale-evc": StaleEvc,
    "late-hold": LateHold,
    "paused-leader": PausedLeader,
    "new-pod": NewPod,
    "new-pod-unscheduled": NewPodUnscheduled,
    "hide": Hide,
}
