"""B6: claims come and go at a steady rate while thousands of others are alive."""

from __future__ import annotations

import os
import time

from bench import procs, seed
from bench.lives import Lives, calls, first, latencies
from bench.result import Json, Result, Size
from bench.scrape import Scrape, bucket_of_p99
from bench.script import Script
from bench.stage import OPERATORS, BenchError, Program, Stage, until
from bench.stats import milliseconds, together

NAMESPACES = 100
PREPARE = 240.0


def run(size: Size) -> Result:
    """Open loop: lives begin on time whether or not the operator keeps up."""
    result = Result(
        "B6",
        "Steady churn",
        "Lives begin at the given rate for the given time (open loop): a claim and its pod are"
        " created, the pod runs one second from when the volume is there, its completed object"
        " stays. Ends are whole seconds, as kubelets write them, so all lives that end within one"
        " second are due at the same instant. 'live' claims are there besides, in use, cloned in"
        " etcd from one that the contender itself settled. Kept up: every life was over 20 s after"
        " the last began, and every DELETE was sent within 5 s. The contenders take turns, each run"
        " on a control plane of its own; the greatest latency is that of all runs. *Script* is no"
        " operator: the driver itself, which knows everything in advance and neither watches nor"
        " decides, makes the operator's requests one after the other: it is what API server and"
        " machine allow.",
    )
    loads = size.pick(
        [(0, 20, 15, 5), (0, 40, 10, 3), (0, 100, 6, 3), (9000, 20, 15, 1)],
        [(0, 5, 3, 1), (50, 5, 3, 1)],
    )
    for live, rate, seconds, runs in loads:
        load = f"{rate:g}/s for {seconds:g} s" + (f", {live} live" if live else "")
        found: dict[str, list[Json]] = {}
        for _ in range(runs):
            for who in OPERATORS:
                found.setdefault(who, []).append(_one(who, live, rate, seconds))
            if not live:
                found.setdefault("script", []).append(_script(rate, seconds))
        for who, each in found.items():
            result.add(who, load, **together(each))
    result.notes.append(_capacity(result))
    return result


def _script(rate: float, seconds: float) -> Json:
    """The same load without an operator; latencies are those of the driver's own clock."""
    with Stage.boot(20) as stage:
        stage.wait_idle()
        lives = Script(stage)
        meter, began = procs.Meter(stage.pids()), time.time() + 0.2
        _begin(stage, lives, began, rate, seconds)
        in_time = lives.wait_over(20)
        over = in_time or lives.wait_over(90)
        cpu, steps = meter.read(), lives.latencies()
        lives.close()
        late = max(steps["due_to_delete"], default=float("inf"))
        return {
            **{step: milliseconds(taken) for step, taken in steps.items()},
            "others_cpu_ms_per_life": round(1000 * sum(cpu.values()) / len(lives.lives), 1),
            "deletes_per_second": _rate(lives.deletes),
            "all_over": over,
            "driver_late_ms": round(1000 * lives.timetable.latest),
            "kept_up": in_time and late <= 5.0,
            "cpu_seconds": cpu,
            "wall_seconds": round(time.time() - began, 1),
        }


def _begin(stage: Stage, lives: Lives, began: float, rate: float, seconds: float) -> None:
    """Plan the lives, and wait until the last has begun."""
    for number in range(int(rate * seconds)):
        namespace = stage.namespaces[number % len(stage.namespaces)]
        lives.begin(began + number / rate, namespace, f"c-{number}")
    time.sleep(seconds)


def _one(who: str, live: int, rate: float, seconds: float) -> Json:
    with Stage.boot(NAMESPACES if live else 20) as stage:
        program = stage.contender(who).start()
        if live:
            settle(stage, live)
        stage.wait_idle(program)
        lives = Lives(stage)
        before = Scrape(program) if program.metrics else None
        stage.audit.mark()
        meter = procs.Meter(stage.pids(program))
        began = time.time() + 0.2
        _begin(stage, lives, began, rate, seconds)
        in_time = lives.wait_over(20)
        over = in_time or lives.wait_over(90)
        figures = _figures(stage, lives, program, meter, began)
        if before is not None:
            bound = bucket_of_p99(before, Scrape(program), "workqueue_queue_duration_seconds")
            figures["queue_p99_at_most_s"] = bound
        figures |= {"all_over": over, "driver_late_ms": round(1000 * lives.timetable.latest)}
        figures["kept_up"] = in_time and figures["due_to_delete"]["max_ms"] <= 5000
        lives.close()
        program.stop()
        return figures


def settle(stage: Stage, live: int) -> None:
    """Have one claim used for long, then clone it."""
    lives = Lives(stage, run_seconds=None)
    namespace = stage.namespaces[0]
    lives.begin(time.time(), namespace, "alive")
    life = lives.lives[namespace, "alive"]
    until(lambda: life.started > 0, "the claim to clone is used")
    time.sleep(2.0)
    lives.close()
    before = seed.pods_served(stage)
    seed.clones(stage, namespace, "alive", live)
    until(lambda: seed.pods_served(stage) >= before + live, "the clones are served", PREPARE)


def _figures(
    stage: Stage, lives: Lives, program: Program, meter: procs.Meter, began: float
) -> Json:
    cpu, wall = meter.read(), time.time() - began
    requests = list(stage.audit.requests(program.user))
    steps, counted = latencies(lives, requests), calls(requests)
    count = len(lives.lives)
    if not steps["create_to_pvc"]:
        raise BenchError(f"{program.name} made no claim: see {program.log}")
    sent = sorted(first(requests, "delete pvc").values())
    memory = procs.memory(program.pid)
    return {
        "create_to_pvc": milliseconds(steps["create_to_pvc"]),
        "due_to_delete": milliseconds(steps["due_to_delete"]),
        "operator_cpu_ms_per_life": round(1000 * cpu[program.name] / count, 1),
        "others_cpu_ms_per_life": round(1000 * (sum(cpu.values()) - cpu[program.name]) / count, 1),
        "requests_per_life": round(
            sum(n for what, n in counted.items() if "answered" not in what) / count, 1
        ),
        "deletes_per_second": _rate(sent),
        "rss_mib": round(memory.rss),
        "peak_mib": round(memory.peak),
        "cpu_seconds": cpu,
        "wall_seconds": round(wall, 1),
    }


def _rate(times: list[float]) -> float:
    """How many per second there were, of the times of all in order."""
    return round((len(times) - 1) / (times[-1] - times[0]), 1) if len(times) > 1 else 0.0


def _capacity(result: Result) -> str:
    """The highest rate each kept up with, and what the machine allows at all."""
    told = []
    cores = os.cpu_count() or 1
    for who in dict.fromkeys(row["who"] for row in result.rows if row["who"] != "script"):
        rows = [row for row in result.rows if row["who"] == who and "live" not in row["load"]]
        kept = (float(row["load"].split("/")[0]) for row in rows if row["kept_up"])
        others = min((row["others_cpu_ms_per_life"]["median"] for row in rows), default=0.0)
        if others:
            told.append(
                f"{who} kept up with {max(kept, default=0.0):g}/s for as long as that load lasted;"
                f" API server, etcd, controller manager and driver spend {others:g} ms of CPU on"
                f" each of its lives, so that {cores} cores can go on for ever at"
                f" {1000 * cores / others:.0f}/s, even if it cost nothing"
            )
    return "; ".join(told) + "."
