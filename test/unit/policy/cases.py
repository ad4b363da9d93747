"""The sentences of docs/designs (sections 3 and 4) as worlds and what follows from them.

Each `Case` is one sentence; `test_decide` and `test_kstatus` check every one of them
for what it says and for what must hold always.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from msgspec import structs

from evc.model.core import LabelSelector, Pod
from evc.model.core import LabelSelectorRequirement as Needs
from evc.model.evc import ClaimReference
from evc.policy.decide import decide
from evc.policy.observed import Observed
from evc.policy.plan import (
    Action,
    CreateClaim,
    DeleteClaim,
    DeletePod,
    DeleteRecord,
    PatchClaim,
    ReleaseClaim,
)
from evc.policy.reasons import Reason
from unit.builders import (
    LABELS,
    NAMESPACE,
    EvcBuilder,
    PodBuilder,
    at,
    claim,
    evc,
    job,
    observed,
    pod,
    provided,
    volume,
)

DAY = 86_400.0
ANY: Any = object()
DESTRUCTIVE = (DeleteClaim, DeletePod, ReleaseClaim, DeleteRecord)
UNCHANGED = None
"""The reason of a plan that writes no status."""


@dataclass(frozen=True)
class Case:
    """At ``now`` the plan for ``seen`` gives this reason and asks for these actions."""

    sentence: str
    seen: Observed
    now: float
    reason: Reason | None
    does: tuple[type[Action], ...] = ()
    tells: Any = ANY
    """Reasons of the events."""
    again: Any = ANY
    """Seconds to the next look."""
    status: dict[str, Any] = field(default_factory=dict)
    """Fields of the new status."""
    confirms: Any = ANY
    """Whether it is decided again from a live read before anything is written."""
    says: str = ""
    """Words in Ready's message."""


def params(cases: Iterable[Case]) -> list[Any]:
    return [pytest.param(case, id=case.sentence) for case in cases]


asked = ClaimReference("scratch", request_id="10")
seen_claim = ClaimReference(
    "scratch", "claim-1", volume_name="pv-1", capacity="500Gi", storage_class_name="fast"
)
used = provided().used(at=2)
done = used.ready(Reason.DRAINING).finished(at=100)
decided = used.finished(at=100).releasing()
leaving = volume().terminating(at=131)
taken = volume().terminating(at=105)
"""Deleted by somebody else in the grace period of a work that ended at 100."""
worker = pod().worker()
finished_worker = worker.succeeded(at=100)
kept = volume(provided().spec(when_deleted="Retain")).by_us()
"""A claim of an object that was made with whenDeleted: Retain."""

first_look = decide(observed(evc()), at(0)).status
assert first_look is not None
asked_for = EvcBuilder(structs.replace(evc().value, status=first_look))
"""Its claim was asked for, and is not in sight."""

PROVIDING = (
    Case(
        "A new object asks for its claim, after having said so in status",
        observed(evc()),
        0,
        Reason.PROVISIONING,
        (CreateClaim,),
        status={"claim": asked},
    ),
    Case(
        "A claim that is asked for and never comes, as in a dry run, expires all the same",
        observed(evc()),
        10,
        Reason.PROVISIONING,
        (CreateClaim,),
        again=DAY - 10.0,
    ),
    Case(
        "An intent that was written before is carried out as it was written",
        observed(evc().claiming(uid=None, request="7")),
        1,
        Reason.PROVISIONING,
        (CreateClaim,),
        status={"claim": ClaimReference("scratch", request_id="7")},
    ),
    Case(
        "The claim that appears after the intent was written is ours",
        observed(evc().claiming(uid=None), volume()),
        2,
        Reason.WAITING,
        tells=(),
        status={"claim": seen_claim},
    ),
    Case(
        "A claim that was asked for and is refused and there after all is ours",
        observed(evc().claiming(uid=None).ready(Reason.PROVISIONING_FAILED, ready=False), volume()),
        2,
        Reason.WAITING,
        status={"claim": seen_claim},
    ),
    Case(
        "A pod that waits for the claim does not stop it from being made",
        observed(evc(), worker),
        1,
        Reason.PROVISIONING,
        (CreateClaim,),
    ),
    Case(
        "While the API server refuses the claim, its words stay in status",
        observed(evc().ready(Reason.PROVISIONING_FAILED, ready=False)),
        5,
        Reason.PROVISIONING_FAILED,
        (CreateClaim,),
        tells=(),
    ),
    Case(
        "A claim that could not be made until M is not made any more",
        observed(evc().spec(ttl_seconds_after_finished=60)),
        DAY,
        Reason.EXPIRED,
        status={"outcome": "Expired"},
    ),
    Case(
        "A claim that vanished unused is made again, with a Warning",
        observed(provided().ready(Reason.WAITING)),
        50,
        Reason.PROVISIONING,
        (CreateClaim,),
        tells=("ClaimVanished",),
        status={"claim": asked},
    ),
    Case(
        "A claim that vanished unused after M is not made again only to be deleted",
        observed(provided().ready(Reason.WAITING).spec(ttl_seconds_after_finished=60)),
        DAY,
        Reason.EXPIRED,
    ),
    Case(
        "A claim that vanished after use is lost and never made again",
        observed(used.ready(Reason.IN_USE)),
        50,
        Reason.LOST,
        tells=("Lost",),
    ),
    Case(
        "It is never made again under pods that still wait for it either",
        observed(used.ready(Reason.IN_USE), worker),
        50,
        Reason.LOST,
    ),
    Case(
        "Use that was never written down but can still be seen makes a vanished claim lost, too",
        observed(provided().ready(Reason.WAITING), finished_worker),
        110,
        Reason.LOST,
        status={"first_used_time": at(2)},
    ),
)

