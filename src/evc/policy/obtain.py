"""Rules about getting the claim: making it, taking it over, not finding it, not owning it."""

from __future__ import annotations

from dataclasses import replace

from evc.model.core import PersistentVolumeClaim
from evc.model.evc import ADOPT_BY, OWNER_UID, ClaimReference
from evc.policy import template
from evc.policy.deadline import seconds_until
from evc.policy.dispose import disowned, finish, seen_out
from evc.policy.mapping import marked_for
from evc.policy.plan import CreateClaim, Note, PatchClaim, Plan
from evc.policy.reasons import READY, EventReason, Reason
from evc.policy.status import Summary
from evc.policy.world import World


def gone(world: World) -> Plan | None:
    """Our claim was there and is not any more: finished, lost, or to be made again."""
    if not world.vanished:
        return None
    if world.decided:
        return finish(world, Reason.DELETED if world.used else Reason.EXPIRED)
    if world.used:
        return _lost(world)
    if world.observed.claim is not None:
        return adopt(world) or _conflict(world, world.observed.claim)
    if (world.due or world.now) <= world.now and not world.usage.holds:
        return finish(world, Reason.EXPIRED)
    text = f"PersistentVolumeClaim {world.claim_name} vanished before it was used: making it again"
    note = Note("Warning", EventReason.CLAIM_VANISHED, "Create", text)
    plan = _missing(world) if world.evc.adopts else _create(world, note)
    # Confirmed live: it forgets the uid, by which alone the claim is known as ours.
    return replace(plan, irreversible=True)


def provision(world: World) -> Plan | None:
    """There is no claim yet: ask for it, after having said durably that we will."""
    if world.observed.claim is not None:
        return None
    if world.due is not None and world.due <= world.now and not world.on_hold:
        return finish(world, Reason.EXPIRED)
    return _missing(world) if world.evc.adopts else _create(world, None)


def adopt(world: World) -> Plan | None:
    """A claim is to be taken over and its owner agrees: put our mark on it."""
    claim = world.observed.claim
    if not world.evc.adopts or claim is None or world.mine is not None:
        return None
    meta, evc = claim.metadata, world.evc.metadata
    if meta.annotations.get(ADOPT_BY) != evc.name or meta.deleting:
        return None
    if meta.annotations.get(OWNER_UID, evc.uid) != evc.uid:
        return None
    text = f"taking over PersistentVolumeClaim {meta.name}"
    summary = Summary(Reason.PROVISIONING, text, reconciling=True)
    status = world.status(summary, claim=ClaimReference(meta.name))
    patch = template.remark(claim, world.evc)
    plan = world.plan(status, *((PatchClaim(claim, patch),) if patch is not None else ()))
    # Confirmed live, and not by its status alone, which is written only if the object exists: a
    # cache may not have seen yet that the claim whose uid status knows bears our mark.  And one
    # status from caches and one from a live read, which knows more owners, would take turns.
    return replace(plan, irreversible=True)


def withdrawn(world: World) -> Plan | None:
    """The offer was taken back after our mark and before its uid was noted: the mark comes off.

    What status says of the intent to take it over stays until then, for a crash in between.
    """
    claim = world.observed.claim
    if not world.evc.adopts or claim is None or world.mine is not None or claim.metadata.deleting:
        return None
    known, marks = world.evc.status.claim, claim.metadata.annotations
    ours = template.marked_by_us(claim) and marks.get(OWNER_UID) == world.evc.metadata.uid
    if not ours or known is None or known.uid is not None:
        return None
    patch = template.letting_go(claim, world.evc)
    return Plan(actions=(PatchClaim(claim, patch),), irreversible=True)


def conflict(world: World) -> Plan | None:
    """A claim of our name is not ours: hands off, and look again when it goes.

    One that we deleted, and whose mark somebody took off since, is waited for.
    """
    claim = world.observed.claim
    if claim is None or world.mine is not None:
        return None
    if world.decided and claim.metadata.deleting and not world.vanished:
        return Plan()
    return _conflict(world, claim)


