"""What a decision can ask for: frozen values, carried out by `evc.controller.apply`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from evc.model.core import PersistentVolumeClaim, Pod
from evc.model.evc import EphemeralVolumeClaim, EphemeralVolumeClaimStatus
from evc.policy.reasons import EventReason, Reason


@dataclass(frozen=True)
class CreateClaim:
    """POST this PersistentVolumeClaim; a name that is taken is an error, never adopted."""

    manifest: dict[str, Any]


@dataclass(frozen=True)
class PatchClaim:
    """Merge a change into the claim, if it is still exactly the one in the patch.

    Puts our mark on a claim that is taken over, or takes it off one that is retained.
    """

    claim: PersistentVolumeClaim
    patch: dict[str, Any]


@dataclass(frozen=True)
class UpdateClaim:
    """Server-side apply what the template now says; a refusal is told and stops nothing."""

    claim: PersistentVolumeClaim
    manifest: dict[str, Any]


@dataclass(frozen=True)
class DeleteClaim:
    """DELETE the claim, if it is still exactly this one (uid and resourceVersion)."""

    claim: PersistentVolumeClaim


@dataclass(frozen=True)
class ReleaseClaim:
    """Take kubernetes.io/pvc-protection off a claim that is being deleted (gate 5)."""

    claim: PersistentVolumeClaim


@dataclass(frozen=True)
class DeletePod:
    """DELETE a completed designated pod, if it is still this one."""

    pod: Pod


@dataclass(frozen=True)
class DeleteRecord:
    """DELETE the finished EphemeralVolumeClaim itself, if it is still exactly this one."""

    evc: EphemeralVolumeClaim


Action = (
    CreateClaim | PatchClaim | UpdateClaim | DeleteClaim | ReleaseClaim | DeletePod | DeleteRecord
)


@dataclass(frozen=True)
class Note:
    """An Event to record: ``text`` with the evidence."""

    type: Literal["Normal", "Warning"]
    reason: Reason | EventReason
    action: str
    text: str


@dataclass(frozen=True)
class Plan:
    """The outcome of one decision, in the order it is carried out.

    ``status`` is written first and only if it is not None, so that what follows is
    never done without its reason being durable.  ``irreversible`` plans are decided
    a second time from a live read before anything is written.
    """

    status: EphemeralVolumeClaimStatus | None = None
    actions: tuple[Action, ...] = ()
    notes: tuple[Note, ...] = ()
    retold: Note | None = None
    """The event of the decision that has been carried out by now: told first, by a process
    that did not tell it, because the one that should have died before it could."""
    requeue_after: float | None = None
    irreversible: bool = False
