"""One control plane that outlives the command that started it: `up`, `status` and `down`."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from .api import Api
from .boot import ControlPlane, provisioned_volumes, remove_all
from .errors import ClusterError
from .locks import cache_root, locked

STOP_SECONDS = 10.0
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Detached:
    """What is written down about it: enough to find it again and to know it is the same one."""

    pid: int
    started: str
    url: str
    kubeconfig: str

    @property
    def running(self) -> bool:
        """Whether that very process lives; its number alone may be another's by now."""
        return _started(self.pid) == self.started


def up() -> tuple[Detached, bool]:
    """The detached control plane, and whether this call booted it."""
    with _locked():
        found = _read()
        if found is not None and found.running:
            return found, False
        remove_all([_home()])
        plane = ControlPlane.boot(directory=_home(), detached=True)
        pid = plane.warden_pid
        booted = Detached(pid, _started(pid), plane.url, str(plane.kubeconfig))
        _record().write_text(json.dumps(asdict(booted)))
        return booted, True


def status() -> Detached | None:
    """The detached control plane, if one is running."""
    found = _read()
    return found if found is not None and found.running else None


def down() -> bool:
    """Stop it and remove its directory; returns whether there was one running."""
    with _locked():
        found = status()
        if found is not None:
            volumes = provisioned_volumes(Api(found.url, _home() / "pki"))
            _end(found)
            remove_all(volumes)
        remove_all([_home()])
        return found is not None


def _end(plane: Detached) -> None:
    """SIGTERM ends the warden and all its children; so does SIGKILL, through the kernel."""
    for signum in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.kill(plane.pid, signum)
        deadline = time.monotonic() + STOP_SECONDS
        while plane.running and time.monotonic() < deadline:
            time.sleep(0.05)
        if not plane.running:
            return
    raise ClusterError(f"process {plane.pid} does not end: see {_home() / 'logs'}")


def _started(pid: int) -> str:
    """When the process started, unique across reboots; empty if there is none (or a zombie)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    state, start_ticks = fields[0], fields[19]
    return "" if state in "ZX" else f"{_BOOT_ID.read_text().strip()}/{start_ticks}"


def _home() -> Path:
    return cache_root() / "clusters" / "default"


def _record() -> Path:
    return _home() / "detached.json"


def _read() -> Detached | None:
    try:
        return Detached(**json.loads(_record().read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _locked() -> contextlib.AbstractContextManager[int]:
    return locked(_home().with_suffix(".lock"), "another `up` or `down`")
