"""SIGTERM and SIGINT stop the operator, whichever thread they interrupt."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from evc.__main__ import stop_signal

PATIENCE = 10.0
SIGNALS = (signal.SIGTERM, signal.SIGINT)


@pytest.fixture
def handlers() -> Iterator[None]:
    """Put the handlers of the test's process back."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    signal.set_wakeup_fd(-1)
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_heard_though_the_main_thread_runs_no_instruction(
    handlers: None, number: signal.Signals
) -> None:
    stop = stop_signal()
    waits = threading.Condition()
    heard: list[bool] = []

    def interrupted() -> None:
        with waits:  # not before the main thread waits
            pass
        signal.pthread_kill(threading.get_ident(), number)
        heard.append(stop.wait(PATIENCE))
        with waits:
            waits.notify()

    with waits:
        threading.Thread(target=interrupted).start()
        waits.wait(2 * PATIENCE)
    assert heard == [True]


def test_only_the_first_signal_counts(handlers: None) -> None:
    stop = stop_signal()
    assert not stop.is_set()
    for number in (*SIGNALS, *SIGNALS):
        signal.raise_signal(number)
    assert stop.wait(PATIENCE)
