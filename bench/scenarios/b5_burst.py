"""B5: a thousand pods finish within a second: how long until the last DELETE is sent."""

from __future__ import annotations

import time

from bench import procs
from bench.lives import Lives, calls, latencies
from bench.load import in_parallel
from bench.result import Json, Result, Size
from bench.stage import OPERATORS, BenchError, Program, Stage, until
from bench.stats import milliseconds, together

DEFAULT_GRACE = 30
"""The API's default of gracePeriodSeconds."""


def run(size: Size) -> Result:
    """Over twenty namespaces and in a single one, ours and its peers'."""
    result = Result(
        "B5",
        "Burst: designated pods finish together",
        "As many claims as pods, each used; when nobody has anything left to do, all pods succeed"
        " as fast as the driver can say so and stay as completed objects. Due is finishedAt (whole"
        " seconds) and the grace period: the default of 30 s, or 1 s, which is over before all"
        " pods have finished. Gone is at least ten seconds after the last container's end and the"
        " DELETE: all operators let an unmount finish before they release a volume from"
        " completed pods. The contenders take turns, each run on a control plane of its own.",
    )
    count = size.pick(1000, 10)
    for namespaces, grace, runs in ((20, DEFAULT_GRACE, 3), (1, DEFAULT_GRACE, 3), (20, 1, 1)):
        load = f"{count} claims, {namespaces} namespaces, grace {grace} s"
        found: dict[str, list[Json]] = {}
        for _ in range(size.pick(runs, 1)):
            for who in OPERATORS:
                found.setdefault(who, []).append(_one(who, count, namespaces, grace))
        for who, each in found.items():
            result.add(who, load, **together(each))
    return result


def _one(who: str, count: int, namespaces: int, grace: int) -> Json:
    with Stage.boot(namespaces) as stage:
        program = stage.contender(who).start()
        lives = Lives(stage, run_seconds=None, grace=grace)
        _make(stage, lives, count)
        stage.wait_idle(program)
        stage.audit.mark()
        meter = procs.Meter(stage.pids(program))
        began = time.time()
        in_parallel(lives.finish, [*lives.lives.values()])
        sent = time.time() - began
        over = lives.wait_over(120)
        figures = _figures(stage, lives, program, meter)
        wall = round(time.time() - began, 1)
        lives.close()
        program.stop()
        return figures | {
            "finished_within_s": round(sent, 2),
            "all_over": over,
            "wall_seconds": wall,
        }


def _make(stage: Stage, lives: Lives, count: int) -> None:
    now, per_second = time.time() + 0.2, 40.0
    for number in range(count):
        namespace = stage.namespaces[number % len(stage.namespaces)]
        lives.begin(now + number / per_second, namespace, f"c-{number}")
    until(lambda: all(life.started for life in lives.lives.values()), "every claim is used", 300)


def _figures(stage: Stage, lives: Lives, program: Program, meter: procs.Meter) -> Json:
    requests = list(stage.audit.requests(program.user))
    steps, counted = latencies(lives, requests), calls(requests)
    deleted = milliseconds(steps["due_to_delete"])
    if not deleted["count"]:
        raise BenchError(f"{program.name} sent no DELETE: see {program.log}")
    count = len(lives.lives)
    cpu = meter.read()
    return {
        "due_to_delete": deleted,
        "delete_to_gone": milliseconds(steps["delete_to_gone"]),
        "answered_429": counted.get("answered 429", 0),
        "answered_409": counted.get("answered 409", 0),
        "requests_per_life": round(
            sum(v for k, v in counted.items() if "answered" not in k) / count, 1
        ),
        "operator_cpu_ms_per_life": round(1000 * cpu[program.name] / count, 1),
        "cpu_seconds": cpu,
        "peak_mib": round(procs.memory(program.pid).peak),
    }
