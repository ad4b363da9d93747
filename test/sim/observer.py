"""The judge of every write of the operator, from the API server's history alone.

It never asks the operator anything and shares no code with its decisions.  It listens and
hands each write to whoever judges its kind: `sim.deletions`, `sim.writes`,
`sim.letting_go`, `sim.rates`, `sim.outcomes`.  To add an invariant: a method there that
calls `_violated`.
"""

from __future__ import annotations

from sim.deletions import Deletions
from sim.facts import pod_of
from sim.faults import READS
from sim.history import Commit, Request, uid
from sim.kinds import EVCS, EVENTS, JOBS, LEASES, MAKERS, PODS, PVCS, PVS, WORKLOADS
from sim.ledger import OPERATOR, Ledger, Limits, Visit
from sim.letting_go import LettingGo
from sim.node import Node
from sim.outcomes import Outcomes
from sim.rates import Rates
from sim.world import World
from sim.writes import Writes


class Observer:
    """Hears of requests and commits as they happen."""

    def __init__(self, world: World, node: Node) -> None:
        self.ledger = Ledger(world, node)
        self._world = world
        self._deletions = Deletions(self.ledger)
        self._writes = Writes(self.ledger)
        self._letting_go = LettingGo(self.ledger)
        self._rates = Rates(self.ledger)
        self._outcomes = Outcomes(self.ledger)
        world.server.listeners.append(self.committed)

    def requested(self, request: Request) -> None:
        """Hear of a request's end; requests of elections (visit 0) are of no interest."""
        ledger = self.ledger
        ledger.requests.append(request)
        if not request.visit or request.name.plural in (EVENTS, LEASES):
            return
        visit = ledger.visits.setdefault((request.actor, request.visit), Visit())
        visit.failed = visit.failed or request.failed
        if not request.failed:
            visit.seen[request.name.plural] = request.revision
            if (request.verb, request.name.plural) == ("list", PODS):
                visit.listed = request.name.namespace
            if request.verb in READS:
                visit.led = self._leads(request.actor)
            if (request.verb, request.name.plural) == ("get", EVCS):
                visit.asked = self._world.now
                visit.told = {p: ledger.told.get((request.actor, p), 0) for p in WORKLOADS}

    def told(self, actor: str, plural: str, revision: int) -> None:
        """Hear that a process's cache shows everything up to a revision; 0: it does not."""
        self.ledger.told[actor, plural] = revision

    def deaf(self, actor: str, plural: str, deaf: bool) -> None:
        """Hear whether a process's watch has failed and has not been made anew yet."""
        if not deaf:
            self.ledger.deaf.pop((actor, plural), None)
        else:
            self.ledger.deaf.setdefault((actor, plural), self._world.now)

    def _leads(self, actor: str) -> bool:
        leases = self._world.server.items(LEASES)
        return not leases or leases[0]["spec"].get("holderIdentity") == actor

    def began(self, actor: str, visit: int) -> None:
        """Hear that a process begins a reconcile."""
        self.ledger.visits[actor, visit] = Visit(self._world.now)

    def ended(self, actor: str, visit: int) -> None:
        """Hear that a reconcile succeeded."""
        done = self.ledger.visits[actor, visit]
        done.ended = self._world.now
        self.ledger.listings[actor, done.listed].append(done)

    def visiting(self, actor: str, visit: int) -> None:
        """Hear which reconcile the next write of a process belongs to."""
        self.ledger.current[actor] = visit

    def started(self, actor: str, limits: Limits) -> None:
        """An operator process came up."""
        self.ledger.limits[actor] = limits
        self.ledger.last_change = self._world.now

    def committed(self, commit: Commit) -> None:
        """Judge one write, the moment it is stored."""
        if commit.before is None:
            self.ledger.born[uid(commit.last)] = commit.revision
        if commit.actor.startswith(OPERATOR):
            self._by_operator(commit)
        else:
            self._by_others(commit)

    def _by_others(self, commit: Commit) -> None:
        plural = commit.name.plural
        if plural in (EVCS, PVCS, PODS, JOBS):
            self.ledger.last_change = commit.time
        gone = plural in (PODS, JOBS) and commit.after is None
        # Nobody watches the others: their ends are noticed late.
        if gone or plural in MAKERS:
            self.ledger.undated.append(pod_of(commit.last))
        if plural == JOBS or plural in MAKERS:
            self.ledger.makers[uid(commit.last)] = commit.last
        if plural == PVS and commit.after is None:
            self._letting_go.mounted(commit)
        if plural == PVCS and commit.before is None:
            self._writes.forgery(commit)

    def _by_operator(self, commit: Commit) -> None:
        self._writes.scope(commit)
        match commit.name.plural, commit.verb:
            case _ if commit.name.plural == PVCS and commit.before is None:
                self._writes.creation(commit)
            case _ if commit.name.plural == PVCS and commit.marks_deletion:
                self._deletions.judge(commit)
                self._rates.judge(commit)
            case _ if commit.name.plural == PVCS:
                self._writes.change(commit)
                self._letting_go.judge(commit)
            case _ if commit.name.plural == EVCS and commit.verb == "delete":
                self._writes.record(commit)
            case _ if commit.name.plural == PODS:
                self._writes.pod_deletion(commit)
                self.ledger.undated.append(pod_of(commit.last))
            case _ if commit.name.plural == EVCS and commit.verb == "status":
                self._outcomes.status(commit)
            case _ if commit.name.plural == EVENTS:
                self._outcomes.event(commit)

    def bug(self, text: str) -> None:
        """An exception that is no API error came out of the product."""
        self.ledger.violated("bug", text)
