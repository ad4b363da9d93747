"""Boots one control plane, hands it to tests, and takes all of it down again."""

from __future__ import annotations

import atexit
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from . import components
from .api import Api
from .build import ensure_binaries
from .components import Layout
from .errors import ClusterError
from .pki import Authority
from .ports import free_ports
from .processes import Processes

BOOT_SECONDS = 60.0
POLL_SECONDS = 0.05
BOOT_TRIES = 3
LOG_TAIL = 8
HOSTPATH_PROVISIONER = "kubernetes.io/host-path"
PROVISIONED = Path("/tmp/hostpath_pv")  # fixed in the provisioner's source
STORAGE_CLASS = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "StorageClass",
    "metadata": {
        "name": "standard",
        "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
    },
    "provisioner": HOSTPATH_PROVISIONER,
    "reclaimPolicy": "Delete",
    "volumeBindingMode": "Immediate",
}


class _PortTaken(ClusterError):
    """Somebody took one of our ports between choosing and binding it: worth another try."""


class ControlPlane:
    """A running control plane: `with ControlPlane.boot() as cp: cp.kubectl("get", "pods")`."""

    def __init__(
        self,
        layout: Layout,
        authority: Authority,
        processes: Processes,
        arguments: Mapping[str, Sequence[str]],
    ) -> None:
        self._layout = layout
        self._authority = authority
        self._processes = processes
        self._arguments = arguments
        self._api = Api(layout.url, layout.pki)
        self._running = True

    @classmethod
    def boot(
        cls,
        *,
        nodes: int = 1,
        directory: Path | None = None,
        detached: bool = False,
        arguments: Mapping[str, Sequence[str]] | None = None,
    ) -> Self:
        """Build the programs if need be, start them, and return when pods can run.

        `directory` must be empty or absent; without it a temporary one is used. The control plane
        ends with this process, however that ends, unless it is `detached`: then nothing but
        `stop`, or SIGTERM to its warden, ends it. `arguments` are added to the command lines of
        the components named; of a flag that is given twice, the last one counts.
        """
        binaries = ensure_binaries()
        for left in reversed(range(BOOT_TRIES)):
            home = _empty(directory)
            layout = Layout(home, binaries, *free_ports(3))
            layout.logs.mkdir()
            authority = components.write_files(layout)
            plane = cls(layout, authority, Processes(layout.logs), arguments or {})
            try:
                plane._bring_up(nodes)
            except _PortTaken:
                plane.stop(keep=not left)
                if not left:
                    raise
            except BaseException as error:
                plane._abandon(error)
                raise
            else:
                plane._keep_running(detached)
                return plane
        raise AssertionError("the last try returns or raises")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._abandon(error)

    @property
    def directory(self) -> Path:
        """Everything this control plane wrote; its logs are in `logs/`."""
        return self._layout.directory

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self._layout.kubeconfig("admin")

    @property
    def url(self) -> str:
        """The API server's address."""
        return self._layout.url

    @property
    def etcd_url(self) -> str:
        """etcd's address, which also serves its API as JSON (`/v3/kv/compaction`)."""
        return self._layout.etcd_url

    @property
    def audit_log(self) -> Path:
        """What the API server was asked and by whom, one JSON object a line."""
        return self._layout.audit_log

    @property
    def warden_pid(self) -> int:
        """The process that ends the whole control plane when it gets SIGTERM."""
        return self._processes.pid

    def kubectl(self, *args: str, input: str | None = None, check: bool = True) -> str:
        """Run kubectl as the administrator and return what it printed.

        With `check`, a failure raises with kubectl's own message; without, that message is
        returned after the output. A `--kubeconfig=` among the arguments runs it as that user.
        """
        result = subprocess.run(
            [
                str(self._layout.binaries / "kubectl"),
                f"--kubeconfig={self.kubeconfig}",
                f"--cache-dir={self.directory / 'kubectl-cache'}",
                *args,
            ],
            input=input,
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode and check:
            raise ClusterError(f"kubectl {' '.join(args)}: {result.stderr.strip()}")
        return result.stdout + (result.stderr if result.returncode else "")

    def kubeconfig_for(self, user: str, *groups: str) -> Path:
        """A kubeconfig whose client certificate makes its bearer this user in these groups."""
        plain = re.sub(r"[^A-Za-z0-9.-]+", "-", "_".join([user, *groups]))
        path = self.directory / "users" / f"{plain}.kubeconfig"
        path.parent.mkdir(exist_ok=True)
        identity = self._authority.client(user, *groups)
        components.write_kubeconfig(path, self.url, self._authority, identity)
        return path

    def start(self, component: str, argv: list[str]) -> None:
        """Start one more program; it ends with the others, and before those started earlier."""
        self._processes.start(component, argv)

    def restart(self, component: str) -> None:
        """End the component, start it anew on the same port, and wait until the API answers.

        After installing a CRD, restart kube-controller-manager: its garbage collector looks for
        new kinds every 30 s only, and until then does not delete what objects of them own.
        """
        self._processes.restart(component)
        self.wait_for("the API server after a restart", lambda: self._api.answers("/readyz"))

    def pause(self, component: str) -> None:
        """Freeze the component: its connections stay open and nothing answers."""
        self._processes.signal(component, signal.SIGSTOP)

    def resume(self, component: str) -> None:
        """Let a paused component go on."""
        self._processes.signal(component, signal.SIGCONT)

    def wait_for(self, what: str, reached: Callable[[], bool]) -> None:
        """Return once that is reached; fail if a program ends before, or after a minute."""
        deadline = time.monotonic() + BOOT_SECONDS
        while not reached():
            self._check_alive()
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"waited {BOOT_SECONDS:.0f} s for {what}: see the logs in {self._layout.logs}"
                )
            time.sleep(POLL_SECONDS)

    def stop(self, *, keep: bool = False) -> None:
        """End every process and remove what it left on disk; `keep` spares the directory."""
        if not self._running:
            return
        self._running = False
        atexit.unregister(self.stop)
        volumes = provisioned_volumes(self._api)
        self._processes.stop()
        remove_all(volumes)
        if not keep:
            remove_all([self.directory])

    def _keep_running(self, detached: bool) -> None:
        if detached:
            self._processes.detach()
        else:
            atexit.register(self.stop)

    def _abandon(self, error: BaseException | None) -> None:
        """Stop; after a failure (an interrupt is none) show how the logs end, and keep them."""
        failed = isinstance(error, Exception)
        if failed:
            self._show_logs()  # before stopping adds its own noise to them
        self.stop(keep=failed)

    def _bring_up(self, nodes: int) -> None:
        layout = self._layout

        def start(name: str, argv: list[str]) -> None:
            self._processes.start(name, [*argv, *self._arguments.get(name, ())])

        start("etcd", components.etcd(layout))
        start("kube-apiserver", components.kube_apiserver(layout))
        self.wait_for("the API server", lambda: self._api.answers("/readyz"))
        for name, command in components.CLIENTS.items():
            start(name, command(layout))
        self._api.create("/apis/storage.k8s.io/v1/storageclasses", STORAGE_CLASS)
        names = [f"node-{index}" for index in range(nodes)]
        for name in names:
            self._api.create("/api/v1/nodes", _node(name))
        for name in names:
            self.wait_for(f"{name} to be ready", partial(self._node_is_ready, name))
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        self.wait_for("the default service account", lambda: self._api.answers(account))

    def _node_is_ready(self, name: str) -> bool:
        node = self._api.get(f"/api/v1/nodes/{name}")
        conditions = {c["type"]: c["status"] for c in node["status"].get("conditions", [])}
        return conditions.get("Ready") == "True" and not node["spec"].get("taints")

    def _check_alive(self) -> None:
        for name, code in self._processes.exits().items():
            log = self._layout.logs / f"{name}.log"
            if "address already in use" in log.read_text(errors="replace"):
                raise _PortTaken(f"{name} found its port taken: see {log}")
            raise ClusterError(f"{name} ended with exit code {code}: see {log}")

    def _show_logs(self) -> None:
        """Say where the logs are, with the last lines of each, for whoever reads the failure."""
        print(f"the control plane's logs are kept in {self._layout.logs}", file=sys.stderr)
        for log in sorted(self._layout.logs.glob("*.log")):
            for line in log.read_text(errors="replace").splitlines()[-LOG_TAIL:]:
                print(f"  {log.stem}: {line[:300]}", file=sys.stderr)


def provisioned_volumes(api: Api) -> list[Path]:
    """The real directories behind this cluster's volumes; none if its API does not answer."""
    try:
        volumes: list[dict[str, Any]] = api.get("/api/v1/persistentvolumes")["items"]
    except OSError:
        return []
    paths = [Path(volume["spec"].get("hostPath", {}).get("path", "/")) for volume in volumes]
    return [path for path in paths if path.parent == PROVISIONED]


def remove_all(folders: list[Path]) -> None:
    """Remove these folders and what is in them; one that is gone already is fine."""
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def _empty(directory: Path | None) -> Path:
    if directory is None:
        return Path(tempfile.mkdtemp(prefix="evc-cluster-"))
    directory.mkdir(parents=True, exist_ok=True)
    if os.listdir(directory):
        raise ClusterError(f"{directory} is not empty: remove it, or choose another directory")
    return directory.absolute()


def _node(name: str) -> dict[str, Any]:
    ample = {"cpu": "1k", "memory": "4Ti", "ephemeral-storage": "16Ti", "pods": "100k"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": {"kwok.x-k8s.io/node": "fake"},
            "labels": {
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
            },
        },
        "status": {"allocatable": ample, "capacity": ample},
    }
