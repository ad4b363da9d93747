"""The serving certificate: files that may be rotated under us, or one made for this process."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
import tempfile
import threading
from datetime import datetime
from pathlib import Path
from typing import Protocol

import structlog

CHILD_TIMEOUT = 60.0
"""Seconds; it takes a third of one, on a busy machine some."""

log = structlog.get_logger("evc")


class CertificateNews(Protocol):
    """Hears of reads; see certwatcher_* in `evc.serving.catalogue`."""

    def certificate_read(self) -> None:
        """The files are read."""

    def certificate_failed(self) -> None:
        """They could not be used."""


class Certificate:
    """The TLS context of certificate and key files, made anew when either changes.

    It is called for every connection and looks at the files then, so a rotated certificate is
    served at once and nothing runs in between.  A Secret's files are exchanged one after
    the other: what does not fit together is not used, and tried again at the next
    connection.
    """

    def __init__(self, certificate: Path, key: Path, news: CertificateNews) -> None:
        """Read them; raises OSError (ssl.SSLError is one) if they are of no use."""
        self._files = certificate, key
        self._news = news
        self._lock = threading.Lock()
        self._read_at = self._signature()
        self._context = self._read()

    def __call__(self) -> ssl.SSLContext:
        """Return the context for the next connection."""
        with self._lock:
            try:
                signature = self._signature()
                if signature != self._read_at:
                    self._context = self._read()
                    self._read_at = signature
                    log.info("Read changed certificate", file=str(self._files[0]))
            except OSError as error:
                self._news.certificate_failed()
                log.error("Could not read certificate", error=str(error))
            return self._context

    def _signature(self) -> tuple[tuple[int, int, int], ...]:
        """Return what changes with the files, taken before they are read."""
        stats = [file.stat() for file in self._files]
        return tuple((stat.st_ino, stat.st_mtime_ns, stat.st_size) for stat in stats)

    def _read(self) -> ssl.SSLContext:
        self._news.certificate_read()
        context = _context()
        context.load_cert_chain(*self._files)
        return context


def self_signed(now: datetime) -> ssl.SSLContext:
    """Return a context with a new certificate that nobody knows: it encrypts, and proves nothing.

    A child makes it, because the library for that takes 11 MB which would never be given
    back.  OpenSSL reads certificates from files only, so it is given one in memory (a
    container's file system may be read-only), or a temporary one where the system has none
    of those.  Raises OSError or subprocess.SubprocessError.
    """
    command = [sys.executable, "-m", "evc.serving.self_signed", now.isoformat()]
    made = subprocess.run(  # noqa: S603 - this interpreter, our module, a time
        command, check=True, stdout=subprocess.PIPE, timeout=CHILD_TIMEOUT
    )
    context = _context()
    if hasattr(os, "memfd_create"):
        with os.fdopen(os.memfd_create("evc-certificate"), "wb", buffering=0) as file:
            file.write(made.stdout)
            context.load_cert_chain(f"/proc/self/fd/{file.fileno()}")
    else:
        with tempfile.NamedTemporaryFile(prefix="evc-") as file:
            file.write(made.stdout)
            file.flush()
            context.load_cert_chain(file.name)
    return context


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context
