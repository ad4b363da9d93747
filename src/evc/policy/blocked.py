"""What keeps a volume, in one word for the metrics: read off the status a person sees.

Status is the one record of it that survives a restart, so whoever asks needs no memory of
decisions.  The phrases that tell the cases apart are written by the rules, from here.
"""

from __future__ import annotations

from enum import StrEnum

from evc.model.evc import HeldBy
from evc.model.meta import Condition
from evc.policy.reasons import Reason

MOUNTED = "may still be mounted"
NOT_READABLE = "may not be read"
NOT_LISTABLE = "may not be listed"
LIMITED = "deletions are limited"


class Blocker(StrEnum):
    """Who or what a volume waits for before it can go."""

    PODS = "pods"
    OWNER = "owner"
    HOLD = "hold"
    LIMIT = "limit"
    ATTACHMENT = "attachment"
    FINALIZER = "finalizer"
    RIGHTS = "rights"


# Plain strings: every claim is looked at whenever somebody scrapes, and to read a member off
# an enumeration takes longer than to compare it.
_HELD, _DRAINING, _RELEASING = Reason.HELD.value, Reason.DRAINING.value, Reason.RELEASING.value
_WITH_VOLUME = frozenset({Reason.WAITING.value, Reason.IN_USE.value, _RELEASING})


def blocker(ready: Condition | None, held_by: HeldBy | None) -> Blocker | None:
    """Return what keeps the volume of a claim with that Ready condition; None: nothing does.

    Of several the one that a person must look at: what the operator may not see, then what
    others put there, then work in progress.
    """
    if ready is None:
        return None
    if ready.reason == _HELD:
        return Blocker.HOLD
    if ready.reason == _DRAINING:
        return Blocker.LIMIT if LIMITED in ready.message else None
    if held_by is None or ready.reason not in _WITH_VOLUME:
        return None
    return _holder(held_by.names, ready.reason, ready.message)


def _holder(names: tuple[str, ...], reason: str, message: str) -> Blocker:
    if NOT_READABLE in message or NOT_LISTABLE in message:
        return Blocker.RIGHTS
    if reason == _RELEASING and MOUNTED in message:
        return Blocker.ATTACHMENT
    if any(name.startswith("finalizer/") for name in names):
        return Blocker.FINALIZER
    if "hold" in names:
        return Blocker.HOLD
    only_pods = all(name.startswith("Pod/") for name in names)
    return Blocker.PODS if only_pods else Blocker.OWNER
