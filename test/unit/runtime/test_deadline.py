"""Time limits that the API client asks for."""

from __future__ import annotations

import threading

import pytest

from evc.runtime.deadline import Deadline

from .fakes import FakeClock


def test_time_runs_out_while_the_work_goes_on() -> None:
    clock = FakeClock()
    deadline = Deadline(clock)
    with deadline.within(10.0):
        clock.advance(4.0)
        assert deadline.left() == 6.0
        clock.advance(7.0)
        assert deadline.left() == -1.0
    assert deadline.left() is None, "what comes after has any time"


def test_without_a_limit_there_is_any_time() -> None:
    deadline = Deadline(FakeClock())
    assert deadline.left() is None
    with deadline.within(None):
        assert deadline.left() is None


def test_each_thread_has_its_own() -> None:
    deadline = Deadline(FakeClock())
    seen: list[float | None] = []
    with deadline.within(10.0):
        other = threading.Thread(target=lambda: seen.append(deadline.left()))
        other.start()
        other.join(10.0)
    assert seen == [None]


def test_calls_made_together_have_the_time_of_the_one_who_waits() -> None:
    deadline = Deadline(FakeClock())
    meet = threading.Barrier(3, timeout=10.0)  # broken unless all are under way at once

    def call() -> float | None:
        meet.wait()
        return deadline.left()

    with deadline.within(10.0):
        assert deadline.together([call, call, call]) == [10.0, 10.0, 10.0]
        assert deadline.left() == 10.0, "the one who waited still has its own"


def test_an_error_of_a_call_made_together_is_raised_when_all_are_over() -> None:
    over: list[str] = []

    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        Deadline(FakeClock()).together([fail, lambda: over.append("other")])
    assert over == ["other"]
