"""B1: bytes of the API server -> objects: how fast, and how much stays in memory."""

from __future__ import annotations

import json
import os
import subprocess

from bench.pods import SIZES
from bench.result import Json, Result, Size
from bench.stage import PEER_PYTHON, PEERS, ROOT
from bench.stats import spread

CONTENDERS = {
    "evc": "evc (msgspec)",
    "official": "official client models",
    "json": "json to dicts",
    "orjson": "orjson to dicts",
}


def run(size: Size) -> Result:
    """Decode pods of three sizes, from list pages and from watch lines."""
    result = Result(
        "B1",
        "Decoding pods",
        "One process per contender, its own CPU seconds; bytes kept per pod from tracemalloc over"
        " 500 pods. dicts of json and orjson are what a hand-written client would keep.",
    )
    count, runs = size.pick((1000, 5), (500, 1))
    for kilobytes in size.pick(list(SIZES), [3.6]):
        for mode in ("list", "watch"):
            ours = 0.0
            for name, label in CONTENDERS.items():
                found = _measure(name, mode, SIZES[kilobytes], count, runs)
                rates = found["pods_per_second"]
                speed = spread(rates, 0)
                ours = speed["median"] if name == "evc" else ours
                result.add(
                    label,
                    f"{mode}, {kilobytes} KB",
                    pods_per_second=speed,
                    kept_bytes_per_pod=round(found["bytes_per_pod"]),
                    evc_is_faster=round(ours / speed["median"], 1),
                )
    return result


def _measure(name: str, mode: str, size: int, count: int, runs: int) -> Json:
    command = [str(PEER_PYTHON), str(PEERS / "decode.py"), name, mode]
    done = subprocess.run(
        [*command, str(size), str(count), str(runs)],
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=True,
    )
    found: Json = json.loads(done.stdout)
    return found
