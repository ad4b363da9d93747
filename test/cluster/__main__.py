"""`python -m cluster build | up | status | down | node`, our parent on PYTHONPATH."""

from __future__ import annotations

import argparse
import shlex
import sys
import time

from . import detached, isolated
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


def node(arguments: argparse.Namespace) -> int:
    """Run a command beside a control plane with one real node (needs root)."""
    return isolated.run(arguments.run, shlex.split(arguments.before))


def parser() -> argparse.ArgumentParser:
    """The command line: each command is a function of one argument, the parsed rest."""
    root = argparse.ArgumentParser(prog="python -m cluster", description=__doc__)
    commands = root.add_subparsers(required=True)
    for name, command in COMMANDS.items():
        plain = commands.add_parser(name, help=(command.__doc__ or "").splitlines()[0])
        plain.set_defaults(command=lambda _, command=command: command())
    real = commands.add_parser("node", help=(node.__doc__ or "").splitlines()[0])
    real.add_argument("--before", default="", help="a command that is run with a way out")
    real.add_argument("run", nargs="+", help="finds KUBECONFIG, AUDIT_LOG and kubectl")
    real.set_defaults(command=node)
    return root


def main() -> int:
    """Run one command; a failure is one clear message and exit code 1."""
    try:
        arguments = parser().parse_args()
        return int(arguments.command(arguments))
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; run it again to carry on where it stopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
