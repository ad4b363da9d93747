"""Time limits that the API client asks for."""

from __future__ import annotations

import threading

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
