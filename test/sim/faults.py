"""What can go wrong between the operator and the API server.

To add a fault: a name in `REQUEST_FAULTS`, and what it does in `sim.client.SimClient`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sim.choices import Choices

CRASHES = ("crash before", "crash after")
LOSSES = ("lost request", "lost reply")
REFUSALS = {
    "conflict": (409, "Conflict"),
    "gone": (410, "Expired"),
    "busy": (429, "TooManyRequests"),
    "broken": (500, "InternalError"),
    "unavailable": (503, "ServiceUnavailable"),
    "forbidden": (403, "Forbidden"),
}
REQUEST_FAULTS = (*CRASHES, *LOSSES, *REFUSALS)
STREAM_FAULTS = ("disconnect", "compacted", "stale list", "lost stream", "short list")
READS = ("get", "list")


@dataclass
class Faults:
    """Which faults a life has, how likely; ``on`` is switched off when it shall settle.

    ``counts`` says how often each struck: a suite that never met a fault proves nothing.
    """

    choices: Choices
    likely: dict[str, float] = field(default_factory=dict)
    on: bool = True
    counts: dict[str, int] = field(default_factory=dict)
    outage: bool = False
    denied: str = ""
    """A verb RBAC refuses at the moment."""

    def strike(self, verb: str) -> str:
        """The fault that hits this request, "" for none."""
        if not self.on:
            return ""
        if self.outage:
            return self._count("lost request")
        if self.denied == verb:
            return self._count("forbidden")
        for fault, probability in self.likely.items():
            if fault not in REQUEST_FAULTS or (fault == "conflict" and verb in READS):
                continue
            if self.choices.chance(f"fault {fault}", probability):
                return self._count(fault)
        return ""

    def stream(self, fault: str) -> bool:
        """Whether this fault of a watch or list happens now."""
        happens = self.on and self.choices.chance(f"fault {fault}", self.likely.get(fault, 0.0))
        if happens:
            self._count(fault)
        return happens

    def _count(self, fault: str) -> str:
        self.counts[fault] = self.counts.get(fault, 0) + 1
        return fault
