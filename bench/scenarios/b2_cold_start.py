"""B2: from the start of the process to a filled cache, with many pods in the cluster."""

from __future__ import annotations

import time

from bench import procs, seed
from bench.result import Result, Size
from bench.stage import OPERATORS, BenchError, Program, Stage
from bench.stats import spread

SMALL = 10_000
LONGEST = 150.0
PAGED = ("--feature-gates=WatchList=false",)


def run(size: Size) -> Result:
    """The operator and its peers, streaming lists and paged ones."""
    result = Result(
        "B2",
        "Cold start",
        "Pods of 3.6 KB seeded into etcd, in 20 namespaces; the other controllers are frozen."
        " Time from the start of the process (interpreter and imports included) until it is"
        " ready. Steady: two seconds later. The operator caches claims, volumes, Jobs and"
        " workloads, too, and serves metrics; the informers only cache pods. The peers are not"
        " started with 100,000 pods: the official client keeps 46 KB of each (B1).",
    )
    sizes = size.pick([1_000, 10_000, 100_000], [300])
    with Stage.boot(20, frozen=("kube-controller-manager",)) as stage:
        seeded = 0
        for pods in sizes:
            seed.pods(stage, seeded, pods - seeded)
            seeded = pods
            runs = size.pick(5 if pods <= SMALL else 2, 1)
            _measure(result, [stage.operator()], pods, runs, "WatchList")
            _measure(result, [stage.peer("informer.py", "evc", str(pods))], pods, runs, "WatchList")
            if pods <= SMALL:
                peers = [
                    stage.peer("informer.py", "official", str(pods)),
                    *(stage.contender(name, pods) for name in OPERATORS[1:]),
                ]
                _measure(result, peers, pods, size.pick(3, 1), "peers")
    with Stage.boot(20, frozen=("kube-controller-manager",), apiserver=PAGED) as stage:
        pods = size.pick(SMALL, 300)
        seed.pods(stage, 0, pods)
        _measure(result, [stage.operator()], pods, size.pick(3, 1), "paged")
    result.notes.append(
        "SharedInformer lists everything in one answer; kopf (its setting) and controller-runtime"
        " stream their lists."
    )
    return result


def _measure(result: Result, programs: list[Program], pods: int, runs: int, how: str) -> None:
    for program in programs:
        taken: dict[str, list[float]] = {}
        try:
            for _ in range(runs):
                for name, value in _start(program).items():
                    taken.setdefault(name, []).append(value)
        except BenchError as error:
            result.notes.append(f"{program.name} with {pods} pods: {str(error)[:200]}")
        finally:
            program.stop()
        if taken:
            figures = {name: spread(values) for name, values in taken.items()}
            result.add(program.name, f"{pods} pods, {how}", **figures)


def _start(program: Program) -> dict[str, float]:
    """Start it, see what that took, and stop it."""
    program.start(wait=False)
    ready = program.wait_ready(LONGEST)
    time.sleep(2.0)
    memory = procs.memory(program.pid)
    cpu = procs.cpu_seconds(program.pid)
    program.stop()
    return {"ready_s": ready, "peak_mib": memory.peak, "steady_mib": memory.rss, "cpu_s": cpu}
