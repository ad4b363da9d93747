"""A small HTTP server for probes and metrics: HTTP/1.1, GET, with or without TLS."""

from __future__ import annotations

import socket
import ssl
import sys
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

import structlog

log = structlog.get_logger("evc")


class Request(NamedTuple):
    """What a route may want to know; ``authorization`` is the header, empty if absent."""

    method: str
    path: str
    authorization: str = ""


class Answer(NamedTuple):
    """A status code, a body and a content type."""

    code: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"


Route = Callable[[Request], Answer]
Routes = Mapping[str, Route]
Tls = Callable[[], ssl.SSLContext]
"""Returns the context for the next connection, so that a certificate can change."""


class HttpServer:
    """Serves GET on fixed paths in a thread of its own, each connection in another."""

    def __init__(
        self, name: str, host: str, port: int, routes: Routes, tls: Tls | None = None
    ) -> None:
        """Bind now, so that a taken port is an error at start (OSError)."""
        self._server = _Server((host, port), _handler(routes), tls)
        self._thread = threading.Thread(
            target=self._server.serve_forever, name=name, kwargs={"poll_interval": 0.1}, daemon=True
        )

    @property
    def port(self) -> int:
        """The port bound, which tells what port 0 became."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(
        self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler], tls: Tls | None
    ) -> None:
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        self._tls = tls
        super().__init__(address, handler)

    def get_request(self) -> tuple[socket.socket, object]:
        connection, address = super().get_request()
        if self._tls is not None:
            # The handshake happens at the first read, in the connection's own thread and
            # under its timeout: a client that sends nothing must not stop the others.
            connection = self._tls().wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        return connection, address

    def handle_error(self, request: object, client_address: object) -> None:
        """Tell of bugs only: a client that goes away or speaks no TLS is its own affair."""
        error = sys.exception()
        if not isinstance(error, OSError):
            log.error("Could not answer a request", exc_info=error)


def _handler(routes: Routes) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 10
        """Seconds; a client that sends nothing must not keep a thread for ever."""

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            route = routes.get(path, _not_found)
            answer = route(Request(self.command, path, self.headers.get("Authorization", "")))
            self.send_response(answer.code)
            self.send_header("Content-Type", answer.content_type)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, format: str, *args: object) -> None:
            """Stay silent: a line per probe tells nobody anything."""

    return Handler


def _not_found(_: Request) -> Answer:
    return Answer(404, b"not found\n")
