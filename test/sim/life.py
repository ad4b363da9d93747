"""One life: a seed becomes a cluster, users, operators and faults; then everybody rests.

120 s of life, 500 s to settle, then a restart and 300 s in which nothing may be written.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import structlog

from sim.choices import Choices, Seeded
from sim.cluster import GarbageCollector, Protection, Provisioner
from sim.faults import Faults
from sim.foreign import Foreign
from sim.hands import CHAOS
from sim.history import Commit
from sim.jobs import CronJobs, Jobs
from sim.ledger import OPERATOR
from sim.node import Node
from sim.observer import Observer
from sim.operator import Process
from sim.profile import Profile, draw
from sim.rates import FLOOR
from sim.settled import busy, restless, stopped, storms, unexplained, unsettled
from sim.trace import line
from sim.users import Users
from sim.workloads import Workloads
from sim.world import World

SETTLE = 500.0
STILL = 300.0

# A life is one large cycle of objects and short: collecting often finds nothing.
gc.set_threshold(100_000, 20, 20)
structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


@dataclass
class Verdict:
    """How a life went."""

    violations: list[str]
    faults: dict[str, int]
    requests: int
    created: int
    deleted: int
    special: str


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
        Foreign(self.world)
        CronJobs(self.world)
        GarbageCollector(self.world)
        Jobs(self.world)
        self.observer = Observer(self.world, self.node)
        self.processes: list[Process] = []
        self._born = 0
        self._limits = profile.limits

    def run(self) -> Verdict:
        """Live it from beginning to end."""
        users = Users(self.world, self.profile.patient)
        users.plan(self.profile.claims, self.profile.mischief, self.profile.work)
        users.plan_herd(self.profile.herd)
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
        self._rest(settle, still)
        ledger = self.observer.ledger
        found = list(unsettled(self.world.server, ledger, self.world.now))
        found += self._restart(still) if not found else []
        lag = max(self.profile.lag.longest.values(), default=0.0)
        found += storms(self.world.server, ledger.requests, lag)
        if self.profile.calm:
            found += [text for late, text in ledger.lateness if late > self._patience]
        if self.profile.answered:
            found += unexplained(self.world.server, ledger)
        return Verdict(
            ledger.violations + found,
            self.faults.counts,
            len(ledger.requests),
            sum(len(claims) for claims in ledger.created.values()),
            len(ledger.deleted),
            self.profile.special,
        )

    def _rest(self, settle: float, still: float) -> None:
        """Let everything settle; a dry run must come to rest, too, before it is ended."""
        self.world.timeline.run_for(settle)
        ledger = self.observer.ledger
        if self._limits.dry_run:
            revision = self.world.server.revision
            self._restart(still)
            for sentence in restless(self.world.server, revision):
                ledger.violated("dry run", sentence)
            self._limits = self.profile.limits
            self._restart(settle)
        if self.profile.limits.percent:
            for sentence in stopped(self.world.server, ledger):
                ledger.violated("S8", sentence)
            # Somebody has looked, and restarts the operator, as often as it takes.
            for _ in range(self.profile.herd // FLOOR + 1):
                self._restart(still)

    def _restart(self, still: float) -> list[str]:
        """Restart every process, and tell what the operator writes from then on."""
        self.world.say("-- settled: restart --")
        for process in self.processes[:]:
            process.die("restart")
        revision = self.world.server.revision
        self.world.timeline.run_for(still)
        return list(busy(self.world.server, revision))

    @property
    def _patience(self) -> float:
        """Seconds a deletion may come late in a calm life."""
        rate, herd = self.profile.limits.per_minute, self.profile.herd
        # One worker after the other: a herd stands in a queue.
        return 6.0 + (60.0 * self.profile.claims / rate if rate else 2.0 * herd)

    def start(self) -> None:
        """Start an operator process."""
        self._born += 1
        name = f"{OPERATOR}-{self._born}"
        self.observer.started(name, self._limits)
        process = Process(
            self.world,
            self.faults,
            name,
            self.profile.lag,
            elects=self.profile.operators > 1,
            limits=self._limits,
            observer=self.observer,
            died=self._died,
        )
        self.processes.append(process)
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
        if self.profile.dry_from is not None:
            self.world.timeline.after(self.profile.dry_from, self._run_dry)
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

    def _run_dry(self) -> None:
        self.world.say("-- from now on with --dry-run --")
        self._limits = replace(self._limits, dry_run=True)
        for process in self.processes[:]:
            process.die("restart")

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
