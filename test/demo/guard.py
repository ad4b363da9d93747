"""Runs a command for as long as another process lives: `guard.py PID COMMAND...`; a script.

The demo runs the operator under it, with the PID of what keeps the control plane: the operator
ends with its cluster, whether that ends with the demo (however it ends) or by `make cluster-down`.
Writes the command's PID to standard output; the command's own output goes to standard error.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys

PATIENCE_SECONDS = 10.0
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)


def main() -> int:
    """Wait until one of the two ends, then end the command; returns its exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    owner = os.pidfd_open(int(sys.argv[1]))
    child = subprocess.Popen(
        sys.argv[2:],
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        preexec_fn=_die_with_parent,  # noqa: PLW1509 (there are no threads here)
    )
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    print(child.pid, flush=True)
    either = select.poll()
    either.register(owner, select.POLLIN)
    either.register(os.pidfd_open(child.pid), select.POLLIN)
    either.poll()
    return _end(child)


def _end(child: subprocess.Popen[bytes]) -> int:
    child.terminate()
    try:
        code = child.wait(PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        code = child.wait()
    return code if code >= 0 else 128 - code


def _die_with_parent() -> None:
    """Ask the kernel to kill the command, should the guard itself be killed."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