def refused(world: World, error: str) -> Plan:
    """Return the plan that records that the API server refused our claim.

    The intent stays: with the same request id it is tried again, and if the refused
    answer was that of a repetition, the claim that the first request made is ours.
    """
    text = f"could not create PersistentVolumeClaim {world.claim_name}: {error}"
    status = world.status(Summary(Reason.PROVISIONING_FAILED, text, stalled=True))
    note = Note("Warning", Reason.PROVISIONING_FAILED, "Create", text)
    return world.plan(status, note=note)


def _create(world: World, note: Note | None) -> Plan:
    """Record the intent in status (a claim with a request id and no uid), then CREATE.

    The id is the version of the object the intent is written on, so nobody can have known
    it before.  While the API server refuses the claim, its words stay in status.
    """
    name, known = world.claim_name, world.evc.status.claim
    request = known.request_id if known is not None and known.uid is None else None
    intent = ClaimReference(name, request_id=request or world.evc.metadata.resource_version)
    summary = Summary(
        Reason.PROVISIONING, f"creating PersistentVolumeClaim {name}", reconciling=True
    )
    ready = world.evc.status.condition(READY)
    if ready is not None and ready.reason == Reason.PROVISIONING_FAILED.value:
        summary = Summary(Reason.PROVISIONING_FAILED, ready.message, stalled=True)
    create = CreateClaim(template.manifest(world.evc, intent))
    status = world.status(summary, claim=intent)
    # The claim's own news come first, but for a dry run, which makes none.
    return world.plan(status, create, note=note, requeue_after=_until_due(world))


def _missing(world: World) -> Plan:
    name = world.claim_name
    text = f"PersistentVolumeClaim {name} does not exist: create it, or correct existingClaimName"
    status = world.status(Summary(Reason.CLAIM_NOT_FOUND, text, stalled=True), claim=None)
    note = Note("Warning", Reason.CLAIM_NOT_FOUND, "Adopt", text)
    plan = world.plan(status, note=note, requeue_after=_until_due(world))
    # Confirmed live: the object may be known here before the claim that was there first.
    return replace(plan, irreversible=plan.status is not None)


def _until_due(world: World) -> float | None:
    """Return the seconds left; past the due time only hold keeps it: None, not 0."""
    if world.due is None:
        return None
    return seconds_until(world.due, world.now) or None


def _conflict(world: World, claim: PersistentVolumeClaim) -> Plan:
    name = claim.metadata.name
    text = (
        f"PersistentVolumeClaim {name} exists and was not made by this object: it stays"
        " untouched; delete it, or choose another name for this object"
    )
    if world.evc.adopts:
        text = (
            f"PersistentVolumeClaim {name} was not given to this object: its owner must say"
            f" kubectl annotate pvc {name} {ADOPT_BY}={world.evc.metadata.name}"
        )
    known = world.evc.status.claim
    # The name is taken, so our CREATE cannot have succeeded: its request id is void.
    keep = known if known is not None and known.uid is not None else None
    status = world.status(
        Summary(Reason.CONFLICT, text, stalled=True), claim=keep, deletion_time=None
    )
    note = Note("Warning", Reason.CONFLICT, "Create", text)
    # It may be the volume of an earlier object of this name, on its way out or kept.
    step = seen_out(world.observed, world.now)
    if not claim.metadata.deleting and _of_namesake(world, claim):
        step = disowned(claim)
    return world.plan(
        status,
        *step.actions,
        note=note,
        requeue_after=step.requeue_after,
        # An old cache may show an earlier claim of the name: an id is voided after a live read.
        irreversible=step.irreversible or (known is not None and known.uid is None),
    )


def _of_namesake(world: World, claim: PersistentVolumeClaim) -> bool:
    """Whether the mark names an earlier object of this name, which must be gone."""
    marks = claim.metadata.annotations
    return (
        marked_for(claim) == world.evc.metadata.key and marks[OWNER_UID] != world.evc.metadata.uid
    )


def _lost(world: World) -> Plan:
    """Somebody deleted a volume in use: say so, and never put an empty one in its place."""
    text = f"PersistentVolumeClaim {world.claim_name} was deleted by somebody else after use"
    over = not world.usage.holds
    status = world.status(
        Summary(Reason.LOST, text, stalled=not over, finished=over, ready=over),
        deletion_time=None,
    )
    note = Note("Warning", Reason.LOST, "Watch", text)
    plan = world.plan(status, note=note)
    return replace(plan, irreversible=plan.status is not None)
