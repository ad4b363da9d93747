"""More sentences: outcomes, claims that are taken over, changed templates, owners of any kind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from evc.model.evc import ClaimReference
from evc.policy.plan import CreateClaim, DeleteClaim, DeleteRecord, PatchClaim, UpdateClaim
from evc.policy.reasons import Reason
from unit.builders import (
    adopting,
    at,
    claim,
    evc,
    job,
    observed,
    offered,
    over,
    pod,
    provided,
    still,
    volume,
    workflow,
)

from .cases import DAY, UNCHANGED, Case, decided, done, finished_worker, leaving, used, worker

failed_worker = worker.failed(at=100)
retaining = used.finished(at=100).ready(Reason.RETAINING, ready=False)
keeping = done.when("success", "Retain")


def _outcomes() -> Iterator[Case]:
    """Each outcome has its own rule; what the others say is nothing to it."""
    for outcome, owner, ends, base in (
        ("success", used, (finished_worker,), 100.0),
        ("failure", used, (failed_worker,), 100.0),
        ("expiry", provided(), (), DAY),
    ):
        usual = 0 if outcome == "expiry" else 30
        for action in ("Delete", "Retain"):
            for grace in (None, 0, 600):
                other = "Retain" if action == "Delete" else "Delete"
                ruled = owner
                for name in ("success", "failure", "expiry"):
                    mine = name == outcome
                    ruled = ruled.when(name, *((action, grace) if mine else (other, 7)))
                due = base + (usual if grace is None else grace)
                rule = f"on {outcome} {action}, grace {'as usual' if grace is None else grace}"
                if due > base:
                    yield Case(
                        f"{rule}: a second before, nothing happens",
                        observed(ruled, volume(), *ends),
                        due - 1,
                        Reason.WAITING if outcome == "expiry" else Reason.DRAINING,
                        again=1.0,
                        confirms=False,
                    )
                yield Case(
                    f"{rule}: when it is due, that is done",
                    observed(ruled, volume(), *ends),
                    due,
                    Reason.RELEASING if action == "Delete" else Reason.RETAINING,
                    (DeleteClaim,) if action == "Delete" else (PatchClaim,),
                    confirms=True,
                    status={
                        "outcome": {
                            "success": "Succeeded",
                            "failure": "Failed",
                            "expiry": "Expired",
                        }[outcome]
                    },
                )


OUTCOMES = (
    *_outcomes(),
    Case(
        "The rule of an outcome without its own grace period takes the spec's",
        observed(done.spec(grace_period_seconds=5).when("success"), volume(), finished_worker),
        105,
        Reason.RELEASING,
        (DeleteClaim,),
    ),
    Case(
        "An outcome's short grace period does not undercut N",
        observed(used.when("success", "Delete", 0), volume(), worker.succeeded(at=3)),
        59,
        Reason.DRAINING,
        again=1.0,
    ),
    Case(
        "What will be retained has no deletion time",
        observed(keeping, volume(), finished_worker),
        110,
        Reason.DRAINING,
        status={"deletion_time": None},
    ),
    Case(
        "nor has what will be retained when nobody used it",
        observed(provided().when("expiry", "Retain"), volume()),
        110,
        Reason.WAITING,
        status={"deletion_time": None},
    ),
    Case(
        "What is retained after another outcome has one",
        observed(done.when("failure", "Retain"), volume(), finished_worker),
        110,
        Reason.DRAINING,
        status={"deletion_time": at(130)},
    ),
    Case(
        "Retaining is said in status, with the evidence",
        observed(keeping, volume(), finished_worker),
        130,
        Reason.RETAINING,
        (PatchClaim,),
        tells=("Retaining",),
        says="keeping PersistentVolumeClaim scratch: Pod/worker finished at 2026-01-01T00:01:40Z",
        status={"deletion_time": None, "outcome": "Succeeded"},
    ),
    Case(
        "hold stops retaining, too: the marks stay",
        observed(keeping.on_hold(), volume(), finished_worker),
        5_000,
        Reason.HELD,
    ),
    Case(
        "Retaining that was decided is carried on with after a crash",
        observed(retaining, volume(), finished_worker),
        5_000,
        UNCHANGED,
        (PatchClaim,),
    ),
    Case(
        "Retaining is not taken back for a pod that came later",
        observed(retaining, volume(), pod("next").worker()),
        5_000,
        UNCHANGED,
        (PatchClaim,),
    ),
    Case(
        "nor for an object that turned malformed",
        observed(retaining.malformed("odd"), volume(), finished_worker),
        5_000,
        UNCHANGED,
        (PatchClaim,),
    ),
    Case(
        "which ends as Retained, too",
        observed(retaining.malformed("odd").spec(ttl_seconds_after_finished=60), claim().bound()),
        150,
        Reason.RETAINED,
    ),
    Case(
        "Without its marks the volume is Retained, and the record stays for its ttl",
        observed(retaining.spec(ttl_seconds_after_finished=60), claim().bound(), finished_worker),
        150,
        Reason.RETAINED,
        tells=(),
        again=60.0,
        status={"outcome": "Succeeded", "finished_time": at(100), "deletion_time": None},
    ),
    Case(
        "or goes at once",
        observed(retaining, claim().bound(), finished_worker),
        150,
        UNCHANGED,
        (DeleteRecord,),
        tells=(),
    ),
    Case(
        "A volume that its new owner deleted meanwhile was Retained all the same",
        observed(retaining.spec(ttl_seconds_after_finished=60)),
        150,
        Reason.RETAINED,
    ),
)

given_to_us = offered()
adopted = offered().marked_for(adopting())
marked_too_late = claim("data").bound().marked_for(adopting()).by_us()

ADOPTING = (
    Case(
        "A claim to take over that does not exist is said, and nothing is made",
        observed(evc().adopting("data")),
        100,
        Reason.CLAIM_NOT_FOUND,
        tells=("ClaimNotFound",),
        again=DAY - 100,
        says="PersistentVolumeClaim data does not exist",
        status={"claim": None},
        confirms=True,
    ),
    Case(
        "and is waited for until M only",
        observed(evc().adopting("data").spec(ttl_seconds_after_finished=60)),
        DAY,
        Reason.EXPIRED,
        status={"outcome": "Expired"},
    ),
    Case(
        "With hold it is waited for longer, and nobody looks again and again",
        observed(evc().adopting("data").on_hold()),
        DAY,
        Reason.CLAIM_NOT_FOUND,
        again=None,
    ),
    Case(
        "A claim whose owner did not agree is a conflict that says the command",
        observed(evc().adopting("data"), claim("data").bound()),
        1,
        Reason.CONFLICT,
        tells=("Conflict",),
        says="kubectl annotate pvc data evc.dev/adopt-by=scratch",
    ),
    Case(
        "A claim that is given to another object is a conflict",
        observed(evc().adopting("data"), offered(evc("other"))),
        1,
        Reason.CONFLICT,
    ),
    Case(
        "A claim that is given to us is marked, after having said so",
        observed(evc().adopting("data"), given_to_us),
        1,
        Reason.PROVISIONING,
        (PatchClaim,),
        status={"claim": ClaimReference("data")},
    ),
    Case(
        "A mark that an earlier process left is not put on twice",
        observed(evc().adopting("data").claiming(uid=None), adopted),
        2,
        Reason.WAITING,
        status={
            "claim": ClaimReference(
                "data",
                "claim-1",
                volume_name="pv-1",
                capacity="500Gi",
                storage_class_name="fast",
            )
        },
    ),
    Case(
        "Another object's mark on a claim that is given to us is a conflict",
        observed(evc().adopting("data"), offered().annotated(owner_uid="evc-0")),
        1,
        Reason.CONFLICT,
    ),
    Case(
        "A claim on its way out is not taken over",
        observed(evc().adopting("data"), offered().terminating()),
        1,
        Reason.CONFLICT,
    ),
    Case(
        "The mark without our having said so is not enough",
        observed(evc().adopting("data"), claim("data").bound().marked_for(adopting())),
        2,
        Reason.CONFLICT,
    ),
    Case(
        "nor is our having said so without the mark, when the offer was taken back",
        observed(evc().adopting("data").claiming(uid=None), claim("data").bound()),
        2,
        Reason.CONFLICT,
        status={"claim": None},
    ),
    Case(
        "The mark without the owner's word is not enough",
        observed(
            evc().adopting("data").claiming(uid=None),
            claim("data").bound().marked_for(adopting()),
        ),
        2,
        Reason.CONFLICT,
    ),
    Case(
        "If the offer is taken back before its uid is noted, our mark comes off",
        observed(evc().adopting("data").claiming(uid=None), marked_too_late),
        2,
        UNCHANGED,
        (PatchClaim,),
        confirms=True,
    ),
    Case(
        "but one on its way out is left to go",
        observed(evc().adopting("data").claiming(uid=None), marked_too_late.terminating()),
        2,
        Reason.CONFLICT,
    ),
    Case(
        "A cache that does not show our mark yet gives up no claim whose uid is known",
        observed(adopting().ready(Reason.DRAINING), offered()),
        10,
        Reason.PROVISIONING,
        (PatchClaim,),
        confirms=True,
    ),
    Case(
        "Once taken over it stays ours, whatever becomes of the annotation",
        observed(adopting(), claim("data").bound().marked_for(adopting())),
        100,
        Reason.WAITING,
    ),
    Case(
        "A taken-over claim is deleted when the work is over",
        observed(adopting().used(at=2), adopted, pod().designated().using("data").succeeded(100)),
        130,
        Reason.RELEASING,
        (DeleteClaim,),
    ),
    Case(
        "or retained",
        observed(
            adopting().used(at=2).when("success", "Retain"),
            adopted,
            pod().designated().using("data").succeeded(100),
        ),
        130,
        Reason.RETAINING,
        (PatchClaim,),
    ),
    Case(
        "A pod that used it before the object existed and still runs is use",
        observed(adopting(), adopted, pod().designated().using("data").running(since=-60)),
        5,
        Reason.IN_USE,
        status={"first_used_time": at(-60)},
    ),
    Case(
        "one that ended before is not",
        observed(
            adopting(), adopted, pod().designated().using("data").succeeded(at=-20, since=-60)
        ),
        5,
        Reason.WAITING,
        status={"first_used_time": None},
    ),
    Case(
        "A taken-over claim that vanished unused is looked for again",
        observed(adopting().ready(Reason.WAITING)),
        50,
        Reason.CLAIM_NOT_FOUND,
        status={"claim": None},
    ),
    Case(
        "and the next one of that name that is given to us is taken over",
        observed(adopting().ready(Reason.WAITING), offered().meta(uid="claim-2")),
        50,
        Reason.PROVISIONING,
        (PatchClaim,),
        status={"claim": ClaimReference("data")},
    ),
    Case(
        "but none that is not",
        observed(adopting().ready(Reason.WAITING), claim("data", uid="claim-2").bound()),
        50,
        Reason.CONFLICT,
    ),
    Case(
        "A taken-over claim that vanished after use is lost",
        observed(adopting().used(at=2).ready(Reason.IN_USE)),
        50,
        Reason.LOST,
    ),
    Case(
        "and no other of its name takes its place",
        observed(adopting().used(at=2).ready(Reason.IN_USE), offered().meta(uid="claim-2")),
        50,
        Reason.LOST,
    ),
    Case(
        "Both a template and a name is Stalled",
        observed(evc().spec(existing_claim_name="data")),
        1,
        Reason.INVALID,
    ),
    Case(
        "and so is neither",
        observed(evc().spec(volume_claim_template=None)),
        1,
        Reason.INVALID,
    ),
)

LATER_CHANGES = (
    Case(
        "whenDeleted changed to Retain takes the ownerReference off",
        observed(provided().spec(when_deleted="Retain"), volume()),
        5,
        Reason.WAITING,
        (PatchClaim,),
    ),
    Case(
        "whenDeleted: Delete on a taken-over claim puts it on",
        observed(adopting().spec(when_deleted="Delete"), adopted),
        5,
        Reason.WAITING,
        (PatchClaim,),
    ),
    Case(
        "completedPods changed later is written into the mark",
        observed(provided().spec(completed_pods="Wait"), volume()),
        5,
        Reason.WAITING,
        (PatchClaim,),
    ),
    Case(
        "but not on a claim that is already on its way out",
        observed(decided.spec(completed_pods="Wait"), leaving, finished_worker),
        5_000,
        Reason.RELEASING,
    ),
)

fine = provided().status(observed_generation=1)


def _template(sentence: str, owner: Any, updates: bool, mine: Any = None) -> Case:
    return Case(
        sentence,
        observed(owner, mine or volume(), worker.running(since=2)),
        5,
        Reason.IN_USE,
        (UpdateClaim,) if updates else (),
    )


TEMPLATE = (
    _template("A label that was added to the template goes to the claim",
              provided().template_labels({"team": "a"}), True),
    _template("A label that was changed goes to the claim",
              provided().template_labels({"team": "a"}), True, volume().labelled(team="b")),
    _template("An annotation goes to the claim",
              provided().template_labels({}, {"note": "a"}), True),
    _template("A label that the claim has already is no reason to write",
              provided().template_labels({"team": "a"}), False, volume().labelled(team="a")),
    _template("A label that we own and the template no longer has is taken off",
              provided(), True,
              volume().labelled(team="a").whose_keys("evc", labels=("team",))),
    _template("An annotation that we own and the template no longer has is taken off",
              provided(), True,
              volume().whose_keys("evc", annotations=("note",))),
    _template("The request id is no part of the template and no reason to write",
              provided(), False,
              volume().whose_keys("evc", annotations=("evc.dev/request-id",))),
    _template("A label that others own stays",
              provided(), False,
              volume().labelled(team="a").whose_keys("kubectl", labels=("team",))),
    _template("A bigger size goes to the claim", provided().sized("1Ti"), True),
    _template("A smaller one does not", provided().sized("1Gi"), False),
    _template("The same size in other words is no reason to write",
              provided().sized("512000Mi"), False),
    _template("A size that is no quantity is left alone", provided().sized("much"), False),
    _template("A VolumeAttributesClass goes to the claim",
              provided().template_spec(volume_attributes_class_name="gold"), True),
    _template("another one, too",
              provided().template_spec(volume_attributes_class_name="gold"), True,
              volume().spec(volume_attributes_class_name="silver")),
    _template("the same one does not",
              provided().template_spec(volume_attributes_class_name="gold"), False,
              volume().spec(volume_attributes_class_name="gold")),
    _template("The template says nothing of a class that somebody else chose",
              provided(), False, volume().spec(volume_attributes_class_name="silver")),
    Case(
        "A foreign claim does not follow the template",
        observed(evc().sized("1Ti"), claim().bound()),
        5,
        Reason.CONFLICT,
    ),
    Case(
        "A template that may not be acted on changes nothing",
        observed(provided().template_labels({"kubernetes.io/x": "y"}), volume()),
        5,
        Reason.INVALID,
    ),
    Case(
        "A claim that is due is deleted, not grown",
        observed(done.sized("1Ti"), volume(), finished_worker),
        130,
        Reason.RELEASING,
        (DeleteClaim,),
    ),
    Case(
        "A finished object's claim does not follow any more",
        observed(decided.tombstone(at=150).sized("1Ti").spec(ttl_seconds_after_finished=60),
                 volume()),
        160,
        UNCHANGED,
    ),
)  # fmt: skip

built_in = ("ReplicaSet", "StatefulSet", "DaemonSet", "ReplicationController")
unknown, ci = workflow(), workflow("ci", "PipelineRun")
step = worker.owned_by(unknown)
remembered = done.remembering(unknown)

OWNERS = (
    *(
        Case(
            f"A failed pod's {kind} is asked before anything is deleted",
            observed(done, volume(), failed_worker.of(job("web"), kind=kind)),
            10_000,
            Reason.RELEASING,
            (DeleteClaim,),
            confirms=True,
        )
        for kind in built_in
    ),
    *(
        Case(
            f"A {kind} that wants pods holds, also between two of them",
            observed(done, volume(), owners=(still(f"{kind}/web", watched=True),)),
            10_000,
            Reason.IN_USE,
            again=None,
            says=f"{kind}/web",
            status={"deletion_time": None, "finished_time": None},
        )
        for kind in (*built_in, "Deployment")
    ),
    Case(
        "That a workload which held is gone is believed when etcd says so, too",
        observed(used.held_by("ReplicaSet/web"), volume()),
        10_000,
        Reason.DRAINING,
        confirms=True,
    ),
    Case(
        "A kind of workloads that could not be read is read again",
        observed(used.held_by("ReplicaSet/*"), volume()),
        10_000,
        UNCHANGED,
        confirms=True,
    ),
    Case(
        "A workload that wants no pods any more ended when that was noticed",
        observed(
            used.held_by("ReplicaSet/web"),
            volume(),
            owners=(over("ReplicaSet/web", at=None, failed=None),),
        ),
        10_000,
        Reason.DRAINING,
        again=30.0,
        status={"finished_time": at(10_000), "outcome": "Succeeded"},
    ),
    *(
        Case(
            f"and says nothing of whether it failed: the pods that are left do ({outcome})",
            observed(
                used.held_by("ReplicaSet/web"),
                volume(),
                pod("early").worker().failed(at=50),
                last,
                owners=(over("ReplicaSet/web", at=None, failed=None),),
            ),
            10_000,
            Reason.DRAINING,
            status={"finished_time": at(10_000), "outcome": outcome},
        )
        for outcome, last in (("Failed", failed_worker), ("Succeeded", finished_worker))
    ),
    Case(
        "An owner that says how it ended is believed more than the pods it retried",
        observed(
            used.held_by("Workflow/dag"),
            volume(),
            failed_worker,
            live=True,
            owners=(over(at=None, seen=unknown),),
        ),
        10_000,
        Reason.DRAINING,
        status={"finished_time": at(10_000), "outcome": "Succeeded"},
    ),
    Case(
        "An owner of a kind nobody knows is asked as soon as no pod holds",
        observed(done, volume(), step.failed(at=100)),
        110,
        UNCHANGED,
        confirms=True,
    ),
    Case(
        "and when it first shows up: only while it is there does it say who owns it",
        observed(done, volume(), step.running(since=2)),
        110,
        Reason.IN_USE,
        confirms=True,
        status={"owners": ()},
    ),
    Case(
        "It is remembered once it was asked, with its own owner",
        observed(
            done,
            volume(),
            step.running(since=2),
            live=True,
            owners=(still(seen=unknown), still("PipelineRun/ci", seen=ci)),
        ),
        110,
        Reason.IN_USE,
        confirms=False,
        status={"owners": (unknown, ci)},
    ),
    Case(
        "It is asked before its volume is taken over",
        observed(evc().adopting("data"), offered(), step.using("data").running(since=2)),
        110,
        Reason.PROVISIONING,
        (PatchClaim,),
        confirms=True,
        status={"owners": ()},
    ),
    Case(
        "and after its volume was made, not before: there is nothing to lose yet",
        observed(evc(), step),
        110,
        Reason.PROVISIONING,
        (CreateClaim,),
        confirms=False,
        status={"owners": ()},
    ),
    Case(
        "but one that is known is not asked while a pod holds",
        observed(done.remembering(unknown), volume(), step.running(since=2)),
        110,
        Reason.IN_USE,
        confirms=False,
        status={"owners": (unknown,)},
    ),
    Case(
        "The owner of a finished Job is asked, too",
        observed(done, volume(), job().owned_by(workflow(kind="JobSet")).complete(at=100)),
        110,
        UNCHANGED,
        confirms=True,
    ),
    Case(
        "Until it says that it is over it holds",
        observed(done, volume(), step.failed(at=100), live=True, owners=(still(),)),
        10_000,
        Reason.IN_USE,
        again=30.0,
        says="Workflow/dag (not finished)",
        status={"owners": (unknown,)},
    ),
    Case(
        "It is remembered when all its pods are gone",
        observed(remembered, volume()),
        10_000,
        UNCHANGED,
        confirms=True,
    ),
    Case(
        "and holds then",
        observed(remembered, volume(), live=True, owners=(still(),)),
        10_000,
        Reason.IN_USE,
        status={"owners": (unknown,)},
    ),
    Case(
        "An owner that is over is not forgotten while something points to it",
        observed(
            remembered,
            volume(),
            step.succeeded(at=90),
            live=True,
            owners=(over(at=9_990, seen=unknown),),
        ),
        10_000,
        Reason.DRAINING,
        status={"owners": (unknown,)},
    ),
    Case(
        "be it a Job",
        observed(
            remembered,
            volume(),
            job().owned_by(unknown).complete(at=90),
            live=True,
            owners=(over(at=9_990, seen=unknown),),
        ),
        10_000,
        Reason.DRAINING,
        status={"owners": (unknown,)},
    ),
    Case(
        "It is when nothing does, so that owners do not pile up; one that is not over stays",
        observed(
            remembered.remembering(unknown, workflow("b")),
            volume(),
            live=True,
            owners=(over(at=9_990, seen=unknown), still("Workflow/b", seen=workflow("b"))),
        ),
        10_000,
        Reason.IN_USE,
        status={"owners": (workflow("b"),)},
    ),
    Case(
        "and when it was the last one, its end is what counts",
        observed(remembered, volume(), live=True, owners=(over(at=9_990, seen=unknown),)),
        10_000,
        Reason.DRAINING,
        again=20.0,
        status={"owners": (), "finished_time": at(9_990)},
    ),
    Case(
        "The owner of an owner is remembered until it is over",
        observed(
            done,
            volume(),
            step.succeeded(at=90),
            live=True,
            owners=(
                over(at=95, seen=unknown),
                still("PipelineRun/ci", seen=ci),
            ),
        ),
        10_000,
        Reason.IN_USE,
        status={"owners": (unknown, ci)},
    ),
    Case(
        "The work ended when the owner says",
        observed(remembered, volume(), step.succeeded(at=90), live=True, owners=(over(at=9_990),)),
        10_000,
        Reason.DRAINING,
        again=20.0,
        status={"finished_time": at(9_990), "outcome": "Succeeded", "owners": (unknown,)},
    ),
    Case(
        "and as it says",
        observed(
            remembered,
            volume(),
            step.succeeded(at=90),
            live=True,
            owners=(over(at=9_990, failed=True),),
        ),
        10_000,
        Reason.DRAINING,
        status={"outcome": "Failed"},
    ),
    Case(
        "When all owners are over the volume goes",
        observed(remembered, volume(), live=True, owners=(over(at=200),)),
        10_000,
        Reason.RELEASING,
        (DeleteClaim,),
    ),
    Case(
        "A hundred and one owners hold, because not all can be remembered",
        observed(
            done.remembering(*(workflow(f"dag-{i}") for i in range(100))),
            volume(),
            worker.owned_by(workflow("dag-100")).succeeded(at=100),
            live=True,
            owners=tuple(over(f"Workflow/dag-{i}") for i in range(101)),
        ),
        10_000,
        Reason.IN_USE,
        says="more than 100 owners",
        status={"owners": tuple(workflow(f"dag-{i}") for i in range(101))},
    ),
    Case(
        "and go on holding when the pod of the last one is gone",
        observed(
            done.remembering(*(workflow(f"dag-{i}") for i in range(101))),
            volume(),
            live=True,
            owners=tuple(over(f"Workflow/dag-{i}") for i in range(101)),
        ),
        10_000,
        Reason.IN_USE,
        says="more than 100 owners",
    ),
    Case(
        "A hundred do not",
        observed(
            done.remembering(*(workflow(f"dag-{i}") for i in range(100))),
            volume(),
            live=True,
            owners=tuple(over(f"Workflow/dag-{i}") for i in range(100)),
        ),
        10_000,
        Reason.RELEASING,
        (DeleteClaim,),
    ),
    Case(
        "An owner that may make pods keeps a volume that nobody used, too",
        observed(provided(), volume(), live=True, owners=(still(),)),
        2 * DAY,
        Reason.WAITING,
        says="Workflow/dag",
        status={"deletion_time": None},
    ),
    Case(
        "The owner of a guest is not asked",
        observed(done, volume(), finished_worker,
                 pod("guest").using().owned_by(unknown).succeeded(at=50)),
        110,
        Reason.DRAINING,
        confirms=False,
    ),
)  # fmt: skip

ALL = (*OUTCOMES, *ADOPTING, *LATER_CHANGES, *TEMPLATE, *OWNERS)
