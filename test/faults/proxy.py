"""A proxy on loopback between one operator and the API server: TLS in, TLS out.

It understands just enough HTTP/1.1: one request and one reply, or one request and the lines
of a watch.  What goes wrong is decided by `Faults`, whose methods are called for each; the
proxy itself only passes on.  Two threads serve each watch, one every other connection.
"""

from __future__ import annotations

import base64
import contextlib
import json
import queue
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from http.client import HTTPException, HTTPResponse, HTTPSConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from cluster.pki import Authority
from cluster.ports import LOOPBACK

Json = dict[str, Any]
HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "accept-encoding", "host"}
VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


class Lost(Exception):
    """The connection breaks here: whoever waits for an answer gets none."""


@dataclass(frozen=True)
class Reply:
    """A whole answer."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "application/json"),)

    @cached_property
    def json(self) -> Json:
        decoded: Json = json.loads(self.body)
        return decoded


def refusal(code: int, reason: str, **headers: str) -> Reply:
    """The API server says no: a metav1.Status."""
    status = {"kind": "Status", "apiVersion": "v1", "status": "Failure"}
    body = status | {"message": f"injected: {reason}", "reason": reason, "code": code}
    named = tuple((name.replace("_", "-"), text) for name, text in headers.items())
    return Reply(code, json.dumps(body).encode(), (("Content-Type", "application/json"), *named))


@dataclass
class Call:
    """One request of the operator, and how it was answered (0: not at all)."""

    process: str
    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    sent: float = field(default_factory=time.time)
    time: float = field(default_factory=time.monotonic)
    status: int = 0
    step: str = ""
    """What the write is called; see `faults.steps`."""

    @cached_property
    def path(self) -> str:
        return urlsplit(self.target).path

    @cached_property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query))

    @cached_property
    def json(self) -> Any:
        return json.loads(self.body) if self.body else {}

    @cached_property
    def _parts(self) -> list[str]:
        """[resource, name, subresource]; /api/v1 and /apis/GROUP/VERSION come before."""
        parts = self.path.strip("/").split("/")
        parts = parts[2:] if parts[0] == "api" else parts[3:]
        parts = parts[2:] if parts[0:1] == ["namespaces"] and len(parts) > 2 else parts
        return [*parts, "", "", ""][:3]

    @property
    def resource(self) -> str:
        return self._parts[0]

    @property
    def name(self) -> str:
        """The object's name, for a creation the one in the body; "" for a collection."""
        if self.method == "POST":
            return str(self.json.get("metadata", {}).get("name", ""))
        return self._parts[1]

    @property
    def subresource(self) -> str:
        return self._parts[2]

    @property
    def watches(self) -> bool:
        return self.method == "GET" and self.query.get("watch") == "true"

    @property
    def verb(self) -> str:
        """As in RBAC."""
        if self.method == "GET":
            return "watch" if self.watches else "get" if self._parts[1] else "list"
        return VERBS[self.method]

    @property
    def writes(self) -> bool:
        return self.method != "GET"

    @property
    def live(self) -> bool:
        """Whether it is a read of a reconcile: informers watch, and the first look is at one."""
        return self.verb in ("get", "list") and self.query.get("limit") != "1"


class Lines:
    """The lines of a watch, as they come from the server."""

    def __init__(self, response: HTTPResponse) -> None:
        self._queue: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._response = response
        threading.Thread(target=self._pump, daemon=True).start()

    def get(self, timeout: float | None = None) -> bytes | None:
        """The next line; None when the server has ended the watch; raises queue.Empty."""
        line = self._queue.get(timeout=timeout)
        if line is None:
            self._queue.put(None)
        return line

    def __iter__(self) -> Iterator[bytes]:
        while (line := self.get()) is not None:
            yield line

    def _pump(self) -> None:
        with contextlib.suppress(OSError, HTTPException, ValueError, AttributeError):
            while line := self._response.readline():
                self._queue.put(line)
        self._queue.put(None)


class Faults:
    """Passes everything on; a subclass overrides what is to go wrong.

    Each method may block (a delay), and may raise Lost (the connection breaks).
    """

    def before(self, call: Call) -> Reply | None:
        """Return an answer in the server's place; None to ask the server."""
        return None

    def after(self, call: Call, reply: Reply) -> Reply:
        """Return what the operator gets in place of the server's answer."""
        return reply

    def stream(self, call: Call, lines: Lines) -> Iterator[bytes]:
        """Yield what the operator gets of a watch, cut into any pieces."""
        yield from lines