OWNERSHIP = (
    Case(
        "A foreign claim of our name is a conflict and stays untouched",
        observed(evc(), claim().bound()),
        1,
        Reason.CONFLICT,
        tells=("Conflict",),
        again=None,
        status={"claim": None, "deletion_time": None},
    ),
    Case(
        "A foreign claim stays untouched after M, too",
        observed(evc(), claim().bound()),
        2 * DAY,
        Reason.CONFLICT,
    ),
    Case(
        "When the foreign claim goes, ours is made",
        observed(evc().ready(Reason.CONFLICT, ready=False)),
        100,
        Reason.PROVISIONING,
        (CreateClaim,),
    ),
    Case(
        "A foreign claim that took the place of our vanished one is a conflict",
        observed(provided(), claim(uid="other").bound()),
        50,
        Reason.CONFLICT,
        status={"claim": ClaimReference("scratch", "claim-1")},
    ),
    Case(
        "The intent does not adopt a claim without our mark",
        observed(evc().claiming(uid=None), claim()),
        2,
        Reason.CONFLICT,
        status={"claim": None},
    ),
    Case(
        "The intent does not adopt a claim that is older than the object",
        observed(evc().claiming(uid=None), volume().created(at=-1)),
        2,
        Reason.CONFLICT,
    ),
    Case(
        "The intent does not adopt a claim of another request, and is void",
        observed(evc().claiming(uid=None), volume().annotated(request_id="9")),
        2,
        Reason.CONFLICT,
        status={"claim": None},
    ),
    Case(
        "Once its uid is known, the request says nothing any more",
        observed(provided(), volume().annotated(request_id="9")),
        2,
        Reason.WAITING,
    ),
    Case(
        "A claim marked for a namesake with another UID is a conflict",
        observed(evc(), claim().marked_for(evc(uid="evc-0"))),
        2,
        Reason.CONFLICT,
    ),
    Case(
        "Our claim whose mark somebody removed is not ours any more",
        observed(used, claim().bound()),
        2 * DAY,
        Reason.CONFLICT,
    ),
    *(
        Case(
            f"Our {what} whose mark somebody removed is {verdict}",
            observed(owner, thing),
            5_000,
            reason,
            confirms=confirms,
            tells=() if reason is UNCHANGED else ("Conflict",),
        )
        for what, verdict, owner, thing, reason, confirms in (
            (
                "claim on its way out as we decided",
                "waited for",
                decided,
                claim().bound().terminating(at=131),
                UNCHANGED,
                False,
            ),
            (
                "claim on its way out that we did not decide on",
                "a conflict",
                done,
                claim().bound().terminating(at=131),
                Reason.CONFLICT,
                False,
            ),
            (
                "claim that we decided to delete and that does not go",
                "a conflict",
                decided,
                claim().bound(),
                Reason.CONFLICT,
                True,
            ),
        )
    ),
    Case(
        "A stranger's claim on its way out in the place of ours is not waited for",
        observed(
            decided.spec(ttl_seconds_after_finished=60),
            claim(uid="other").bound().terminating(at=131),
        ),
        5_000,
        Reason.DELETED,
    ),
    Case(
        "Pods that use a foreign claim in the place of ours did not use ours",
        observed(provided(), claim(uid="other").bound(), worker.running(since=7)),
        50,
        Reason.CONFLICT,
        status={"first_used_time": None},
    ),
    Case(
        "Pods that use a foreign claim did not use ours",
        observed(evc(), claim().bound(), worker.running(since=2)),
        5,
        Reason.CONFLICT,
        status={"first_used_time": None},
    ),
    Case(
        "A re-created object waits while its namesake's claim goes",
        observed(evc(), claim().marked_for(evc(uid="evc-0")).terminating()),
        2,
        Reason.CONFLICT,
    ),
    Case(
        "and lets go of that claim as the mark records",
        observed(
            evc(),
            claim().marked_for(evc(uid="evc-0")).terminating(at=-15),
            worker.succeeded(at=-20, since=-60),
            live=True,
            mounted_by=(),
        ),
        2,
        Reason.CONFLICT,
        (ReleaseClaim,),
    ),
    Case(
        "A re-created object ignores its namesake's completed pods and Jobs",
        observed(
            provided(),
            volume(),
            worker.succeeded(at=-20, since=-60),
            job(started=-60).complete(at=-19),
        ),
        70,
        Reason.WAITING,
        status={"first_used_time": None, "finished_time": None, "deletion_time": at(DAY)},
    ),
    Case(
        "A re-created object does not take its namesake's still running pod for use of its own",
        observed(evc(), claim().marked_for(evc(uid="evc-0")).terminating(), worker.running(-60)),
        2,
        Reason.CONFLICT,
        status={"first_used_time": None},
    ),
    Case(
        "nor that pod's end, although it came after the object",
        observed(provided(), volume(), worker.succeeded(at=5, since=-60)),
        70,
        Reason.WAITING,
    ),
)

later_volume = volume().created(at=50)

START_OF_USE = (
    Case(
        "A start before our claim was made is no use of it",
        observed(provided(), later_volume, worker.running(since=20)),
        60,
        Reason.WAITING,
        status={"first_used_time": None},
    ),
    Case(
        "one in its first second is",
        observed(provided(), later_volume, worker.running(since=50)),
        60,
        Reason.IN_USE,
        status={"first_used_time": at(50)},
    ),
    Case(
        "A Job that was over before our claim was made is no use of it",
        observed(provided(), later_volume, job(started=9).complete(at=40)),
        60,
        Reason.WAITING,
        status={"first_used_time": None},
    ),
    Case(
        "One that had waited for the claim used it from its beginning",
        observed(provided(), later_volume, job(started=9).complete(at=55)),
        60,
        Reason.DRAINING,
        status={"first_used_time": at(50), "finished_time": at(55)},
    ),
)

