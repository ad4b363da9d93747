"""Which servers the options ask for."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random

from evc.options import OFF, Options, host_and_port
from evc.runtime.ports import Clock
from evc.serving.access import Guard, Reviewer
from evc.serving.certificate import Certificate, self_signed
from evc.serving.health import Freshness
from evc.serving.http import HttpServer, Route, Tls
from evc.serving.metrics import PATH, Metrics


class CertificateError(Exception):
    """The certificate given is of no use, or none can be made; the message says what to do."""


def servers(
    options: Options,
    reviewer: Reviewer,
    freshness: Freshness,
    metrics: Metrics,
    clock: Clock,
    random: Random,
) -> Iterator[HttpServer]:
    """Yield them, bound; raises OSError if a port is taken, CertificateError."""
    if options.health_probe_bind_address != OFF:
        where = host_and_port(options.health_probe_bind_address)
        yield HttpServer("health", *where, freshness.routes())
    if options.metrics_bind_address != OFF:
        where = host_and_port(options.metrics_bind_address)
        page: Route = metrics.page
        tls = None
        if options.metrics_secure:
            wait = threading.Event().wait  # never set: a pause
            guard = Guard(reviewer, monotonic=clock.monotonic, wait=wait, random=random)
            page, tls = guard(page), _tls(options, metrics, clock)
        yield HttpServer("metrics", *where, {PATH: page}, tls)


def _tls(options: Options, metrics: Metrics, clock: Clock) -> Tls:
    if not options.metrics_cert_path:
        try:
            context = self_signed(clock.now())
        except (OSError, subprocess.SubprocessError) as error:
            raise CertificateError(
                f"cannot make a certificate: {error}; give one with --metrics-cert-path"
            ) from error
        return lambda: context
    folder = Path(options.metrics_cert_path)
    try:
        return Certificate(
            folder / options.metrics_cert_name, folder / options.metrics_cert_key, metrics
        )
    except OSError as error:
        raise CertificateError(
            f"cannot use the certificate in --metrics-cert-path {folder}: {error}"
        ) from error
