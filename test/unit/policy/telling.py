"""When status tells of something: news at once, details of a new volume with the next news."""

from __future__ import annotations

from msgspec.structs import replace

from evc.policy.decide import decide, update_refused
from evc.policy.observed import Observed
from evc.policy.reasons import Reason
from evc.policy.world import World
from unit.builders import (
    EvcBuilder,
    at,
    claim,
    job,
    observed,
    pod,
    provided,
    still,
    volume,
    workflow,
)

from .cases import UNCHANGED, Case, asked_for, seen_claim

unbound = claim().marked_for(provided())
worker = pod().worker()
late_job, late_pod = job().created(at=500), worker.created(at=500)


def told(seen: Observed, now: float) -> EvcBuilder:
    """Return the object with the status that this world gives it."""
    status = decide(seen, at(now)).status
    assert seen.evc is not None
    assert status is not None
    return EvcBuilder(replace(seen.evc, status=status))


def refused_before() -> EvcBuilder:
    """An object whose last change was refused, and needs no change any more."""
    seen = observed(waiting, volume())
    assert seen.evc is not None
    plan = update_refused(World(seen, seen.evc, at(2)), "not yet")
    assert plan.status is not None
    return EvcBuilder(replace(seen.evc, status=plan.status))


waiting = told(observed(asked_for, unbound), 2)
settled = told(observed(provided(), volume()), 100)


def waits(sentence: str, seen: Observed, now: float, again: float) -> Case:
    """Nothing is written yet."""
    return Case(sentence, seen, now, UNCHANGED, tells=(), again=again)


def tells(sentence: str, seen: Observed, now: float, reason: Reason) -> Case:
    """It is in status at once."""
    return Case(sentence, seen, now, reason)


TELLING = (
    waits(
        "A new volume that a Job waits for is told of when that uses it",
        observed(asked_for, volume(), job(), worker.of(job())),
        2,
        again=9.0,
    ),
    waits(
        "so is one that a bare pod waits for",
        observed(asked_for, unbound, worker),
        10.5,
        again=0.5,
    ),
    tells(
        "but ten seconds after it was made at the latest",
        observed(asked_for, volume(), job(), worker.of(job())),
        11,
        Reason.WAITING,
    ),
    tells(
        "One that nobody waits for yet is ready at once, for whoever waits for that",
        observed(asked_for, unbound),
        2,
        Reason.WAITING,
    ),
    Case(
        "Use is told at once, and all the rest with it",
        observed(asked_for, volume(), job(), worker.of(job()).running(since=3)),
        3,
        Reason.IN_USE,
        tells=(),
        status={"claim": seen_claim, "first_used_time": at(3)},
    ),
    waits(
        "The volume's name and size wait for the next news",
        observed(waiting, volume()),
        3,
        again=8.0,
    ),
    Case(
        "but ten seconds at the most, too",
        observed(waiting, volume()),
        11,
        Reason.WAITING,
        status={"claim": seen_claim},
    ),
    waits(
        "also when it is used before its name is in sight",
        observed(
            told(observed(asked_for, unbound, worker.running(since=3)), 3),
            volume(),
            worker.running(since=3),
        ),
        4,
        again=7.0,
    ),
    waits(
        "Who waits for an old volume is told of when it is used",
        observed(settled, volume(), late_job, late_pod.of(late_job)),
        501,
        again=9.0,
    ),
    tells(
        "but not later than ten seconds after the first who waits was made",
        observed(settled, volume(), late_pod, pod("next").worker().created(at=509)),
        510,
        Reason.WAITING,
    ),
    tells(
        "That nobody waits any more is news",
        observed(told(observed(settled, volume(), late_pod), 510), volume()),
        511,
        Reason.WAITING,
    ),
    tells(
        "A spec that was seen is news",
        observed(waiting.meta(generation=2), volume()),
        3,
        Reason.WAITING,
    ),
    tells(
        "An owner that must be remembered is news",
        observed(
            asked_for,
            volume(),
            worker.owned_by(workflow()),
            live=True,
            owners=(still(seen=workflow()),),
        ),
        3,
        Reason.WAITING,
    ),
    tells(
        "That the claim follows its template again is news",
        observed(refused_before(), volume()),
        3,
        Reason.WAITING,
    ),
    tells(
        "With a clock that is behind, everything is news",
        observed(asked_for, volume(), job()),
        0,
        Reason.WAITING,
    ),
    Case(
        "A guest is news, and is warned of",
        observed(waiting, volume(), pod("guest").using()),
        3,
        Reason.WAITING,
        tells=("NotDesignated",),
    ),
)
