"""One life: a seed becomes a cluster, users, operators and faults; then everybody rests.

120 s of life, 500 s to settle, then a restart and 300 s in which nothing may be written.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import structlog

from sim.choices import Choices, Seeded
from sim.cluster import GarbageCollector, Protection, Provisioner
from sim.faults import REQUEST_FAULTS, STREAM_FAULTS, Faults
from sim.hands import CHAOS
from sim.history import Commit
from sim.jobs import Jobs
from sim.ledger import OPERATOR
from sim.node import Node
from sim.observer import Observer
from sim.operator import Process
from sim.settled import busy, storms, unexplained, unsettled
from sim.streams import Lag
from sim.trace import line
from sim.users import Users
from sim.workloads import Workloads
from sim.world import World

SETTLE = 500.0
STILL = 300.0

structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


@dataclass(frozen=True)
class Profile:
    """What kind of life this is; each draws only some of the troubles (swarm testing)."""

    claims: int = 1
    mischief: int = 0
    operators: int = 1
    faults: dict[str, float] = field(default_factory=dict)
    lag: Lag = field(default_factory=lambda: Lag({}))
    kills: int = 0
    outages: int = 0
    attachable: bool = True
    careful: bool = True
    unmount_lag: float = 3.0
    unused: float | None = None
    """How late the Unused condition is; None: a Kubernetes that does not have it."""
    skew: float = 0.0
    """Seconds by which the operator's wall clock is wrong, from some moment on."""
    patient: bool = False
    """Claims never expire, so that time lost to faults changes nothing."""

    @property
    def calm(self) -> bool:
        """Whether nothing but restarts disturbs the operator."""
        return not (self.faults or self.outages or self.skew) and self.operators == 1

    def without_faults(self) -> Profile:
        """The same users with nothing in the operator's way."""
        return replace(self, operators=1, faults={}, lag=Lag({}), kills=0, outages=0, skew=0.0)


def draw(choices: Choices) -> Profile:
    """Draw a profile."""

    def one(*options: object) -> object:
        return choices.among("profile", options)

    faults = {}
    if choices.chance("profile", 0.7):
        for fault in (*REQUEST_FAULTS, *STREAM_FAULTS, "pause"):
            if choices.chance("profile", 0.3):
                faults[fault] = choices.among("profile", (0.01, 0.03, 0.1))
    lags = (0.05, 0.05, 0.5, 5.0, 30.0)
    kinds = ("ephemeralvolumeclaims", "persistentvolumeclaims", "pods", "jobs")
    lag = Lag({kind: choices.among("profile", lags) for kind in kinds} if faults else {})
    lag.streaming = bool(one(True, False))
    attachable = bool(one(True, False))
    skew = choices.among("profile", (0.0, 0.0, 0.0, 0.0, -3.0, 2.0))
    return Profile(
        claims=choices.among("profile", (1, 2)),
        mischief=choices.among("profile", (0, 1, 2, 3)),
        operators=choices.among("profile", (1, 1, 1, 1, 2)),
        faults=faults,
        lag=lag,
        kills=choices.among("profile", (0, 0, 1, 2)),
        outages=choices.among("profile", (0, 0, 1)) if faults else 0,
        attachable=attachable,
        careful=bool(one(True, False)),
        # Of a file share nothing says when it was unmounted but the settle time, of which a
        # clock that is ahead takes its part.
        unmount_lag=choices.among(
            "profile", (3.0, 30.0) if attachable else (3.0, 3.0 if skew > 0 else 8.0)
        ),
        unused=choices.among("profile", (None, 0.5, 0.5, 5.0)),
        skew=skew,
    )


@dataclass
class Verdict:
    """How a life went."""

    violations: list[str]
    faults: dict[str, int]
    requests: int
    created: int
    deleted: int


