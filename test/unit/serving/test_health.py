"""Readiness says whether what this process knows is complete and fresh."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from evc.serving.health import STALE_AFTER, Freshness
from evc.serving.http import Request
from unit.runtime.fakes import FakeClock


@dataclass
class Cache:
    synced: bool


class Informer:
    """What of a reflector matters here."""

    def __init__(self, resource: str, heard_at: float | None, *, synced: bool = True) -> None:
        self.resource = resource
        self.heard_at = heard_at
        self.store = Cache(synced)


def told(clock: FakeClock, *informers: Informer) -> Freshness:
    listening: Any = informers
    return Freshness(listening, clock)


def get(freshness: Freshness, path: str) -> tuple[int, str]:
    answer = freshness.routes()[path](Request("GET", path))
    return answer.code, answer.body.decode()


def test_a_fresh_and_full_cache_is_ready() -> None:
    clock = FakeClock(1000)
    assert get(told(clock, Informer("pods", 1000)), "/readyz") == (200, "ok\n")


def test_a_cache_that_is_not_full_is_not_ready() -> None:
    clock = FakeClock(1000)
    freshness = told(clock, Informer("pods", 1000, synced=False), Informer("jobs", 1000))
    assert get(freshness, "/readyz") == (503, "not ready: cache of pods is not synced\n")


@pytest.mark.parametrize(("age", "code"), [(0, 200), (STALE_AFTER, 200), (STALE_AFTER + 1, 503)])
def test_a_cache_that_heard_nothing_for_long_is_not_ready(age: float, code: int) -> None:
    clock = FakeClock(1000)
    freshness = told(clock, Informer("pods", 1000), Informer("jobs", 1000 + age))
    clock.advance(age)
    answered, body = get(freshness, "/readyz")
    assert answered == code
    assert code == 200 or body == "not ready: cache of pods is stale for 151 s\n"


def test_it_is_ready_again_when_it_hears_something() -> None:
    clock = FakeClock(1000)
    informer = Informer("pods", 1000)
    freshness = told(clock, informer)
    clock.advance(STALE_AFTER + 1)
    assert get(freshness, "/readyz")[0] == 503
    informer.heard_at = clock.monotonic()
    assert get(freshness, "/readyz")[0] == 200


def test_liveness_does_not_depend_on_the_api_server() -> None:
    """A restart would not bring it back, and would lose the caches."""
    clock = FakeClock(1000)
    freshness = told(clock, Informer("pods", None, synced=False))
    assert get(freshness, "/healthz") == (200, "ok\n")


def test_silence_is_that_of_the_worst_informer_of_a_resource() -> None:
    clock = FakeClock(1000)
    freshness = told(clock, Informer("pods", 990), Informer("pods", 970), Informer("jobs", None))
    assert freshness.silence() == {("pods",): 30, ("jobs",): float("inf")}
