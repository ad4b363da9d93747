"""Print the table of seeded bugs; exit 1 if one survives."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Iterable

from seeded_bugs.bugs import BUGS, Bug
from seeded_bugs.hunt import Kill, hunt


def main() -> int:
    """Hunt all bugs, or those whose names begin with an argument."""
    chosen = [bug for bug in BUGS if bug.name.startswith(tuple(sys.argv[1:]) or "")]
    print(f"{'bug':30} {'seed':>5} {'lives':>5}  killed by")
    with multiprocessing.Pool() as pool:
        survivors = _print(chosen, pool.imap(_hunt, (bug.name for bug in chosen)))
    print(f"{len(chosen) - survivors} of {len(chosen)} killed")
    return bool(survivors)


def _hunt(name: str) -> Kill | None:
    return hunt(next(bug for bug in BUGS if bug.name == name))


def _print(chosen: list[Bug], kills: Iterable[Kill | None]) -> int:
    survivors = 0
    for bug, kill in zip(chosen, kills, strict=True):
        survivors += kill is None
        if kill is None:
            print(f"{bug.name:30} {'-':>5} {'-':>5}  SURVIVED")
        else:
            print(f"{bug.name:30} {kill.seed:5} {kill.lives:5}  {kill.violation}", flush=True)
        if bug.note:
            print(f"{'':43}({bug.note})")
    return survivors


if __name__ == "__main__":
    sys.exit(main())
