"""The caller's side of the warden, which parents every process of a control plane."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from .errors import ClusterError

_SCRIPT = Path(__file__).with_name("warden.py")
_STOP_SECONDS = 10.0


class Processes:
    """Starts, signals and ends named processes; all of them end with the caller.

    See warden.py for how. Each process writes to `<logs>/<name>.log`.
    """

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self._argv: dict[str, list[str]] = {}
        self._talking = threading.Lock()
        with open(logs / "warden.log", "ab") as errors:
            # -S -I: the warden needs the standard library alone, and starts in 20 ms without more.
            self._warden = subprocess.Popen(
                [sys.executable, "-S", "-I", str(_SCRIPT)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The warden's process id, which is also its children's process group."""
        return self._warden.pid

    def start(self, name: str, argv: list[str]) -> int:
        """Start a process under this name and return its pid."""
        self._argv[name] = argv
        log = str(self.logs / f"{name}.log")
        return int(self._ask({"do": "start", "name": name, "argv": argv, "log": log}))

    def terminate(self, name: str) -> None:
        """End the process and wait until it is gone."""
        self._ask({"do": "terminate", "name": self._known(name)})

    def restart(self, name: str) -> int:
        """End the process and start it again as it was started; returns the new pid."""
        self.terminate(name)
        return self.start(name, self._argv[name])

    def signal(self, name: str, signum: signal.Signals) -> None:
        """Send the process a signal."""
        self._ask({"do": "signal", "name": self._known(name), "signal": int(signum)})

    def exits(self) -> dict[str, int]:
        """Exit codes of the processes that have ended."""
        return dict(self._ask({"do": "exits"}))

    def detach(self) -> None:
        """Let everything outlive the caller, until the warden is sent SIGTERM."""
        self._ask({"do": "detach"})
        self._close_pipes()

    def stop(self) -> None:
        """End every process and the warden; returns when all are gone."""
        self._close_pipes()
        try:
            self._warden.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self._warden.pid, signal.SIGKILL)
            self._warden.wait()

    def _known(self, name: str) -> str:
        if name not in self._argv:
            raise ClusterError(f"no component {name!r}; there are: {', '.join(sorted(self._argv))}")
        return name

    def _ask(self, command: dict[str, Any]) -> Any:
        stdin, stdout = self._warden.stdin, self._warden.stdout
        assert stdin is not None  # both were asked for as pipes
        assert stdout is not None
        with self._talking:
            try:
                stdin.write(json.dumps(command).encode() + b"\n")
                stdin.flush()
                answer = stdout.readline()
            except (BrokenPipeError, ValueError):
                answer = b""
        if not answer:
            raise ClusterError(
                f"the control plane's warden is gone; see {self.logs / 'warden.log'}"
            )
        return json.loads(answer)

    def _close_pipes(self) -> None:
        for pipe in (self._warden.stdin, self._warden.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
