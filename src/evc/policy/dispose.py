"""Rules about the end: deciding it, seeing the claim out, and being a record afterwards."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import msgspec

from evc.model.core import PersistentVolumeClaim
from evc.model.evc import COMPLETED_PODS, OWNER_UID, Outcome
from evc.model.meta import Condition
from evc.policy import template
from evc.policy.blocked import LIMITED
from evc.policy.deadline import after, seconds_until
from evc.policy.observed import Observed
from evc.policy.plan import DeleteClaim, DeletePod, DeleteRecord, Note, PatchClaim, Plan
from evc.policy.reasons import READY, EventReason, Reason
from evc.policy.release import Step, release
from evc.policy.status import Summary, finished, held_by
from evc.policy.usage import stamp
from evc.policy.world import World

UNUSED = "no designated pod ever used it"


def orphaned(observed: Observed, now: datetime) -> Plan:
    """A user deleted the EphemeralVolumeClaim: help its claim, which the mark identifies.

    The garbage collector deletes the claim (ownerReference); completed pods may pin it.
    Without an ownerReference (whenDeleted: Retain) it stays, and is nobody's from now on.
    """
    claim = observed.claim
    if claim is None or claim.metadata.deleting:
        return seen_out(observed, now)
    return disowned(claim)


def disowned(claim: PersistentVolumeClaim) -> Plan:
    """Let go of a claim whose object is gone, so that a new one can be given it."""
    patch = template.disowning(claim)
    if patch is None:
        return Plan()
    return Plan(actions=(PatchClaim(claim, patch),), irreversible=True)


def seen_out(observed: Observed, now: datetime) -> Plan:
    """Let a deleted claim go as its mark records, whoever deleted it."""
    claim = observed.claim
    if claim is None or OWNER_UID not in claim.metadata.annotations or not claim.metadata.deleting:
        return Plan()
    policy = claim.metadata.annotations.get(COMPLETED_PODS, "Wait")
    step = release(observed, claim, policy, now)
    return _stepping(step, told=False)


def tombstone(world: World) -> Plan | None:
    """A finished object never acts again; it only goes after its ttl."""
    record = finished(world.evc)
    return _farewell(world, record) if record is not None else None


def deleted_by_user(world: World) -> Plan | None:
    """The object is being deleted (foreground cascade): as for an orphan."""
    return seen_out(world.observed, world.now) if world.evc.metadata.deleting else None


def retaining(world: World) -> Plan | None:
    """It was decided to keep the volume: take our marks off, then finish."""
    if world.reason != Reason.RETAINING.value:
        return None
    claim = world.observed.claim
    if claim is not None and not world.vanished:
        owned = any(o.uid == world.evc.metadata.uid for o in claim.metadata.owner_references)
        if owned or world.mine is not None:
            return Plan(actions=(PatchClaim(claim, template.letting_go(claim, world.evc)),))
    return finish(world, Reason.RETAINED)


def leaving(world: World) -> Plan | None:
    """Our claim was deleted: see it out.

    If somebody else deleted it, it still goes only when nothing holds it, and status goes
    on telling the claim's own life.  That DELETE may have come before the last end, so the
    end must have been written down: gate 5 counts its time to unmount from there.
    """
    claim = world.mine
    if claim is None or not claim.metadata.deleting:
        return None
    step = release(world.observed, claim, world.evc.spec.completed_pods, world.now)
    if not world.decided:
        ended = not world.used or world.evc.status.finished_time is not None
        moving = ended and not (world.usage.holds or step.pinned_by)
        moving = moving and bool(step.actions or step.requeue_after)
        return _stepping(step, told=False) if moving else None
    if not step.pinned_by and world.evc.status.held_by is None:
        return _stepping(step)
    status = world.status(
        Summary(Reason.RELEASING, step.message, reconciling=True),
        deletion_time=world.evc.status.deletion_time,
        outcome=world.evc.status.outcome,
        finished_time=world.evc.status.finished_time,  # pins are no work that could vanish
        held_by=held_by(step.pinned_by),
    )
    changed = world.plan(status).status
    # The first pins overwrite what may be all that tells of the decision, if its process died.
    retold = _decision(world) if world.evc.status.held_by is None else None
    return replace(_stepping(step), status=changed, retold=retold)


def overdue(world: World) -> Plan | None:
    """It is time: decide durably, then send the DELETE.

    Somebody else may have sent it already; then it only has to be seen out.
    """
    claim = world.mine
    assert claim is not None  # all rules above took the cases without one
    why = world.evidence if world.used else UNUSED
    outcome: Outcome = "Expired"
    if world.used:
        outcome = "Failed" if world.usage.failed else "Succeeded"
    if world.retains:
        return _retain(world, claim, outcome, why)
    why = f"{why}; due {stamp(world.due_time)}"
    if claim.metadata.deleting:
        return _let_go(world, claim, outcome, why)
    text = f"deleting PersistentVolumeClaim {world.claim_name}: {why}"
    status = world.status(Summary(Reason.RELEASING, text, reconciling=True), outcome=outcome)
    # Told with every DELETE that was accepted, also if an attempt before it was not.
    note = _deleting(world, text)
    return world.plan(status, DeleteClaim(claim), also=(note,), irreversible=True)


def _deleting(world: World, text: str) -> Note:
    return Note(
        "Normal", EventReason.DELETING if world.used else EventReason.EXPIRING, "Delete", text
    )


def _let_go(world: World, claim: PersistentVolumeClaim, outcome: Outcome, why: str) -> Plan:
    """Decide durably to see out what somebody else deleted, and say what keeps it, in one."""
    text = (
        f"letting PersistentVolumeClaim {world.claim_name} go, which somebody else deleted: {why}"
    )
    step = release(world.observed, claim, world.evc.spec.completed_pods, world.now)
    status = world.status(
        Summary(Reason.RELEASING, step.message if step.pinned_by else text, reconciling=True),
        outcome=outcome,
        held_by=held_by(step.pinned_by),
    )
    plan = world.plan(status, note=_deleting(world, text), irreversible=True)
    return replace(plan, requeue_after=step.requeue_after)


def delayed(world: World) -> Plan:
    """Return the plan of a due deletion that the deletion limit does not admit yet."""
    text = f"{world.evidence if world.used else 'never used'}; due, but {LIMITED}"
    return world.plan(world.status(Summary(Reason.DRAINING, text, ready=True)))


def _stepping(step: Step, *, told: bool = True) -> Plan:
    """Return the plan of a step.

    A deletion of ours was ``told``: its steps need no more words, but that pods are deleted.
    """
    note = Note("Normal", EventReason.RELEASED, "Release", step.message)
    told = told and not any(isinstance(action, DeletePod) for action in step.actions)
    return Plan(
        actions=step.actions,
        notes=(note,) if step.actions and not told else (),
        requeue_after=step.requeue_after,
        irreversible=bool(step.actions),
    )


def _retain(world: World, claim: PersistentVolumeClaim, outcome: Outcome, why: str) -> Plan:
    """Decide durably that the volume stays, then let go of it."""
    text = f"keeping PersistentVolumeClaim {world.claim_name}: {why}"
    status = world.status(
        Summary(Reason.RETAINING, text, reconciling=True), outcome=outcome, deletion_time=None
    )
    return world.plan(
        status,
        PatchClaim(claim, template.letting_go(claim, world.evc)),
        note=Note("Normal", Reason.RETAINING, "Retain", text),
        irreversible=True,
    )


def finish(world: World, reason: Reason) -> Plan:
    """The volume is gone as it should be: become a record, or go at once (ttl 0).

    The event that told why came with the decision, unless there was nothing to decide.
    """
    told = world.reason in (Reason.RELEASING, Reason.RETAINING)
    retold = _decision(world, world.evidence if world.used else UNUSED) if told else None
    if world.evc.spec.ttl_seconds_after_finished == 0:
        plan = _delete_record(world)
        if not plan.actions:
            return plan
        note = Note("Normal", reason, "Delete", reason.meaning)
        return replace(plan, retold=retold, notes=() if told else (note,))
    old = world.evc.status
    ready = old.condition(READY)
    # The pods may be gone by now: what was said when the DELETE was sent still holds.
    seen = ready.message if ready is not None and not world.usage.evidence else world.evidence
    text = f"{reason.meaning} {seen if world.used else ''}".strip()
    status = world.status(
        Summary(reason, text, ready=True, finished=True),
        deletion_time=old.deletion_time,
        outcome=old.outcome or "Expired",
        finished_time=old.finished_time,
        held_by=None,
    )
    ttl = float(world.evc.spec.ttl_seconds_after_finished)
    news = None if told else Note("Normal", reason, "Delete", text)
    plan = world.plan(status, note=news, requeue_after=ttl, irreversible=True)
    return replace(plan, retold=retold)


def _decision(world: World, *evidence: str) -> Note:
    """Return the event of the decision, with what status says of it and what is left to see."""
    ready = world.evc.status.condition(READY)
    said = (f"status said: {ready.message}",) if ready is not None else ()
    why = "; ".join((*evidence, *said))
    if world.reason == Reason.RETAINING.value:
        text = f"kept PersistentVolumeClaim {world.claim_name}: {why}"
        return Note("Normal", Reason.RETAINING, "Retain", text)
    return _deleting(world, f"deleted PersistentVolumeClaim {world.claim_name}: {why}")


def _farewell(world: World, record: Condition) -> Plan:
    """Wait for the ttl; the one thing still written is that a new spec was seen."""
    evc = world.evc
    gone = after(record.last_transition_time, evc.spec.ttl_seconds_after_finished)
    left = seconds_until(gone, world.now)
    if not left:
        return _delete_record(world)
    seen = msgspec.structs.replace(evc.status, observed_generation=evc.metadata.generation)
    return world.plan(seen, requeue_after=left)


def _delete_record(world: World) -> Plan:
    """Delete the object itself, unless the volume would go with it by ownerReference."""
    claim = world.observed.claim
    owners = claim.metadata.owner_references if claim is not None else ()
    if any(owner.uid == world.evc.metadata.uid for owner in owners):
        return Plan()
    return Plan(actions=(DeleteRecord(world.evc),), irreversible=True)
