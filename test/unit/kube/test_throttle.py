"""The client-side limit, in virtual time."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evc.kube.throttle import TokenBucket


class Time:
    """Moves when somebody waits."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


def bucket(time: Time, qps: float, burst: int) -> TokenBucket:
    return TokenBucket(qps=qps, burst=burst, monotonic=time.monotonic, wait=time.wait)


def test_a_burst_goes_through_and_then_the_rate_holds() -> None:
    time = Time()
    limit = bucket(time, qps=10.0, burst=3)
    for _ in range(6):
        limit.take()
    assert time.waits == pytest.approx([0.1, 0.1, 0.1])


def test_an_idle_hour_fills_it_to_the_burst_and_no_further() -> None:
    time = Time()
    limit = bucket(time, qps=10.0, burst=3)
    time.now = 3600.0
    for _ in range(4):
        limit.take()
    assert time.waits == pytest.approx([0.1])


@given(
    st.floats(0.5, 100.0),
    st.integers(1, 20),
    st.lists(st.floats(0.0, 2.0), min_size=1, max_size=60),
)
def test_no_interval_sees_more_than_the_burst_and_the_rate(
    qps: float, burst: int, idle: list[float]
) -> None:
    time = Time()
    limit = bucket(time, qps, burst)
    sent: list[float] = []
    for pause in idle:
        time.now += pause
        limit.take()
        sent.append(time.now)
    for first, start in enumerate(sent):
        for last, end in enumerate(sent[first:], first):
            assert last - first + 1 <= burst + qps * (end - start) + 1e-6


def test_threads_that_come_together_get_turns_of_their_own() -> None:
    time = Time()
    turns: list[float] = []
    limit = TokenBucket(qps=2.0, burst=1, monotonic=time.monotonic, wait=turns.append)
    together = threading.Barrier(8)

    def take() -> None:
        together.wait(10.0)
        limit.take()

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10.0)
    assert sorted(turns) == [0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5]