HOLDING = (
    Case(
        "An unscheduled Pending pod holds",
        observed(done, volume(), worker),
        10_000,
        Reason.IN_USE,
        again=None,
        says="Pod/worker",
        status={"deletion_time": None, "finished_time": None},
    ),
    Case(
        "A designated pod that does not reference the claim holds",
        observed(done, volume(), pod().designated().running(since=2)),
        10_000,
        Reason.IN_USE,
    ),
    Case(
        "A pod that references the claim without matching holds but is no use",
        observed(provided(), volume(), pod("guest").using().running(since=2)),
        2 * DAY,
        Reason.WAITING,
        says="Pod/guest",
        status={"first_used_time": None, "deletion_time": None},
    ),
    Case(
        "and a Warning says so",
        observed(used.ready(Reason.IN_USE), volume(), pod("guest").using().running(since=2)),
        50,
        Reason.IN_USE,
        tells=("NotDesignated",),
    ),
    Case(
        "A guest Job is warned of before it has a pod",
        observed(
            used.ready(Reason.IN_USE), volume(), job("guests").making({"app": "x"}, claim="scratch")
        ),
        50,
        Reason.IN_USE,
        says="Job/guests",
        tells=("NotDesignated",),
    ),
    Case(
        "A kind that could not be read is nobody who vanished",
        observed(
            used.ready(Reason.IN_USE).held_by("DaemonSet/*"),
            volume(),
            worker.succeeded(at=60),
            live=True,
        ),
        70,
        Reason.DRAINING,
        status={"finished_time": at(60), "outcome": "Succeeded"},
    ),
    Case(
        "A pod in phase Unknown holds",
        observed(done, volume(), worker.running(since=2).in_phase("Unknown")),
        10_000,
        Reason.IN_USE,
    ),
    Case(
        "A pod that is being deleted holds until it is terminal",
        observed(done, volume(), worker.running(since=2).being_deleted()),
        10_000,
        Reason.IN_USE,
        says="being deleted",
    ),
    Case(
        "A pod uses the claim once a container started",
        observed(provided(), volume(), worker.running(since=7)),
        8,
        Reason.IN_USE,
        tells=(),
        status={"first_used_time": at(7)},
    ),
    Case(
        "An init container counts",
        observed(provided(), volume(), worker.running(since=7, init=True)),
        8,
        Reason.IN_USE,
        status={"first_used_time": at(7)},
    ),
    Case(
        "A pod whose containers wait does not use it yet",
        observed(provided(), volume(), worker),
        8,
        Reason.WAITING,
        status={"first_used_time": None},
    ),
    Case(
        "A pod that matches without referencing the claim is no use",
        observed(provided(), volume(), pod().designated().running(since=7)),
        8,
        Reason.WAITING,
        status={"first_used_time": None},
    ),
    Case(
        "An unfinished Job holds and speaks for its pods",
        observed(used, volume(), job(), worker.of(job()).running(since=2)),
        50,
        Reason.IN_USE,
        says="held by Job/train (not finished)",
    ),
    Case(
        "A suspended Job holds",
        observed(done, volume(), job().suspended()),
        10_000,
        Reason.IN_USE,
        says="suspended",
    ),
    Case(
        "A Job between retries holds",
        observed(done, volume(), job().between_retries(), worker.of(job()).failed(at=100)),
        10_000,
        Reason.IN_USE,
    ),
    Case(
        "A Job between retries whose pod left no trace is evidence of use",
        observed(provided(), volume(), job(started=9).between_retries()),
        20,
        Reason.IN_USE,
        status={"first_used_time": at(9)},
    ),
    *(
        Case(
            f"A Job that announces {kind} is not over yet",
            observed(done, volume(), job().announcing(kind)),
            10_000,
            Reason.IN_USE,
        )
        for kind in ("FailureTarget", "SuccessCriteriaMet", "Suspended")
    ),
    Case(
        "A Job whose Complete condition is False is not over",
        observed(done, volume(), job().announcing("Complete", status="False")),
        10_000,
        Reason.IN_USE,
    ),
    Case(
        "A Job that is being deleted does not hold",
        observed(done, volume(), job().being_deleted()),
        110,
        Reason.DRAINING,
    ),
    Case(
        "but its pods do until they are terminal",
        observed(done, volume(), job().being_deleted(), worker.of(job()).running(since=2)),
        10_000,
        Reason.IN_USE,
        says="Pod/worker",
    ),
    Case(
        "A finished Job's last running pod holds",
        observed(done, volume(), job().complete(at=100), worker.of(job()).running(since=2)),
        10_000,
        Reason.IN_USE,
    ),
    Case(
        "New designated work inside the grace period cancels the countdown",
        observed(done, volume(), pod("next").worker(), finished_worker),
        120,
        Reason.IN_USE,
        again=None,
        status={"deletion_time": None, "finished_time": None, "outcome": None},
    ),
    Case(
        "hold on the object keeps the volume, and says until when it would have been",
        observed(done.on_hold(), volume(), finished_worker),
        10_000,
        Reason.HELD,
        again=None,
        says="spec.hold; without it, it would be deleted at 2026-01-01T00:02:10Z",
        status={"deletion_time": None},
    ),
    *(
        Case(
            f"hold={value!r} on the volume keeps it",
            observed(done, volume().annotated(hold=value), finished_worker),
            10_000,
            Reason.HELD,
            tells=("Held",),
        )
        for value in ("true", "", "yes, until Friday", "False")
    ),
    Case(
        'hold="false" on the volume is no hold',
        observed(done, volume().annotated(hold="false"), finished_worker),
        10_000,
        Reason.RELEASING,
        (DeleteClaim,),
    ),
    Case(
        "hold keeps a volume that was never used",
        observed(provided().on_hold(), volume()),
        2 * DAY,
        Reason.HELD,
    ),
)

