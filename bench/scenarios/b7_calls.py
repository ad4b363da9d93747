"""B7: what one life costs the API server, call by call; and what a restart costs."""

from __future__ import annotations

import time

from bench import seed
from bench.lives import Lives, calls
from bench.result import Result, Size
from bench.scenarios.b6_churn import settle
from bench.scrape import Scrape
from bench.stage import OPERATORS, Stage

WRITES = ("create", "update", "patch", "delete")


def run(size: Size) -> Result:
    """Quiet lives one after the other, then a restart on thousands of settled claims."""
    result = Result(
        "B7",
        "API calls",
        "From the audit log, of the operator's identity. Lives at 2 per second, so that nothing"
        " is coalesced; a life is a claim and one bare pod whose completed object stays.",
    )
    count = size.pick(30, 4)
    for who in OPERATORS:
        with Stage.boot(5) as stage:
            program = stage.contender(who).start()
            lives = Lives(stage)
            stage.audit.mark()
            for number in range(count):
                lives.begin(time.time() + number / 2, stage.namespaces[number % 5], f"c-{number}")
            lives.wait_over(count / 2 + 40)
            counted = calls(list(stage.audit.requests(program.user)))
            per_life = {
                what: round(number / count, 2)
                for what, number in sorted(counted.items())
                if number >= count / 4
            }
            result.add(
                program.name,
                "one life",
                writes=round(sum(n for w, n in per_life.items() if w.startswith(WRITES)), 1),
                reads=round(
                    sum(n for w, n in per_life.items() if w.startswith(("get", "list"))), 1
                ),
                calls=per_life,
            )
            lives.close()
    _restart(result, size.pick(5000, 100))
    return result


def _restart(result: Result, live: int) -> None:
    with Stage.boot(20) as stage:
        operator = stage.operator().start()
        settle(stage, live)
        stage.wait_idle(operator)
        operator.stop()
        stage.audit.mark()
        operator.start()
        ready = operator.wait_ready()
        served = seed.pods_served(stage)
        # Every claim is looked at once after the start.
        began = time.time()
        while Scrape(operator).total("controller_runtime_reconcile_total") < live:
            if time.time() - began > 60:
                break
            time.sleep(0.1)
        counted = calls(list(stage.audit.requests()))
        result.add(
            "operator",
            f"restart, {live} claims in use",
            writes=sum(n for what, n in counted.items() if what.startswith(WRITES)),
            reads=sum(n for what, n in counted.items() if what.startswith(("get", "list"))),
            ready_s=round(ready, 2),
            all_reconciled_s=round(time.time() - operator.started, 2),
            reconciles=Scrape(operator).total("controller_runtime_reconcile_total"),
            pods=served,
        )
