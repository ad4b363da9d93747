"""The peer in Go: built by the toolchain that builds the control plane, when it has changed."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path

from cluster import toolchain

SOURCE = Path(__file__).parent / "peers" / "controller-runtime"
PROGRAM = Path(__file__).parent.parent / "build" / SOURCE.name


class BuildError(Exception):
    """What the compiler said."""


@cache
def program() -> Path:
    """Build it; returns the executable."""
    flags = ["-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", str(PROGRAM)]
    _go("build", *flags)
    return PROGRAM


def versions() -> dict[str, str]:
    """What it is built from."""
    told = _go("version", "-m", str(program()))
    go = re.search(r"\bgo([\d.]+)$", told, re.MULTILINE)
    library = re.search(r"controller-runtime\s+v(\S+)", told)
    assert go is not None, told
    assert library is not None, told
    return {"controller-runtime": library[1], "go": go[1]}


def _go(*arguments: str) -> str:
    needed = re.search(r"^go (\S+)", (SOURCE / "go.mod").read_text(), re.MULTILINE)
    assert needed, "go.mod names a version"
    done = subprocess.run(
        [toolchain.find_go(toolchain.parse_version(needed[1])), *arguments],
        cwd=SOURCE,
        env=toolchain.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BuildError(f"go {arguments[0]} in {SOURCE}:\n{done.stderr}")
    return done.stdout
