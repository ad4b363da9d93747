"""One stage for all tests of this folder, and the plans that were selected, played at once."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from faults.__main__ import table
from faults.life import Life
from faults.plans import Plan
from faults.play import Verdict, play_all
from faults.stage import Stage

PLAYED = pytest.StashKey[tuple[list[Verdict], float]]()


@pytest.fixture(scope="session")
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    with Stage.boot() as stage:
        yield stage


@pytest.fixture
def life(stage: Stage) -> Iterator[Life]:
    """A namespace and its operators, judged when the test is over."""
    life = Life(stage)
    try:
        yield life
    finally:
        life.close()
    assert not life.violations()


@pytest.fixture(scope="session")
def verdicts(request: pytest.FixtureRequest, stage: Stage) -> dict[str, Verdict]:
    """Every selected plan, played many at a time; by plan id."""
    plans = [
        plan
        for item in request.session.items
        if isinstance(item, pytest.Function) and hasattr(item, "callspec")
        if isinstance(plan := item.callspec.params.get("plan"), Plan)
    ]
    began = time.monotonic()
    found = list(play_all(stage, plans))
    request.config.stash[PLAYED] = (found, time.monotonic() - began)
    return {verdict.plan.id: verdict for verdict in found}


def pytest_terminal_summary(config: pytest.Config) -> None:
    if PLAYED in config.stash:
        table(*config.stash[PLAYED])
