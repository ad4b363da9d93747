"""Every word the operator uses in conditions and events, each with its meaning."""

from __future__ import annotations

from enum import StrEnum
from typing import Self

READY = "Ready"
USED = "Used"
FINISHED = "Finished"
RECONCILING = "Reconciling"
STALLED = "Stalled"


CONDITIONS = {
    READY: "True while the object is in the state its spec asks for; its reason is the STATUS"
    " column. True also once it has finished, so that tools that wait for it go on.",
    USED: "True once a container of a designated pod has started with the volume.",
    FINISHED: "True once the volume is gone, or no longer ours; nothing is done any more.",
    RECONCILING: "True while the operator creates, takes over or deletes (kstatus: InProgress).",
    STALLED: "True while nothing goes on until somebody changes something (kstatus: Failed).",
}
"""Every condition type and what it means."""


class _Explained(StrEnum):
    """Words that know what they mean."""

    meaning: str

    def __new__(cls, value: str, meaning: str) -> Self:
        """Make a member that is its own name on the wire."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member


class Reason(_Explained):
    """Reason of the Ready condition (the STATUS column) and of the event that announces it."""

    PROVISIONING = "Provisioning", "The PersistentVolumeClaim is being created."
    PROVISIONING_FAILED = (
        "ProvisioningFailed",
        "The API server refused the PersistentVolumeClaim; it is tried again with backoff.",
    )
    WAITING = "Waiting", "The volume is there and no designated pod has used it yet."
    IN_USE = "InUse", "A designated pod used it, and something still holds it."
    DRAINING = "Draining", "All work is over; deletion comes at status.deletionTime."
    HELD = "Held", "It would be deleted, but hold is set on this object or on the volume."
    CLAIM_NOT_FOUND = (
        "ClaimNotFound",
        "The PersistentVolumeClaim to take over (existingClaimName) does not exist yet.",
    )
    RETAINING = "Retaining", "The work is over and the volume is to stay: our marks come off it."
    RETAINED = "Retained", "The work is over, and the volume stays; it is no longer ours."
    RELEASING = "Releasing", "Deletion is decided; the PersistentVolumeClaim is on its way out."
    DELETED = "Deleted", "The work was over, and the volume is gone."
    EXPIRED = "Expired", "No designated pod ever used it within expirySeconds; it is gone."
    LOST = "Lost", "Somebody else deleted the volume after it was used; it is not made again."
    CONFLICT = (
        "Conflict",
        "A PersistentVolumeClaim of that name exists and is not ours; it stays untouched.",
    )
    INVALID = "Invalid", "The object asks for something that cannot be done; the message says what."


UNTOLD = frozenset(
    {
        Reason.PROVISIONING,
        Reason.WAITING,
        Reason.IN_USE,
        Reason.DRAINING,
        Reason.RELEASING,
        Reason.DELETED,
        Reason.RETAINED,
    }
)
"""Reasons that no event announces: the ordinary course, of which status tells as much, or
what follows from an event that was told already."""


class EventReason(_Explained):
    """Reason of an event that is not a change of the STATUS column."""

    DELETING = "Deleting", "The DELETE was sent; the note says whose end it followed."
    EXPIRING = "Expiring", "The DELETE was sent because no designated pod ever used the volume."
    RELEASED = (
        "Released",
        "Completed pods no longer pin a PersistentVolumeClaim that somebody else deleted, or were"
        " deleted themselves (completedPods: Delete).",
    )
    DELETION_CANCELLED = (
        "DeletionCancelled",
        "New work appeared before the DELETE was sent: the countdown was taken back.",
    )
    NOT_DESIGNATED = (
        "NotDesignated",
        "A pod references the volume without matching podSelector: it holds, and is no use.",
    )
    CLAIM_VANISHED = (
        "ClaimVanished",
        "Somebody else deleted the volume before it was used: it is made again.",
    )
    UPDATE_REFUSED = (
        "UpdateRefused",
        "The API server refused a change of the template; the volume lives on as it was, Stalled"
        " says so, and it is tried again.",
    )
