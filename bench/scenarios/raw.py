"""RAW: what this machine's API server can do at all, with nothing else running: the limit."""

from __future__ import annotations

import time
from collections.abc import Callable

from bench import objects, procs
from bench.load import in_parallel
from bench.result import Json, Result, Size
from bench.stage import Stage
from bench.stats import milliseconds, spread

THREADS = 8
LISTS = (
    "Before each of these LISTs another kind was written to. A consistent LIST waits until the API"
    " server's cache of pods is as fresh as etcd, for which it asks etcd every 0.1 s"
    " ([KEP-2340](https://github.com/kubernetes/enhancements/issues/2340)). A DELETE rests on two"
    " of them, of pods and of Jobs, made at the same time: this is the least that there can be from"
    " due to DELETE while nothing changes pods and Jobs by itself."
)


def run(size: Size) -> Result:
    """Create, read, change and delete as fast as eight threads can."""
    result = Result(
        "RAW",
        "The API server's own speed",
        f"{THREADS} driver threads, no operator, every core shared by driver, API server and etcd"
        " (etcd without fsync).",
    )
    count, runs = size.pick((1000, 5), (40, 1))
    with Stage.boot() as stage:
        _measure(stage, "warm", 20)
        meter = procs.Meter(stage.pids())
        rates: dict[str, list[float]] = {}
        for number in range(runs):
            for what, seconds in _measure(stage, f"raw-{number}", count).items():
                rates.setdefault(what, []).append(count / seconds)
        for what, values in rates.items():
            result.add("API server", what, per_second=spread(values, 0))
        result.add("API server", "list no pods, one by one", takes=_lists(stage, size.pick(200, 5)))
        result.notes.append(f"CPU seconds over all runs: {meter.read()}")
        result.notes.append(LISTS)
    return result


def _lists(stage: Stage, count: int) -> Json:
    namespace, taken = stage.namespaces[0], []
    for number in range(count):
        path = f"/api/v1/namespaces/{namespace}/configmaps"
        stage.api.create(path, {"metadata": {"name": f"news-{number}"}})
        began = time.monotonic()
        stage.api.get(objects.pod_path(namespace))
        taken.append(time.monotonic() - began)
    return milliseconds(taken)


def _measure(stage: Stage, prefix: str, count: int) -> dict[str, float]:
    namespace, api = stage.namespaces[0], stage.api
    names = [f"{prefix}-{number}" for number in range(count)]
    spec = objects.evc("x")["spec"]
    claim = spec["volumeClaimTemplate"]["spec"]

    def volume(name: str) -> object:
        return api.create(objects.pvc_path(namespace), {"metadata": {"name": name}, "spec": claim})

    # A selector of its own per claim; no operator runs, so nothing acts on it.
    def evc(name: str) -> object:
        return api.create(objects.evc_path(namespace), objects.evc(name))

    def status(name: str) -> object:
        path = objects.evc_path(namespace, name) + "/status"
        return api.patch(path, {"status": {"observedGeneration": 1}})

    steps: dict[str, Callable[[str], object]] = {
        "create evc": evc,
        "patch evc/status": status,
        "create pvc": volume,
        "get pvc": lambda name: api.send("GET", objects.pvc_path(namespace, name)),
        "delete pvc": lambda name: api.send("DELETE", objects.pvc_path(namespace, name)),
        "delete evc": lambda name: api.send("DELETE", objects.evc_path(namespace, name)),
    }
    taken = {}
    for what, work in steps.items():
        began = time.monotonic()
        in_parallel(work, names, THREADS)
        taken[what] = time.monotonic() - began
    return taken
