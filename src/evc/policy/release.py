"""Gate 5: letting go of a deleted claim that only completed pods still pin.

Kubernetes keeps a deleted PersistentVolumeClaim Terminating as long as a pod object
references it, also a completed one (kubernetes#120756).  A terminal phase is not an
unmount (kubernetes#65552, PR 123320), so kubernetes.io/pvc-protection is removed only
when nothing can have the volume mounted any more.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from evc.model.core import PVC_PROTECTION, PersistentVolumeClaim, Pod
from evc.model.evc import EphemeralVolumeClaim
from evc.policy.blocked import MOUNTED, NOT_READABLE
from evc.policy.deadline import SETTLE, seconds_until
from evc.policy.observed import Observed
from evc.policy.plan import Action, DeletePod, ReleaseClaim
from evc.policy.template import held_by_annotation
from evc.policy.usage import containers_ended, designated, last_finish

RECHECK_SECONDS = 5.0
"""How often to look again at attachments, which are not watched."""


@dataclass(frozen=True)
class Step:
    """What to do about a Terminating claim now, and what it waits for, in words."""

    message: str
    actions: tuple[Action, ...] = ()
    pinned_by: tuple[str, ...] = ()
    """Who keeps it, if that will not change by itself in a moment."""
    requeue_after: float | None = None


def release(
    observed: Observed, claim: PersistentVolumeClaim, completed_pods: str, now: datetime
) -> Step:
    """Return the next step for a claim that has a deletionTimestamp."""
    if held_by_annotation(claim) or (observed.evc is not None and observed.evc.spec.hold):
        return Step("deleted, but kept by hold as long as pods pin it", pinned_by=("hold",))
    if PVC_PROTECTION not in claim.metadata.finalizers:
        others = claim.metadata.finalizers
        names = tuple(f"finalizer/{name}" for name in others)
        return Step(f"waiting for others' finalizers: {', '.join(others)}", pinned_by=names)
    # A pod that is not scheduled by now never will be (the scheduler refuses a Terminating
    # claim), and Kubernetes' own protection does not wait for it either.
    pods = [
        pod
        for pod in observed.pods
        if claim.metadata.name in pod.claim_names and (pod.spec.node_name or pod.terminal)
    ]
    names = tuple(f"Pod/{pod.metadata.name}" for pod in pods)
    running = [f"Pod/{pod.metadata.name}" for pod in pods if not containers_ended(pod)]
    if running:
        return Step(f"waiting for {_some(running)} to end", pinned_by=tuple(running))
    if not pods:
        return Step("waiting for Kubernetes' own PVC protection to let go")
    if completed_pods == "Delete" and observed.evc is not None:
        return _delete_pods(pods, observed.evc)
    if completed_pods != "Release":
        # Without the object nobody knows which pods were designated, so none is deleted.
        return Step(
            f"kept by completed pods ({_some(names)}) and completedPods is"
            f" {completed_pods}: delete them",
            pinned_by=names,
        )
    return _unprotect(observed, claim, pods, names, now)


def _delete_pods(pods: list[Pod], evc: EphemeralVolumeClaim) -> Step:
    doomed = [pod for pod in pods if designated(pod, evc)]
    guests = tuple(f"Pod/{pod.metadata.name}" for pod in pods if pod not in doomed)
    actions = tuple(DeletePod(pod) for pod in doomed if not pod.metadata.deleting)
    if actions or not guests:
        names = [f"Pod/{pod.metadata.name}" for pod in doomed]
        return Step(f"deleting completed pods: {_some(names)}", actions)
    return Step(f"kept by completed pods that are not designated: {_some(guests)}", (), guests)


def _unprotect(
    observed: Observed,
    claim: PersistentVolumeClaim,
    pods: list[Pod],
    names: tuple[str, ...],
    now: datetime,
) -> Step:
    settled = _last_end(observed, pods, claim) + SETTLE
    if settled > now:
        return Step(
            "the last container ended a moment ago: leaving time to unmount",
            requeue_after=seconds_until(settled, now),
        )
    if observed.live and observed.mounted_by is None:
        return Step(
            f"attachments, nodes or volumes {NOT_READABLE}, so completed pods are not released:"
            f" delete {_some(names)} or grant the release rights",
            pinned_by=names,
            requeue_after=60.0,
        )
    if observed.live and observed.mounted_by:
        return Step(
            f"{MOUNTED}: {_some(observed.mounted_by)}",
            pinned_by=names,
            requeue_after=RECHECK_SECONDS,
        )
    return Step(f"released from completed pods: {_some(names)}", (ReleaseClaim(claim),))


def _last_end(observed: Observed, pods: list[Pod], claim: PersistentVolumeClaim) -> datetime:
    """Return the latest moment at which a container may have run with the volume.

    The pod that ended last may be gone already (a Job's ttl) and its volume still be
    unmounting: nobody knows of its end but what was sent or written down after it: our
    DELETE, ``finishedTime`` and the claim's Unused condition.
    """
    times = [last_finish(pod) for pod in pods]
    times += [claim.metadata.deletion_timestamp, _unused_since(claim)]
    if observed.evc is not None:
        times.append(observed.evc.status.finished_time)
    return max(time for time in times if time is not None)


def _unused_since(claim: PersistentVolumeClaim) -> datetime | None:
    """Return since when Kubernetes itself has seen no pod with the claim (KEP-5541).

    The condition can be stale or absent, and does not know what will be restarted: it may
    delay, and nothing else.
    """
    for condition in claim.status.conditions:
        if condition.type == "Unused" and condition.status == "True":
            return condition.last_transition_time
    return None


def _some(names: list[str] | tuple[str, ...], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
