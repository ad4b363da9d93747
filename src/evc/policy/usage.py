"""Who uses or holds a volume, since when, and when the last one was through."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from evc.model.core import (
    FAILED,
    ContainerStatus,
    Job,
    LabelSelector,
    LabelSelectorRequirement,
    Pod,
    PodTemplate,
)
from evc.model.evc import EphemeralVolumeClaim, OwnerSeen
from evc.policy.observed import Observed
from evc.policy.owners import (
    OWNERS_KEPT,
    describe,
    ending,
    unknown_controllers,
    will_make_pods,
)

NAMES_SHOWN = 5


def matches(selector: LabelSelector, labels: dict[str, str]) -> bool:
    """Whether the labels satisfy the selector; an empty selector matches *nothing* here.

    Kubernetes lets an empty selector match everything; for a controller that deletes
    volumes the harmless reading is the other one.
    """
    if not selector.match_labels and not selector.match_expressions:
        return False
    return selector.match_labels.items() <= labels.items() and all(
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


def designated(pod: Pod, evc: EphemeralVolumeClaim) -> bool:
    """Whether the selector names this pod."""
    return matches(evc.spec.pod_selector, pod.metadata.labels)


def makes_designated(template: PodTemplate, evc: EphemeralVolumeClaim) -> bool:
    """Whether the selector names the pods made from this template."""
    return matches(evc.spec.pod_selector, template.metadata.labels)


def makes_users(template: PodTemplate, claim_name: str, evc: EphemeralVolumeClaim | None) -> bool:
    """Whether pods made from this template would be designated or reference the claim."""
    if claim_name in template.spec.claim_names:
        return True
    return evc is not None and makes_designated(template, evc)


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
    """Who references the claim without being designated, as in ``holds``: they never use it."""
    first_used: datetime | None
    finished: datetime | None
    """When the last designated work ended; None while something holds, or never used."""
    failed: bool
    untraced: bool
    """Whether what was last seen to hold is gone, and nothing here tells of its end."""
    owners: tuple[OwnerSeen, ...]
    """Owners of designated pods that must be asked whether they are over."""
    evidence: tuple[str, ...]
    """Who was seen finished and when, for the event that explains a deletion."""


@dataclass(frozen=True)
class _End:
    name: str
    time: datetime | None
    failed: bool | None
    """None: not known."""
    designated: bool = True


def usage(
    observed: Observed, evc: EphemeralVolumeClaim, now: datetime, *, since: datetime | None
) -> Usage:
    """Return who uses and holds the volume.

    ``now`` stands in for the end of work that vanished without a trace (a bare pod
    deleted while nobody watched): the grace period then starts when that was noticed.
    The claim's Unused condition (KEP-5541) dates nothing: it may be that of a gap between
    two pods, and what vanished may never have referenced the claim.
    A container that started before ``since`` did so with somebody else's volume of that
    name; None: there is no volume of ours, and no start says anything.
    """
    owners = owners_seen(observed, evc)
    holds = tuple(sorted(_holds(observed, owners), key=lambda hold: hold.name))
    ends = tuple(sorted(_ends(observed, evc), key=lambda end: end.name))
    first_used = evc.status.first_used_time
    if first_used is None and since is not None:
        first_used = _first_used(observed, evc, since)
    finished, failed = None, False
    untraced = first_used is not None and not holds and _untraced(ends, evc)
    if first_used is not None and not holds:
        finished, failed = _finish(ends, evc, _whole_second(now), untraced)
    return Usage(
        holds=holds,
        strangers=tuple(sorted(_strangers(observed, evc))),
        first_used=first_used,
        finished=finished,
        failed=failed,
        untraced=untraced,
        # One too many says, durably, that there were more.
        owners=_to_remember(owners, observed)[: OWNERS_KEPT + 1],
        evidence=tuple(_told(end) for end in ends if end.designated),
    )


def _strangers(observed: Observed, evc: EphemeralVolumeClaim) -> set[str]:
    """Return the undesignated holders: a Job, if it is one that holds, speaks for its pods."""
    unfinished = {job.metadata.uid: job for job in observed.jobs if will_make_pods(job)}
    jobs = {
        f"Job/{job.metadata.name}"
        for job in unfinished.values()
        if not makes_designated(job.spec.template, evc)
    }
    return jobs | {
        f"Pod/{pod.metadata.name}"
        for pod in observed.pods
        if not pod.terminal and not designated(pod, evc) and _controller(pod) not in unfinished
    }


def _told(end: _End) -> str:
    how = "failed" if end.failed else "finished"
    return f"{end.name} {how}" + (f" at {stamp(end.time)}" if end.time is not None else "")


def stamp(time: datetime) -> str:
    """Write a time as the API does."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def owners_seen(observed: Observed, evc: EphemeralVolumeClaim) -> tuple[OwnerSeen, ...]:
    """Return the owners of unknown kinds of designated pods and Jobs, old ones first.

    Once seen they are remembered in status: between two steps of a Workflow, or two
    attempts of a JobSet, there is no pod and no Job left that points to them.
    """
    seen = dict.fromkeys(evc.status.owners)
    for pod in observed.pods:
        if designated(pod, evc) and not _of_namesake(pod, evc):
            seen |= dict.fromkeys(unknown_controllers(pod.metadata.owner_references))
    for job in observed.jobs:
        end = ending(job)
        if end is None or not _before(end.time, evc):
            seen |= dict.fromkeys(unknown_controllers(job.metadata.owner_references))
    # Owners of owners, which only a live read finds (a TrainJob makes a JobSet makes Jobs).
    seen |= dict.fromkeys(owner.seen for owner in observed.owners if owner.seen is not None)
    return tuple(seen)


