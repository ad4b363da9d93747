"""Builds the control plane's programs from the Go modules pinned here, once, into a cache.

No package registry ships a kube-apiserver, but its source is a Go module like any other. The
versions stand in the go.mod files beside this one and nowhere else.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .errors import ClusterError
from .locks import cache_root, locked
from .toolchain import Version, environment, find_go, parse_version

HERE = Path(__file__).parent
KWOK = "sigs.k8s.io/kwok"
NODE_STAGES = (
    "node/fast/node-initialize.yaml",
    "node/heartbeat-with-lease/node-heartbeat-with-lease.yaml",
)
HEARTBEAT_SECONDS = 60
LOG_TAIL = 15


@dataclass(frozen=True)
class Program:
    """A program, the module folder that pins it, and how long a cold build took on 2 cores."""

    name: str
    module: str
    package: str
    cold_seconds: int


PROGRAMS = (
    Program("etcd", "etcd", "go.etcd.io/etcd/server/v3", 67),
    Program("kube-apiserver", "kubernetes", "k8s.io/kubernetes/cmd/kube-apiserver", 370),
    Program(
        "kube-controller-manager", "kubernetes", "k8s.io/kubernetes/cmd/kube-controller-manager", 82
    ),
    Program("kube-scheduler", "kubernetes", "k8s.io/kubernetes/cmd/kube-scheduler", 8),
    Program("kubectl", "kubernetes", "k8s.io/kubernetes/cmd/kubectl", 21),
    Program("kwok", "kwok", f"{KWOK}/cmd/kwok", 150),
)
# Only a real node needs it: nobody else waits for its build.
KUBELET = Program("kubelet", "kubernetes", "k8s.io/kubernetes/cmd/kubelet", 60)
MODULES = tuple(dict.fromkeys(program.module for program in PROGRAMS))


def ensure_binaries(*, real_node: bool = False) -> Path:
    """The folder with every program (and `stages/`, kwok's node stages), built if need be.

    The kubelet is among them for a `real_node` only.

    Two callers at once build once: the second waits. A build that was interrupted is carried on
    with: each program is renamed into place when it is done, and a marker is written last.
    """
    if platform.system() != "Linux":
        raise ClusterError("the local control plane needs Linux: use a Linux machine or container")
    folder = cache_root() / "control-plane" / f"{kubernetes_version()}-{_fingerprint()}"
    programs = (*PROGRAMS, KUBELET) if real_node else PROGRAMS
    finished = folder / ("finished-with-kubelet" if real_node else "finished")
    if not finished.exists():
        with locked(folder / "lock", "another build of the control plane") as lock:
            if not finished.exists():
                _build(programs, folder, lock)
                finished.touch()
    return folder


def kubernetes_version() -> str:
    """The pinned version, as in `v1.37.2`."""
    match = re.search(r"^\s*k8s\.io/kubernetes (v\S+)", _go_mod("kubernetes"), re.MULTILINE)
    if not match:
        raise ClusterError(f"{HERE / 'kubernetes' / 'go.mod'} requires no k8s.io/kubernetes")
    return match[1]


def _go_mod(module: str) -> str:
    return (HERE / module / "go.mod").read_text()


def _go_needed() -> Version:
    """The newest Go that any of the go.mod files asks for."""
    asked = [re.search(r"^go (\S+)", _go_mod(module), re.MULTILINE) for module in MODULES]
    return max(parse_version(match[1]) for match in asked if match)


def _flags(program: Program) -> list[str]:
    """Flags of `go build`; the Kubernetes programs are told their version, as its releases are."""
    linker = "-s -w"
    if program.module == "kubernetes":
        version = kubernetes_version()
        major, minor, _ = version.removeprefix("v").split(".", 2)
        base = "k8s.io/component-base/version"
        linker += f" -X {base}.gitVersion={version}"
        linker += f" -X {base}.gitMajor={major} -X {base}.gitMinor={minor}"
        linker += f" -X k8s.io/client-go/pkg/version.gitVersion={version}"
    return ["-trimpath", "-buildvcs=false", "-ldflags", linker]


def _fingerprint() -> str:
    """Changes with whatever the programs are built from."""
    inputs = [platform.system(), platform.machine(), *NODE_STAGES]
    inputs += [repr((program, _flags(program))) for program in (*PROGRAMS, KUBELET)]
    for module in MODULES:
        inputs += [_go_mod(module), (HERE / module / "go.sum").read_text()]
    return hashlib.sha256("\0".join(inputs).encode()).hexdigest()[:12]


def _build(programs: tuple[Program, ...], folder: Path, lock: int) -> None:
    (folder / "logs").mkdir(exist_ok=True)
    for leftover in folder.glob(".*.building"):
        leftover.unlink()
    go = find_go(_go_needed())
    for program in _announced(programs, folder):
        output = folder / f".{program.name}.building"
        arguments = ["build", *_flags(program), "-o", str(output), program.package]
        _run_go([go, *arguments], program, folder / "logs" / f"{program.name}.log", lock)
        os.replace(output, folder / program.name)
    _copy_node_stages(go, folder / "stages")


def _announced(programs: tuple[Program, ...], folder: Path) -> Iterator[Program]:
    """The programs still to build, each announced with how long it and the rest will take.

    The estimate is what a cold build took on 2 cores, scaled by the speed seen so far.
    """
    missing = [program for program in programs if not (folder / program.name).exists()]
    _say(f"building Kubernetes {kubernetes_version()} from source, once; it is kept in {folder}")
    began = time.monotonic()
    for index, program in enumerate(missing):
        done = sum(built.cold_seconds for built in missing[:index])
        left = sum(waiting.cold_seconds for waiting in missing[index:])
        pace = (time.monotonic() - began) / done if done else 1.0
        position = f"[{programs.index(program) + 1}/{len(programs)}]"
        own, rest = _about(program.cold_seconds * pace), _about(left * pace)
        _say(f"{position} {program.name} (about {own} of {rest} left)")
        yield program
    _say(f"built {len(missing)} programs in {_about(time.monotonic() - began)}")


def _run_go(command: list[str], program: Program, log: Path, lock: int) -> None:
    """Run one `go build`; it holds the lock too, in case we are killed and it works on."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=HERE / program.module,
            env=environment(),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=(lock,),
        )
        try:
            _wait(process, program.name)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            process.wait()
            raise
    if process.returncode:
        tail = "\n  ".join(log.read_text(errors="replace").splitlines()[-LOG_TAIL:])
        raise ClusterError(f"building {program.name} failed (all of it in {log}):\n  {tail}")


def _wait(process: subprocess.Popen[bytes], name: str) -> None:
    began = time.monotonic()
    while True:
        try:
            process.wait(HEARTBEAT_SECONDS)
            return
        except subprocess.TimeoutExpired:
            _say(f"      {name}: building for {_about(time.monotonic() - began)}")


def _copy_node_stages(go: str, target: Path) -> None:
    """Keep kwok's own node stages beside the programs; the module's folder may be cleaned up."""
    result = subprocess.run(
        [go, "mod", "download", "-json", KWOK],
        cwd=HERE / "kwok",
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        raise ClusterError(f"could not get kwok's stage files: {result.stderr.strip()}")
    source = Path(json.loads(result.stdout)["Dir"]) / "kustomize" / "stage"
    target.mkdir(exist_ok=True)
    for stage in NODE_STAGES:
        shutil.copyfile(source / stage, target / Path(stage).name)


def _about(seconds: float) -> str:
    return f"{round(seconds / 60)} min" if seconds >= 90 else f"{max(1, round(seconds))} s"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