class Proxy:
    """One operator's way to the API server; `kubeconfig` is what the operator is given."""

    def __init__(self, upstream: Path, directory: Path, name: str, faults: Faults) -> None:
        """``upstream`` is a kubeconfig; ``name`` tells the audit log who asked."""
        self.faults = faults
        self.calls: list[Call] = []
        """Every request, in order."""
        self.name = name
        self.process = 0
        """Number of the operator process: counted up at each restart."""
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        config = json.loads(upstream.read_text())
        self._upstream = urlsplit(config["clusters"][0]["cluster"]["server"])
        self._context = _client_context(config)
        self._server = _Server((LOOPBACK, 0), _Handler)
        self._server.proxy = self
        cluster = config["clusters"][0]["cluster"]
        cluster["server"] = f"https://{LOOPBACK}:{self._server.server_address[1]}"
        cluster["certificate-authority-data"] = base64.b64encode(AUTHORITY.certificate).decode()
        self.kubeconfig = directory / f"{name}.kubeconfig"
        self.kubeconfig.write_text(json.dumps(config))
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def agent(self) -> str:
        """How the audit log's user agents of the present process begin."""
        return f"evc {self.name} {self.process}"

    def reset(self) -> None:
        """Break every connection, as when the operator's process died."""
        with self._lock:
            connections, self._connections = self._connections, set()
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Serve no more."""
        self._server.shutdown()
        self.reset()
        self._server.server_close()

    def watched(self) -> set[str]:
        """Resource types the present process has a watch on."""
        mine = [call for call in self.calls if call.process == self.agent]
        return {call.resource for call in mine if call.watches and call.status == 200}

    def connect(self) -> HTTPSConnection:
        host, port = self._upstream.hostname, self._upstream.port
        connection = HTTPSConnection(host or "", port, context=self._context)
        connection.connect()
        self.opened(connection.sock)
        return connection

    def opened(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.add(connection)

    def closed(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.discard(connection)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    proxy: Proxy

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        # The handshake is left to the connection's own thread.
        secured = SERVING.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return secured, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke is what this is for."""


class _Handler(BaseHTTPRequestHandler):
    """One connection of the operator, and one to the server."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server
    upstream: HTTPSConnection | None = None

    def log_message(self, format: str, *args: Any) -> None:
        """The calls are the log."""

    def handle(self) -> None:
        self.server.proxy.opened(self.connection)
        try:
            with contextlib.suppress(OSError, HTTPException):
                super().handle()
        finally:
            self.server.proxy.closed(self.connection)
            if self.upstream is not None:
                self.server.proxy.closed(self.upstream.sock)
                self.upstream.close()

    def do_any(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        if len(body) < length:
            # Passed on without its preconditions a DELETE would be another one.
            self.close_connection = True
            return
        kept = {k: v for k, v in self.headers.items() if k.lower() not in HOP_BY_HOP}
        proxy = self.server.proxy
        call = Call(proxy.agent, self.command, self.path, kept, body)
        proxy.calls.append(call)
        try:
            self._serve(call, proxy.faults)
        except Lost:
            call.status = 0
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_any

    def _serve(self, call: Call, faults: Faults) -> None:
        reply = faults.before(call)
        if reply is not None:
            return self._answer(call, reply)
        with self._to_the_end(call):
            response = self._ask(call)
            body = b"" if call.watches else response.read()
        headers = tuple((k, v) for k, v in response.getheaders() if k.lower() not in HOP_BY_HOP)
        if call.watches and response.status == 200:
            return self._watch(call, faults, response, headers)
        asked = Reply(response.status, body or response.read(), headers)
        return self._answer(call, faults.after(call, asked))

    @contextlib.contextmanager
    def _to_the_end(self, call: Call) -> Iterator[None]:
        """Let a write that was sent be answered, whoever dies meanwhile.

        Of one whose connection breaks the audit log says 504, and not whether it was stored
        (44 of 148 were, when measured): the witness would be blind in that eye.
        """
        proxy = self.server.proxy
        if self.upstream is None or self.upstream.sock is None:
            self.upstream = proxy.connect()
        connection = self.upstream.sock
        if call.method != "GET":
            proxy.closed(connection)
        yield
        proxy.opened(connection)

    def _ask(self, call: Call) -> HTTPResponse:
        assert self.upstream is not None
        # The audit log shall know who asked, and when: not when a fault let it through.
        headers = call.headers | {"User-Agent": f"{call.process} {call.sent}"}
        self.upstream.request(call.method, call.target, call.body or None, headers)
        return self.upstream.getresponse()

    def _answer(self, call: Call, reply: Reply) -> None:
        call.status = reply.status
        self.send_response(reply.status)
        for name, text in reply.headers:
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)

    def _watch(
        self,
        call: Call,
        faults: Faults,
        response: HTTPResponse,
        headers: tuple[tuple[str, str], ...],
    ) -> None:
        call.status = 200
        self.send_response(200)
        for name, text in (*headers, ("Transfer-Encoding", "chunked")):
            self.send_header(name, text)
        self.end_headers()
        for piece in faults.stream(call, Lines(response)):
            if piece:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")
        # The server's side may not be read to its end: neither connection is used again.
        self.close_connection = True


def _client_context(config: Json) -> ssl.SSLContext:
    """Trust and credentials of a kubeconfig that holds them itself."""
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    context = ssl.create_default_context(cadata=authority)
    if "client-key-data" in user:
        pair = base64.b64decode(user["client-certificate-data"])
        _load(context, pair + base64.b64decode(user["client-key-data"]))
    return context


def _load(context: ssl.SSLContext, pem: bytes) -> None:
    """The ssl module reads certificates from files only."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(pem)
        file.flush()
        context.load_cert_chain(file.name)


def _serving() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    identity = AUTHORITY.server(["localhost"], [LOOPBACK])
    _load(context, identity.certificate + identity.key)
    return context


AUTHORITY = Authority()
SERVING = _serving()
