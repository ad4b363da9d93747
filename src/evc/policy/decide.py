"""The heart: what is -> what should be done.

`decide` tries RULES from top to bottom; the first that has something to say makes
the plan.  A rule sees one `World` and asks for one `Plan`; it does nothing itself.
The rules about getting a claim are in `obtain`, those about the end in `dispose`, and
those in between, while the volume is there, are here.

The same call is made twice for anything irreversible: first on the caches (gate 1),
then on a live read (gate 2).  The plan's status is written before its actions
(gate 3), a DELETE carries the uid and resourceVersion that were read (gate 4), and
`evc.policy.release` is gate 5.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from evc.model.core import PersistentVolumeClaim
from evc.model.evc import EphemeralVolumeClaim
from evc.policy import template
from evc.policy.deadline import earlier_clock, seconds_until
from evc.policy.dispose import deleted_by_user, leaving, orphaned, overdue, retaining, tombstone
from evc.policy.observed import Observed
from evc.policy.obtain import adopt, conflict, gone, provision, withdrawn
from evc.policy.plan import Note, PatchClaim, Plan, UpdateClaim
from evc.policy.reasons import EventReason, Reason
from evc.policy.status import Summary, decided, finished, held_by, refused
from evc.policy.usage import NAMES_SHOWN, Hold, makes_users, stamp
from evc.policy.world import World

OWNER_RECHECK_SECONDS = 30.0
"""How often to ask again an owner that is not watched."""

Rule = Callable[[World], Plan | None]


def decide(observed: Observed, now: datetime) -> Plan:
    """Return what to do about one EphemeralVolumeClaim; total, and a function of values only.

    What is read live is decided by the earlier of two clocks: creation, deletion and most
    ends are dated by the API server, and if our clock is ahead of its, no deadline and no
    settle time may end early for that.
    """
    now = earlier_clock(observed, now)
    if observed.evc is None:
        return orphaned(observed, now)
    if observed.claim is not None and observed.claim.metadata.name != observed.evc.claim_name:
        return Plan()  # found by its mark before the cache knew the object, whose event follows
    world = World(observed, observed.evc, now)
    plan = next(plan for plan in (rule(world) for rule in RULES) if plan is not None)
    return _following_template(world, plan)


def closed(evc: EphemeralVolumeClaim | None, claim: PersistentVolumeClaim | None) -> bool:
    """Whether pods and owners change nothing any more: there is no volume to judge.

    Either both are gone, or the object is a record, or the deletion that was durably
    decided has been carried out.
    """
    if evc is None or evc.metadata.deleting:
        return claim is None
    return (decided(evc) and claim is None) or finished(evc) is not None


def departing(evc: EphemeralVolumeClaim | None, claim: PersistentVolumeClaim | None) -> bool:
    """Whether only the pods with the claim matter any more, and not who would make others.

    Its DELETE was sent, and was either decided or came with that of its object.
    """
    if claim is None or not claim.metadata.deleting:
        return False
    if evc is None or evc.metadata.deleting:
        return True
    return decided(evc) and template.ours(claim, evc)


def invalid(world: World) -> Plan | None:
    """The object cannot be acted on: say what to change, touch nothing."""
    problem = template.problem(world.evc)
    if not problem or (world.decided and world.vanished) or world.reason == Reason.RETAINING:
        return None
    if world.decided and world.terminating:
        return Plan()  # what was decided stands; nothing is left to decide
    status = world.status(
        Summary(Reason.INVALID, problem, stalled=True),
        first_used_time=world.evc.status.first_used_time,
        deletion_time=None,
        owners=world.evc.status.owners,
    )
    return world.plan(status, note=Note("Warning", Reason.INVALID, "Validate", problem))


def in_use(world: World) -> Plan | None:
    """Something holds the volume; this also takes back a deletion that was not sent yet."""
    holds = world.usage.holds
    if not holds:
        return None
    text = f"held by {_listed(holds)}"
    again = OWNER_RECHECK_SECONDS if _unwatched(world) else None
    reason = Reason.IN_USE if world.used else Reason.WAITING
    note = None
    if world.reason in (Reason.DRAINING, Reason.RELEASING, Reason.HELD):
        note = Note(
            "Normal", EventReason.DELETION_CANCELLED, "Use", f"the countdown was cancelled: {text}"
        )
    status = world.status(Summary(reason, text, ready=True))
    return world.plan(status, note=note, also=_guests(world), requeue_after=again)


def ask_owners(world: World) -> Plan | None:
    """No pod and no Job holds it, but an owner might that only a live read can judge."""
    return Plan(irreversible=True) if world.used and world.unseen_owners else None


def waiting(world: World) -> Plan | None:
    """Nobody used it yet and there is time left."""
    due = world.due_time
    if world.used or due <= world.now:
        return None
    end = "is let go of" if world.retains else "expires"
    text = f"no designated pod has used the volume yet; it {end} at {stamp(due)}"
    return world.plan(
        world.status(Summary(Reason.WAITING, text, ready=True)),
        requeue_after=seconds_until(due, world.now),
    )


def on_hold(world: World) -> Plan | None:
    """The work is over, and a person asked to keep the volume."""
    if not world.on_hold:
        return None
    where = "spec.hold" if world.evc.spec.hold else "annotation evc.dev/hold on the claim"
    end = "let go of" if world.retains else "deleted"
    text = f"kept by {where}; without it, it would be {end} at {stamp(world.due_time)}"
    note = Note("Normal", Reason.HELD, "Hold", text)
    return world.plan(world.status(Summary(Reason.HELD, text, ready=True)), note=note)


def draining(world: World) -> Plan | None:
    """The work is over and the grace period runs."""
    due = world.due_time
    if due <= world.now:
        return None
    end = "kept, and let go of," if world.retains else "deleted"
    text = f"{world.evidence}; the volume will be {end} at {stamp(due)}"
    return world.plan(
        world.status(Summary(Reason.DRAINING, text, ready=True)),
        requeue_after=seconds_until(due, world.now),
    )


RULES: tuple[Rule, ...] = (
    deleted_by_user,
    tombstone,
    invalid,
    retaining,
    gone,
    provision,
    adopt,
    withdrawn,
    conflict,
    leaving,
    in_use,
    ask_owners,
    waiting,
    on_hold,
    draining,
    overdue,
)


def _unwatched(world: World) -> bool:
    """Whether something holds whose end wakes nobody: no informer maps it to this object."""
    by_pod_only = any(
        not makes_users(job.spec.template, world.claim_name, world.evc)
        for job in world.observed.jobs
    )
    owners = world.observed.owners
    return by_pod_only or any(owner.ending is None and not owner.watched for owner in owners)


def _guests(world: World) -> tuple[Note, ...]:
    """Warn of each holder that is not designated, when status names it for the first time."""
    before, now = world.evc.status.held_by, held_by(hold.name for hold in world.usage.holds)
    known = before.names if before is not None else ()
    shown = now.names if now is not None else ()
    return tuple(
        Note(
            "Warning",
            EventReason.NOT_DESIGNATED,
            "Use",
            f"{name} references the volume, but podSelector does not match it: it holds the"
            " volume, and its work counts for nothing else",
        )
        for name in world.usage.strangers
        if name in shown and name not in known
    )


def _following_template(world: World, plan: Plan) -> Plan:
    """Add the update of a claim whose template was changed."""
    claim = world.mine
    over = finished(world.evc) is not None
    if claim is None or claim.metadata.deleting or over or plan.irreversible or plan.actions:
        return plan
    if template.problem(world.evc):
        return plan
    patch, manifest = template.remark(claim, world.evc), template.update(claim, world.evc)
    if patch is not None:
        # Confirmed live: a reference to an object that is gone deletes the claim.
        return replace(plan, actions=(PatchClaim(claim, patch),), irreversible=True)
    if manifest is not None:
        return replace(plan, actions=(UpdateClaim(claim, manifest),))
    return plan


def update_refused(world: World, error: str) -> Plan:
    """Return the plan that records that the API server refused a change of the template.

    The volume's life goes on, so Ready keeps its reason; Stalled says that the spec is not
    what there is, until the claim follows it (`World.refusal`).
    """
    text = f"could not update PersistentVolumeClaim {world.claim_name}: {error}"
    note = Note("Warning", EventReason.UPDATE_REFUSED, "Update", text)
    status = refused(world.evc, text, world.now.replace(microsecond=0))
    return Plan(status, notes=(note,)) if status != world.evc.status else Plan()


def _listed(holds: tuple[Hold, ...]) -> str:
    shown = ", ".join(f"{hold.name} ({hold.why})" for hold in holds[:NAMES_SHOWN])
    more = len(holds) - NAMES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
