"""The command line: argv, environment, signals, the real clock, the exit code."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import durationpy
import msgspec

from evc.model.schema import custom_resource_definition
from evc.options import OptionError, Options

NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class RealClock:
    """The machine's clocks; `monotonic` goes on while the machine is suspended."""

    def now(self) -> datetime:
        """Return the wall clock, UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return CLOCK_BOOTTIME where there is one."""
        clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
        return time.clock_gettime(clock)


def duration(value: str) -> float:
    """Return the seconds of Go's notation, which all of Kubernetes' flags have: 15s, 1m30s."""
    try:
        return durationpy.from_str(value).total_seconds()
    except durationpy.DurationError as error:
        raise click.BadParameter(f"{value!r} is no duration such as 15s or 1m30s") from error


def stop_signal() -> threading.Event:
    """Return an event that SIGTERM or SIGINT sets.

    A thread of its own hears of them.  A handler in Python runs in the main thread only, once
    that is between two instructions; if the kernel interrupts another thread, or this one just
    before it waits for the event, that is never.
    """
    stop = threading.Event()
    hears, says = os.pipe()
    os.set_blocking(says, False)
    signal.set_wakeup_fd(says)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)

    def listen() -> None:
        os.read(hears, 1)
        stop.set()

    threading.Thread(target=listen, name="signals", daemon=True).start()
    return stop


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="evc")
def main() -> None:
    """Scratch volumes that go away when the work is over: the EphemeralVolumeClaim operator."""


@main.command()
def crd() -> None:
    """Print the CustomResourceDefinition, for kubectl apply -f -."""
    sys.stdout.buffer.write(msgspec.yaml.encode(custom_resource_definition()))


@main.command()
@click.option(
    "--kubeconfig", metavar="FILE", help="Default: $KUBECONFIG, the pod's, ~/.kube/config."
)
@click.option(
    "-n",
    "--namespace",
    "namespaces",
    multiple=True,
    metavar="NAME",
    help="Look after this namespace only; may be repeated. Default: all.",
)
@click.option(
    "--metrics-bind-address",
    default="0",
    show_default=True,
    metavar="ADDRESS",
    help="Where to serve /metrics, such as :8443; 0 for off.",
)
@click.option(
    "--metrics-secure",
    type=bool,
    is_flag=False,
    flag_value=True,
    default=True,
    show_default=True,
    metavar="BOOL",
    help="Serve metrics over HTTPS, to those whom RBAC lets get /metrics; false for all, by HTTP.",
)
@click.option(
    "--metrics-cert-path",
    default="",
    metavar="DIRECTORY",
    help="Where the metrics' certificate is. Default: a self-signed one.",
)
@click.option(
    "--metrics-cert-name",
    default="tls.crt",
    show_default=True,
    metavar="FILE",
    help="Its file; read again when it changes.",
)
@click.option(
    "--metrics-cert-key",
    default="tls.key",
    show_default=True,
    metavar="FILE",
    help="Its key's file.",
)
@click.option(
    "--health-probe-bind-address",
    default=":8081",
    show_default=True,
    metavar="ADDRESS",
    help="Where to serve /healthz and /readyz; 0 for off.",
)
@click.option(
    "--workers", default=10, show_default=True, help="How many claims to reconcile at once."
)
@click.option(
    "--max-deletions-per-minute",
    default=1000,
    show_default=True,
    help="Volumes deleted per minute; 0 for no limit.",
)
@click.option(
    "--max-deletions-percent",
    default=0,
    show_default=True,
    help="Stop deleting when a minute would take more than this share of all claims; 0 for off.",
)
@click.option("--dry-run", is_flag=True, help="Decide and tell, but write only status and events.")
@click.option("--leader-elect", is_flag=True, help="Act only while holding the lease.")
@click.option(
    "--leader-election-namespace",
    metavar="NAME",
    default=lambda: NAMESPACE_FILE.read_text().strip() if NAMESPACE_FILE.exists() else "",
    help="Where the lease is. Default: the pod's namespace.",
)
@click.option(
    "--leader-elect-lease-duration",
    type=duration,
    default="15s",
    show_default=True,
    help="How long others wait for a leader that is silent.",
)
@click.option(
    "--leader-elect-renew-deadline",
    type=duration,
    default="10s",
    show_default=True,
    help="When a leader that cannot renew its lease gives up.",
)
@click.option(
    "--leader-elect-retry-period",
    type=duration,
    default="2s",
    show_default=True,
    help="How often to try to take or renew the lease.",
)
@click.option(
    "--kube-api-qps",
    default=-1.0,
    show_default=True,
    help="Requests per second; -1: as many as the API server's own flow control admits.",
)
@click.option(
    "--kube-api-burst",
    default=30,
    show_default=True,
    help="Requests at once before --kube-api-qps limits.",
)
@click.option(
    "--reconcile-timeout",
    type=duration,
    default="0",
    show_default=True,
    help="How long one claim's reconcile may take, such as 1m30s; 0: any time.",
)
@click.option(
    "--log-format", type=click.Choice(["plain", "json"]), default="plain", show_default=True
)
def run(namespaces: tuple[str, ...], **flags: Any) -> None:
    """Run the operator until SIGTERM or SIGINT."""
    # Imported here so that `evc crd` and `evc --help` do not load the HTTP client.
    from evc import app
    from evc.preflight import StartError
    from evc.serving import logs

    try:
        options = Options(namespaces=tuple(dict.fromkeys(namespaces)), **flags)
    except OptionError as error:
        raise click.UsageError(str(error)) from error
    logs.configure(options.log_format)
    try:
        app.run(options, RealClock(), stop_signal())
    except StartError as error:
        raise click.ClickException(str(error)) from error
    finally:
        sys.stderr.flush()
    # Not by returning: a daemon thread may still wait for an answer that does not matter any
    # more, and must not run while the interpreter is taken down.  Its exit handlers have to
    # run, though: one removes the key files that the official client made of a kubeconfig.
    atexit._run_exitfuncs()
    os._exit(0)


if __name__ == "__main__":
    main()
