"""Who uses or holds a volume, since when, and when the last one was through."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from evc.model.core import (
    FAILED,
    ContainerStatus,
    Job,
    LabelSelector,
    LabelSelectorRequirement,
    Pod,
)
from evc.model.evc import EphemeralVolumeClaim
from evc.policy.observed import Observed
from evc.policy.owners import describe, ending, will_make_pods

NAMES_SHOWN = 5


def matches(selector: LabelSelector, labels: dict[str, str]) -> bool:
    """Whether the labels satisfy the selector; an empty selector matches *nothing* here.

    Kubernetes lets an empty selector match everything; for a controller that deletes
    volumes the harmless reading is the other one.
    """
    if not selector.match_labels and not selector.match_expressions:
        return False
    return all(labels.get(key) == value for key, value in selector.match_labels.items()) and all(
        _satisfied(requirement, labels) for requirement in selector.match_expressions
    )


def _satisfied(requirement: LabelSelectorRequirement, labels: dict[str, str]) -> bool:
    present = requirement.key in labels
    match requirement.operator:
        case "Exists":
            return present
        case "DoesNotExist":
            return not present
        case "In":
            return present and labels[requirement.key] in requirement.values
        case "NotIn":
            return not present or labels[requirement.key] not in requirement.values


@dataclass(frozen=True)
class Hold:
    """Something because of which the volume must stay."""

    name: str
    """Kind/name."""
    why: str


@dataclass(frozen=True)
class Usage:
    """What the observation says about use."""

    holds: tuple[Hold, ...]
    strangers: tuple[str, ...]
    """Pods that reference the claim without being designated: they hold, never use."""
    first_used: datetime | None
    finished: datetime | None
    """When the last designated work ended; None while something holds, or never used."""
    failed: bool
    evidence: tuple[str, ...]
    """Who was seen finished and when, for the event that explains a deletion."""


@dataclass(frozen=True)
class _End:
    name: str
    time: datetime | None
    failed: bool


def usage(observed: Observed, evc: EphemeralVolumeClaim, now: datetime) -> Usage:
    """Return who uses and holds the volume.

    ``now`` stands in for the end of work that vanished without a trace (a bare pod
    deleted while nobody watched): the grace period then starts when that was noticed.
    """
    holds = tuple(_holds(observed))
    ends = tuple(_ends(observed, evc))
    first_used = _first_used(observed, evc)
    finished, failed = None, False
    if first_used is not None and not holds:
        finished, failed = _finish(ends, evc, now)
    return Usage(
        holds=holds,
        strangers=tuple(
            f"Pod/{pod.metadata.name}"
            for pod in observed.pods
            if not pod.terminal and not designated(pod, evc)
        ),
        first_used=first_used,
        finished=finished,
        failed=failed,
        evidence=tuple(
            f"{end.name} {'failed' if end.failed else 'finished'}"
            + (f" at {stamp(end.time)}" if end.time else "")
            for end in ends
        ),
    )


def designated(pod: Pod, evc: EphemeralVolumeClaim) -> bool:
    """Whether the selector names this pod."""
    return matches(evc.spec.pod_selector, pod.metadata.labels)


def stamp(time: datetime) -> str:
    """Write a time as the API does."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def _holds(observed: Observed) -> Iterator[Hold]:
    """Yield what holds: unfinished Jobs, and pods no unfinished Job speaks for.

    Unscheduled pods hold, too: pvc-protection does not count them, so a volume
    deleted under a Pending pod would be gone when it starts (druid-operator#305).
    """
    unfinished = {job.metadata.uid: job for job in observed.jobs if will_make_pods(job)}
    for job in unfinished.values():
        yield Hold(f"Job/{job.metadata.name}", describe(job))
    for pod in observed.pods:
        if not pod.terminal and _controller(pod) not in unfinished:
            why = "being deleted" if pod.metadata.deleting else "not finished"
            yield Hold(f"Pod/{pod.metadata.name}", why)