DUE = (
    Case(
        "A volume that was never used is kept until created+M",
        observed(provided(), volume()),
        DAY - 1,
        Reason.WAITING,
        again=1.0,
        status={"deletion_time": at(DAY), "outcome": None},
    ),
    Case(
        "and is deleted then",
        observed(provided(), volume()),
        DAY,
        Reason.RELEASING,
        (DeleteClaim,),
        tells=("Expiring",),
        status={"outcome": "Expired"},
    ),
    Case(
        "A pod that failed before any container started is no use",
        observed(provided(), volume(), worker.evicted()),
        DAY - 1,
        Reason.WAITING,
    ),
    Case(
        "A volume is not deleted before created+N, even if its pod finished at once",
        observed(used, volume(), worker.succeeded(at=3)),
        59,
        Reason.DRAINING,
        again=1.0,
        status={"deletion_time": at(60), "finished_time": at(3)},
    ),
    Case(
        "N may be zero",
        observed(used.spec(minimum_wait_seconds=0), volume(), worker.succeeded(at=3)),
        33,
        Reason.RELEASING,
        (DeleteClaim,),
    ),
    Case(
        "The grace period counts from the end of the last pod",
        observed(used, volume(), worker.succeeded(at=100), pod("b").worker().succeeded(at=200)),
        229,
        Reason.DRAINING,
        again=1.0,
        status={"finished_time": at(200), "deletion_time": at(230)},
    ),
    Case(
        "finishedTime is what the container says, not when we looked",
        observed(used, volume(), finished_worker),
        5_000,
        Reason.RELEASING,
        (DeleteClaim,),
        status={"finished_time": at(100), "deletion_time": at(130), "first_used_time": at(2)},
    ),
    Case(
        "finishedTime is the Job's completionTime",
        observed(used, volume(), job().complete(at=101), worker.of(job()).succeeded(at=100)),
        110,
        Reason.DRAINING,
        status={"finished_time": at(101), "outcome": "Succeeded"},
    ),
    Case(
        "A failed Job ended when its condition turned true",
        observed(used, volume(), job().failed(at=102)),
        110,
        Reason.DRAINING,
        status={"finished_time": at(102), "outcome": "Failed"},
    ),
    Case(
        "A Job that came and went while nobody watched is evidence of use and of its end",
        observed(provided(), volume(), job(started=9).complete(at=40)),
        50,
        Reason.DRAINING,
        status={"first_used_time": at(9), "finished_time": at(40)},
    ),
    Case(
        "A Job whose pods never ran is no evidence of use",
        observed(provided(), volume(), job().announcing("Failed")),
        50,
        Reason.WAITING,
    ),
    Case(
        "A pod that its Job retried with success is no failure",
        observed(
            used,
            volume(),
            job().complete(at=100),
            worker.of(job()).failed(at=100),
        ),
        110,
        Reason.DRAINING,
        status={"outcome": "Succeeded"},
    ),
    Case(
        "A bare pod that failed last makes the outcome Failed",
        observed(used, volume(), worker.succeeded(at=90), pod("b").worker().failed(at=100)),
        110,
        Reason.DRAINING,
        status={"outcome": "Failed"},
    ),
    Case(
        "Work that vanished without a trace ended when that was noticed",
        observed(used.held_by("Pod/worker"), volume()),
        5_000,
        Reason.DRAINING,
        again=30.0,
        status={"finished_time": at(5_000), "deletion_time": at(5_030), "held_by": None},
        confirms=True,  # a cache may not know yet what a live read has seen
    ),
    Case(
        "That it vanished is for etcd to say",
        observed(used.held_by("Pod/worker"), volume(), live=True),
        5_000,
        Reason.DRAINING,
        status={"finished_time": at(5_000), "outcome": "Failed"},
        confirms=False,
    ),
    Case(
        "An end that was seen needs no live read before the grace period starts",
        observed(used.held_by("Pod/worker"), volume(), finished_worker),
        110,
        Reason.DRAINING,
        confirms=False,
    ),
    Case(
        "and that is remembered",
        observed(used.finished(at=5_000), volume()),
        5_010,
        Reason.DRAINING,
        again=20.0,
        status={"finished_time": at(5_000)},
    ),
    *(
        Case(
            f"A claim that is unused {text} dates no end",
            observed(used.held_by("Pod/worker"), unused),
            5_000,
            Reason.DRAINING,
            again=30.0,
            status={"finished_time": at(5_000), "outcome": "Failed"},
        )
        for text, unused in (
            ("since a gap between two pods", volume().unused(since=4_900)),
            ("since before it was used", volume().unused(since=1)),
            ("no more", volume().unused(since=4_990, status="False")),
        )
    ),
    Case(
        "nor that of a holder which never referenced it",
        observed(
            used.held_by("Pod/sidecar"),
            volume().unused(since=100),
            finished_worker,
        ),
        5_000,
        Reason.DRAINING,
        again=30.0,
        status={"finished_time": at(5_000), "outcome": "Failed"},
    ),
    Case(
        "What the pod says of its end counts more than when the claim was unused",
        observed(used, volume().unused(since=4_990), finished_worker),
        5_000,
        Reason.RELEASING,
        (DeleteClaim,),
        status={"finished_time": at(100)},
    ),
    Case(
        "A claim that is unused but held by a Job between retries stays",
        observed(used, volume().unused(since=110), job().between_retries()),
        10_000,
        Reason.IN_USE,
    ),
    Case(
        "Work that vanished is not hidden by other work that ended earlier",
        observed(used.held_by("Pod/worker", "Pod/b"), volume(), finished_worker),
        5_000,
        Reason.DRAINING,
        status={"finished_time": at(5_000)},
    ),
    Case(
        "Six pods that all ended in sight did not vanish",
        observed(
            used.held_by(*(f"Pod/w{i}" for i in range(5)), count=6),
            volume(),
            *(pod(f"w{i}").worker().succeeded(at=100) for i in range(6)),
        ),
        110,
        Reason.DRAINING,
        status={"finished_time": at(100), "outcome": "Succeeded"},
    ),
    Case(
        "A guest's end does not move finishedTime",
        observed(used, volume(), finished_worker, pod("guest").using().succeeded(at=500)),
        510,
        Reason.RELEASING,
        (DeleteClaim,),
        status={"finished_time": at(100)},
    ),
    Case(
        "nor does its failure change the outcome",
        observed(used, volume(), finished_worker, pod("guest").using().failed(at=500)),
        5_000,
        Reason.RELEASING,
        (DeleteClaim,),
        status={"outcome": "Succeeded"},
    ),
    Case(
        "N wins over an M that is smaller, should one slip past the schema",
        observed(provided().spec(minimum_wait_seconds=600, expiry_seconds=60), volume()),
        61,
        Reason.INVALID,
    ),
)

