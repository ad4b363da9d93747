"""Random lives: no violation in any of them, with all the faults there are.

``SIM_LIVES`` sets how many (CI: 10,000), ``SIM_SEED`` the first seed.  A failure prints
``seed@commit``; ``PYTHONPATH=test python -m sim SEED --trace`` replays it.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from sim.faults import REQUEST_FAULTS, STREAM_FAULTS
from sim.life import Verdict, live

LIVES = int(os.environ.get("SIM_LIVES", "600"))
FIRST = int(os.environ.get("SIM_SEED", "0"))
MANY = 1000
SHOWN = 10


def commit() -> str:
    """The commit these seeds belong to."""
    where = Path(__file__).parent
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=where,
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.strip() or "unknown"


def lives() -> Iterator[tuple[int, Verdict]]:
    """Live all seeds, on every core if they are many."""
    seeds = range(FIRST, FIRST + LIVES)
    if LIVES < MANY:
        yield from ((seed, live(seed)) for seed in seeds)
        return
    with multiprocessing.Pool() as pool:
        yield from zip(seeds, pool.imap(live, seeds, chunksize=50), strict=True)


@pytest.mark.timeout(600)
def test_no_life_violates_an_invariant(capsys: pytest.CaptureFixture[str]) -> None:
    faults, bad, made, special = Counter[str](), [], Counter[str](), Counter[str]()
    for seed, verdict in lives():
        faults.update(verdict.faults)
        special.update(filter(None, [verdict.special]))
        made.update(requests=verdict.requests, created=verdict.created, deleted=verdict.deleted)
        bad += [f"{seed}@{commit()}: {violation}" for violation in verdict.violations[:3]]
    with capsys.disabled():
        kinds = f"{LIVES} lives, of them {dict(special)}"
        print(f"\n{kinds}, {dict(made)}, faults {dict(sorted(faults.items()))}")
    assert not bad, "\n".join([f"{len(bad)} violations, the first:", *bad[:SHOWN]])
    if LIVES >= MANY:
        wanted = {*REQUEST_FAULTS, *STREAM_FAULTS, "pause", "kill", "dry", "limited", "herd"}
        missing = wanted - {*faults, *special}
        assert not missing, f"never met: {missing}"


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_seed_is_one_life(seed: int) -> None:
    one: list[str] = []
    two: list[str] = []
    live(seed, one.append)
    live(seed, two.append)
    assert one == two
    assert one
