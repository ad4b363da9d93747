"""Users: who wants which volumes, what they run and do, and when.

A life's users are drawn before it begins, from a stream of choices of their own: with or
without faults they do the same things at the same times.  `sim.work` uses claims,
`sim.mischief` happens to them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from e2e import manifests
from sim.facts import ADOPT_BY
from sim.hands import CHAOS, LONG
from sim.history import condition, marks_of, meta
from sim.kinds import EVCS, JOBS, PODS, PVCS
from sim.mischief import Mischief
from sim.node import terminal
from sim.work import Work


class Users(Work, Mischief):
    """Plans everything on the timeline."""

    def plan(self, claims: int, mischief: int, kinds: tuple[str, ...] = ()) -> None:
        """Draw the stories of so many claims; ``kinds`` are of work, none: all."""
        chosen = tuple(work for work in self.WORK if not kinds or work.__name__[1:] in kinds)
        spaces = self.one((("lab", "lab"), ("lab", "other")))
        for index in range(claims):
            apart = spaces[0] != spaces[1]
            name = "abcdef"[index - index % 2 if apart else index]
            self._story(mischief, chosen, spaces[index % 2], name)
        self.world.timeline.after(CHAOS, self._go_home)

    def plan_herd(self, claims: int) -> None:
        """Many claims whose work ends within a few seconds."""
        for index in range(claims):
            name, start = f"h{index:02}", self.when(0.0, 5.0)
            spec = {"expirySeconds": LONG, "ttlSecondsAfterFinished": LONG}
            self.at(start, "creates", EVCS, "lab", manifests.claim(name, **spec))
            runs = self.user("lab", name, f"{name}-0", {"sim/seconds": "5"})
            self.at(start + 1.0, "runs", PODS, "lab", runs)

    def _story(
        self, mischief: int, kinds: Sequence[Callable[..., None]], namespace: str, name: str
    ) -> None:
        start = self.when(0.0, 20.0)
        if self.one((False, False, False, True)):
            self._offer_volume(namespace, name, start)
        manifest = self.claim(name, namespace)
        self.at(start, "creates", EVCS, namespace, manifest)
        for number in range(self.one((1, 0, 1, 2, 3))):
            work = self.one(kinds)
            work(self, namespace, name, f"{name}{number}", self.when(start - 2, start + 40))
        for _ in range(mischief):
            act = self.one(self.MISCHIEF)
            act(self, namespace, name, self.when(start, CHAOS), manifest)

    def _offer_volume(self, namespace: str, name: str, start: float) -> None:
        """Somebody's own claim, in use perhaps, that is to be taken over now or later."""
        volume = f"{name}-data"
        self.volumes[namespace, name] = volume
        own = manifests.pvc(volume)
        offer = {"metadata": {"annotations": {ADOPT_BY: name}}}
        at_once = self.one((True, False))
        if at_once:
            own["metadata"] |= offer["metadata"]
        born = self.when(start - 10, start + 10)
        self.at(born, "offers", PVCS, namespace, own)
        if not at_once:
            time = start + 5.0 if self.patient else self.when(start, start + 30)
            self.change(max(time, born), PVCS, namespace, volume, offer)
        if self.one((False, True)):
            before = {"sim/seconds": str(self.one((5, 20)))}
            user = self.user(namespace, name, f"{name}-before", before)
            self.at(born, "runs", PODS, namespace, user)

    def _go_home(self) -> None:
        """What would run or hold for ever is ended, or is not: both must settle."""
        for item in self.server.items(PODS):
            does = marks_of(item)
            endless = "sim/seconds" not in does or does.get("sim/schedule-after") == str(LONG)
            ends = self.patient or self.one((True, False))
            if endless and not terminal(item) and ends:
                self.remove(0.0, PODS, meta(item)["namespace"], meta(item)["name"])
        for job in self.server.items(JOBS):
            if job["spec"]["suspend"] and (self.patient or self.one((True, False))):
                change = {"spec": {"suspend": False}}
                where = meta(job)["namespace"], meta(job)["name"]
                self.change(0.0, JOBS, *where, change)
            elif not (self.patient or condition(job, "Complete") or self.one((True, False))):
                self.remove(5.0, JOBS, meta(job)["namespace"], meta(job)["name"])