DELETING = (
    Case(
        "Deletion is said in status, with the evidence, and then sent",
        observed(done, volume(), finished_worker),
        130,
        Reason.RELEASING,
        (DeleteClaim,),
        tells=("Deleting",),
        again=None,
        says="Pod/worker finished at 2026-01-01T00:01:40Z; due 2026-01-01T00:02:10Z",
        status={"outcome": "Succeeded"},
    ),
    Case(
        "A decided deletion is carried on with after a crash",
        observed(decided, volume(), finished_worker),
        5_000,
        Reason.RELEASING,
        (DeleteClaim,),
    ),
    Case(
        "The DELETE that is sent again after a refusal has its event, too",
        observed(decided, volume(), finished_worker),
        5_000,
        Reason.RELEASING,
        (DeleteClaim,),
        tells=("Deleting",),
    ),
    Case(
        "unless hold was set meanwhile",
        observed(decided.on_hold(), volume(), finished_worker),
        5_000,
        Reason.HELD,
        tells=("Held",),
        confirms=True,
        status={"deletion_time": None},
    ),
    Case(
        "or hold was put on the volume",
        observed(decided, volume().annotated(hold="true"), finished_worker),
        5_000,
        Reason.HELD,
        confirms=True,
    ),
    Case(
        "or a new pod came",
        observed(decided, volume(), finished_worker, pod("next").worker()),
        5_000,
        Reason.IN_USE,
        confirms=True,
        tells=("DeletionCancelled",),
        status={"outcome": None, "deletion_time": None},
    ),
    Case(
        "A deletion for want of use is taken back aloud, too",
        observed(provided().releasing("Expired"), volume(), worker),
        2 * DAY,
        Reason.WAITING,
        tells=("DeletionCancelled",),
        confirms=True,
    ),
    Case(
        "What was not decided yet is taken back without a live read",
        observed(done, volume(), finished_worker, pod("next").worker()),
        5_000,
        Reason.IN_USE,
        tells=("DeletionCancelled",),
        confirms=False,
    ),
    Case(
        "A volume that somebody else deleted is seen out as if we had: first it settles",
        observed(done, taken, finished_worker),
        111,
        UNCHANGED,
        tells=(),
        again=4.0,
    ),
    *(
        Case(
            f"then it is let go of, {when} it is due",
            observed(done, taken, finished_worker, live=True, mounted_by=()),
            now,
            UNCHANGED,
            (ReleaseClaim,),
            tells=("Released",),
            confirms=True,
        )
        for when, now in (("also before", 115), ("and when", 5_000))
    ),
    Case(
        "or its completed pods are deleted",
        observed(done.spec(completed_pods="Delete"), taken, finished_worker, live=True),
        115,
        UNCHANGED,
        (DeletePod,),
    ),
    *(
        Case(
            f"It is let go of only when nothing holds it: {what}",
            observed(done, taken, finished_worker, holder, live=True, mounted_by=()),
            now,
            Reason.IN_USE,
            says=what,
        )
        for now in (115, 5_000)
        for what, holder in (
            ("Pod/next", pod("next").worker().running(since=2)),
            ("Pod/waits", pod("waits").worker()),
            ("Job/train", job().suspended()),
        )
    ),
    Case(
        "and nobody put it on hold",
        observed(done.on_hold(), taken, finished_worker, live=True, mounted_by=()),
        5_000,
        Reason.HELD,
    ),
    Case(
        "If there is nothing to do for it, status goes on telling its own life: it drains",
        observed(done.spec(completed_pods="Wait"), taken, finished_worker),
        129,
        Reason.DRAINING,
        again=1.0,
    ),
    Case(
        "and is Releasing without a DELETE of ours once it is due",
        observed(done, taken),
        130,
        Reason.RELEASING,
        tells=("Deleting",),
        confirms=True,
        says="letting PersistentVolumeClaim scratch go, which somebody else deleted",
    ),
    Case(
        "Deleted by somebody else while a pod ran that is gone: its end is written down first",
        observed(
            used.held_by("Pod/gone").ready(Reason.IN_USE),
            volume().terminating(at=60),
            worker.succeeded(at=50),
            live=True,
            mounted_by=(),
        ),
        111,
        Reason.DRAINING,
        status={"finished_time": at(111)},
    ),
    Case(
        "and from then on it has its time to unmount, though the DELETE is long ago",
        observed(
            used.ready(Reason.DRAINING).finished(at=111),
            volume().terminating(at=60),
            worker.succeeded(at=50),
            live=True,
            mounted_by=(),
        ),
        118,
        UNCHANGED,
        again=3.0,
    ),
    Case(
        "A volume that somebody else deleted before it was used waits like any other",
        observed(provided(), taken),
        115,
        Reason.WAITING,
    ),
    Case(
        "A decided volume seen gone is Deleted, and the record stays for its ttl",
        observed(decided.spec(ttl_seconds_after_finished=60), finished_worker),
        150,
        Reason.DELETED,
        tells=(),
        again=60.0,
        status={"outcome": "Succeeded", "finished_time": at(100), "held_by": None},
    ),
    Case(
        "or goes at once",
        observed(decided, finished_worker),
        150,
        UNCHANGED,
        (DeleteRecord,),
    ),
    Case(
        "A decided volume that is gone is never made again, although a pod waits for it",
        observed(decided.spec(ttl_seconds_after_finished=60), pod("next").worker()),
        150,
        Reason.DELETED,
    ),
    Case(
        "An unused volume seen gone is Expired",
        observed(provided().releasing("Expired").spec(ttl_seconds_after_finished=60)),
        DAY + 5,
        Reason.EXPIRED,
        status={"outcome": "Expired"},
    ),
    Case(
        "A finished object does not act again on new pods or claims",
        observed(
            decided.tombstone(at=150).spec(ttl_seconds_after_finished=60),
            claim(uid="other"),
            worker,
        ),
        209,
        UNCHANGED,
        tells=(),
        again=1.0,
    ),
    Case(
        "and goes after its ttl",
        observed(decided.tombstone(at=150).spec(ttl_seconds_after_finished=60)),
        210,
        UNCHANGED,
        (DeleteRecord,),
    ),
    Case(
        "A record is not deleted while a claim with our mark exists: the collector would take it",
        observed(used.tombstone(at=150), volume(), worker.running(since=2)),
        5_000,
        UNCHANGED,
    ),
    Case(
        "It is, if that claim would stay",
        observed(
            used.spec(when_deleted="Retain").tombstone(at=150),
            volume(provided().spec(when_deleted="Retain")),
        ),
        5_000,
        UNCHANGED,
        (DeleteRecord,),
    ),
    Case(
        "An object that is being deleted is not deleted again",
        observed(decided.tombstone(at=150).being_deleted()),
        5_000,
        UNCHANGED,
    ),
    Case(
        "A lost volume's record finishes when nothing waits for it any more",
        observed(used.ready(Reason.LOST, ready=False)),
        5_000,
        Reason.LOST,
        tells=(),
    ),
)

