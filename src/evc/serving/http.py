"""A small HTTP server for probes and metrics."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple


class Answer(NamedTuple):
    """A status code, a content type and a body."""

    code: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"


Routes = Mapping[str, Callable[[], Answer]]


class HttpServer:
    """Serves GET on fixed paths in a thread of its own."""

    def __init__(self, name: str, host: str, port: int, routes: Routes) -> None:
        """Bind now, so that a taken port is an error at start (OSError)."""
        self._server = _Server((host, port), _handler(routes))
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

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, handler)


def _handler(routes: Routes) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10
        """Seconds; a client that sends nothing must not keep a thread for ever."""

        def do_GET(self) -> None:
            route = routes.get(self.path.partition("?")[0])
            answer = route() if route is not None else Answer(404, b"not found\n")
            self.send_response(answer.code)
            self.send_header("Content-Type", answer.content_type)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, format: str, *args: object) -> None:
            """Stay silent: a line per probe tells nobody anything."""

    return Handler
