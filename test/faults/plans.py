"""Plans: which fault strikes at which moment of which scenario, all of them (Sieve, OSDI'22).

A fault-free run of each reference scenario is recorded in `traces/`: the operator's writes,
and the states that each object showed in its watches.  Every write is lost before, lost after
and ambiguous; every delete meets every way in which the world may have changed since it was
decided; every state is hidden until the one after it, and until the object's last one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import msgspec

TRACES = Path(__file__).with_name("traces")

WRITE_FAULTS = ("lost-before", "lost-after", "ambiguous")
STALE_FAULTS = ("stale-pods", "stale-evc")
DELETE_FAULTS = ("late-hold", "paused-leader", "new-pod")
HIDE = "hide"
CLASSES = (*WRITE_FAULTS, *STALE_FAULTS, *DELETE_FAULTS, "new-pod-unscheduled", HIDE)


class Trace(msgspec.Struct):
    """What a fault-free run looked like."""

    writes: list[str]
    """Names of the operator's writes, in order; see `faults.steps`."""
    states: dict[str, list[str]]
    """Object -> the states it showed in the watches, in order."""
    creates: dict[str, int]
    """Claim -> how often the operator created it."""
    deletes: dict[str, int]
    """Claim -> how often the operator deleted it."""
    ends: list[str]
    """What was left of claims and volumes; see `faults.scenarios.ends`."""


@dataclass(frozen=True)
class Plan:
    """One fault at one moment; its id is all that a replay needs."""

    scenario: str
    fault: str
    step: str
    """The write it strikes at, or the state that is hidden."""
    until: str = ""
    """The state until which it is hidden."""

    @property
    def id(self) -> str:
        more = f"..{self.until}" if self.until else ""
        return f"{self.scenario}:{self.fault}:{self.step}{more}"


def load(scenario: str) -> Trace:
    """The recorded trace of a scenario."""
    return msgspec.json.decode((TRACES / f"{scenario}.json").read_bytes(), type=Trace)


def store(scenario: str, trace: Trace) -> None:
    """Keep a trace, one line per name so that a change of it can be read in a diff."""
    TRACES.mkdir(exist_ok=True)
    text = msgspec.json.format(msgspec.json.encode(trace), indent=1)
    (TRACES / f"{scenario}.json").write_bytes(text + b"\n")


def all_plans() -> list[Plan]:
    """Every plan of every recorded scenario."""
    names = sorted(path.stem for path in TRACES.glob("*.json"))
    return [plan for name in names for plan in generate(name, load(name))]


def generate(scenario: str, trace: Trace) -> Iterator[Plan]:
    """Yield every plan of a trace."""
    for step in trace.writes:
        yield from (Plan(scenario, fault, step) for fault in WRITE_FAULTS)
    cues = set()
    for step in trace.writes:
        if not destroys(step):
            continue
        yield from (Plan(scenario, fault, step) for fault in DELETE_FAULTS)
        if step.startswith("delete-pvc"):
            yield Plan(scenario, "new-pod-unscheduled", step)
        cue = decided_on(trace.writes, step)
        if cue and cue not in cues:
            cues.add(cue)
            yield from (Plan(scenario, fault, cue) for fault in STALE_FAULTS)
    for subject, states in trace.states.items():
        pairs = list(pairwise(states))
        if len(states) > 2:
            pairs.append((states[0], states[-1]))
        yield from (Plan(scenario, HIDE, f"{subject}:{a}", b) for a, b in pairs)


def destroys(step: str) -> bool:
    """Whether something may be gone for ever after this write."""
    return step.startswith(("delete-", "release-"))


def decided_on(writes: list[str], step: str) -> str:
    """The last status before the decision that this deletion follows from; "" if none."""
    before = writes[: writes.index(step)]
    found = [w for w in before if w.startswith("status-") and "-Releasing" not in w]
    return found[-1] if found else ""
