"""When a volume is due, and what is to be done with it then."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from evc.model.evc import EphemeralVolumeClaim, OutcomeRule
from evc.policy.observed import Observed
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


def outcome_rule(evc: EphemeralVolumeClaim, usage: Usage) -> OutcomeRule:
    """Return the rule for how it ended (or, while it has not, for never having been used)."""
    if usage.first_used is None:
        rule = evc.spec.on_expiry
    else:
        rule = evc.spec.on_failure if usage.failed else evc.spec.on_success
    return rule or OutcomeRule()


def due(evc: EphemeralVolumeClaim, usage: Usage) -> datetime | None:
    """Return when to act; None while something holds the volume.

    Used: max(created + minimumWaitSeconds, finished + grace), where the grace period is
    the outcome's own or else gracePeriodSeconds.  Never used: created + expirySeconds
    (+ onExpiry.gracePeriodSeconds).
    """
    if usage.holds:
        return None
    spec, grace = evc.spec, outcome_rule(evc, usage).grace_period_seconds
    if usage.finished is None:
        return after(created(evc), spec.expiry_seconds + (grace or 0))
    if grace is None:
        grace = spec.grace_period_seconds
    return max(after(created(evc), spec.minimum_wait_seconds), after(usage.finished, grace))


def after(time: datetime, seconds: int) -> datetime:
    """Return a later time; the end of time if there is no such year."""
    try:
        return time + timedelta(seconds=seconds)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)


def earlier_clock(observed: Observed, now: datetime) -> datetime:
    """Return the time by our clock, or by the API server's if that is behind it.

    Its time is cut to whole seconds, so the whole second counts as begun and ended: a clock
    in step with it must not wait for the next one.
    """
    if observed.time is None:
        return now
    return min(now, after(observed.time, 1))


def seconds_until(deadline: datetime, now: datetime) -> float:
    """Return the time left, never negative."""
    return max(0.0, (deadline - now).total_seconds())
