"""What the observer remembers of a life, and what all its judges share."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace

from sim.facts import OWNER_UID
from sim.history import Commit, Json, Request, marks_of, uid
from sim.kinds import EVCS, JOBS, PODS
from sim.node import Node
from sim.world import World

OPERATOR = "operator"
"""Prefix of the names of operator processes."""
SHARED_FOR = 2.0
"""Seconds after its end for which claims may share one read of their namespace."""


@dataclass(frozen=True)
class Limits:
    """What an operator process was started with; 0 switches a limit off."""

    per_minute: int = 0
    percent: int = 0
    dry_run: bool = False


@dataclass
class Visit:
    """What one reconcile has read live so far."""

    began: float = 0.0
    ended: float = 0.0
    listed: str | None = None
    """The namespace whose pods it listed."""
    failed: bool = False
    seen: dict[str, int] = field(default_factory=dict)
    """Resource type -> revision of its last successful live request."""
    asked: float = 0.0
    """When it read the object."""
    told: dict[str, int] = field(default_factory=dict)
    """Up to which revision its caches showed all workloads of a kind, when it read the object."""
    led: bool = True
    """Whether the process held the lease, if there is one, at the last of them."""


class Ledger:
    """Facts about the past that no present object shows."""

    def __init__(self, world: World, node: Node) -> None:
        self.world = world
        self.server = world.server
        self.node = node
        self.violations: list[str] = []
        self.requests: list[Request] = []
        self.created: dict[str, list[str]] = {}
        """EVC uid -> uids of the claims the operator made for it."""
        self.adopted: dict[str, str] = {}
        """Claim uid -> uid of the EVC that took it over."""
        self.deleted: dict[str, str] = {}
        """Claim uid -> EVC uid, of the operator's DELETEs."""
        self.ambiguous: set[str] = set()
        """Uids of forged claims which may count as ours or not."""
        self.lateness: list[tuple[float, str]] = []
        self.visits: dict[tuple[str, int], Visit] = {}
        self.listings: defaultdict[tuple[str, str | None], list[Visit]] = defaultdict(list)
        """Process and namespace -> the reconciles that read the namespace, and succeeded."""
        self.told: dict[tuple[str, str], int] = {}
        """Process and type -> the revision up to which its cache shows everything."""
        self.deaf: dict[tuple[str, str], float] = {}
        """Process and type -> since when its watch has failed."""
        self.current: dict[str, int] = {}
        """Which reconcile a process is at."""
        self.born: dict[str, int] = {}
        """Uid -> revision of the creation."""
        self.makers: dict[str, Json] = {}
        """Uid -> last state of what ever made pods or makers of pods."""
        self.known_used: set[str] = set()
        """Uids of EVCs whose status has said that they were used."""
        self.limits: dict[str, Limits] = {}
        """What each process was started with."""
        self.last_change = 0.0
        """When somebody else last changed anything that matters."""
        self.undated: list[Json] = []
        """Pods or their templates whose end nobody could see, or not at once."""

    def violated(self, invariant: str, text: str) -> None:
        """Write down a violation as a sentence that begins with the invariant's name."""
        sentence = f"{invariant}: {text} (at {self.world.now:.3f})"
        self.world.say(f"VIOLATION {sentence}")
        self.violations.append(sentence)

    def visit(self, commit: Commit) -> Visit:
        """The reconcile that a write belongs to, and the read of its namespace it shared.

        A read that was not over, or has been too long ago, is no read.  Neither is, for a
        DELETE, one that left out the Jobs, because it was for claims that were deleted before.
        """
        actor = commit.actor
        own = self.visits.get((actor, self.current.get(actor, 0)), Visit())
        needed = {PODS, JOBS} if commit.marks_deletion else {PODS}
        for listing in reversed(self.listings[actor, commit.name.namespace]):
            fresh = listing.ended <= own.began <= listing.ended + SHARED_FOR
            if fresh and needed <= listing.seen.keys():
                failed = own.failed or listing.failed
                return replace(own, failed=failed, seen=listing.seen | own.seen)
        return own

    def visible(self, plural: str, namespace: str, visit: Visit) -> list[Json]:
        """Present objects that were there at the operator's last live LIST."""
        seen = visit.seen.get(plural, 0)
        items = self.server.items(plural, namespace)
        return [item for item in items if self.born[uid(item)] <= seen]

    def mine(self, claim: Json) -> Json | None:
        """The EVC, there or gone, whose claim this is."""
        for earlier in reversed(self.server.events(EVCS)):
            owner = uid(earlier.last)
            if uid(claim) in self.created.get(owner, ()) or self.adopted.get(uid(claim)) == owner:
                return earlier.last
        return None

    def evc_of(self, commit: Commit) -> Json | None:
        """The EVC a new claim is for: it may have gone a moment ago."""
        owner = marks_of(commit.last).get(OWNER_UID)
        for earlier in reversed(self.server.events(EVCS)):
            if earlier.name.namespace == commit.name.namespace and uid(earlier.last) == owner:
                return earlier.last
        return None


class Judge:
    """Base of what judges one kind of write."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._world = ledger.world
        self._server = ledger.server
        self._node = ledger.node
        self._violated = ledger.violated
