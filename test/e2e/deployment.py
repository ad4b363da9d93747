"""The operator as it is deployed, with what tests do to one: kill, stop, start."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from e2e.scenario import eventually

REPLICAS = 2
ROLLOUT = "90s"


class Deployment:
    """The deployed operator; it looks after all namespaces, so one test at a time may stop it."""

    def __init__(self, kubeconfig: Path, namespace: str, name: str) -> None:
        self._kubectl = ["kubectl", f"--kubeconfig={kubeconfig}", f"--namespace={namespace}"]
        self._name = f"deployment/{name}"

    def start(self) -> None:
        """Start it and wait until it is ready."""
        self._run("scale", self._name, f"--replicas={REPLICAS}")
        self._run("rollout", "status", self._name, f"--timeout={ROLLOUT}")

    def stop(self) -> float:
        """Ask it to stop; return the seconds that took."""
        began = time.monotonic()
        self._run("scale", self._name, "--replicas=0")
        eventually(lambda: not self._run("get", "pods", "-o=name", *self._pods), "it has stopped")
        return time.monotonic() - began

    def kill(self) -> None:
        """End every replica as a crash does, and let none follow."""
        self._run("scale", self._name, "--replicas=0")
        self._run("delete", "pod", *self._pods, "--force", "--grace-period=0")

    def inside(self, *command: str) -> str:
        """What a command prints in a container of it, errors included."""
        return self._run("exec", self._name, "--", *command, check=False)

    def close(self) -> None:
        """Start it if it is stopped, and fail if it met a bug."""
        self.start()
        logs = self._run("logs", *self._pods, "--tail=-1")
        assert "Traceback" not in logs, logs

    @property
    def _pods(self) -> tuple[str, ...]:
        return ("--selector=control-plane=controller-manager",)

    def _run(self, *args: str, check: bool = True) -> str:
        result = subprocess.run(
            [*self._kubectl, *args], capture_output=True, text=True, timeout=100, check=False
        )
        assert result.returncode == 0 or not check, f"kubectl {' '.join(args)}: {result.stderr}"
        return result.stdout + result.stderr
