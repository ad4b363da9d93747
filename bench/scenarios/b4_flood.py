"""B4: pods change that concern nobody: what that costs, and whether it delays what matters."""

from __future__ import annotations

import json
import time
from functools import partial
from random import Random
from typing import Any

from bench import procs, seed
from bench.lives import Lives
from bench.load import Timetable
from bench.pods import SIZES, pod
from bench.result import Result, Size
from bench.scrape import Scrape
from bench.stage import Program, Stage, until
from bench.stats import milliseconds

SENT = "bench.dev/sent"
NAMESPACES = 20
Json = dict[str, Any]


def run(size: Size) -> Result:
    """Floods at two rates on the operator and its peers."""
    result = Result(
        "B4",
        "Flood of irrelevant pod changes",
        "The changes are written into etcd, so that the API server only passes them on; pods of"
        " 3.6 KB, the other controllers frozen but for the probes' volumes. Lag: of the informers"
        " from write to handler, of the operators from the start of a designated pod's container"
        " to their request that writes it into status (two a second).",
    )
    pods, seconds = size.pick((5000, 10.0), (200, 2.0))
    rates = size.pick([100, 500], [20])
    contenders = ("operator", "evc informer", "SharedInformer", "kopf_evc")
    with Stage.boot(NAMESPACES) as stage:
        seed.pods(stage, 0, pods)
        for name in contenders:
            program = _program(stage, name, pods).start()
            for rate in rates:
                _one(result, stage, program, pods, rate, seconds)
            program.stop()
    return result


def _program(stage: Stage, name: str, pods: int) -> Program:
    match name:
        case "operator":
            return stage.operator()
        case "kopf_evc":
            return stage.peer("kopf_evc.py", str(pods))
        case "evc informer":
            return stage.peer("informer.py", "evc", str(pods))
        case _:
            return stage.peer("informer.py", "official", str(pods))


def _one(
    result: Result, stage: Stage, program: Program, pods: int, rate: int, seconds: float
) -> None:
    probing = "nformer" not in program.name
    lives = Lives(stage, run_seconds=None, start_pods=False)
    prefix = f"p-{program.name.split('_')[0]}-{rate}"
    if probing:
        for number in range(int(2 * seconds)):
            lives.begin(time.time(), stage.namespaces[number % NAMESPACES], f"{prefix}-{number}")
        until(lambda: all(life.pvc_seen for life in lives.lives.values()), "probes have volumes")
    time.sleep(3.0)
    stage.audit.mark()
    before = Scrape(program) if program.metrics else None
    meter = procs.Meter(stage.pids(program))
    late = _flood(stage, lives, pods, rate, seconds)
    time.sleep(2.0)
    cpu = meter.read()
    figures: Json = {
        "cpu_s_per_1000_changes": round(1000 * cpu[program.name] / (rate * seconds), 3),
        "cores": round(cpu[program.name] / (seconds + 2.0), 3),
        "lag": milliseconds(_reactions(stage, program, lives)) if probing else _lags(program),
    }
    if before is not None:
        name = "controller_runtime_reconcile_total"
        figures["reconciles"] = Scrape(program).total(name) - before.total(name)
        figures["reconciles_of_probes_at_most"] = 3 * len(lives.lives)
    result.add(
        program.name,
        f"{rate}/s, {pods} pods",
        **figures,
        cpu_seconds=cpu,
        driver_late_ms=round(1000 * late),
    )
    if not probing:
        program.start()
    lives.close()


def _flood(stage: Stage, lives: Lives, pods: int, rate: int, seconds: float) -> float:
    """Write the changes on time; returns how late the latest was."""
    random, etcd, timetable = Random(rate), seed.Etcd(stage), Timetable(threads=4)
    items: list[Json] = []
    for _ in range(min(pods, 200)):
        number = random.randrange(pods)
        namespace = stage.namespaces[number % len(stage.namespaces)]
        items.append(pod(number, SIZES[3.6], Random(number), namespace))
    texts = [json.dumps(item) for item in items]

    def change(index: int) -> None:
        item = json.loads(texts[index % len(texts)])
        meta = item["metadata"]
        meta["annotations"][SENT] = repr(time.time())
        etcd.put(f"{seed.PODS}/{meta['namespace']}/{meta['name']}", item)

    began = time.time() + 0.1
    for index in range(int(rate * seconds)):
        timetable.at(began + index / rate, partial(change, index))
    for number, life in enumerate(lives.lives.values()):
        lives.timetable.at(began + number / 2, partial(lives.start, life))
    time.sleep(seconds + 0.5)
    timetable.close()
    if timetable.errors:
        raise timetable.errors[0]
    return timetable.latest


def _reactions(stage: Stage, program: Program, lives: Lives) -> list[float]:
    """Seconds from each probe's start to the first status written after it."""
    started = {key: life.started for key, life in lives.lives.items() if life.started}
    found: dict[tuple[str, str], float] = {}
    for request in stage.audit.requests(program.user):
        key = (request.object_ref.namespace, request.object_ref.name)
        status = request.what in ("update evc/status", "patch evc/status")
        if status and key in started and request.received >= started[key]:
            found.setdefault(key, request.received - started[key])
    return list(found.values())


def _lags(program: Program) -> Json:
    """End the informer, which then says what it saw."""
    program.stop()
    lines = program.log.read_text().splitlines()
    return milliseconds(json.loads(lines[-1])["lags"])
