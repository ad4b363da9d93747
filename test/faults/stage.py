"""Where plans are played: one control plane, and for each plan a namespace and its operators."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cluster import ControlPlane
from e2e.scenario import Scenario, evc_cli
from faults.audit import AuditLog
from faults.proxy import Faults, Proxy
from faults.scenarios import eventually
from faults.steps import WATCHED

SYSTEM = "evc-system"
OPERATOR = f"system:serviceaccount:{SYSTEM}:evc-controller-manager"
RBAC = Path(__file__).with_name("rbac")


class Stage:
    """A control plane with our API and the operator's rights; safe for many threads."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane
        plane.kubectl("apply", "-f", "-", input=evc_cli("crd").stdout)
        eventually(
            # An error names the group, too.
            lambda: (
                "ephemeralvolumeclaims.evc.dev"
                in plane.kubectl("api-resources", "--api-group=evc.dev", "-o=name", check=False)
            ),
            "our API",
        )
        plane.restart("kube-controller-manager")  # its garbage collector learns of our API
        plane.kubectl("create", "namespace", SYSTEM)
        plane.kubectl("apply", "-k", str(RBAC))
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{SYSTEM}")
        self.kubeconfig = plane.kubeconfig_for(OPERATOR, *groups)
        self.audit = AuditLog(plane.audit_log, OPERATOR)

    @classmethod
    @contextmanager
    def boot(cls) -> Iterator[Stage]:
        """A stage of its own, until the block ends."""
        with ControlPlane.boot() as plane:
            yield cls(plane)

    def world(self) -> Scenario:
        """A new namespace, in which the operator may also hold a lease."""
        world = Scenario(self.plane.kubeconfig)
        path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{world.namespace}"
        rule = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"]}
        may = {"rules": [rule | {"verbs": ["create", "get", "update"]}]}
        world.call("POST", f"{path}/roles", {"metadata": {"name": "lease"}} | may)
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "lease"}
        who = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": OPERATOR}
        binding = {"metadata": {"name": "lease"}, "roleRef": role, "subjects": [who]}
        world.call("POST", f"{path}/rolebindings", binding)
        return world

    def operator(
        self, world: Scenario, faults: Faults, *args: str, name: str = "a", bug: str = ""
    ) -> Operator:
        """An operator process for that namespace, behind a proxy of its own."""
        folder = self.plane.directory / "operators"
        folder.mkdir(exist_ok=True)
        proxy = Proxy(self.kubeconfig, folder, f"{world.namespace}-{name}", faults)
        log = folder / f"{world.namespace}-{name}.log"
        return Operator(proxy, log, "-n", world.namespace, *args, bug=bug)


class Operator:
    """One `evc run`, which can be killed, frozen and started again."""

    def __init__(self, proxy: Proxy, log: Path, *args: str, bug: str = "") -> None:
        self.proxy = proxy
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None
        switch = ("--with-bug", bug) if bug else ()
        self._command = [
            *(sys.executable, "-m", "faults.operator", *switch, "run"),
            f"--kubeconfig={proxy.kubeconfig}",
            "--health-probe-bind-address=0",
            "--workers=3",
            *args,
        ]
        self._changing = threading.Lock()

    def start(self) -> None:
        """Start the process; return when it has a watch on everything."""
        self.launch()
        eventually(self.watching, f"the operator watches: {self.log}", 60)

    def launch(self) -> None:
        """Start the process, and do not wait for it."""
        environment: dict[str, str] = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self._command, stdout=log, stderr=log, env=environment)

    def crash(self) -> None:
        """SIGKILL, and a new process at once."""
        with self._changing:
            self.kill()
            self.launch()

    def kill(self) -> None:
        """SIGKILL."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.proxy.reset()
        self.proxy.process += 1

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def close(self) -> None:
        """End it and its proxy."""
        with self._changing:
            if self.process is not None:
                with contextlib.suppress(ProcessLookupError):
                    self.process.kill()
                self.process.wait()
            self.proxy.close()

    def complaints(self) -> list[str]:
        """What its log says of a bug."""
        text = self.log.read_text()
        return [f"bug: {self.log} has a Traceback"] if "Traceback" in text else []

    def watching(self) -> bool:
        """Whether the process that runs now has a watch on everything."""
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()
        return self.proxy.watched() >= set(WATCHED)


def nothing(*_: Any) -> None:
    """For where something could be done."""
