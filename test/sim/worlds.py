"""Small worlds, explored exhaustively: two claims, their two volumes, three pods at a time.

A run takes the default at every choice (answers are quick, events come at once, nothing
fails); a deviation makes one request or event late, strikes it with a fault or crashes
the operator before or after it.  `explore` lives the default run, then every run with one
deviation, then those with two, and so on up to its bound (delay-bounded search).  A run
that comes to a state which was met before is not deviated from any further.

One deviation is explored wholly (2,000 runs).  Pairs are some 100,000 per world, so of those
a sample is lived, drawn by a seed: another seed is another sample.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from random import Random

import msgspec

from e2e import manifests
from sim.choices import Scripted
from sim.facts import HOLD
from sim.hands import ACTOR, MERGE, pod
from sim.history import Commit, Json
from sim.kinds import EVCS, PODS
from sim.life import Life
from sim.profile import Profile
from sim.streams import Lag
from sim.world import World

Plan = Callable[[World], None]

LIFE = 30.0
SETTLE = 150.0
STILL = 30.0
FAULTS = {"crash before": 0.5, "crash after": 0.5, "lost reply": 0.5, "conflict": 0.5}
"""Any probability: a script decides.  What is 0 or absent is never asked."""


@dataclass
class Explored:
    """What a search found."""

    runs: int = 0
    choices: int = 0
    pruned: int = 0
    possible: int = 0
    """Runs there were with as many deviations as the bound; more than were lived: a sample."""
    most: dict[str, int] = field(default_factory=dict)
    """Of each type, the most objects there ever were at once."""
    violations: list[str] = field(default_factory=list)

    def count(self, most: dict[str, int]) -> None:
        """Note how many objects a run had."""
        for plural, number in most.items():
            self.most[plural] = max(self.most.get(plural, 0), number)


def create(world: World, time: float, plural: str, body: Json) -> None:
    """Let a user create something at that time."""

    def act() -> None:
        world.attempt(lambda: world.server.create(ACTOR, plural, "lab", body))

    world.timeline.after(time, act)


def change(world: World, time: float, plural: str, name: str, patch: Json) -> None:
    """Let a user change something at that time."""

    def act() -> None:
        world.attempt(lambda: world.server.patch(ACTOR, plural, "lab", name, patch, MERGE))

    world.timeline.after(time, act)


def remove(world: World, time: float, plural: str, name: str) -> None:
    """Let a user delete something at that time."""
    world.timeline.after(
        time, lambda: world.attempt(lambda: world.server.delete(ACTOR, plural, "lab", name))
    )


def second_pod(world: World) -> None:
    """A second pod comes between the decision about the first one's volume and the DELETE."""
    create(world, 0.0, EVCS, manifests.claim("a", gracePeriodSeconds=2, completedPods="Delete"))
    create(world, 0.0, EVCS, manifests.claim("b", gracePeriodSeconds=0, ttlSecondsAfterFinished=60))
    create(world, 0.5, PODS, pod("a0", "a", "a", {"sim/seconds": "2"}))
    create(world, 0.6, PODS, pod("b0", "b", "b", {"sim/seconds": "3"}))
    create(world, 4.02, PODS, pod("a1", "a", "a", {"sim/seconds": "2"}))


def recreated(world: World) -> None:
    """A claim is deleted and made again under the same name, with pods of both; another expires
    just when its first pod comes.
    """
    create(world, 0.0, EVCS, manifests.claim("a", gracePeriodSeconds=1))
    create(world, 0.0, EVCS, manifests.claim("b", expirySeconds=4))
    create(world, 0.5, PODS, pod("a0", "a", "a", {"sim/seconds": "2"}))
    remove(world, 3.0, EVCS, "a")
    create(world, 3.05, EVCS, manifests.claim("a", gracePeriodSeconds=1))
    remove(world, 8.0, PODS, "a0")
    create(world, 6.0, PODS, pod("a1", "a", "a", {"sim/seconds": "2"}))
    create(world, 4.02, PODS, pod("b0", "b", "b", {"sim/seconds": "2"}))


