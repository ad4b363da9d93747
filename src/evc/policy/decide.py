"""The heart: what is -> what should be done.

`decide` tries RULES from top to bottom; the first that has something to say makes
the plan.  A rule sees one `World` and asks for one `Plan`; it does nothing itself.

The same call is made twice for anything irreversible: first on the caches (gate 1),
then on a live read (gate 2).  The plan's status is written before its actions
(gate 3), a DELETE carries the uid and resourceVersion that were read (gate 4), and
`evc.policy.release` is gate 5.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from evc.model.core import PersistentVolumeClaim
from evc.model.evc import COMPLETED_PODS, OWNER_UID, ClaimReference, HeldBy
from evc.policy import template
from evc.policy.deadline import seconds_until
from evc.policy.observed import Observed
from evc.policy.plan import CreateClaim, DeleteClaim, DeleteRecord, Note, Plan
from evc.policy.reasons import FINISHED, READY, Reason
from evc.policy.release import release
from evc.policy.status import Summary
from evc.policy.usage import NAMES_SHOWN, Hold, stamp
from evc.policy.world import World

Rule = Callable[[World], Plan | None]


def decide(observed: Observed, now: datetime) -> Plan:
    """Return what to do about one EphemeralVolumeClaim; total, and a function of values only."""
    if observed.evc is None:
        return orphaned(observed, now)
    world = World(observed, observed.evc, now)
    for rule in RULES:
        plan = rule(world)
        if plan is not None:
            return plan
    raise AssertionError("the last rule always applies")


def orphaned(observed: Observed, now: datetime) -> Plan:
    """A user deleted the EphemeralVolumeClaim: help its claim, which the mark identifies.

    The garbage collector deletes the claim (ownerReference); completed pods may pin it.
    Without an ownerReference (whenDeleted: Retain) it is never deleted, so nothing follows.
    """
    claim = observed.claim
    if claim is None or OWNER_UID not in claim.metadata.annotations or not claim.metadata.deleting:
        return Plan()
    policy = claim.metadata.annotations.get(COMPLETED_PODS, "Wait")
    step = release(observed, claim, policy, now)
    return Plan(
        actions=step.actions, requeue_after=step.requeue_after, irreversible=bool(step.actions)
    )


def tombstone(world: World) -> Plan | None:
    """A finished object never acts again; it only goes after its ttl."""
    finished = world.evc.status.condition(FINISHED)
    if finished is None or finished.status != "True":
        return None
    return _farewell(world, finished.last_transition_time)


def deleted_by_user(world: World) -> Plan | None:
    """The object is being deleted (foreground cascade): as for an orphan."""
    return orphaned(world.observed, world.now) if world.evc.metadata.deleting else None


def invalid(world: World) -> Plan | None:
    """The object cannot be acted on: say what to change, touch nothing."""
    problem = template.problem(world.evc)
    if not problem:
        return None
    status = world.status(
        Summary(Reason.INVALID, problem, stalled=True),
        first_used_time=world.evc.status.first_used_time,
        deletion_time=None,
    )
    return world.plan(status, note=Note("Warning", Reason.INVALID, "Validate", problem))


def gone(world: World) -> Plan | None:
    """Our claim was there and is not any more: finished, lost, or to be made again."""
    if not world.vanished:
        return None
    if world.decided:
        return _finish(world, Reason.DELETED if world.used else Reason.EXPIRED)
    if world.used:
        return _lost(world)
    if world.observed.claim is not None:
        return _conflict(world, world.observed.claim)
    text = (
        f"PersistentVolumeClaim {world.evc.claim_name} vanished before it was used: making it again"
    )
    return _create(world, Note("Warning", "ClaimVanished", "Create", text))


def provision(world: World) -> Plan | None:
    """There is no claim yet: ask for it, after having said durably that we will."""
    if world.observed.claim is not None:
        return None
    if world.due is not None and world.due <= world.now:
        return _finish(world, Reason.EXPIRED)
    return _create(world, None)


def conflict(world: World) -> Plan | None:
    """A claim of our name is not ours: hands off, and look again when it goes."""
    claim = world.observed.claim
    return _conflict(world, claim) if claim is not None and world.mine is None else None


def leaving(world: World) -> Plan | None:
    """We deleted the claim: see it out."""
    claim = world.mine
    if claim is None or not (world.decided and claim.metadata.deleting):
        return None
    step = release(world.observed, claim, world.evc.spec.completed_pods, world.now)
    names = tuple(sorted(step.pinned_by))
    if not names:
        return Plan(
            actions=step.actions,
            requeue_after=step.requeue_after,
            irreversible=bool(step.actions),
        )
    status = world.status(
        Summary(Reason.RELEASING, step.message, reconciling=True),
        deletion_time=world.evc.status.deletion_time,
        outcome=world.evc.status.outcome,
        held_by=HeldBy(len(names), names[:NAMES_SHOWN]),
    )
    return world.plan(status, requeue_after=step.requeue_after)


def in_use(world: World) -> Plan | None:
    """Something holds the volume; this also takes back a deletion that was not sent yet."""
    holds = world.usage.holds
    if not holds:
        return None
    text = f"held by {_listed(holds)}"
    if not world.used:
        return world.plan(world.status(Summary(Reason.WAITING, text, ready=True)))
    note = Note("Normal", Reason.IN_USE, "Use", text)
    if world.decided:
        note = Note("Normal", "DeletionCancelled", "Use", f"deletion taken back: {text}")
    return world.plan(world.status(Summary(Reason.IN_USE, text, ready=True)), note=note)


def waiting(world: World) -> Plan | None:
    """Nobody used it yet and there is time left."""
    due = _due(world)
    if world.used or due <= world.now:
        return None
    text = f"no designated pod has used the volume yet; it expires at {stamp(due)}"
    note = Note("Normal", "Provisioned", "Create", f"PersistentVolumeClaim {_name(world)} is there")
    return world.plan(
        world.status(Summary(Reason.WAITING, text, ready=True)),
        note=note,
        requeue_after=seconds_until(due, world.now),
    )


def held(world: World) -> Plan | None:
    """The work is over, and a person asked to keep the volume."""
    if not world.on_hold:
        return None
    where = "spec.hold" if world.evc.spec.hold else "annotation evc.dev/hold on the claim"
    text = f"kept by {where}; without it, it would be deleted at {stamp(_due(world))}"
    note = Note("Normal", Reason.HELD, "Hold", text)
    return world.plan(world.status(Summary(Reason.HELD, text, ready=True)), note=note)


def draining(world: World) -> Plan | None:
    """The work is over and the grace period runs."""
    due = _due(world)
    if due <= world.now:
        return None
    text = f"{_evidence(world)}; the volume will be deleted at {stamp(due)}"
    return world.plan(
        world.status(Summary(Reason.DRAINING, text, ready=True)),
        note=Note("Normal", Reason.DRAINING, "Wait", text),
        requeue_after=seconds_until(due, world.now),
    )


def overdue(world: World) -> Plan | None:
    """It is time: decide durably, then send the DELETE.

    Somebody else may have sent it already; then it only has to be seen out.
    """
    claim = world.mine
    assert claim is not None  # all rules above took the cases without one
    why = _evidence(world) if world.used else "no designated pod ever used it"
    text = f"deleting PersistentVolumeClaim {_name(world)}: {why}; due {stamp(_due(world))}"
    outcome = ("Failed" if world.usage.failed else "Succeeded") if world.used else "Expired"
    status = world.status(Summary(Reason.RELEASING, text, reconciling=True), outcome=outcome)
    actions = () if claim.metadata.deleting else (DeleteClaim(claim),)
    return world.plan(
        status,
        *actions,
        note=Note("Normal", "Deleting" if world.used else "Expiring", "Delete", text),
        irreversible=True,
    )


RULES: tuple[Rule, ...] = (
    tombstone,
    deleted_by_user,
    invalid,
    gone,
    provision,
    conflict,
    leaving,
    in_use,
    waiting,
    held,
    draining,
    overdue,
)


def _create(world: World, note: Note | None) -> Plan:
    """Record the intent in status (a claim name without uid), then CREATE.

    While the API server refuses it, the words of the refusal stay in status.
    """
    name = world.evc.claim_name
    summary = Summary(
        Reason.PROVISIONING, f"creating PersistentVolumeClaim {name}", reconciling=True
    )
    ready = world.evc.status.condition(READY)
    if ready is not None and ready.reason == Reason.PROVISIONING_FAILED.value:
        summary = Summary(Reason.PROVISIONING_FAILED, ready.message, stalled=True)
    status = world.status(summary, claim=ClaimReference(name))
    return world.plan(status, CreateClaim(template.manifest(world.evc)), note=note)


def refused(world: World, error: str) -> Plan:
    """Return the plan that records that the API server refused our claim.

    It wipes the intent: a claim of that name that appears later is not ours.
    """
    text = f"could not create PersistentVolumeClaim {world.evc.claim_name}: {error}"
    status = world.status(Summary(Reason.PROVISIONING_FAILED, text, stalled=True), claim=None)
    note = Note("Warning", Reason.PROVISIONING_FAILED, "Create", text)
    return world.plan(status, note=note)


def _conflict(world: World, claim: PersistentVolumeClaim) -> Plan:
    text = (
        f"PersistentVolumeClaim {claim.metadata.name} exists and was not made by this object:"
        " it stays untouched; delete or rename it, or choose another name for this object"
    )
    known = world.evc.status.claim
    keep = known if known is not None and known.uid is not None else None
    status = world.status(
        Summary(Reason.CONFLICT, text, stalled=True), claim=keep, deletion_time=None
    )
    note = Note("Warning", Reason.CONFLICT, "Create", text)
    # It may be the volume of an earlier object of this name, on its way out.
    step = orphaned(world.observed, world.now)
    return world.plan(
        status,
        *step.actions,
        note=note,
        requeue_after=step.requeue_after,
        irreversible=step.irreversible,
    )


def _lost(world: World) -> Plan:
    """Somebody deleted a volume in use: say so, and never put an empty one in its place."""
    text = f"PersistentVolumeClaim {world.evc.claim_name} was deleted by somebody else after use"
    over = not world.usage.holds
    status = world.status(
        Summary(Reason.LOST, text, stalled=not over, finished=over, ready=over),
        deletion_time=None,
    )
    note = Note("Warning", Reason.LOST, "Watch", text)
    return world.plan(status, note=note, irreversible=True)


def _finish(world: World, reason: Reason) -> Plan:
    """The volume is gone as it should be: become a record, or go at once (ttl 0)."""
    if world.evc.spec.ttl_seconds_after_finished == 0:
        return Plan(actions=(DeleteRecord(world.evc),), irreversible=True)
    text = f"{reason.meaning} {_evidence(world)}".strip()
    old = world.evc.status
    status = world.status(
        Summary(reason, text, ready=True, finished=True),
        deletion_time=old.deletion_time,
        outcome=old.outcome or "Expired",
        finished_time=old.finished_time,
        held_by=None,
    )
    ttl = float(world.evc.spec.ttl_seconds_after_finished)
    note = Note("Normal", reason, "Delete", text)
    return world.plan(status, note=note, requeue_after=ttl, irreversible=True)


def _farewell(world: World, finished: datetime) -> Plan:
    ttl = timedelta(seconds=world.evc.spec.ttl_seconds_after_finished)
    left = seconds_until(finished + ttl, world.now)
    if left:
        return Plan(requeue_after=left)
    return Plan(actions=(DeleteRecord(world.evc),), irreversible=True)


def _due(world: World) -> datetime:
    assert world.due is not None  # `in_use` took every world with holds
    return world.due


def _name(world: World) -> str:
    return world.evc.claim_name


def _evidence(world: World) -> str:
    return "; ".join(world.usage.evidence[:NAMES_SHOWN]) or "the pods that used it are gone"


def _listed(holds: tuple[Hold, ...]) -> str:
    shown = ", ".join(f"{hold.name} ({hold.why})" for hold in holds[:NAMES_SHOWN])
    more = len(holds) - NAMES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
