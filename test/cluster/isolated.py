"""A command in namespaces of its own, beside a control plane with one real node and a registry.

A kubelet wants the machine for itself: fixed ports, mounts, network interfaces, processes that
outlive it. So the control plane, the node and the command are given a network, mounts and process
ids of their own. When the command ends so do they, and the kernel takes all of it away. What is
left for us to remove is one folder and one cgroup, named alike.

What needs a way out of that network, such as the first build of an image, is done before, with
mounts and process ids of its own: a build that is interrupted leaves nothing either.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Never

from . import builds, node
from .boot import PROVISIONED, ControlPlane, remove_all
from .build import ensure_binaries
from .components import SERVICE_CLUSTER_IP
from .errors import ClusterError
from .images import write_tools

PROGRAMS = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "buildah": "buildah",
    "debootstrap": "debootstrap",
    "docker-registry": "docker-registry",
    "busybox": "busybox-static",
    "ip": "iproute2",
    "unshare": "util-linux",
}
# If this process is killed, unshare is, and with it the first process of the namespaces: then
# the kernel ends all others.
ISOLATE = ["setpriv", "--pdeathsig=KILL", "unshare", "--mount", "--pid", "--fork"]
ISOLATE += ["--mount-proc", "--kill-child"]
# Where containerd, CNI, the kubelet and buildah write whatever they are told.
FIXED_FOLDERS = tuple(map(Path, ("/run", "/var/log", "/var/lib/cni", "/var/lib/containers")))
# What tells of a failure: the logs of the control plane and the node, and those of all pods.
KEPT = ("cluster", "pod-logs")
CGROUPS = Path("/sys/fs/cgroup")
CGROUP_SECONDS = 10.0


def run(command: list[str], before: list[str]) -> int:
    """Run the command as `inside` says, and return its exit code; if it fails, the logs stay.

    If there is a command to run `before`, it has the network of this machine, and must succeed.
    What either builds, both have; see builds.environment.
    """
    _require_tools()
    ensure_binaries(real_node=True)
    signal.signal(signal.SIGTERM, _leave)
    home = Path(tempfile.mkdtemp(prefix="evc-node-"))
    environment = os.environ | builds.environment(home)
    inner = [*ISOLATE, "--net", sys.executable, "-m", "cluster.isolated", str(home), *command]
    code = 0
    try:
        _prepare(home, before, environment)
        code = 1
        with _cgroup(home.name):
            code = subprocess.call(inner, env=environment)
    finally:
        _tidy(home, failed=bool(code))
    if code:
        print(f"the logs are kept in {home}", file=sys.stderr)
    return code


def _prepare(home: Path, command: list[str], environment: dict[str, str]) -> None:
    """Run what comes first, if anything does; its temporary files go with the others."""
    scratch = home / "tmp"
    scratch.mkdir()
    if command and subprocess.call(
        [*ISOLATE, *command], env=environment | {"TMPDIR": str(scratch)}
    ):
        raise ClusterError(f"{shlex.join(command)} failed")


def inside(home: Path, command: list[str]) -> None:
    """Boot a control plane, join a real node and a registry to it, and run the command.

    The command finds KUBECONFIG, AUDIT_LOG and, on its PATH, kubectl. Raises ClusterError if it
    fails.
    """
    layout = node.Layout(home, cgroup=home.name)
    _furnish(layout)
    tools = write_tools(home / "tools.tar")
    with ControlPlane.boot(nodes=0, directory=home / "cluster") as plane:
        builds.serve(plane, home)
        node.join(plane, layout, tools)
        given = {
            "KUBECONFIG": str(plane.kubeconfig),
            "AUDIT_LOG": str(plane.audit_log),
            "PATH": f"{ensure_binaries()}{os.pathsep}{os.environ['PATH']}",
        }
        code = subprocess.call(command, env=os.environ | given)
        if code:
            raise ClusterError(f"{' '.join(command)}: exit code {code}")


def _require_tools() -> None:
    if os.geteuid() != 0:
        raise ClusterError("a real node needs root: run it as root, or use the local cluster")
    missing = [package for tool, package in PROGRAMS.items() if not shutil.which(tool)]
    if missing:
        raise ClusterError(f"missing here: apt-get install {' '.join(dict.fromkeys(missing))}")
    node.plugin_folder()


def _leave(signum: int, frame: FrameType | None) -> Never:
    """Make SIGTERM an exit like any other, so that cleaning up is not left out."""
    raise SystemExit(128 + signum)


@contextmanager
def _cgroup(name: str) -> Iterator[None]:
    """A cgroup of this name in each hierarchy (there is one of version 2, several of version 1)."""
    controllers = CGROUPS / "cgroup.controllers"
    if controllers.exists():
        wanted = [f"+{controller}" for controller in controllers.read_text().split()]
        (CGROUPS / "cgroup.subtree_control").write_text(" ".join(wanted))
        roots = [CGROUPS / name]
    else:
        roots = [hierarchy / name for hierarchy in CGROUPS.iterdir()]
    for root in roots:
        root.mkdir()
    try:
        yield
    finally:
        deadline = time.monotonic() + CGROUP_SECONDS
        while not all(_removed(root) for root in roots):
            if time.monotonic() > deadline:
                raise ClusterError(f"processes are left in the cgroups {CGROUPS}/*/{name}")
            time.sleep(0.05)


def _removed(root: Path) -> bool:
    """Remove a cgroup and those below it; False if the kernel has not emptied one yet."""
    for folder, _, _ in os.walk(root, topdown=False):
        try:
            os.rmdir(folder)
        except OSError:
            return False
    return True


def _tidy(home: Path, *, failed: bool) -> None:
    """Remove what the run wrote; after a failure all but what tells of it."""
    remove_all([path for path in home.iterdir() if path.name not in KEPT] if failed else [home])


def _furnish(layout: node.Layout) -> None:
    """Give the empty namespaces the node's addresses, and folders that programs insist on."""
    if [name for _, name in socket.if_nameindex()] != ["lo"]:
        raise ClusterError("this needs a network namespace of its own")
    _run("ip", "link", "set", "lo", "up")
    for address in (SERVICE_CLUSTER_IP, node.ADDRESS):
        _run("ip", "address", "add", f"{address}/32", "dev", "lo")
    # In memory also because overlays cannot be stacked, should this be a container itself.
    for folder in (*FIXED_FOLDERS, layout.containers):
        folder.mkdir(exist_ok=True)
        _run("mount", "-t", "tmpfs", "tmpfs", str(folder))
    hosts = layout.home / "hosts"
    hosts.write_text(f"127.0.0.1 localhost {builds.REGISTRY}\n")
    _run("mount", "--bind", str(hosts), "/etc/hosts")
    volumes = layout.home / "volumes"
    for folder in (volumes, PROVISIONED):
        folder.mkdir(exist_ok=True)
    _run("mount", "--bind", str(volumes), str(PROVISIONED))


def _run(*command: str) -> None:
    subprocess.run(command, check=True)


if __name__ == "__main__":
    try:
        inside(Path(sys.argv[1]), sys.argv[2:])
    except ClusterError as error:
        sys.exit(f"error: {error}")
