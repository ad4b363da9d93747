"""Random lives: no violation in any of them, with all the faults there are.

``SIM_LIVES`` sets how many (CI: 10,000), ``SIM_SEED`` the first seed.  A failure prints
``seed@commit``; ``PYTHONPATH=test python -m sim SEED --trace`` replays it.
"""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from sim.faults import REQUEST_FAULTS, STREAM_FAULTS
from sim.life import live

LIVES = int(os.environ.get("SIM_LIVES", "600"))
FIRST = int(os.environ.get("SIM_SEED", "0"))
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


@pytest.mark.timeout(600)
def test_no_life_violates_an_invariant(capsys: pytest.CaptureFixture[str]) -> None:
    faults, bad, made, special = Counter[str](), [], Counter[str](), Counter[str]()
    for seed in range(FIRST, FIRST + LIVES):
        verdict = live(seed)
        faults.update(verdict.faults)
        special.update(filter(None, [verdict.special]))
        made.update(requests=verdict.requests, created=verdict.created, deleted=verdict.deleted)
        bad += [f"{seed}@{commit()}: {violation}" for violation in verdict.violations[:3]]
    with capsys.disabled():
        kinds = f"{LIVES} lives, of them {dict(special)}"
        print(f"\n{kinds}, {dict(made)}, faults {dict(sorted(faults.items()))}")
    assert not bad, "\n".join([f"{len(bad)} violations, the first:", *bad[:SHOWN]])
    if LIVES >= 1000:
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
