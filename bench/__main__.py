"""`python -m bench`: run the benchmarks that $BENCH names (all by default), write JSON and docs.

BENCH=B1,B4 selects; BENCH_QUICK=1 only proves that they work, and publishes nothing.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import traceback
from pathlib import Path

from . import report
from .result import Result, Size
from .stage import ROOT

SCENARIOS = {
    "RAW": "raw",
    "B1": "b1_decode",
    "B2": "b2_cold_start",
    "B3": "b3_relist",
    "B4": "b4_flood",
    "B5": "b5_burst",
    "B6": "b6_churn",
    "B7": "b7_calls",
    "B8": "b8_failover",
}
OUTPUT = ROOT / "build" / "bench"


def main() -> int:
    """Run them one after the other; returns 1 if one of them could not be carried out."""
    chosen = [name for name in os.environ.get("BENCH", "").upper().split(",") if name]
    unknown = set(chosen) - set(SCENARIOS)
    if unknown:
        print(f"no benchmark {', '.join(sorted(unknown))}: there are {', '.join(SCENARIOS)}")
        return 2
    size = Size(quick=os.environ.get("BENCH_QUICK", "") not in ("", "0"))
    output = OUTPUT / "quick" if size.quick else OUTPUT
    output.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    failed = []
    for name in chosen or SCENARIOS:
        print(f"{name} at {time.monotonic() - began:.0f} s", flush=True)
        try:
            _run(name, size, output)
        except Exception:
            # The others are worth having: a whole run takes half an hour.
            traceback.print_exc()
            failed.append(name)
    print(f"done in {time.monotonic() - began:.0f} s: {output}")
    if not size.quick:
        print(f"wrote {report.write(output)}")
    if failed:
        print(f"could not be carried out: {', '.join(failed)}")
    return 1 if failed else 0


def _run(name: str, size: Size, output: Path) -> None:
    started = time.monotonic()
    (output / f"{name}.json").unlink(missing_ok=True)
    result: Result = importlib.import_module(f"bench.scenarios.{SCENARIOS[name]}").run(size)
    seconds = round(time.monotonic() - started)
    told = result.to_json() | {"machine": report.machine(), "seconds": seconds}
    (output / f"{name}.json").write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
