"""Whether an owner will make more pods: "gone for now" is not "over"."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from evc.model.core import Job


@dataclass(frozen=True)
class Ending:
    """How and when a Job ended for good, in the API server's own words."""

    time: datetime | None
    failed: bool


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
