"""When a volume is due for deletion."""

from __future__ import annotations

from datetime import datetime, timedelta

from evc.model.evc import EphemeralVolumeClaim
from evc.policy.usage import Usage

SETTLE = timedelta(seconds=10)
"""How long after its last container ended a pod's volume is still taken to be mounted.

A terminal phase is not an unmount (kubernetes#65552): the kubelet reports the phase
first and unmounts afterwards, normally within a second or two.
"""


def created(evc: EphemeralVolumeClaim) -> datetime:
    """Return the API server's creation time, from which N and M count."""
    assert evc.metadata.creation_timestamp is not None  # every stored object has one
    return evc.metadata.creation_timestamp


def due(evc: EphemeralVolumeClaim, usage: Usage) -> datetime | None:
    """Return when to delete; None while something holds the volume.

    Used: max(created + minimumWaitSeconds, finished + gracePeriodSeconds).
    Never used: created + expirySeconds.
    """
    if usage.holds:
        return None
    spec = evc.spec
    if usage.finished is None:
        return created(evc) + timedelta(seconds=spec.expiry_seconds)
    return max(
        created(evc) + timedelta(seconds=spec.minimum_wait_seconds),
        usage.finished + timedelta(seconds=spec.grace_period_seconds),
    )


def seconds_until(deadline: datetime, now: datetime) -> float:
    """Return the time left, never negative."""
    return max(0.0, (deadline - now).total_seconds())
