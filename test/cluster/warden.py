"""The parent of every process of one control plane; run as a script, never imported.

It exists so that nothing is left running, whatever ends the test run. It reads commands from its
standard input: when the run dies, even by SIGKILL, that pipe closes and the warden takes all its
children down. Should the warden itself be killed, the kernel kills the children (PDEATHSIG).
That signal is bound to the parent *thread*, which is why the single-threaded warden starts the
processes and not the test run, where any thread may boot or restart something.

One JSON object a line in, one out:
  {"do": "start", "name", "argv", "log"}   start a process, its output appended to log
  {"do": "terminate", "name"}              SIGTERM, then SIGKILL; answers when it is gone
  {"do": "signal", "name", "signal"}       send a signal
  {"do": "exits"}                          exit codes of the processes that ended by themselves
  {"do": "detach"}                         outlive the caller, until SIGTERM
"""

from __future__ import annotations

import ctypes
import json
import signal
import subprocess
import sys
from types import FrameType
from typing import Any, Never

PATIENCE_SECONDS = 3.0
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)


class Warden:
    """The processes by name, and what a command does to them."""

    def __init__(self) -> None:
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.detached = False

    def handle(self, command: dict[str, Any]) -> Any:
        """Carry out one command and return its answer."""
        match command["do"]:
            case "start":
                return self.start(command["name"], command["argv"], command["log"])
            case "terminate":
                return terminate(self.processes[command["name"]])
            case "signal":
                return self.processes[command["name"]].send_signal(command["signal"])
            case "exits":
                codes = {name: process.poll() for name, process in self.processes.items()}
                return {name: code for name, code in codes.items() if code is not None}
            case "detach":
                self.detached = True
                return None
            case unknown:
                raise ValueError(f"unknown command {unknown!r}")

    def start(self, name: str, argv: list[str], log: str) -> int:
        """Start a process that dies with the warden; returns its pid."""
        with open(log, "ab") as output:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=die_with_parent,  # noqa: PLW1509 (the warden has no threads)
            )
        self.processes[name] = process
        return process.pid


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent ends."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def terminate(process: subprocess.Popen[bytes]) -> None:
    """End the process: politely, after PATIENCE_SECONDS by force; returns when it is gone."""
    if process.poll() is not None:
        return
    process.terminate()
    process.send_signal(signal.SIGCONT)  # paused, it would never see the SIGTERM
    try:
        process.wait(PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def on_sigterm(signum: int, frame: FrameType | None) -> Never:
    """Leave whatever the warden waits for, by way of its `finally`."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(0)


def main() -> None:
    """Serve commands until the caller is gone (or, once detached, until SIGTERM)."""
    signal.signal(signal.SIGTERM, on_sigterm)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warden = Warden()
    try:
        for line in sys.stdin:
            print(json.dumps(warden.handle(json.loads(line))), flush=True)
        while warden.detached:
            signal.pause()
    finally:
        # Last started, first ended: an API server without its etcd takes long to shut down.
        for process in reversed(warden.processes.values()):
            terminate(process)


if __name__ == "__main__":
    main()
