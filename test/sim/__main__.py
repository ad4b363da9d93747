"""Replay a life: ``python -m sim SEED [--trace]``, or many: ``python -m sim FIRST --lives N``."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from sim.choices import Seeded
from sim.life import live
from sim.profile import draw


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m sim", description=__doc__)
    parser.add_argument("seed", type=int)
    parser.add_argument("--trace", action="store_true", help="print every write, fault and visit")
    parser.add_argument("--lives", type=int, default=1, help="live so many seeds from this one on")
    args = parser.parse_args()
    began, bad, faults = time.monotonic(), 0, Counter[str]()
    for seed in range(args.seed, args.seed + args.lives):
        if args.trace:
            print(draw(Seeded(seed)))
        verdict = live(seed, print if args.trace else None)
        faults.update(verdict.faults)
        bad += bool(verdict.violations)
        for violation in verdict.violations:
            print(f"seed {seed}: {violation}")
    print(
        f"{args.lives} lives, {bad} bad, {time.monotonic() - began:.1f} s; faults: {dict(faults)}"
    )
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
