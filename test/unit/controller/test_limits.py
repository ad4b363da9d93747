"""How many volumes fall within a minute, and what stops a landslide."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evc.controller.limits import BREAKER_FLOOR, BREAKER_RECHECK, WINDOW, DeletionLimit


@dataclass
class Clock:
    """Time and the number of claims, both set by hand."""

    now: float = 0.0
    claims: int = 1_000

    def limit(self, per_minute: int = 0, max_percent: int = 0) -> DeletionLimit:
        return DeletionLimit(
            per_minute=per_minute,
            max_percent=max_percent,
            claims=lambda: self.claims,
            monotonic=lambda: self.now,
        )


@dataclass
class Minute:
    """Admissions in order of time."""

    times: list[float] = field(default_factory=list)

    def most(self) -> int:
        """Return the most admissions within any window that is open at its beginning."""
        return max(
            (sum(1 for u in self.times if t <= u < t + WINDOW) for t in self.times), default=0
        )


VOLUMES = map(str, count())


def delete(limit: DeletionLimit) -> float:
    """Delete another volume if that is admitted; return the delay."""
    volume = next(VOLUMES)
    delay = limit.delay(volume)
    if not delay:
        limit.deleted(volume)
    return delay


def admitted(limit: DeletionLimit, asked: int) -> int:
    return sum(delete(limit) == 0 for _ in range(asked))


def test_zero_switches_both_limits_off() -> None:
    assert admitted(Clock(claims=0).limit(), 5_000) == 5_000


def test_no_more_than_the_rate_pass_in_a_minute() -> None:
    clock = Clock()
    limit = clock.limit(per_minute=3)
    assert admitted(limit, 5) == 3


def test_who_comes_too_early_is_told_when_the_first_place_is_free() -> None:
    clock = Clock()
    limit = clock.limit(per_minute=2)
    assert delete(limit) == 0
    clock.now = 10
    assert delete(limit) == 0
    clock.now = 15
    assert delete(limit) == 45
    clock.now = 60
    assert delete(limit) == 0
    assert delete(limit) == 10


def test_a_refusal_takes_no_place() -> None:
    clock = Clock()
    limit = clock.limit(per_minute=1)
    admitted(limit, 100)
    clock.now = WINDOW
    assert delete(limit) == 0


@settings(database=None, derandomize=True, deadline=None)
@given(st.integers(1, 5), st.lists(st.floats(0, 40), max_size=60))
def test_no_window_ever_has_more(rate: int, pauses: list[float]) -> None:
    clock, minute = Clock(), Minute()
    limit = clock.limit(per_minute=rate)
    for pause in pauses:
        clock.now += pause
        delay = delete(limit)
        assert 0 <= delay <= WINDOW + 1e-6, "a sum of floats is not exact"
        if not delay:
            minute.times.append(clock.now)
    assert minute.most() <= rate


@settings(database=None, derandomize=True, deadline=None)
@given(st.integers(1, 5), st.integers(1, 30))
def test_who_comes_when_told_gets_through(rate: int, jobs: int) -> None:
    clock = Clock()
    limit = clock.limit(per_minute=rate)
    for _ in range(jobs):
        while delay := delete(limit):
            clock.now += delay
    assert clock.now <= WINDOW * (jobs / rate + 1)


@pytest.mark.parametrize(
    ("claims", "percent", "most"),
    [
        (1_000, 10, 100),
        (1_000, 5, 50),
        (1_000, 1, BREAKER_FLOOR),
        (10, 10, BREAKER_FLOOR),
        (0, 10, BREAKER_FLOOR),
        (200, 100, 200),
    ],
)
def test_a_share_of_all_claims_opens_the_breaker_but_never_the_first_twenty(
    claims: int, percent: int, most: int
) -> None:
    limit = Clock(claims=claims).limit(max_percent=percent)
    assert admitted(limit, 2_000) == most
    assert limit.open


def test_an_open_breaker_stays_open_whatever_happens() -> None:
    clock = Clock(claims=10)
    limit = clock.limit(max_percent=10)
    admitted(limit, BREAKER_FLOOR + 1)
    for clock.now, clock.claims in ((1.0, 10), (WINDOW + 1, 10_000), (1e9, 10**9)):
        assert delete(limit) == BREAKER_RECHECK


def test_the_share_is_of_what_there_was_before_the_minute_began() -> None:
    """Else the last of many would be a hundred percent of what is left."""
    clock = Clock(claims=100)
    limit = clock.limit(max_percent=50)
    for _ in range(50):
        assert delete(limit) == 0
        clock.claims -= 1
    assert not limit.open
    assert delete(limit) == BREAKER_RECHECK


def test_a_slow_stream_opens_nothing() -> None:
    clock = Clock(claims=100)
    limit = clock.limit(max_percent=30)
    for _ in range(200):
        assert delete(limit) == 0
        clock.now += 3


def test_a_stream_that_never_pauses_is_measured_by_what_there_was_a_minute_ago() -> None:
    clock = Clock(claims=100)
    limit = clock.limit(max_percent=50)
    for clock.claims in (100, 10_000):
        for _ in range(60):
            assert delete(limit) == 0
            clock.now += 2
    assert admitted(limit, 100) == 100


def test_a_place_is_held_until_a_minute_after_the_delete_was_answered() -> None:
    """A process that was frozen in between deletes late, and must not have company then."""
    clock = Clock()
    limit = clock.limit(per_minute=1)
    assert limit.delay("paused") == 0
    clock.now = WINDOW + 30
    assert limit.delay("another") > 0
    limit.deleted("paused")
    clock.now += WINDOW - 1
    assert limit.delay("another") == 1
    clock.now += 1
    assert limit.delay("another") == 0


def test_the_place_given_back_is_ones_own() -> None:
    """Not that of another worker, whose DELETE was accepted."""
    clock = Clock()
    limit = clock.limit(per_minute=2)
    assert limit.delay("refused") == 0
    clock.now = 10
    assert delete(limit) == 0
    limit.give_back("refused")
    clock.now = WINDOW
    assert admitted(limit, 3) == 1


def test_repeating_a_delete_takes_no_second_place() -> None:
    limit = Clock().limit(per_minute=2)
    for _ in range(5):
        assert limit.delay("unanswered") == 0
        limit.deleted("unanswered")
    assert admitted(limit, 3) == 1


def test_deletions_under_way_count_for_the_breaker() -> None:
    limit = Clock(claims=BREAKER_FLOOR).limit(max_percent=50)
    assert [limit.delay(str(n)) for n in range(BREAKER_FLOOR)] == [0] * BREAKER_FLOOR
    assert limit.delay("one too many") == BREAKER_RECHECK
    assert limit.open


def test_counting_what_has_no_place_changes_nothing() -> None:
    limit = Clock().limit(per_minute=1)
    limit.deleted("never admitted")
    assert delete(limit) == 0


def test_what_was_not_admitted_is_counted_by_what_refused_it() -> None:
    clock = Clock()
    limit = clock.limit(per_minute=1)
    admitted(limit, 3)
    assert limit.put_off == {"rate": 2, "breaker": 0}
    breaking = Clock(claims=10).limit(max_percent=10)
    admitted(breaking, BREAKER_FLOOR + 2)
    assert breaking.put_off == {"rate": 0, "breaker": 2}