class Life:
    """A world with operators in it."""

    def __init__(
        self, choices: Choices, profile: Profile, trace: Callable[[str], None] | None = None
    ) -> None:
        self.profile = profile
        self.choices = choices
        self.world = World(choices, trace=trace)
        if trace is not None:
            self.world.server.listeners.append(self._trace)
        self.faults = Faults(choices, profile.faults)
        self.node = Node(self.world, attachable=profile.attachable, unmount_lag=profile.unmount_lag)
        Provisioner(self.world, attachable=profile.attachable, careful=profile.careful)
        Protection(self.world, profile.unused)
        Workloads(self.world)
        GarbageCollector(self.world)
        Jobs(self.world)
        self.observer = Observer(self.world, self.node)
        self.processes: list[Process] = []
        self._born = 0

    def run(self) -> Verdict:
        """Live it from beginning to end."""
        users = Users(self.world, self.profile.patient)
        users.plan(self.profile.claims, self.profile.mischief)
        for _ in range(self.profile.operators):
            self.start()
        self._troubles()
        self.world.timeline.run_for(CHAOS)
        return self.settle()

    def settle(self, settle: float = SETTLE, still: float = STILL) -> Verdict:
        """Stop all faults, let it come to rest, and judge the end."""
        self.world.say("-- faults stop --")
        self.faults.on = False
        self.faults.outage, self.faults.denied = False, ""
        if "short list" in self.faults.counts:
            # The server lied.  Until it tells the truth again nobody can know; from then on
            # everything must come right.
            for process in self.processes[:]:
                process.die("after lies")
        self.world.timeline.run_for(settle)
        found = list(unsettled(self.world.server, self.observer.ledger, self.world.now))
        self.world.say("-- settled: restart --")
        for process in self.processes[:]:
            process.die("restart")
        revision = self.world.server.revision
        self.world.timeline.run_for(still)
        if not found:
            found += busy(self.world.server, revision)
        found += storms(self.observer.ledger.requests)
        if self.profile.calm:
            found += [text for late, text in self.observer.ledger.lateness if late > 6.0]
            if not self.profile.kills:
                found += unexplained(self.world.server, self.observer.ledger)
        return Verdict(
            self.observer.ledger.violations + found,
            self.faults.counts,
            len(self.observer.ledger.requests),
            sum(len(claims) for claims in self.observer.ledger.created.values()),
            len(self.observer.ledger.deleted),
        )

    def start(self) -> None:
        """Start an operator process."""
        self._born += 1
        process = Process(
            self.world,
            self.faults,
            f"{OPERATOR}-{self._born}",
            self.profile.lag,
            elects=self.profile.operators > 1,
            observer=self.observer,
            died=self._died,
        )
        self.processes.append(process)
        self.observer.started()
        process.start()

    def _died(self, process: Process) -> None:
        self.processes.remove(process)
        long = (60.0 if self.profile.calm else 20.0) if self.faults.on else 1.0
        self.world.timeline.after(self.choices.seconds("restart", 0.1, long), self.start)

    def _troubles(self) -> None:
        """Plan the troubles that are not single requests."""
        for _ in range(self.profile.kills):
            self.world.timeline.after(self.choices.seconds("kill", 1.0, CHAOS), self._kill)
        if self.profile.skew:
            self.world.timeline.after(self.choices.seconds("skew", 0.0, CHAOS), self._jump)
        for _ in range(self.profile.outages):
            begin = self.choices.seconds("outage", 1.0, CHAOS)
            denied = self.choices.among("outage", ("", "list", "get", "delete", "create", "status"))
            length = self.choices.seconds("outage", 1.0, 60.0)
            self.world.timeline.after(begin, partial(self._outage, True, denied))
            self.world.timeline.after(begin + length, lambda: self._outage(False, ""))

    def _kill(self) -> None:
        if self.processes and self.faults.on:
            self.faults.counts["kill"] = self.faults.counts.get("kill", 0) + 1
            self.processes[0].die("killed")

    def _jump(self) -> None:
        self.world.say(f"the operator's clock is {self.profile.skew} s ahead from now on")
        self.world.skew = self.profile.skew
        self.world.most_skew = max(0.0, self.profile.skew)

    def _outage(self, begins: bool, denied: str) -> None:
        self.world.say(f"outage {'begins' if begins else 'ends'} {denied}")
        self.faults.denied = denied
        self.faults.outage = begins and not denied

    def _trace(self, commit: Commit) -> None:
        self.world.say(line(commit))


def live(seed: int, trace: Callable[[str], None] | None = None) -> Verdict:
    """Live the life of a seed."""
    choices = Seeded(seed)
    return Life(choices, draw(choices), trace).run()
