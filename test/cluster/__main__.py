"""`python -m cluster build | up | status | down`, with this package's parent on PYTHONPATH."""

from __future__ import annotations

import argparse
import sys
import time

from . import detached
from .build import ensure_binaries
from .errors import ClusterError


def build() -> int:
    """Build the programs, and print the folder they are in."""
    print(ensure_binaries())
    return 0


def up() -> int:
    """Boot a control plane that stays, and print how to use it."""
    ensure_binaries()
    began = time.monotonic()
    plane, booted = detached.up()
    if booted:
        print(f"control plane up in {time.monotonic() - began:.1f} s: {plane.url}")
    else:
        print(f"control plane is up already: {plane.url}")
    print(f"export KUBECONFIG={plane.kubeconfig}")
    return 0


def status() -> int:
    """Say whether it runs; the exit code is 1 if it does not."""
    plane = detached.status()
    if plane is None:
        print("control plane is not running")
        return 1
    print(f"control plane is up: {plane.url} (process {plane.pid})")
    print(f"export KUBECONFIG={plane.kubeconfig}")
    return 0


def down() -> int:
    """Stop it and remove its files."""
    stopped = detached.down()
    print("control plane stopped" if stopped else "control plane was not running")
    return 0


COMMANDS = {"build": build, "up": up, "status": status, "down": down}


def main() -> int:
    """Run one command; a failure is one clear message and exit code 1."""
    parser = argparse.ArgumentParser(prog="python -m cluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, command in COMMANDS.items():
        commands.add_parser(name, help=(command.__doc__ or "").splitlines()[0])
    try:
        return COMMANDS[parser.parse_args().command]()
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; run it again to carry on where it stopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