RELEASING = (
    Case(
        "A running container is waited for",
        observed(decided, leaving, worker.running(since=2), live=True, mounted_by=()),
        200,
        Reason.RELEASING,
        says="waiting for Pod/worker to end",
        status={"deletion_time": None},
    ),
    Case(
        "A running container of a terminal pod is waited for, too",
        observed(
            decided,
            leaving,
            worker.running(since=2).in_phase("Failed"),
            live=True,
            mounted_by=(),
        ),
        5_000,
        Reason.RELEASING,
        says="waiting for Pod/worker to end",
    ),
    # The scheduler refuses a Terminating claim, so a pod without a node can never start on
    # it, and Kubernetes' own protection does not wait for such a pod either.
    Case(
        "An unscheduled pod that references the claim is not waited for",
        observed(decided, leaving, pod("late").worker(), finished_worker, live=True, mounted_by=()),
        5_000,
        UNCHANGED,
        (ReleaseClaim,),
    ),
    Case(
        "and alone leaves it to Kubernetes' own protection",
        observed(decided, leaving, pod("late").worker(), live=True, mounted_by=()),
        5_000,
        UNCHANGED,
        again=None,
    ),
    Case(
        "A pod that has a node is waited for, although nothing started yet",
        observed(
            decided,
            leaving,
            pod("late").worker().scheduled(),
            finished_worker,
            live=True,
            mounted_by=(),
        ),
        5_000,
        Reason.RELEASING,
        says="waiting for Pod/late to end",
    ),
    Case(
        "A guest's running container is waited for",
        observed(decided, leaving, pod("guest").using().running(since=2), live=True, mounted_by=()),
        5_000,
        Reason.RELEASING,
        says="Pod/guest",
    ),
    Case(
        "A settle time passes after the last container ended",
        observed(decided, leaving, worker.succeeded(at=195), live=True, mounted_by=()),
        200,
        UNCHANGED,
        again=5.0,
    ),
    Case(
        "A pod that was terminal without a finishedAt settles from the deletion on",
        observed(
            decided,
            volume().terminating(at=198),
            worker.evicted(),
            live=True,
            mounted_by=(),
        ),
        200,
        UNCHANGED,
        again=8.0,
    ),
    *(
        Case(
            f"The settle time counts from {text}",
            observed(decided, thing, finished_worker, live=True, mounted_by=()),
            200,
            UNCHANGED,
            does,
            again=again,
        )
        for text, thing, does, again in (
            ("the DELETE, if that came last", volume().terminating(at=195), (), 5.0),
            ("when the claim was unused, if that came last", leaving.unused(197), (), 7.0),
            ("nothing that is over", leaving.unused(190), (ReleaseClaim,), None),
            (
                "nothing the claim no more is",
                leaving.unused(197, status="False"),
                (ReleaseClaim,),
                None,
            ),
        )
    ),
    Case(
        "A completed pod is let go of when nothing has the volume mounted",
        observed(decided, leaving, finished_worker, live=True, mounted_by=()),
        200,
        UNCHANGED,
        (ReleaseClaim,),
    ),
    Case(
        "A mounted volume is looked at again",
        observed(
            decided,
            leaving,
            finished_worker,
            live=True,
            mounted_by=("VolumeAttachment/csi-1",),
        ),
        200,
        Reason.RELEASING,
        says="VolumeAttachment/csi-1",
        again=5.0,
    ),
    Case(
        "Mounts that may not be read count as mounted",
        observed(decided, leaving, finished_worker, live=True, mounted_by=None),
        200,
        Reason.RELEASING,
        says="may not be read",
    ),
    Case(
        "completedPods: Wait does nothing and says which pods keep it",
        observed(
            decided.spec(completed_pods="Wait"),
            leaving,
            finished_worker,
            live=True,
            mounted_by=(),
        ),
        5_000,
        Reason.RELEASING,
        again=None,
        says="kept by completed pods (Pod/worker) and completedPods is Wait",
    ),
    Case(
        "completedPods: Delete deletes the completed designated pods",
        observed(decided.spec(completed_pods="Delete"), leaving, finished_worker, live=True),
        200,
        UNCHANGED,
        (DeletePod,),
    ),
    Case(
        "and leaves a guest's alone",
        observed(
            decided.spec(completed_pods="Delete"),
            leaving,
            pod("guest").using().succeeded(at=100),
            live=True,
        ),
        200,
        ANY,
    ),
    Case(
        "but not twice",
        observed(
            decided.spec(completed_pods="Delete"),
            leaving,
            finished_worker.being_deleted(),
            live=True,
        ),
        200,
        UNCHANGED,
    ),
    Case(
        "and not a guest's, of which status tells",
        observed(
            decided.spec(completed_pods="Delete"),
            leaving,
            pod("guest").using().succeeded(at=100),
            live=True,
        ),
        200,
        Reason.RELEASING,
        says="Pod/guest",
    ),
    Case(
        "Foreign finalizers are never taken off",
        observed(
            decided,
            volume().terminating("example.com/backup", at=131),
            finished_worker,
            live=True,
            mounted_by=(),
        ),
        5_000,
        ANY,
    ),
    Case(
        "and status names them",
        observed(
            decided,
            volume().terminating("example.com/backup", at=131),
            finished_worker,
            live=True,
            mounted_by=(),
        ),
        5_000,
        Reason.RELEASING,
        says="example.com/backup",
    ),
    Case(
        "Only our one finalizer is taken off, beside foreign ones",
        observed(
            decided,
            volume().terminating("example.com/backup", "kubernetes.io/pvc-protection", at=131),
            finished_worker,
            live=True,
            mounted_by=(),
        ),
        5_000,
        UNCHANGED,
        (ReleaseClaim,),
    ),
    Case(
        "Without pods, Kubernetes' own protection lets go by itself",
        observed(decided, leaving, live=True, mounted_by=()),
        5_000,
        ANY,
    ),
    *(
        Case(
            f"A hold set after the DELETE was sent keeps completed pods' protection on: {where}",
            observed(held_evc, held_claim, finished_worker, live=True, mounted_by=()),
            5_000,
            ANY,
            says="hold",
        )
        for where, held_evc, held_claim in (
            ("annotation", decided, leaving.annotated(hold="true")),
            ("spec", decided.on_hold(), leaving),
        )
    ),
)

