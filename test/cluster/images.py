"""What test pods run: files of this machine, as an image in a docker-archive of one layer."""

from __future__ import annotations

import hashlib
import json
import platform
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .errors import ClusterError

PAUSE = "evc.dev/test/pause:1"
"""The image of the container that holds a pod's namespaces open."""
TOOLS = ["docker.io/library/busybox:latest", "docker.io/library/bash:latest", PAUSE]
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def write_tools(archive: Path) -> Path:
    """One image under all names in TOOLS: a shell, bash, the usual tools; untold, it pauses."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        folder = root / "bin"
        folder.mkdir()
        (root / "tmp").mkdir()
        shutil.copy(_found("busybox"), folder)
        for applet in _output("busybox", "--list").split():
            if applet != "busybox":
                (folder / applet).symlink_to("busybox")
        shutil.copy(_found("bash"), folder)
        _copy_libraries(root, [folder / "bash"])
        pause = ["/bin/busybox", "sleep", "infinity"]
        return write_image(archive, root, TOOLS, Cmd=pause, Env=["PATH=/bin"])


def write_image(archive: Path, root: Path, names: list[str], **config: Any) -> Path:
    """Write what is in that folder as an image under these names; its files belong to root.

    `config` is that of the OCI image specification: Entrypoint, User, Env and so on.
    """
    with tempfile.TemporaryDirectory() as scratch:
        layer, description = Path(scratch) / "layer.tar", Path(scratch) / "config.json"
        with tarfile.open(layer, "w") as tar:
            tar.add(root, ".", filter=_of_root)
        with layer.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        image = {
            "architecture": ARCHITECTURES[platform.machine()],
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        }
        description.write_text(json.dumps(image))
        index = Path(scratch) / "manifest.json"
        index.write_text(
            json.dumps([{"Config": "config.json", "RepoTags": names, "Layers": ["layer.tar"]}])
        )
        with tarfile.open(archive, "w") as tar:
            for part in (index, description, layer):
                tar.add(part, part.name)
    return archive


def _of_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    entry.mode |= 0o777 if entry.name == "./tmp" else 0o444
    if entry.isdir() or entry.mode & 0o100:
        entry.mode |= 0o111
    return entry


def _copy_libraries(root: Path, binaries: Iterable[Path]) -> None:
    """Copy every shared library these need to the place where the loader looks for it."""
    for binary in binaries:
        for found in re.findall(r"(/\S+) \(0x", _output("ldd", str(binary))):
            _copy(Path(found), root)


def _copy(file: Path, root: Path) -> None:
    """Copy a file of this machine to the same place below the root."""
    target = _below(root, file)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(file, target)


def _below(root: Path, path: Path) -> Path:
    return root / path.relative_to("/")


def _found(program: str) -> str:
    path = shutil.which(program)
    if not path:
        raise ClusterError(f"{program} was not found")
    return path


def _output(*command: str) -> str:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise ClusterError(f"{' '.join(command)}: {(result.stderr or result.stdout).strip()}")
    return result.stdout
