"""What processes cost: CPU seconds and memory, from /proc."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
MIB = 1024.0
"""KiB, the unit of /proc, in a MiB."""


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads so far; 10 ms fine."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


@dataclass(frozen=True)
class Memory:
    """MiB: resident now, and at most since the start or `reset_peak`."""

    rss: float
    peak: float


def memory(pid: int) -> Memory:
    """Resident memory of a process."""
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    rss, peak = (int(status[name].split()[0]) / MIB for name in ("VmRSS", "VmHWM"))
    return Memory(rss, peak)


def reset_peak(pid: int) -> None:
    """Let the peak begin anew at what is resident now (proc(5), clear_refs)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def children(parent: int) -> dict[str, int]:
    """Process ids of a process's children, by program name."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
            argv = stat.with_name("cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if int(text.rpartition(")")[2].split()[1]) == parent:
            found[Path(argv[0].decode()).name] = int(stat.parent.name)
    return found


def wait_idle(pid: int, seconds: float = 120.0) -> None:
    """Wait until the process has nothing left to do: under a tenth of a core for two seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        before = cpu_seconds(pid)
        time.sleep(2.0)
        if cpu_seconds(pid) - before < 0.2:
            return


class Meter:
    """CPU seconds of several processes between its making and `read`."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = dict(pids)
        self._before = {name: cpu_seconds(pid) for name, pid in self._pids.items()}

    def read(self) -> dict[str, float]:
        """CPU seconds by name."""
        return {
            name: round(cpu_seconds(pid) - self._before[name], 2)
            for name, pid in self._pids.items()
        }
