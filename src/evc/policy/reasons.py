"""Every word the operator uses in conditions and events, each with its meaning."""

from __future__ import annotations

from enum import StrEnum

READY = "Ready"
USED = "Used"
FINISHED = "Finished"
RECONCILING = "Reconciling"
STALLED = "Stalled"


class Reason(StrEnum):
    """Reason of the Ready condition (the STATUS column) and of the event that announces it."""

    meaning: str

    def __new__(cls, value: str, meaning: str) -> Reason:
        """Make a member that is its own name on the wire and knows what it means."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    PROVISIONING = "Provisioning", "The PersistentVolumeClaim is being created."
    PROVISIONING_FAILED = (
        "ProvisioningFailed",
        "The API server refused the PersistentVolumeClaim; it is tried again with backoff.",
    )
    WAITING = "Waiting", "The volume is there and no designated pod has used it yet."
    IN_USE = "InUse", "A designated pod used it, and something still holds it."
    DRAINING = "Draining", "All work is over; deletion comes at status.deletionTime."
    HELD = "Held", "It would be deleted, but hold is set on this object or on the volume."
    RELEASING = "Releasing", "Deletion is decided; the PersistentVolumeClaim is on its way out."
    DELETED = "Deleted", "The work was over, and the volume is gone."
    EXPIRED = "Expired", "No designated pod ever used it within expirySeconds; it is gone."
    LOST = "Lost", "Somebody else deleted the volume after it was used; it is not made again."
    CONFLICT = (
        "Conflict",
        "A PersistentVolumeClaim of that name exists and is not ours; it stays untouched.",
    )
    INVALID = "Invalid", "The object asks for something that cannot be done; the message says what."
