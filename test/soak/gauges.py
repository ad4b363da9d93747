"""The operator's process over time: memory, threads, file descriptors."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20
WARM_UP = 0.25
"""The share of the samples in which pools and arenas may still grow."""


@dataclass(frozen=True)
class Sample:
    """One look at the process."""

    lives: int
    resident: int
    threads: int
    descriptors: int


@dataclass(frozen=True)
class Limit:
    """What counts as flat: the growth of all lives after the warm-up stays below."""

    name: str
    value: Callable[[Sample], int]
    per_life: float
    """So much for each of them ..."""
    noise: float
    """... or that, where there are few."""
    unit: str = ""
    scale: float = 1.0


LIMITS = (
    # An object kept for each life costs more than this: a key alone has 200 bytes.
    Limit("memory", lambda s: s.resident, per_life=150.0, noise=4 * MIB, unit="MiB", scale=MIB),
    Limit("threads", lambda s: s.threads, per_life=0.0, noise=2.0),
    Limit("descriptors", lambda s: s.descriptors, per_life=0.0, noise=5.0),
)


def look(pid: int, lives: int) -> Sample:
    """Read /proc."""
    proc = Path(f"/proc/{pid}")
    fields = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
    resident = int(fields["VmRSS"].split()[0]) << 10
    return Sample(lives, resident, int(fields["Threads"]), len(os.listdir(proc / "fd")))


class Gauges:
    """Looks at a process every second, until stopped."""

    def __init__(self, pid: int, lives: Callable[[], int]) -> None:
        self.samples: list[Sample] = []
        self._pid = pid
        self._lives = lives
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(1.0):
            self.samples.append(look(self._pid, self._lives()))


def slope(points: list[tuple[float, float]]) -> float:
    """Least squares: how much y grows with one x."""
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


@dataclass(frozen=True)
class Trend:
    """How one gauge went after the warm-up."""

    limit: Limit
    first: float
    last: float
    most: float
    growth: float
    """By the slope, over all those lives."""
    allowed: float

    @property
    def flat(self) -> bool:
        return self.growth <= self.allowed


def trend(limit: Limit, samples: list[Sample]) -> Trend:
    """Judge one gauge; needs samples from after the warm-up."""
    warm = samples[int(len(samples) * WARM_UP) :]
    values = [limit.value(sample) for sample in warm]
    lives = warm[-1].lives - warm[0].lives
    rise = slope([(s.lives, v) for s, v in zip(warm, values, strict=True)]) * lives
    allowed = max(limit.per_life * lives, limit.noise)
    return Trend(limit, values[0], values[-1], max(values), rise, allowed)


def table(samples: list[Sample], rows: int = 10) -> list[str]:
    """The samples in so many lines, and the trends."""
    lines = [f"{'lives':>8} {'memory':>12} {'threads':>8} {'descriptors':>12}"]
    step = max(1, len(samples) // rows)
    for sample in samples[step - 1 :: step]:
        memory = f"{sample.resident / MIB:.1f} MiB"
        lines.append(f"{sample.lives:8} {memory:>12} {sample.threads:8} {sample.descriptors:12}")
    lines.append("")
    for found in (trend(limit, samples) for limit in LIMITS):
        scale, unit = found.limit.scale, found.limit.unit
        lines.append(
            f"{found.limit.name:12} {'flat' if found.flat else 'GROWS':5}"
            f" by {found.growth / scale:+.2f} {unit} after warm-up"
            f" (allowed {found.allowed / scale:.2f}, most {found.most / scale:.1f})"
        )
    return lines