USER_DELETED = (
    Case(
        "When the object is gone, its claim is left to the garbage collector",
        observed(None, volume(), finished_worker, live=True, mounted_by=()),
        5_000,
        UNCHANGED,
        again=None,
    ),
    Case(
        "A claim that it left by whenDeleted: Retain is nobody's from then on: the mark comes off",
        observed(None, kept, finished_worker, live=True),
        5_000,
        UNCHANGED,
        (PatchClaim,),
        confirms=True,
    ),
    Case(
        "A mark that somebody else put on is left alone",
        observed(None, volume(provided().spec(when_deleted="Retain")), live=True),
        5_000,
        UNCHANGED,
    ),
    Case(
        "A re-created object takes the mark of its namesake, which is gone, off what that left",
        observed(evc(uid="evc-2"), kept),
        5,
        Reason.CONFLICT,
        (PatchClaim,),
        confirms=True,
    ),
    Case(
        "but touches nothing that the garbage collector is about to delete",
        observed(evc(uid="evc-2"), volume().by_us()),
        5,
        Reason.CONFLICT,
    ),
    Case(
        "nor what an object of another name was given",
        observed(evc(), volume(evc("cleanup", uid="evc-2").spec(when_deleted="Retain")).by_us()),
        5,
        Reason.CONFLICT,
    ),
    Case(
        "A claim found by its mark is not taken for the one a re-created object names",
        observed(evc().adopting("data"), kept.annotated(adopt_by="scratch")),
        5,
        UNCHANGED,
    ),
    Case(
        "and let go of completed pods as the mark records: Release",
        observed(None, leaving, finished_worker, live=True, mounted_by=()),
        5_000,
        UNCHANGED,
        (ReleaseClaim,),
    ),
    Case(
        "as the mark records: Wait",
        observed(
            None,
            leaving.annotated(completed_pods="Wait"),
            finished_worker,
            live=True,
            mounted_by=(),
        ),
        5_000,
        UNCHANGED,
    ),
    Case(
        "as the mark records: Delete is not Release, and who was designated is unknown",
        observed(
            None,
            leaving.annotated(completed_pods="Delete"),
            finished_worker,
            live=True,
            mounted_by=(),
        ),
        5_000,
        UNCHANGED,
    ),
    Case(
        "A mark without completedPods counts as Wait",
        observed(
            None,
            claim().annotated(owner_uid="evc-1").terminating(),
            finished_worker,
            live=True,
            mounted_by=(),
        ),
        5_000,
        UNCHANGED,
    ),
    Case(
        "A claim without our mark is never touched",
        observed(
            None,
            claim().annotated(completed_pods="Release").terminating(),
            finished_worker,
            live=True,
            mounted_by=(),
        ),
        5_000,
        UNCHANGED,
    ),
    Case(
        "hold on a claim whose object is gone keeps the protection on",
        observed(
            None,
            leaving.annotated(hold="true"),
            finished_worker,
            live=True,
            mounted_by=(),
        ),
        5_000,
        UNCHANGED,
    ),
    Case(
        "An object that is being deleted in the foreground does not act on its claim",
        observed(done.being_deleted(), volume(), finished_worker),
        5_000,
        UNCHANGED,
    ),
    Case(
        "nor makes one",
        observed(evc().being_deleted()),
        5,
        UNCHANGED,
    ),
    Case(
        "When neither object nor claim is left, there is nothing to do",
        observed(None, finished_worker),
        5,
        UNCHANGED,
        again=None,
    ),
)

