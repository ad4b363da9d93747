"""Print the table of seeded bugs; exit 1 if one survives."""

from __future__ import annotations

import sys

from seeded_bugs.bugs import BUGS
from seeded_bugs.hunt import hunt


def main() -> int:
    """Hunt all bugs, or those whose names begin with an argument."""
    survivors, chosen = 0, [bug for bug in BUGS if bug.name.startswith(tuple(sys.argv[1:]) or "")]
    print(f"{'bug':30} {'seed':>5} {'lives':>5}  killed by")
    for bug in chosen:
        kill = hunt(bug)
        survivors += kill is None
        if kill is None:
            print(f"{bug.name:30} {'-':>5} {'-':>5}  SURVIVED")
        else:
            print(f"{bug.name:30} {kill.seed:5} {kill.lives:5}  {kill.violation}", flush=True)
        if bug.note:
            print(f"{'':43}({bug.note})")
    print(f"{len(chosen) - survivors} of {len(chosen)} killed")
    return bool(survivors)


if __name__ == "__main__":
    sys.exit(main())
