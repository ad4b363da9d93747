"""Sets up what the demo plays on, and takes it down: control plane, CRD, operator."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cluster import ControlPlane, detached, ensure_binaries
from cluster.ports import LOOPBACK, free_ports

from .errors import DemoError

READY_SECONDS = 20.0
STOP_SECONDS = 15.0
POLL_SECONDS = 0.05
GUARD = Path(__file__).with_name("guard.py")


@dataclass
class Operator:
    """`evc run` as a process of its own, which ends with the control plane at the latest."""

    log: Path
    pid: int
    health: str
    command: str
    guard: subprocess.Popen[str]

    @classmethod
    def start(cls, kubeconfig: Path, log: Path, owner: int) -> Operator:
        """Start it; it lives no longer than the process `owner`."""
        program = Path(sys.executable).with_name("evc")
        if not program.exists():
            raise DemoError(f"there is no {program}: install this project, pip install -e .")
        metrics, health = (f"{LOOPBACK}:{port}" for port in free_ports(2))
        addresses = (
            f"--metrics-bind-address={metrics}",
            "--metrics-secure=false",
            f"--health-probe-bind-address={health}",
        )
        command = ["run", f"--kubeconfig={kubeconfig}", *addresses]
        with open(log, "ab") as output:
            guard = subprocess.Popen(
                [sys.executable, "-S", "-I", str(GUARD), str(owner), str(program), *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
                start_new_session=True,  # a Ctrl-C at the terminal is the demo's affair
            )
        assert guard.stdout is not None  # it was asked for as a pipe
        with guard.stdout as answer:
            pid = answer.readline().strip()
        if not pid:
            raise DemoError(f"the operator could not be started: see {log}")
        return cls(log, int(pid), f"http://{health}/readyz", f"evc {' '.join(command)}", guard)

    def wait_ready(self) -> None:
        """Return when its caches are filled."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            self.check_alive()
            with contextlib.suppress(OSError), opener.open(self.health, timeout=1):
                return
            time.sleep(POLL_SECONDS)
        raise DemoError(f"the operator was not ready within {READY_SECONDS:.0f} s: see {self.log}")

    def check_alive(self) -> None:
        """Raise if the process has ended."""
        code = self.guard.poll()
        if code is not None:
            how = f"killed by signal {code - 128}" if code > 128 else f"with exit code {code}"
            raise DemoError(f"the operator has ended, {how}: see {self.log}")

    def stop(self) -> None:
        """End it, and wait until it has ended."""
        self.guard.terminate()
        try:
            self.guard.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.guard.kill()  # the kernel then kills the operator
            self.guard.wait()

    def last_words(self, lines: int = 8) -> list[str]:
        """How its log ends."""
        return self.log.read_text(errors="replace").splitlines()[-lines:]


@dataclass
class Stage:
    """The control plane and, once started, the operator."""

    url: str
    kubeconfig: Path
    warden_pid: int
    _stop: Callable[[bool], None]
    operator: Operator | None = None
    _kubectl: Path = field(default_factory=lambda: ensure_binaries() / "kubectl")

    @classmethod
    def boot(cls) -> Stage:
        """A control plane that ends with this process."""
        plane = ControlPlane.boot()
        return cls(
            plane.url, plane.kubeconfig, plane.warden_pid, lambda keep: plane.stop(keep=keep)
        )

    @classmethod
    def boot_detached(cls) -> Stage:
        """A control plane that stays until `make cluster-down`."""
        plane, booted = detached.up()
        if not booted:
            raise DemoError(
                "a control plane is up already, and the demo wants a new one:"
                " stop it first with 'make cluster-down'"
            )
        return cls(plane.url, Path(plane.kubeconfig), plane.pid, lambda keep: _down())

    @property
    def home(self) -> Path:
        """Everything the control plane and the operator write."""
        return self.kubeconfig.parent

    @property
    def logs(self) -> Path:
        """The logs, the operator's too."""
        return self.home / "logs"

    @property
    def pki(self) -> Path:
        """The certificates."""
        return self.home / "pki"

    def kubectl(self, *args: str, input: str | None = None) -> str:
        """Run kubectl, and return what it says."""
        configured = f"--kubeconfig={self.kubeconfig}", f"--cache-dir={self.home / 'kubectl-cache'}"
        result = subprocess.run(
            [str(self._kubectl), *configured, *args],
            input=input,
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode:
            raise DemoError(f"kubectl {' '.join(args)}: {result.stderr.strip()}")
        return result.stdout + result.stderr

    def apply(self, folder: Path) -> str:
        """Build the folder with kustomize and apply it."""
        # The samples are files of another folder, which `apply -k` refuses to read.
        built = self.kubectl("kustomize", "--load-restrictor=LoadRestrictionsNone", str(folder))
        return self.kubectl("apply", "-f", "-", input=built)

    def start_operator(self) -> Operator:
        """Start the operator, and return when it is ready."""
        log = self.logs / "operator.log"
        self.operator = Operator.start(self.kubeconfig, log, self.warden_pid)
        self.operator.wait_ready()
        return self.operator

    def strike(self, *, keep_logs: bool) -> list[int]:
        """End everything; returns the PIDs that live on nevertheless (there should be none)."""
        pids = [self.warden_pid]
        if self.operator is not None:
            pids += [self.operator.guard.pid, self.operator.pid]
            self.operator.stop()
        self._stop(keep_logs)
        return [pid for pid in pids if _alive(pid)]


def _down() -> None:
    detached.down()


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"  # a zombie has ended, and waits for its exit code to be asked for


def ignore_interrupts() -> None:
    """From here on, neither Ctrl-C nor SIGTERM ends this process: it is ending already."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
