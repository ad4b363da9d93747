"""Plays scenarios, with a plan or without, and says how they went."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from e2e.scenario import Scenario
from faults.audit import AuditLog
from faults.judge import Judge, within
from faults.plans import Plan, Trace, load
from faults.scenarios import REFERENCE, ends, eventually
from faults.stage import Operator, Stage
from faults.strikes import KINDS, PausedLeader, Recorder, Strike
from sim.kinds import LEASES

SETTLES = 90.0
"""Seconds from the end of a fault to the end state (L1): a watch pauses for up to 30 s and its
jitter, which is as much again; a completed pod is let go of 10 s after its end; and the machine
plays many plans at once."""
STAYS = 2.0
"""Seconds for which nothing may be written afterwards."""
WINDOW, MOST_REQUESTS = 10.0, 250
"""L2, as in the simulation: a handful of objects never needs more."""
EXITS = 20.0
"""Seconds in which a leader that lost its lease must have ended."""
AT_ONCE = 16
"""Plans at the same time: they mostly wait."""


@dataclass
class Verdict:
    """How one plan went."""

    plan: Plan
    violations: list[str]
    struck: bool
    seconds: float
    settled: float = 0.0
    """Seconds from the end of the fault to the end state."""
    log: list[str] = field(default_factory=list)


def record(stage: Stage, scenario: str) -> Trace:
    """Play a scenario without faults; AssertionError if even that goes wrong."""
    world, recorder = stage.world(), Recorder()
    operator = stage.operator(world, recorder)
    operator.start()
    try:
        REFERENCE[scenario](world)
        settle(stage, world, None)
    finally:
        operator.close()
    judge = Judge(stage.audit, world.namespace)
    violations = [*judge(), *operator.complaints()]
    assert not violations, violations
    return Trace(
        recorder.writes.names, recorder.events.states, judge.creates, judge.deletes, ends(world)
    )


def settle(
    stage: Stage, world: Scenario, wanted: list[str] | None, *, same_outcome: bool = True
) -> float:
    """Wait for the end state, and for it to stay; return the seconds until it came.

    Without a wanted one it is what is there when nothing is written any more for a while.
    """
    began = time.monotonic()
    if wanted is None:
        eventually(lambda: idle(stage.audit, world) > 12.0, "it is quiet", SETTLES * 2)
        return time.monotonic() - began

    def ended() -> bool:
        found = ends(world)
        return found == wanted or (not same_outcome and over(found) == over(wanted))

    eventually(ended, f"it ends as {wanted}", SETTLES)
    reached = time.monotonic() - began
    eventually(lambda: idle(stage.audit, world) > STAYS, "it is quiet", SETTLES)
    assert ended(), f"it did not stay {wanted}"
    return reached


def over(ends: list[str]) -> list[str]:
    """The same, whether the work failed or not."""
    return [end.replace("Failed", "Succeeded") for end in ends]


def idle(log: AuditLog, world: Scenario) -> float:
    """Seconds since the last write in the namespace, elections apart."""
    writes = [e for e in log.of(world.namespace) if e.writes and e.resource != LEASES]
    return time.time() - writes[-1].answered.timestamp() if writes else 0.0


def play(stage: Stage, plan: Plan, bug: str = "") -> Verdict:
    """Play one plan and judge it; ``bug`` is the name of a seeded one to switch on."""
    began, trace = time.monotonic(), load(plan.scenario)
    world = stage.world()
    strike = KINDS[plan.fault](plan, world)
    operators = list(enlist(stage, world, strike, bug))
    found: list[str] = []
    settled = 0.0
    try:
        for operator in operators:
            operator.start()
        REFERENCE[plan.scenario](world)
        eventually(lambda: strike.struck, f"{plan.step} comes", SETTLES)
        strike.wait_over()
        settled = settle(stage, world, trace.ends, same_outcome=strike.same_outcome)
        found += stepped_down(operators) if isinstance(strike, PausedLeader) else []
    except AssertionError as failure:
        found.append(f"L1: {failure}; it is {ends(world)}")
    except Exception as error:  # one plan must not end the others
        found.append(f"harness: {error!r}")
    finally:
        for operator in operators:
            operator.close()
    found += judged(stage, world, trace, operators)
    found += unexplained(stage, world, plan)
    stage.audit.forget(world.namespace)
    logs = [str(operator.log) for operator in operators]
    return Verdict(plan, found, strike.struck, time.monotonic() - began, settled, logs)


def enlist(stage: Stage, world: Scenario, strike: Strike, bug: str) -> Iterator[Operator]:
    """The operator that is struck, and where it must have one its successor."""
    electing = ("--leader-elect", f"--leader-election-namespace={world.namespace}")
    args = electing if isinstance(strike, PausedLeader) else ()
    strike.operator = stage.operator(world, strike, *args, bug=bug)
    yield strike.operator
    if isinstance(strike, PausedLeader):
        yield stage.operator(world, strike.successor, *args, name="b", bug=bug)


def judged(
    stage: Stage, world: Scenario, trace: Trace, operators: Iterable[Operator]
) -> Iterator[str]:
    """Yield every violation that can be judged when all is over."""
    judge = Judge(stage.audit, world.namespace)
    yield from judge()
    for name, seen, wanted in (
        ("created", judge.creates, trace.creates),
        ("deleted", judge.deletes, trace.deletes),
    ):
        if seen != wanted:
            yield f"S5: claims {name}: {seen}, without the fault {wanted}"
    for operator in operators:
        yield from operator.complaints()
        calls = [call.time for call in operator.proxy.calls if call.resource != LEASES]
        if (most := within(calls, WINDOW)) > MOST_REQUESTS:
            yield f"L2: {most} requests within {WINDOW:.0f} s"


def unexplained(stage: Stage, world: Scenario, plan: Plan) -> Iterator[str]:
    """Yield each deletion without an Event (S7); a crash may lose one."""
    if plan.fault.startswith(("lost-", "paused-")):
        return
    for evc in Judge(stage.audit, world.namespace).deleted_for():
        name = evc["metadata"]["name"]
        if not {"Deleting", "Expiring"} & set(world.notes(name)):
            yield f"S7: no Event tells of the deletion for {name}"


def stepped_down(operators: list[Operator]) -> Iterator[str]:
    """Yield a sentence if the leader that was frozen goes on after its lease."""
    process = operators[0].process
    assert process is not None
    eventually(lambda: process.poll() is not None, "the old leader has ended", EXITS)
    if "lease was lost" not in operators[0].log.read_text():
        yield "S2: the old leader did not say that it lost its lease"


def play_all(stage: Stage, plans: list[Plan], at_once: int = AT_ONCE) -> Iterator[Verdict]:
    """Play many plans at the same time; yields each when it is over."""
    with ThreadPoolExecutor(at_once) as pool:
        futures = [pool.submit(play, stage, plan) for plan in plans]
        for future in futures:
            yield future.result()