MALFORMED = (
    Case(
        "An object that does not fit the API is Stalled, and nothing is touched",
        observed(
            used.malformed("Expected `int`"),
            volume(),
        ),
        2 * DAY,
        Reason.INVALID,
        tells=("Invalid",),
        says="Expected `int`",
        status={"first_used_time": at(2), "deletion_time": None},
    ),
    *(
        Case(
            f"A podSelector that {text} is Stalled",
            observed(used.selecting(selector), volume()),
            2 * DAY,
            Reason.INVALID,
        )
        for text, selector in (
            ("is empty", LabelSelector()),
            ("has In without values", LabelSelector({}, (Needs("app", "In"),))),
            ("has NotIn without values", LabelSelector({}, (Needs("app", "NotIn"),))),
        )
    ),
    Case(
        "A template with reserved keys that slipped past the schema is Stalled",
        observed(evc().template_labels({"argocd.argoproj.io/instance": "x"})),
        1,
        Reason.INVALID,
    ),
    Case(
        "An object that turns malformed while its volume leaves still ends as Deleted",
        observed(decided.spec(ttl_seconds_after_finished=60).malformed("odd")),
        150,
        Reason.DELETED,
    ),
)


def _bare(policy: str, phase: str, *states: dict[str, Any]) -> PodBuilder:
    """Return a designated pod nobody controls, decoded from what the API server sends."""
    raw = {
        "metadata": {"name": "worker", "namespace": NAMESPACE, "uid": "w", "labels": LABELS},
        "spec": {
            "nodeName": "node-1",
            "restartPolicy": policy,
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "scratch"}}],
        },
        "status": {
            "phase": phase,
            "containerStatuses": [dict(zip(("state", "lastState"), states, strict=False))],
        },
    }
    return PodBuilder(msgspec.json.decode(msgspec.json.encode(raw), type=Pod))


_run = {"startedAt": "2026-01-01T00:00:02Z"}
_exit = {"terminated": _run | {"finishedAt": "2026-01-01T00:01:40Z"}}

BARE_PODS = tuple(
    Case(
        f"A bare pod with restartPolicy {policy} {text}",
        observed(provided(), volume(), _bare(policy, phase, *states)),
        2 * DAY,
        Reason.IN_USE if holds else Reason.RELEASING,
        () if holds else (DeleteClaim,),
        says="held by Pod/worker (not finished)" if holds else "due 2026-01-01T00:02:10Z",
        status={
            "first_used_time": at(2),
            "finished_time": None if holds else at(100),
            "outcome": None if holds else phase,
        },
    )
    # Also what a policy alone would not lead to: a container may have rules of its own.
    for policy in ("Always", "OnFailure", "Never")
    for text, phase, states, holds in (
        ("holds while it runs", "Running", ({"running": _run}, {}), True),
        ("holds while it runs again", "Running", ({"running": _run}, _exit), True),
        (
            "holds between two runs (CrashLoopBackOff)",
            "Running",
            ({"waiting": {"reason": "CrashLoopBackOff"}}, _exit),
            True,
        ),
        ("holds when its container has ended and its phase has not", "Running", (_exit,), True),
        ("does not hold once it is Succeeded", "Succeeded", (_exit,), False),
        ("does not hold once it is Failed", "Failed", (_exit,), False),
    )
)

ALL = (
    *PROVIDING,
    *OWNERSHIP,
    *START_OF_USE,
    *HOLDING,
    *BARE_PODS,
    *DUE,
    *DELETING,
    *RELEASING,
    *USER_DELETED,
    *MALFORMED,
)
