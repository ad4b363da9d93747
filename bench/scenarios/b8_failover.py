"""B8: the leader goes, politely or not: how long nobody acts, and what is done twice."""

from __future__ import annotations

import signal
import time
from collections import Counter

from bench.audit import Request
from bench.lives import Lives
from bench.result import Result, Size
from bench.stage import Program, Stage, until
from bench.stats import spread

RATE = 10.0
BEFORE = 3.0


def run(size: Size) -> Result:
    """SIGTERM releases the lease; after SIGKILL it has to run out."""
    result = Result(
        "B8",
        "Failover",
        "Two operators with leader election (15/10/2 s), claims created at 10 per second all the"
        " while. Without leader: from the signal to the successor's accepted write of the lease."
        " Without service: to the next volume created.",
    )
    for number, after, count in ((signal.SIGTERM, 6.0, 3), (signal.SIGKILL, 20.0, 2)):
        runs = [_one(number, after) for _ in range(size.pick(count, 1))]
        result.add(
            "operator",
            number.name,
            without_leader_s=spread([run[0] for run in runs]),
            without_service_s=spread([run[1] for run in runs]),
            duplicate_writes=sum(run[2] for run in runs),
            claims=sum(run[3] for run in runs),
        )
    return result


def _one(number: signal.Signals, after: float) -> tuple[float, float, int, int]:
    with Stage.boot(5) as stage:
        elect = ("--leader-elect", "--leader-election-namespace=evc-system")
        leader = stage.operator(*elect, name="leader").start()
        until(lambda: "Became leader" in leader.log.read_text(), "there is a leader")
        other = stage.operator(*elect, name="successor").start()
        time.sleep(3.0)
        lives = Lives(stage, run_seconds=1.0)
        began = time.time()
        for index in range(int(RATE * (BEFORE + after))):
            lives.begin(began + index / RATE, stage.namespaces[index % 5], f"c-{index}")
        time.sleep(BEFORE)
        at = time.time()
        assert leader.process is not None
        leader.process.send_signal(number)
        leader.process.wait()
        leader.process = None
        time.sleep(after)
        until(lambda: all(life.pvc_seen for life in lives.lives.values()), "all have volumes")
        lives.wait_over(60)
        lives.close()
        return _judge(list(stage.audit.requests()), at, other, len(lives.lives))


def _judge(
    requests: list[Request], at: float, successor: Program, claims: int
) -> tuple[float, float, int, int]:
    pid = f"_{successor.pid}_"
    taken = min(
        request.stage_timestamp.timestamp()
        for request in requests
        if request.object_ref.resource == "leases"
        and request.code < 300
        and pid in str(request.request_object.get("spec", {}).get("holderIdentity", ""))
    )
    served = min(
        request.received
        for request in requests
        if request.what == "create pvc" and request.code < 300 and request.received > taken
    )
    done = Counter(
        (request.what, request.object_ref.namespace, request.object_ref.name)
        for request in requests
        if request.what in ("create pvc", "delete pvc", "delete evc") and request.code < 300
    )
    return taken - at, served - at, sum(count - 1 for count in done.values()), claims
