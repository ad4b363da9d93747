"""Whether an owner will make more pods: "gone for now" is not "over"."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from evc.model.core import Job, Unstructured, Workload
from evc.model.evc import OwnerSeen
from evc.model.meta import OwnerReference

OWNERS_KEPT = 100
"""How many owners of unknown kinds one claim remembers; with more it holds, and says so."""

BUILT_IN = frozenset(
    {
        "Job",
        "CronJob",
        "Deployment",
        "ReplicaSet",
        "StatefulSet",
        "DaemonSet",
        "ReplicationController",
        "Node",
    }
)
"""Controllers that are found by their pod template, or make Jobs that are; a Node owns mirror
pods, which nothing restarts elsewhere.  A Pod that makes pods (a Spark driver, the leader of
a LeaderWorkerSet) is asked like any other."""
_BUILT_IN_GROUPS = frozenset({"v1", "apps/v1", "batch/v1"})
_WATCHED = BUILT_IN - {"CronJob", "Node"} | {"Pod"}

_OVER = frozenset(
    {"complete", "completed", "succeeded", "success", "finished", "stopped", "terminated"}
)
_FAILED = frozenset({"failed", "failure", "error"})
_STATE_FIELDS = (
    ("phase",),
    ("state",),
    ("terminalState",),
    ("jobDeploymentStatus",),
    ("applicationState", "state"),
)
"""Where projects write their state: Argo Workflow phase, JobSet terminalState, Volcano
state.phase, RayJob jobDeploymentStatus (its jobStatus is also FAILED before a retry),
SparkApplication applicationState."""
_TIME_FIELDS = ("finishedAt", "completionTime", "endTime", "terminationTime")
"""Where they write when it ended: Workflow, most, RayJob, SparkApplication."""


@dataclass(frozen=True)
class Ending:
    """How and when something ended for good, in the API server's own words."""

    time: datetime | None
    failed: bool | None
    """None: it says nothing of that, as of a workload that wants no more pods, or what is gone."""


@dataclass(frozen=True)
class Owner:
    """The verdict on one owner that is not a Job."""

    name: str
    """Kind/name."""
    ending: Ending | None
    """None: it may still make pods."""
    why: str = "not finished"
    seen: OwnerSeen | None = None
    """For one of an unknown kind: how to ask it again."""
    watched: bool = False
    """Whether an informer tells of its end."""


def ending(job: Job) -> Ending | None:
    """Return how the Job ended; None while it may still make pods.

    Only the Complete and Failed conditions count.  A suspended Job, one between
    retries, and one with no pods at the moment have neither and so are not over
    (KEP-2232; Kueue preempts by suspending, which deletes every pod).  FailureTarget
    and SuccessCriteriaMet announce an end whose pods are still being stopped
    (KEP-3939), so they do not count yet.
    """
    for condition in job.status.conditions:
        if condition.status == "True" and condition.type in ("Complete", "Failed"):
            time = job.status.completion_time or condition.last_transition_time
            return Ending(time, condition.type == "Failed")
    return None


def will_make_pods(job: Job) -> bool:
    """Whether the Job may create another pod: it is neither over nor being deleted."""
    return ending(job) is None and not job.metadata.deleting


def describe(job: Job) -> str:
    """Say in words why an unfinished Job holds."""
    return "suspended" if job.spec.suspend else "not finished"


def wants_pods(workload: Workload) -> bool:
    """Whether a built-in workload that is not a Job wants pods.

    A DaemonSet wants as many as its controller last counted, and nobody knows how many
    before that has seen the present spec.
    """
    if workload.metadata.deleting:
        return False
    if workload.status.desired_number_scheduled is not None:
        seen = workload.status.observed_generation >= workload.metadata.generation
        return workload.status.desired_number_scheduled > 0 or not seen
    return workload.spec.replicas != 0


def as_owner(workload: Workload) -> Owner:
    """Return the verdict on a built-in workload; it ends when that is noticed."""
    over = None if wants_pods(workload) else Ending(None, failed=None)
    name = f"{workload.kind}/{workload.metadata.name}"
    return Owner(name, over, "wants pods", watched=True)


def controllers(references: Iterable[OwnerReference]) -> Iterator[OwnerSeen]:
    """Yield who manages the object that has these references: one at most."""
    for reference in references:
        if reference.controller:
            yield OwnerSeen(reference.api_version, reference.kind, reference.name, reference.uid)


def unknown_controllers(references: Iterable[OwnerReference]) -> Iterator[OwnerSeen]:
    """Yield the controllers that only their own status can declare over."""
    return (owner for owner in controllers(references) if not built_in(owner))


def watched(holder: str) -> bool:
    """Whether informers tell of the end of who holds, by its name in status.

    Kind/* stands there for a kind that could not be read.
    """
    kind, _, name = holder.partition("/")
    return kind in _WATCHED and name != "*"


def built_in(owner: OwnerSeen) -> bool:
    """Whether it is of one of Kubernetes' own kinds, and not only of that name."""
    return owner.kind in BUILT_IN and owner.api_version in _BUILT_IN_GROUPS


def judged(seen: OwnerSeen, found: Unstructured | None) -> Owner:
    """Return the verdict on an owner of any kind; ``found`` None: it is gone.

    Over is what is gone, being deleted, or says so: a condition Complete, Completed,
    Succeeded, Finished or Failed that is True (or a Succeeded that is False, Tekton's way
    to say failed), or a final word in one of the usual state fields.  Anything else
    holds: a kind that never says that it is over holds until it is deleted.
    """
    name = f"{seen.kind}/{seen.name}"
    if found is None or found.metadata.uid != seen.uid or found.metadata.deleting:
        return Owner(name, Ending(None, failed=None))
    told, state = _by_conditions(found.status), _by_state(found.status)
    if told is not None and state is not None:
        # Argo's Completed is True for a failed Workflow, too, and has no time.
        return Owner(name, Ending(state.time or told.time, told.failed or state.failed))
    return Owner(name, told or state)


def _by_conditions(status: dict[str, Any]) -> Ending | None:
    conditions = status.get("conditions")
    for condition in conditions if isinstance(conditions, list) else ():
        if not isinstance(condition, dict):
            continue
        kind, value = str(condition.get("type")).lower(), condition.get("status")
        time = _time(condition.get("lastTransitionTime"))
        if value == "True" and kind in _OVER | _FAILED:
            return Ending(time, kind in _FAILED)
        if value == "False" and kind == "succeeded":
            return Ending(time, failed=True)
    return None


def _by_state(status: dict[str, Any]) -> Ending | None:
    for path in _STATE_FIELDS:
        value: Any = status
        for part in path:
            value = value.get(part) if isinstance(value, dict) else None
        if isinstance(value, dict):
            value = value.get("phase")
        word = value.lower() if isinstance(value, str) else ""
        if word in _OVER | _FAILED:
            times = map(_time, map(status.get, _TIME_FIELDS))
            failed = {word, str(status.get("jobStatus")).lower()} & _FAILED
            return Ending(next(filter(None, times), None), bool(failed))
    return None


def _time(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        return None
    return time if time.tzinfo is not None else None
