"""A server on the loopback that does exactly what a test says, request by request."""

from __future__ import annotations

import gzip
import json
import socket
import ssl
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import urllib3

from evc.kube.client import Client
from evc.kube.config import Cluster
from evc.kube.transport import Transport

Answer = Callable[["Exchange"], None]


class Received(NamedTuple):
    """A request as it arrived."""

    command: str
    resource: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


class Exchange(BaseHTTPRequestHandler):
    """One request, and the means to answer it well or badly."""

    protocol_version = "HTTP/1.1"
    server: Loopback

    def _handle(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        url = urlsplit(self.path)
        query, body = dict(parse_qsl(url.query)), self.rfile.read(length)
        received = Received(self.command, url.path, query, dict(self.headers), body)
        self.server.take(received)(self)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle

    def log_message(self, *args: Any) -> None:
        """Say nothing."""

    def answer(self, thing: Any, code: int = 200, **headers: str) -> None:
        """Send JSON with its length."""
        body = thing if isinstance(thing, bytes) else json.dumps(thing).encode()
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, code: int, reason: str = "", **headers: str) -> None:
        """Send a metav1.Status."""
        status = {"kind": "Status", "code": code, "reason": reason, "message": f"refused: {reason}"}
        self.answer(status, code, **headers)

    def compressed(self, thing: Any) -> None:
        """Send JSON with gzip, as the API server does above 128 KiB."""
        self.answer(gzip.compress(json.dumps(thing).encode()), Content_Encoding="gzip")

    def begin(self, *, chunked: bool = True, encoding: str = "") -> None:
        """Start an answer without end."""
        self.send_response(200)
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        if encoding:
            self.send_header("Content-Encoding", encoding)
        self.end_headers()
        self.close_connection = True
        self._chunked = chunked
        self._zip = zlib.compressobj(wbits=31) if encoding == "gzip" else None

    def send(self, data: bytes) -> None:
        """Send a piece of the answer that was begun, now."""
        if self._zip is not None:
            data = self._zip.compress(data) + self._zip.flush(zlib.Z_SYNC_FLUSH)
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data) if self._chunked else data)

    def end(self) -> None:
        """End it in good order."""
        self.wfile.write(b"0\r\n\r\n")

    def cut(self) -> None:
        """Close the connection as a crash does."""
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)


class Loopback(ThreadingHTTPServer):
    """Answers each request with the next of ``answers``, the last one for ever."""

    daemon_threads = True

    def __init__(self, *answers: Answer, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Exchange)
        self.requests: list[Received] = []
        self.over = threading.Event()
        self._answers = [*answers]
        self._lock = threading.Lock()
        self.host = f"http://127.0.0.1:{self.server_port}"
        if tls is not None:
            self.host = f"https://localhost:{self.server_port}"
            self.socket = tls.wrap_socket(self.socket, server_side=True)

    def take(self, received: Received) -> Answer:
        """Note the request and return what to do."""
        with self._lock:
            self.requests.append(received)
            return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is not news."""


@contextmanager
def serving(*answers: Answer, tls: ssl.SSLContext | None = None) -> Iterator[Loopback]:
    """Serve until the end of the block; ``server.over`` is set then, for answers that wait."""
    server = Loopback(*answers, tls=tls)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        thread.join()
        server.server_close()


class Badge:
    """Credentials that a test can change; ``after`` is what they are once read anew."""

    def __init__(self, token: str = "old", after: str = "") -> None:
        self.token = token
        self.after = after or token

    def headers(self) -> dict[str, str]:
        return {"Authorization": self.token}

    def renewed(self) -> dict[str, str]:
        self.token = self.after
        return self.headers()


class Waits:
    """Pauses in virtual time, written down; ``stops`` after so many."""

    def __init__(self, stops: int = 1000) -> None:
        self.seconds: list[float] = []
        self.stops = stops

    def __call__(self, seconds: float) -> bool:
        self.seconds.append(seconds)
        return len(self.seconds) >= self.stops


def client(server: Loopback, *, watch_silence: float = 30.0, **changes: Any) -> Client:
    """Return a client of that server."""
    settings: dict[str, Any] = {
        "user_agent": "test",
        "connections": 4,
        "on_request": lambda method, code: None,
        "wait": Waits(),
    }
    tls, badge = changes.pop("tls", {}), changes.pop("credentials", Badge())
    cluster = Cluster(
        server.host, lambda connections: urllib3.PoolManager(maxsize=connections, **tls), badge
    )
    transport = Transport(cluster, **(settings | changes))
    return Client(transport, watch_silence=watch_silence)