def held(world: World) -> None:
    """Holds, on the claim and on the volume, set between decision and DELETE, and lifted."""
    create(world, 0.0, EVCS, manifests.claim("a", gracePeriodSeconds=1))
    create(world, 0.0, EVCS, manifests.claim("b", gracePeriodSeconds=1))
    create(world, 0.5, PODS, pod("a0", "a", "a", {"sim/seconds": "2"}))
    create(world, 0.5, PODS, pod("b0", "b", "b", {"sim/seconds": "2"}))
    create(world, 8.0, PODS, pod("b1", "b", "stranger", {"sim/seconds": "2"}))
    change(world, 3.024, EVCS, "a", {"spec": {"hold": True}})
    hold = {"metadata": {"annotations": {HOLD: "mine"}}}
    change(world, 3.028, "persistentvolumeclaims", "b", hold)
    change(world, 10.0, EVCS, "a", {"spec": {"hold": False}})
    change(world, 10.0, "persistentvolumeclaims", "b", {"metadata": {"annotations": {HOLD: None}}})


PLANS: tuple[Plan, ...] = (second_pod, recreated, held)


class SmallLife(Life):
    """A life whose users follow a plan and whose cluster is always prompt."""

    def __init__(self, script: Scripted, plan: Plan, budget: Callable[[bytes], bool]) -> None:
        kinds = ("persistentvolumeclaims", "pods", EVCS)
        profile = Profile(faults=FAULTS, lag=Lag(dict.fromkeys(kinds, 3.0)), unmount_lag=0.5)
        super().__init__(script, profile)
        self.world.hurry = True
        self._script = script
        self._plan = plan
        self._known = budget
        self.converged: int | None = None
        self.most = dict.fromkeys(kinds, 0)
        self.world.server.listeners.append(self._count)

    def live(self) -> list[str]:
        """Live it; returns the violations."""
        self._plan(self.world)
        self.start()
        while self.world.now < LIFE:
            self.world.timeline.run_for(0.25)
            self._compare()
        return self.settle(SETTLE, STILL).violations

    def _count(self, commit: Commit) -> None:
        plural = commit.name.plural
        if plural in self.most and commit.before is None:
            self.most[plural] = max(self.most[plural], len(self.world.server.items(plural)))

    def _compare(self) -> None:
        """Note when this run comes to a state from which all was explored already."""
        last = max(self._script.deviations, default=-1)
        if self.converged is None and len(self._script.asked) > last and self._known(self._state()):
            self.converged = len(self._script.asked)

    def _state(self) -> bytes:
        """Everything the future depends on: objects, time, caches, queues, what is pending."""
        parts = [
            msgspec.json.encode([*self.world.server.everything()]),
            repr((round(self.world.now, 3), self.world.timeline.pending())).encode(),
        ]
        for process in self.processes:
            stores = [r.store.resource_version for r in process.scope.reflectors]
            queues = [(desk.queue.depth(), desk.queue.next_time()) for desk in process.desks]
            parts.append(repr((stores, queues)).encode())
        return hashlib.blake2b(b"|".join(parts), digest_size=16).digest()


def explore(plan: Plan, bound: int, most: int, seed: int = 0) -> Explored:
    """Live all runs with fewer than ``bound`` deviations, and of those with that many at
    most ``most``, drawn by ``seed``.
    """
    found = Explored()
    seen: dict[bytes, int] = {}
    wave: list[dict[int, int]] = [{}]
    for depth in range(bound + 1):
        left = bound - depth
        following: list[dict[int, int]] = []
        if not left:
            found.possible = len(wave)
            wave = Random(seed).sample(wave, min(most, len(wave)))
        for deviations in wave:
            script = Scripted(deviations)
            life = SmallLife(script, plan, partial(_known, seen, left))
            violations = life.live()
            found.runs += 1
            found.count(life.most)
            found.choices = max(found.choices, len(script.asked))
            found.violations += [f"{plan.__name__} {deviations}: {v}" for v in violations]
            if violations:
                continue
            found.pruned += life.converged is not None
            following += _children(deviations, script, life.converged) if left else []
        wave = following
    return found


def _known(seen: dict[bytes, int], left: int, state: bytes) -> bool:
    """Whether everything from this state on was or will be explored as deeply as from here."""
    if seen.get(state, -1) >= left:
        return True
    seen[state] = left
    return False


def _children(
    deviations: dict[int, int], script: Scripted, converged: int | None
) -> Iterator[dict[int, int]]:
    """Every run that deviates once more, later than this one did and before it converged."""
    first = max(deviations, default=-1) + 1
    for number in range(first, converged if converged is not None else len(script.asked)):
        for option in range(1, script.asked[number][1]):
            yield deviations | {number: option}
