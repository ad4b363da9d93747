"""B3: the API server restarts and its history with it: every watch must list anew."""

from __future__ import annotations

import threading
import time
from functools import partial
from random import Random

from bench import procs, seed
from bench.lives import Life, Lives
from bench.pods import SIZES, pod
from bench.result import Result, Size
from bench.stage import Program, Stage, until
from bench.stats import spread

NAMESPACES = 20
SETTLED = 31.0
"""Seconds of quiet before each restart.

Afterwards nobody has more to say of a new volume (the operator keeps its details back for ten), and
it is a first failure again (its backoff forgets after thirty).
"""


def run(size: Size) -> Result:
    """The operator and kopf react to a probe; the official informer only lists."""
    result = Result(
        "B3",
        "Relist after a restart of the API server",
        "Pods of 3.6 KB seeded into etcd. The API server is ended and started while a pod changes,"
        " so that every watch gets 410; as soon as it is ready a designated pod starts. Stale: from"
        " then until the EVC's status says so (audit log), which includes the backoff of those who"
        " could not connect. Lists: LIST requests and streaming lists since the restart.",
    )
    pods, runs = size.pick((10_000, 3), (300, 1))
    for name in ("operator", "kopf", "official"):
        with Stage.boot(NAMESPACES) as stage:
            seed.pods(stage, 0, pods)
            program = _program(stage, name, pods)
            program.start()
            _measure(result, stage, program, pods, runs, probe=name != "official")
    return result


def _program(stage: Stage, name: str, pods: int) -> Program:
    if name == "operator":
        return stage.operator()
    if name == "kopf":
        return stage.peer("kopf_evc.py", str(pods))
    return stage.peer("informer.py", "official", str(pods))


def _measure(
    result: Result, stage: Stage, program: Program, pods: int, runs: int, *, probe: bool
) -> None:
    stale, peaks, lists = [], [], []
    time.sleep(3.0)
    steady = procs.memory(program.pid).rss
    for number in range(runs):
        lives = Lives(stage, run_seconds=None, start_pods=False)
        lives.begin(time.time(), stage.namespaces[0], f"probe-{number}")
        (life,) = lives.lives.values()
        if probe:
            until(partial(_provisioned, life), "the probe has its volume")
            time.sleep(SETTLED)
        lives.close()
        procs.reset_peak(program.pid)
        stage.audit.mark()
        _restart(stage)
        if probe:
            lives.start(life)
            until(partial(_reacted, stage, program, life), "it has reacted")
            stale.append(_reacted(stage, program, life) - life.started)
        time.sleep(5.0 if probe else 20.0)
        peaks.append(procs.memory(program.pid).peak)
        lists.append(_lists(stage, program))
    result.add(
        program.name,
        f"{pods} pods",
        stale_s=spread(stale) if stale else "not measured",
        lists=spread(lists, 0),
        steady_mib=round(steady),
        peak_mib=spread(peaks, 0),
        peak_to_steady=round(max(peaks) / steady, 2),
    )


def _restart(stage: Stage) -> None:
    """Restart the API server; a pod changes all the while, so that no watch can be resumed."""
    over, etcd = threading.Event(), seed.Etcd(stage)
    item = pod(0, SIZES[3.6], Random(0), stage.namespaces[0])

    def change() -> None:
        while not over.wait(0.02):
            etcd.put(f"{seed.PODS}/{stage.namespaces[0]}/{item['metadata']['name']}", item)

    changing = threading.Thread(target=change)
    changing.start()
    try:
        stage.plane.restart("kube-apiserver")
    finally:
        over.set()
        changing.join()


def _provisioned(life: Life) -> bool:
    return life.pvc_seen > 0


def _reacted(stage: Stage, program: Program, life: Life) -> float:
    times = (
        request.received
        for request in stage.audit.requests(program.user)
        if request.what in ("update evc/status", "patch evc/status")
        and request.object_ref.name == life.name
        and request.code < 300
        and request.received >= life.started
    )
    return next(times, 0.0)


def _lists(stage: Stage, program: Program) -> int:
    """Whole lists of what is cached: the live look before a deletion is not one of them."""
    return sum(
        request.verb == "list" or "sendInitialEvents=true" in request.request_uri
        for request in stage.audit.requests(program.user)
        if not request.object_ref.namespace and "continue=" not in request.request_uri
    )