def _controller(pod: Pod) -> str:
    return next((o.uid for o in pod.metadata.owner_references if o.controller), "")


def _ends(observed: Observed, evc: EphemeralVolumeClaim) -> Iterator[_End]:
    """Yield the ends of work, but not those from before this object existed.

    A re-created EphemeralVolumeClaim meets the completed pods and Jobs of its
    namesake; they say nothing about the new volume.
    """
    finished_jobs = set()
    for job in observed.jobs:
        end = ending(job)
        if end is not None and not _before(end.time, evc):
            finished_jobs.add(job.metadata.uid)
            yield _End(f"Job/{job.metadata.name}", end.time, end.failed)
    for pod in observed.pods:
        if pod.terminal and not _before(last_finish(pod), evc):
            # The Job's word about success counts, not that of a pod it retried.
            failed = pod.status.phase == FAILED and _controller(pod) not in finished_jobs
            yield _End(f"Pod/{pod.metadata.name}", last_finish(pod), failed)


def _before(time: datetime | None, evc: EphemeralVolumeClaim) -> bool:
    created = evc.metadata.creation_timestamp
    return time is not None and created is not None and time < created


def last_finish(pod: Pod) -> datetime | None:
    """Return when the pod's last container ended; None if none says so."""
    times = (
        state.terminated.finished_at
        for status in _containers(pod)
        for state in (status.state, status.last_state)
        if state.terminated is not None
    )
    return max((time for time in times if time is not None), default=None)


def containers_ended(pod: Pod) -> bool:
    """Whether every container that has a status is terminated and none runs."""
    return pod.terminal and all(status.state.running is None for status in _containers(pod))


def _containers(pod: Pod) -> tuple[ContainerStatus, ...]:
    return (*pod.status.init_container_statuses, *pod.status.container_statuses)


def _first_used(observed: Observed, evc: EphemeralVolumeClaim) -> datetime | None:
    """Return the first start of a container that could write to the volume."""
    times = [evc.status.first_used_time]
    for pod in observed.pods:
        if designated(pod, evc) and evc.claim_name in pod.claim_names:
            started = _first_start(pod)
            if not (pod.terminal and _before(last_finish(pod), evc)):
                times.append(started)
    times.extend(_job_start(job, evc) for job in observed.jobs)
    return min((time for time in times if time is not None), default=None)


def _first_start(pod: Pod) -> datetime | None:
    times = []
    for status in _containers(pod):
        for state in (status.state, status.last_state):
            ran = state.running or state.terminated
            times.append(ran.started_at if ran is not None else None)
    return min((time for time in times if time is not None), default=None)


def _job_start(job: Job, evc: EphemeralVolumeClaim) -> datetime | None:
    """Return when a Job started whose pods ran, also if none of them is left to see."""
    template = Pod(job.metadata, job.spec.template.spec)
    ran = job.status.succeeded or job.status.failed
    mine = matches(evc.spec.pod_selector, job.spec.template.metadata.labels)
    end = ending(job)
    if not (ran and mine and evc.claim_name in template.claim_names):
        return None
    return None if end is not None and _before(end.time, evc) else job.status.start_time


def _finish(
    ends: tuple[_End, ...], evc: EphemeralVolumeClaim, now: datetime
) -> tuple[datetime, bool]:
    """Return when the last work ended and whether it failed.

    What the API says counts, if it accounts for all that was last seen to hold;
    something that held and vanished unseen ended when that is noticed, and nothing
    proves that it succeeded.
    """
    held = evc.status.held_by
    names = {end.name for end in ends}
    vanished = held is not None and (held.count > NAMES_SHOWN or not names >= set(held.names))
    timed = [(end.time, end.failed) for end in ends if end.time is not None]
    if evc.status.finished_time is not None:
        timed.append((evc.status.finished_time, evc.status.outcome == "Failed"))
    if vanished or not timed:
        return now, vanished
    return max(timed)
