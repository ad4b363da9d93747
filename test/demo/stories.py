"""The three claims, and what each is expected to go through."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from .claim import Claim, finished_at
from .story import Step, Story
from .watch import Snapshot, moment

JOB = "indexed-job"
WRITER, READER = "handover-writer", "handover-reader"
PINNED = (
    "A completed pod pins its PVC as Terminating for as long as the pod object exists "
    "(kubernetes#120756). The operator waits ten seconds from the last container's end, makes "
    "sure that nothing has the volume mounted, and takes the pin off."
)

HOLDING = "While the Job has work left, nothing is deleted; also not between two pods."
APPLIED = "The demo applies config/samples/handover_second_pod.yaml."
CANCELLED = "New designated work before the deletion is sent takes it back."


def all_stories(audit_log: Path, apply_reader: Callable[[], object]) -> list[Story]:
    """Every story; `apply_reader` is called when it is time for the handover's second pod."""
    return [
        used_by_a_job(audit_log),
        Handover(audit_log, apply_reader).story(),
        never_used(audit_log),
    ]


def used_by_a_job(audit_log: Path) -> Story:
    """A Job uses the volume; it goes after the Job, under the eyes of the completed pods."""
    claim = Claim("job-scratch", f"batch.kubernetes.io/job-name={JOB}", audit_log)
    ended: list[datetime] = []

    def running(seen: Snapshot) -> str | None:
        names = [pod["metadata"]["name"] for pod in claim.pods(seen, "Running")]
        return f"{names[0]} running on the volume" if names else None

    def complete(seen: Snapshot) -> str | None:
        status = seen.jobs[JOB].get("status", {}) if JOB in seen.jobs else {}
        if "completionTime" not in status:
            return None
        ended.append(moment(status["completionTime"]))
        return f"Job complete: {status['succeeded']} pods succeeded"

    return Story(
        claim.name,
        "used by a Job of five pods",
        (
            *_beginning(claim),
            _step("Job's pod running", claim.kept(running), "It found the PVC by the EVC's name."),
            _step("in use", claim.kept(claim.in_use), HOLDING),
            _step("Job complete", claim.kept(complete)),
            _step(
                "countdown",
                claim.kept(claim.counting_down),
                "gracePeriodSeconds after the Job's end, and not before minimumWaitSeconds.",
            ),
            _step("PVC Terminating", claim.terminating, PINNED),
            *_ending(claim, pods=5),
        ),
        lambda: (
            claim.judged(claim.due_after(ended[0]), "the Job's end + 5 s")
            + "; the PVC went while the Job's 5 completed pods were still there"
        ),
    )


class Handover:
    """Two pods share the volume, the second comes during the first one's countdown."""

    def __init__(self, audit_log: Path, apply_reader: Callable[[], object]) -> None:
        self._claim = Claim("handover", "example.com/pipeline=handover", audit_log)
        self._apply_reader = apply_reader
        self._first_deadline: datetime | None = None
        self._ended: datetime | None = None

    def story(self) -> Story:
        """What is expected."""
        claim, kept = self._claim, self._claim.kept
        return Story(
            claim.name,
            "shared by two pods, one after the other",
            (
                *_beginning(claim),
                _step("1st pod running", kept(_phase(WRITER, "Running", "running"))),
                _step("1st pod completed", kept(_phase(WRITER, "Succeeded", "completed"))),
                (Step("countdown", kept(claim.counting_down), show=True),),
                _step("2nd pod applied", kept(self._second_comes), APPLIED),
                _step("countdown cancelled", kept(self._cancelled), CANCELLED),
                _step("1st deadline passed", kept(self._survived)),
                _step("2nd pod completed", kept(self._second_completed)),
                _step("2nd countdown", kept(claim.counting_down)),
                _step("PVC Terminating", claim.terminating, "Pinned by the two completed pods."),
                *_ending(claim, pods=2),
            ),
            self._verdict,
        )

    def _second_comes(self, seen: Snapshot) -> str | None:
        assert self._claim.deadline is not None  # the step before has seen it
        left = (self._claim.deadline - seen.time).total_seconds()
        if left > 2.5:
            return None
        self._first_deadline = self._claim.deadline
        self._apply_reader()
        return f"second pod applied, {left:.1f} s before the volume would be deleted"

    def _cancelled(self, seen: Snapshot) -> str | None:
        text = self._claim.in_use(seen)
        return f"countdown cancelled: {text}" if text and READER in text else None

    def _survived(self, seen: Snapshot) -> str | None:
        deadline = self._first_deadline
        assert deadline is not None  # it was noted when the second pod came
        if seen.time <= deadline or not _in_phase(seen, READER, "Running"):
            return None
        return f"{deadline:%H:%M:%S} is over: same PVC, and {READER} runs on it"

    def _second_completed(self, seen: Snapshot) -> str | None:
        if not _in_phase(seen, READER, "Succeeded"):
            return None
        self._ended = finished_at(seen.pods[READER])
        return f"{READER} completed"

    def _verdict(self) -> str:
        assert self._ended is not None  # the verdict comes after all steps
        judged = self._claim.judged(
            self._claim.due_after(self._ended), "the second pod's end + 5 s"
        )
        return f"{judged}; the first pod's countdown was cancelled"


def never_used(audit_log: Path) -> Story:
    """No pod ever comes; the volume goes at expirySeconds."""
    claim = Claim("never-used", "example.com/pipeline=nobody-has-this-label", audit_log)

    def waiting(seen: Snapshot) -> str | None:
        if claim.reason(seen) != "Waiting":
            return None
        due = claim.after_creation("expirySeconds")
        left = (due - seen.time).total_seconds()
        return (
            f"STATUS Waiting; no pod has used it yet; it expires at {due:%H:%M:%S}, in {left:.1f} s"
        )

    return Story(
        claim.name,
        "no pod ever comes",
        (
            *_beginning(claim),
            _step(
                "waiting",
                claim.kept(waiting),
                "expirySeconds after its creation, a claim that nobody came for is over.",
            ),
            _step("PVC deleted", claim.expired, "Nothing pins it, so it goes at once."),
            *_farewell(claim),
        ),
        lambda: claim.judged(claim.after_creation("expirySeconds"), "creation + 10 s"),
    )


def _step(
    name: str, sight: Callable[[Snapshot], str | None], meaning: str = ""
) -> tuple[Step, ...]:
    return (Step(name, sight, meaning),)


def _beginning(claim: Claim) -> tuple[tuple[Step, ...], ...]:
    return (_step("EVC applied", claim.applied), _step("PVC bound", claim.bound))


def _ending(claim: Claim, pods: int) -> tuple[tuple[Step, ...], ...]:
    return (_step("PVC deleted", claim.outlived_by(pods)), *_farewell(claim))


def _farewell(claim: Claim) -> tuple[tuple[Step, ...], ...]:
    """The volume and the object go at about the same time, in any order."""
    return ((Step("PV gone", claim.volume_gone), Step("EVC gone", claim.record_gone)),)


def _in_phase(seen: Snapshot, pod: str, phase: str) -> bool:
    return pod in seen.pods and seen.pods[pod]["status"].get("phase") == phase


def _phase(pod: str, phase: str, word: str) -> Callable[[Snapshot], str | None]:
    return lambda seen: f"{pod} {word}" if _in_phase(seen, pod, phase) else None
