"""The parts of a status, each a function of the facts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import msgspec

from evc.model.core import PersistentVolumeClaim
from evc.model.evc import (
    ClaimReference,
    EphemeralVolumeClaim,
    EphemeralVolumeClaimStatus,
    HeldBy,
)
from evc.model.meta import Condition
from evc.policy.reasons import FINISHED, READY, RECONCILING, STALLED, USED, EventReason, Reason
from evc.policy.usage import NAMES_SHOWN


@dataclass(frozen=True)
class Summary:
    """The answer to "how is it?", from which all conditions follow.

    kstatus reads Stalled and Reconciling before Ready, so all are written from the
    first visit on: a custom resource without Ready would count as done.
    """

    reason: Reason
    message: str
    ready: bool = False
    reconciling: bool = False
    stalled: bool = False
    finished: bool = False


def ready_reason(evc: EphemeralVolumeClaim) -> str:
    """Return the reason status gives at the moment; empty before the first visit."""
    ready = evc.status.condition(READY)
    return ready.reason if ready is not None else ""


def decided(evc: EphemeralVolumeClaim) -> bool:
    """Whether the deletion is durably decided (gate 3)."""
    return ready_reason(evc) == Reason.RELEASING.value


def finished(evc: EphemeralVolumeClaim) -> Condition | None:
    """Return since when the object is only a record; None if it still acts."""
    found = evc.status.condition(FINISHED)
    return found if found is not None and found.status == "True" else None


def conditions(
    evc: EphemeralVolumeClaim, summary: Summary, used: bool, now: datetime, refusal: str = ""
) -> tuple[Condition, ...]:
    """Return the five conditions; lastTransitionTime moves only with the status.

    ``refusal`` is why the claim does not follow its template, if it does not.
    """
    reason, message = summary.reason.value, summary.message
    wanted = (
        (READY, summary.ready, reason, message),
        (
            USED,
            used,
            "PodStarted" if used else "NotStarted",
            "a container of a designated pod started" if used else "no designated pod started yet",
        ),
        (
            FINISHED,
            summary.finished,
            reason if summary.finished else "NotFinished",
            message if summary.finished else "",
        ),
        (RECONCILING, summary.reconciling, reason, message if summary.reconciling else ""),
        (STALLED, True, EventReason.UPDATE_REFUSED.value, refusal)
        if refusal
        else (STALLED, summary.stalled, reason, message if summary.stalled else ""),
    )
    return tuple(_condition(evc, kind, on, why, text, now) for kind, on, why, text in wanted)


def refused(evc: EphemeralVolumeClaim, text: str, now: datetime) -> EphemeralVolumeClaimStatus:
    """Return the object's status with the refusal of a template change in Stalled."""
    stalled = _condition(evc, STALLED, True, EventReason.UPDATE_REFUSED.value, text, now)
    others = (c for c in evc.status.conditions if c.type != STALLED)
    return msgspec.structs.replace(evc.status, conditions=(*others, stalled))


def _condition(
    evc: EphemeralVolumeClaim, kind: str, on: bool, reason: str, message: str, now: datetime
) -> Condition:
    status = "True" if on else "False"
    old = evc.status.condition(kind)
    since = old.last_transition_time if old is not None and old.status == status else now
    return Condition(kind, status, reason, message[:1024], since, evc.metadata.generation)


def claim_reference(
    claim: PersistentVolumeClaim | None, known: ClaimReference | None
) -> ClaimReference | None:
    """Return what is known of our claim; the last known facts once it is gone."""
    if claim is None:
        return known
    return ClaimReference(
        name=claim.metadata.name,
        uid=claim.metadata.uid,
        volume_name=claim.spec.volume_name or None,
        capacity=claim.status.capacity.storage or claim.spec.resources.requests.storage or None,
        storage_class_name=claim.spec.storage_class_name,
    )


def held_by(holders: Iterable[str]) -> HeldBy | None:
    """Return the short form of who holds, sorted so that equal worlds give equal status."""
    names = sorted(holders)
    if not names:
        return None
    shown = tuple(names[:NAMES_SHOWN])
    more = len(names) - len(shown)
    summary = ", ".join(shown) + (f" and {more} more" if more else "")
    return HeldBy(len(names), shown, summary)
