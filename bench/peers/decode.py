"""B1 in a process of its own: `decode.py CONTENDER list|watch BYTES COUNT RUNS` prints JSON."""

from __future__ import annotations

import gc
import json
import sys
import time
import tracemalloc
from collections.abc import Callable
from random import Random
from typing import Any

from bench.pods import pod

PAGE = 500
Decode = Callable[[list[bytes]], list[Any]]


def inputs(mode: str, size: int, count: int) -> list[bytes]:
    """Bytes as the API server sends them: list pages of 500, or watch lines."""
    random = Random(20261123)
    pods = []
    for number in range(count):
        made = pod(number, size, random)
        made["metadata"]["resourceVersion"] = str(1000 + number)
        pods.append(made)
    if mode == "watch":
        return [_json({"type": "ADDED", "object": p}) + b"\n" for p in pods]
    pages = [pods[start : start + PAGE] for start in range(0, count, PAGE)]
    head = {"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "9999"}}
    for page in pages:
        for item in page:
            del item["kind"], item["apiVersion"]
    return [_json(head | {"items": page}) for page in pages]


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def evc(mode: str) -> Decode:
    """Ours: what the operator's client does with the body of a LIST and the lines of a watch."""
    from evc.kube.client import Client
    from evc.kube.resources import PODS
    from evc.kube.watch import events

    if mode == "watch":
        return lambda lines: [event.object for event in events(lines, PODS)]

    class Fed:
        host = ""

        def __init__(self, body: bytes) -> None:
            self.body = body

        def dated(self, request: Any) -> tuple[bytes, None]:
            return self.body, None

    def pages(bodies: list[bytes]) -> list[Any]:
        feeds: list[Any] = [Fed(body) for body in bodies]
        return [item for feed in feeds for item in Client(feed).list(PODS).items]

    return pages


def official(mode: str) -> Decode:
    """The official client: models, as SharedInformer gets them from a list and from a watch."""
    from kubernetes.client import ApiClient
    from kubernetes.watch import Watch

    if mode == "watch":
        watch = Watch()
        return lambda lines: [
            watch.unmarshal_event(line.decode(), "V1Pod")["object"] for line in lines
        ]
    client = ApiClient()

    def pages(bodies: list[bytes]) -> list[Any]:
        lists = [client.deserialize(b.decode(), "V1PodList", "application/json") for b in bodies]
        return [item for page in lists for item in page.items]

    return pages


def plain(loads: Callable[[bytes], Any]) -> Callable[[str], Decode]:
    """Decoded to dicts, nothing else: no type, no check."""

    def contender(mode: str) -> Decode:
        if mode == "watch":
            return lambda lines: [loads(line)["object"] for line in lines]
        return lambda bodies: [item for body in bodies for item in loads(body)["items"]]

    return contender


def main() -> None:
    """Measure one contender."""
    name, mode, size, count, runs = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])
    if name == "orjson":
        import orjson

        decode = plain(orjson.loads)(mode)
    else:
        decode = {"evc": evc, "official": official, "json": plain(json.loads)}[name](mode)
    data = inputs(mode, size, count)
    rates = []
    decode(data[:1])
    for _ in range(runs):
        gc.collect()
        began = time.process_time()
        kept = decode(data)
        rates.append(count / (time.process_time() - began))
        assert len(kept) == count
        del kept
    sample = data if mode == "watch" else data[:1]
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    kept = decode(sample)
    gc.collect()
    held = tracemalloc.get_traced_memory()[0] - before
    print(
        json.dumps(
            {
                "pods_per_second": rates,
                "bytes_per_pod": held / len(kept),
                "wire_bytes_per_pod": sum(map(len, data)) / count,
            }
        )
    )


if __name__ == "__main__":
    main()
