"""Where the benchmarks play: a real control plane, the operator and its peers as processes.

Volumes are not bound: Kubernetes' own binding does some 20 a second (kubernetes#135127) and
would be all that is measured.  The scheduler and kwok are frozen once the API answers; the
driver says itself what becomes of pods.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Self

from cluster import ControlPlane
from cluster.ports import LOOPBACK, free_ports

from . import audit, go_peer, objects, procs
from .load import Api, in_parallel

ROOT = Path(__file__).parent.parent
PEERS = Path(__file__).parent / "peers"
OPERATOR_PYTHON = ROOT / "build" / "run-venv" / "bin" / "python"
"""What is delivered and nothing else: some libraries import more where there is more."""
PEER_PYTHON = ROOT / "build" / "bench-venv" / "bin" / "python"
PEER_NAMES = {"official": "SharedInformer", "evc": "evc informer"}
OPERATORS = ("operator", "kopf_evc", "controller-runtime")
"""Those that lead whole lives, as the tables call them: ours and its peers."""
PATIENCE = 120.0
_OFF = (
    "persistentvolume-binder-controller",
    "persistentvolume-expander-controller",
    "persistentvolume-attach-detach-controller",
    "ephemeral-volume-controller",
    # Either would delete the pods of a node that does not exist.
    "pod-garbage-collector-controller",
    "taint-eviction-controller",
)
ARGUMENTS = {
    "kube-apiserver": [f"--audit-policy-file={Path(__file__).parent / 'audit-policy.yaml'}"],
    "kube-controller-manager": ["--controllers=" + ",".join(["*", *(f"-{name}" for name in _OFF)])],
    "etcd": [f"--quota-backend-bytes={8 << 30}"],
}
_PEER_RIGHTS = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRoleBinding",
    "metadata": {"name": "bench-peer"},
    "roleRef": {
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": "ClusterRole",
        "name": "cluster-admin",
    },
    "subjects": [{"kind": "ServiceAccount", "name": "peer", "namespace": "bench"}],
}


class BenchError(Exception):
    """A benchmark could not be carried out; there is no figure then."""


def until(reached: Callable[[], object], what: str, seconds: float = PATIENCE) -> float:
    """Wait for it; returns the seconds that took."""
    began = time.monotonic()
    while not reached():
        if time.monotonic() - began > seconds:
            raise BenchError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.02)
    return time.monotonic() - began


@dataclass
class Program:
    """A process under measurement: the operator or a peer."""

    name: str
    user: str
    command: list[str]
    log: Path
    health: str = ""
    metrics: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0

    def start(self, *, wait: bool = True) -> Self:
        """Start it, and wait until it says that it is ready; ``started`` is when it began."""
        with self.log.open("wb") as log:
            self.started = time.time()
            self.process = subprocess.Popen(
                self.command, stdout=log, stderr=log, env={**os.environ, **self.env}
            )
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self, seconds: float = PATIENCE) -> float:
        """Return the seconds since its start at which its caches were filled."""
        until(self.ready, f"{self.name} is ready: see {self.log}", seconds)
        return time.time() - self.started

    def ready(self) -> bool:
        """Whether its caches are filled."""
        if self.running.poll() is not None:
            raise BenchError(f"{self.name} has ended:\n{self.log.read_text()[-2000:]}")
        if not self.health:
            return "READY" in self.log.read_text()
        try:
            return page(self.health).strip() == "ok"
        except OSError:
            return False

    @property
    def running(self) -> subprocess.Popen[bytes]:
        """The process."""
        assert self.process is not None
        return self.process

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.running.pid

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it and wait until it is gone."""
        if self.process is None:
            return
        self.process.send_signal(number)
        self.process.send_signal(signal.SIGCONT)
        try:
            self.process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None