def _to_remember(owners: tuple[OwnerSeen, ...], observed: Observed) -> tuple[OwnerSeen, ...]:
    """Leave out owners that are over and that nothing here points to any more."""
    over = {owner.seen for owner in observed.owners if owner.ending is not None}
    metas = (*(pod.metadata for pod in observed.pods), *(job.metadata for job in observed.jobs))
    present = {owner.uid for meta in metas for owner in meta.owner_references}
    return tuple(seen for seen in owners if seen not in over or seen.uid in present)


def _holds(observed: Observed, owners: tuple[OwnerSeen, ...]) -> Iterator[Hold]:
    """Yield what holds: unfinished owners, and pods no unfinished Job speaks for.

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
    for owner in observed.owners:
        if owner.ending is None:
            yield Hold(owner.name, owner.why)
    if len(owners) > OWNERS_KEPT:
        yield Hold("Owner/*", f"more than {OWNERS_KEPT} owners are too many to remember")


def held_since(observed: Observed) -> datetime | None:
    """Return when the oldest pod or Job was made that holds; None if none does."""
    pods = (pod.metadata for pod in observed.pods if not pod.terminal)
    jobs = (job.metadata for job in observed.jobs if will_make_pods(job))
    times = (meta.creation_timestamp for meta in (*pods, *jobs))
    return min((time for time in times if time is not None), default=None)


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
            mine = makes_designated(job.spec.template, evc)
            yield _End(f"Job/{job.metadata.name}", end.time, end.failed, mine)
    for owner in observed.owners:
        if owner.ending is not None and not _before(owner.ending.time, evc):
            yield _End(owner.name, owner.ending.time, owner.ending.failed)
    for pod in observed.pods:
        if pod.terminal and not _of_namesake(pod, evc):
            # The Job's word about success counts, not that of a pod it retried.
            failed = pod.status.phase == FAILED and _controller(pod) not in finished_jobs
            mine = designated(pod, evc)
            yield _End(f"Pod/{pod.metadata.name}", last_finish(pod), failed, mine)


def _before(time: datetime | None, evc: EphemeralVolumeClaim) -> bool:
    created = evc.metadata.creation_timestamp
    return time is not None and created is not None and time < created


def _of_namesake(pod: Pod, evc: EphemeralVolumeClaim) -> bool:
    """Whether the pod's work was with the volume of an earlier object of this name.

    It ended before this object existed, or began before and so, unless the volume was
    taken over, cannot have been with ours.
    """
    ended = pod.terminal and _before(last_finish(pod), evc)
    return ended or (not evc.adopts and _before(_first_start(pod), evc))


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


def _first_used(observed: Observed, evc: EphemeralVolumeClaim, since: datetime) -> datetime | None:
    """Return the first start of a container that could write to the volume."""
    times = [
        _first_start(pod)
        for pod in observed.pods
        if designated(pod, evc) and evc.claim_name in pod.claim_names and not _of_namesake(pod, evc)
    ]
    times = [time for time in times if time is not None and time >= since]
    times += [_job_start(job, evc, since) for job in observed.jobs]
    return min((time for time in times if time is not None), default=None)


def _first_start(pod: Pod) -> datetime | None:
    states = [state for s in _containers(pod) for state in (s.state, s.last_state)]
    times = [ran.started_at for state in states if (ran := state.running or state.terminated)]
    return min((time for time in times if time is not None), default=None)


def _job_start(job: Job, evc: EphemeralVolumeClaim, since: datetime) -> datetime | None:
    """Return when a Job's pods first ran, also if none of them is left to see.

    The Job may have been created before the volume and have waited for it.
    """
    end, template = ending(job), job.spec.template
    ran = job.status.succeeded or job.status.failed
    mine = makes_designated(template, evc) and evc.claim_name in template.spec.claim_names
    over_before = end is not None and end.time is not None and end.time < since
    if not ran or not mine or over_before or job.status.start_time is None:
        return None
    return max(job.status.start_time, since)


def _finish(
    ends: tuple[_End, ...], evc: EphemeralVolumeClaim, noticed: datetime, untraced: bool
) -> tuple[datetime, bool]:
    """Return when the last designated work ended and whether it failed.

    What the API says counts, if it accounts for all that was last seen to hold.  What
    held and then vanished unseen ended when that is noticed, and nothing proves that it
    succeeded; an owner that says that but not when it ended did so when it is noticed, and if
    it does not even say that, the last end that is known counts.
    """
    work = [end for end in ends if end.designated]
    undated = [end for end in work if end.time is None]
    dated = [(end.time, bool(end.failed)) for end in work if end.time is not None]
    if evc.status.finished_time is not None:
        dated.append((evc.status.finished_time, evc.status.outcome == "Failed"))
    if untraced or not dated or _holders(evc) & {end.name for end in undated}:
        said = [end.failed for end in undated if end.failed is not None]
        failed = any(said) if said or not dated else max(dated)[1]
        return max([noticed, *(time for time, _ in dated)]), untraced or failed
    return max(dated)


def _untraced(ends: tuple[_End, ...], evc: EphemeralVolumeClaim) -> bool:
    """Whether these ends do not account for all that was last seen to hold."""
    held, holders, names = evc.status.held_by, _holders(evc), {end.name for end in ends}
    unseen = held.count - len(held.names) if held is not None else 0
    return not holders <= names or len(holders) + unseen > len(names)


def _holders(evc: EphemeralVolumeClaim) -> set[str]:
    """Return who was last seen to hold, as far as status names them.

    Kind/* says that a kind could not be read at the time: nobody who could vanish.
    """
    held = evc.status.held_by
    shown = held.names if held is not None else ()
    return {name for name in shown if not name.endswith("/*")}


def _whole_second(time: datetime) -> datetime:
    """Round up, as the API keeps whole seconds and a grace period must not be cut short."""
    floor = time.replace(microsecond=0)
    return floor if floor == time else floor + timedelta(seconds=1)
