"""The bugs: each a sentence, the invariants it must violate, and a switch.

The 14 of the reliability page, and some more.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

from seeded_bugs import blast, switches, work_over
from sim.faults import CRASHES
from sim.kinds import PVCS, WORKLOADS
from sim.ledger import Limits
from sim.profile import Profile
from sim.streams import Lag

Switch = Callable[[], AbstractContextManager[Any]]


@dataclass(frozen=True)
class Bug:
    """One way to be wrong."""

    name: str
    breaks: str
    """What goes wrong, in words."""
    killed_by: tuple[str, ...]
    """Prefixes of the violations that count as noticing it."""
    switch: Switch
    note: str = ""
    """Why it is not quite the bug of the list, where the design leaves no place for that."""
    shape: Callable[[Profile], Profile] = lambda profile: profile
    """The lives in which it would show: lateness is judged in calm ones only."""


def limited(profile: Profile) -> Profile:
    """Several volumes, and one may go per minute."""
    return replace(profile, claims=5, limits=Limits(per_minute=1), dry_from=None, herd=0)


def unanswered(profile: Profile) -> Profile:
    """And many a request has no answer."""
    return replace(limited(profile), faults={"lost reply": 0.2})


def forbidden(profile: Profile) -> Profile:
    """Every tenth request is refused, and nothing else goes wrong."""
    return replace(profile, faults={"forbidden": 0.1}, dry_from=None, herd=0)


def denied(profile: Profile) -> Profile:
    """Few things happen, and now and then the operator lacks a right for a while."""
    return replace(profile.without_faults(), claims=1, mischief=0, outages=8, work=("pod",))


def mortal(profile: Profile) -> Profile:
    """Nothing goes wrong but that the operator dies, again and again."""
    return replace(profile.without_faults(), faults=dict.fromkeys(CRASHES, 0.02))


def only(*work: str) -> Callable[[Profile], Profile]:
    """Lives with nothing but such work."""
    return lambda profile: replace(profile, work=work, claims=2, mischief=0, herd=0)


def herd(profile: Profile) -> Profile:
    """More volumes due at once than the breaker lets go."""
    return replace(profile.without_faults(), claims=0, herd=26, limits=Limits(percent=10))


def contested(profile: Profile) -> Profile:
    """Two operators, which freeze now and then."""
    return replace(profile, operators=2, faults={"pause": 0.1}, herd=0)


def behind(profile: Profile) -> Profile:
    """Hears late of volumes, with which people do what they like."""
    return replace(profile, mischief=3, faults={"pause": 0.01}, lag=Lag({PVCS: 30.0}), herd=0)


def deaf(profile: Profile) -> Profile:
    """Its watches fail again and again."""
    return replace(profile, faults={"disconnect": 0.1, "lost stream": 0.3}, herd=0)


def late_workloads(profile: Profile) -> Profile:
    """Hears late of what makes pods and is scaled up and down."""
    late = Lag(dict.fromkeys(WORKLOADS, 30.0))
    return replace(only("replicas")(profile), faults={"pause": 0.01}, lag=late)


def dry(profile: Profile) -> Profile:
    """A dry run from the middle of a life on."""
    return replace(profile, dry_from=30.0, herd=0)


BUGS: tuple[Bug, ...] = (
    Bug("no UID precondition", "DELETE names the claim only", ("S2",), switches.no_precondition),
    Bug("name-only match", "any claim of the name is ours", ("S2",), switches.name_only),
    Bug("skip live LIST", "the cache may destroy", ("S1", "S4"), switches.no_live_list),
    Bug(
        "unscheduled pod ignored", "Pending pods do not hold", ("S1",), switches.ignores_unscheduled
    ),
    Bug(
        "delete on empty list", "no pods seen means all is over", ("S7",), switches.empty_means_over
    ),
    Bug(
        "delete on 403",
        "what may not be read is not there",
        ("S4",),
        switches.forbidden_means_none,
        shape=forbidden,
    ),
    Bug(
        "adopt same-name PVC",
        "a taken name counts as our CREATE",
        ("S2",),
        switches.adopts_same_name,
    ),
    Bug("label-only ownership", "managed-by is proof enough", ("S2",), switches.label_only),
    Bug(
        "ttl from wall clock",
        "grace counts from when the operator looked",
        ("late",),
        switches.finished_when_looked,
        shape=lambda profile: replace(profile.without_faults(), kills=4, mischief=0),
    ),
    Bug(
        "finalizer stripped always",
        "gate 5 without its checks",
        ("S1", "S3"),
        switches.always_releases,
    ),
    Bug(
        "retry create without marker",
        "after a lost answer another claim is made",
        ("S5",),
        switches.creates_twice,
        "names are deterministic, so a plain retry meets AlreadyExists; seeded with a new name",
    ),
    Bug(
        "no lease check before delete",
        "a leader of yesterday deletes",
        ("lease",),
        switches.no_lease_check,
        shape=contested,
    ),
    Bug(
        "partial page treated as full",
        "a list ends after its first page",
        ("L1",),
        switches.partial_page_is_all,
    ),
    Bug(
        "hold read from cache", "a hold set just now is not seen", ("S7",), switches.hold_from_cache
    ),
    Bug("create without marker", "our claim bears no mark", ("L1", "S6", "S3"), switches.no_mark),
    Bug(
        "decision not durable",
        "DELETE before the status says so",
        ("S7",),
        switches.no_durable_decision,
    ),
    Bug(
        "owner not asked", "a Job between retries does not hold", ("S1",), switches.jobs_do_not_hold
    ),
    Bug("no settle time", "a terminal phase is an unmount", ("S1",), switches.no_settle_time),
    Bug(
        "attachments ignored",
        "gate 5 without VolumeAttachments",
        ("S1",),
        switches.attachments_ignored,
    ),
    Bug("minimum wait ignored", "deleted before created + N", ("S7",), switches.minimum_ignored),
    Bug("retain ignored", "what is to stay is deleted", ("S7",), switches.retain_ignored),
    Bug(
        "ownership left on",
        "what is retained goes with its record",
        ("L1", "S1"),
        switches.marks_left_on,
    ),
    Bug(
        "unknown owner not asked",
        "no pods means the Workflow is over",
        ("S1",),
        switches.owners_not_asked,
    ),
    Bug(
        "hold ignored by gate 5",
        "let go of although held",
        ("S1",),
        switches.hold_ignored_by_release,
    ),
    Bug(
        "request id not compared",
        "the mark alone proves a CREATE",
        ("S2", "S3"),
        switches.request_not_compared,
    ),
    Bug(
        "taken without an offer",
        "any claim may be taken over",
        ("S2",),
        switches.takes_without_offer,
    ),
    Bug(
        "apply to any version",
        "a mark taken off is put on again",
        ("S2",),
        switches.applies_to_any_version,
        shape=behind,
    ),
    Bug(
        "read before it asked",
        "an old read of the namespace is live enough",
        ("S1", "S4"),
        switches.read_before_it_asked,
    ),
    Bug("owned again", "an orphaned claim gets its owner back", ("S3",), switches.owned_again),
    Bug("limit ignored", "deletes as many as are due", ("S8",), blast.limit_ignored, shape=limited),
    Bug(
        "limit per worker",
        "each of four workers has a limit of its own",
        ("S8",),
        blast.limit_per_worker,
        shape=limited,
    ),
    Bug(
        "limit counts decisions",
        "the minute begins before the DELETE",
        ("S8",),
        blast.limit_counts_decisions,
        shape=limited,
    ),
    Bug(
        "limit forgets lost answers",
        "what may have been deleted does not count",
        ("S8",),
        blast.limit_forgets_lost_answers,
        shape=unanswered,
    ),
    Bug(
        "breaker closes by itself",
        "after a minute the landslide goes on",
        ("S8",),
        blast.breaker_closes_by_itself,
        shape=herd,
    ),
    Bug(
        "asking counts as success",
        "what fails after a live read is tried again without backoff",
        ("L2",),
        blast.asking_counts_as_success,
        shape=denied,
    ),
    Bug("dry run deletes", "a trial takes data", ("S3",), blast.dry_run_deletes, shape=dry),
    Bug(
        "failure told as success",
        "the last owner failed, and the outcome is Succeeded",
        ("S7",),
        work_over.failure_is_success,
    ),
    Bug("first end counts", "not the last end", ("S7",), work_over.first_end_counts),
    Bug("evidence made up", "told as finished, and failed", ("S7",), work_over.evidence_made_up),
    Bug(
        "wanted replicas ignored",
        "a Deployment between two pods is over",
        ("S1",),
        work_over.wanted_replicas_ignored,
    ),
    Bug(
        "Deployments not asked",
        "between two ReplicaSets nobody wants pods",
        ("S1",),
        work_over.deployments_not_asked,
        shape=only("deployment"),
    ),
    Bug(
        "daemon count believed",
        "a count from before the spec changed",
        ("S1",),
        work_over.daemons_believed,
        shape=only("daemons"),
    ),
    Bug(
        "owner of owner ignored",
        "a JobSet that is gone was all there is",
        ("S1",),
        work_over.owners_of_owners_ignored,
        shape=only("trainjob"),
    ),
    Bug(
        "event lost with its process",
        "nobody tells of a DELETE whose sender died",
        ("S7",),
        work_over.dead_mens_events_lost,
        shape=mortal,
    ),
    Bug(
        "owner of workload ignored",
        "between two ReplicaSets of a Rollout nobody wants pods",
        ("S1",),
        work_over.owners_of_workloads_ignored,
        shape=only("rollout"),
    ),
    Bug(
        "workload read from cache",
        "one that was scaled up a moment ago",
        ("S1",),
        work_over.workloads_believed,
        shape=late_workloads,
    ),
    Bug(
        "deaf cache believed",
        "a cache whose watch has failed does not know what there is",
        ("S4",),
        work_over.deaf_caches_believed,
        shape=deaf,
    ),
    Bug(
        "owner asked at the end",
        "when it may have gone and its own owner go on",
        ("S1",),
        work_over.owner_asked_at_the_end,
        shape=only("trainjob"),
    ),
)
"""The 14 first, in the page's order."""

EQUIVALENT: tuple[Bug, ...] = (
    Bug(
        "own writes forgotten",
        "decides on a cache that has not seen our last write",
        (),
        switches.forgets_own_writes,
        "harmless by design: every write is conditional on the version it was decided on",
    ),
)
"""Kept to show what the architecture absorbs; they need not be killed."""