def page(url: str) -> str:
    """A page of a process on this machine, never through a proxy."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=10) as answer:
        text: str = answer.read().decode()
        return text


class Stage:
    """One control plane with our API installed, for one benchmark."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane
        self.api = Api(plane.url, plane.directory / "pki")
        self.audit = audit.Log(plane.audit_log)
        self._programs: list[Program] = []
        account = audit.OPERATOR.split(":")[2]
        self._operator = plane.kubeconfig_for(
            audit.OPERATOR, "system:serviceaccounts", f"system:serviceaccounts:{account}"
        )
        self._peer = plane.kubeconfig_for(
            audit.PEER, "system:serviceaccounts", "system:serviceaccounts:bench"
        )

    @classmethod
    @contextlib.contextmanager
    def boot(
        cls,
        namespaces: int = 1,
        *,
        frozen: tuple[str, ...] = (),
        apiserver: tuple[str, ...] = (),
    ) -> Iterator[Stage]:
        """Boot, install the API and the rights, make namespaces b-0, b-1 ..."""
        more = {"kube-apiserver": [*ARGUMENTS["kube-apiserver"], *apiserver]}
        with ControlPlane.boot(arguments=ARGUMENTS | more) as plane:
            stage = cls(plane)
            try:
                stage._set_up(namespaces, frozen)
                yield stage
            finally:
                for program in stage._programs:
                    program.stop()

    def _set_up(self, namespaces: int, frozen: tuple[str, ...]) -> None:
        crd = subprocess.run(
            [sys.executable, "-m", "evc", "crd"], capture_output=True, text=True, check=True
        )
        self.plane.kubectl("apply", "-f", "-", input=crd.stdout)
        self.plane.kubectl("create", "namespace", "evc-system")
        self.plane.kubectl("apply", "-k", str(ROOT / "test" / "e2e" / "deployed"))
        rights = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
        self.api.create(rights, _PEER_RIGHTS)
        self.namespaces = [f"b-{number}" for number in range(namespaces)]
        in_parallel(
            lambda name: self.api.create("/api/v1/namespaces", {"metadata": {"name": name}}),
            self.namespaces,
        )
        # Its garbage collector then knows our kind.
        self.plane.restart("kube-controller-manager")
        for name in self.namespaces:
            account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
            until(partial(self._answers, account), f"{name} has its service account")
        until(
            lambda: self._answers("/apis/evc.dev/v1alpha1/ephemeralvolumeclaims"),
            "our API is there",
        )
        # For two seconds after a kind was established the API server delays every create of
        # it by two seconds (apiextensions-apiserver, customresource_handler.go): not ours to
        # measure, and over when one has come back.
        path = objects.evc_path(self.namespaces[0])
        self.api.create(f"{path}?dryRun=All", objects.evc("established"))
        for component in ("kwok", "kube-scheduler", *frozen):
            self.plane.pause(component)

    def _answers(self, path: str) -> bool:
        try:
            self.api.get(path)
        except Exception:
            return False
        return True

    def operator(self, *args: str, name: str = "operator") -> Program:
        """The operator, not started yet."""
        metrics, health = (f"{LOOPBACK}:{port}" for port in free_ports(2))
        command = [
            *(str(OPERATOR_PYTHON), "-m", "evc", "run", f"--kubeconfig={self._operator}"),
            f"--metrics-bind-address={metrics}",
            f"--health-probe-bind-address={health}",
            # A limit that users choose is not to be what is measured.
            "--max-deletions-per-minute=0",
            "--metrics-secure=false",
            *args,
        ]
        return self._keep(
            Program(
                name,
                audit.OPERATOR,
                command,
                self.plane.directory / "logs" / f"{name}.log",
                health=f"http://{health}/readyz",
                metrics=f"http://{metrics}/metrics",
                env={"PYTHONPATH": ""},
            )
        )

    def contender(self, name: str, pods: int = 0) -> Program:
        """One of `OPERATORS`, not started yet; it is ready when it knows that many pods."""
        match name:
            case "operator":
                return self.operator()
            case go_peer.SOURCE.name:
                return self._of_peer(name, [str(go_peer.program())])
            case _:
                return self.peer(f"{name}.py", str(pods))

    def peer(self, script: str, *args: str) -> Program:
        """A script of `peers`, which prints READY; not started yet."""
        name = PEER_NAMES.get(args[0] if args else "", Path(script).stem)
        return self._of_peer(name, [str(PEER_PYTHON), str(PEERS / script), *args])

    def _of_peer(self, name: str, command: list[str]) -> Program:
        return self._keep(
            Program(
                name,
                audit.PEER,
                command,
                self.plane.directory / "logs" / f"{name.replace(' ', '-')}.log",
                env={"KUBECONFIG": str(self._peer), "PYTHONPATH": str(ROOT / "src")},
            )
        )

    def _keep(self, program: Program) -> Program:
        self._programs.append(program)
        return program

    def wait_idle(self, *programs: Program) -> None:
        """Wait until neither these nor the control plane have anything left to do."""
        for pid in self.pids(*programs).values():
            procs.wait_idle(pid)

    def pids(self, *programs: Program) -> dict[str, int]:
        """Process ids of the control plane, the driver and these, by name."""
        parts = procs.children(self.plane.warden_pid)
        names = ("kube-apiserver", "etcd", "kube-controller-manager")
        found = {name: parts[name] for name in names} | {"driver": os.getpid()}
        return found | {program.name: program.pid for program in programs}
