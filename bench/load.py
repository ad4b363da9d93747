"""A light load driver: plain HTTPS with bodies made in advance, so that it costs little.

urllib3 or a client library would take more of the machine than what is measured.
"""

from __future__ import annotations

import heapq
import http.client
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

Json = dict[str, Any]
T = TypeVar("T")
MERGE_PATCH = "application/merge-patch+json"
TIMEOUT = 60.0


class Refused(Exception):
    """The API server said no; ``status`` is the HTTP code."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text[:300]}")
        self.status = status


class Api:
    """Speaks JSON to one API server as the administrator; a connection per thread."""

    def __init__(self, url: str, pki: Path) -> None:
        self._address = urlsplit(url)
        self._context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        self._context.load_cert_chain(pki / "admin.crt", pki / "admin.key")
        self._local = threading.local()

    def connect(self) -> http.client.HTTPSConnection:
        """A new connection, the caller's own."""
        host, port = self._address.hostname or "", self._address.port
        return http.client.HTTPSConnection(host, port, timeout=TIMEOUT, context=self._context)

    def send(self, method: str, path: str, body: bytes | None = None, kind: str = "") -> bytes:
        """Send one request on this thread's connection; raises Refused unless 2xx."""
        reused = getattr(self._local, "connection", None)
        if reused is not None:
            try:
                return self._exchange(reused, method, path, body, kind)
            except (OSError, http.client.HTTPException):
                pass  # the server was restarted since: once more, on a new connection
        self._local.connection = self.connect()
        return self._exchange(self._local.connection, method, path, body, kind)

    def get(self, path: str) -> Any:
        """The decoded answer."""
        return json.loads(self.send("GET", path))

    def create(self, path: str, item: Json) -> bytes:
        """POST an object."""
        return self.send("POST", path, json.dumps(item).encode())

    def replace(self, path: str, item: Json) -> bytes:
        """PUT an object, in the version that it names."""
        return self.send("PUT", path, json.dumps(item).encode())

    def patch(self, path: str, change: Json) -> bytes:
        """Merge a change."""
        return self.send("PATCH", path, json.dumps(change).encode(), MERGE_PATCH)

    def delete(self, path: str, meta: Json) -> bytes:
        """DELETE exactly the object with this metadata, or nothing."""
        preconditions = {"uid": meta["uid"], "resourceVersion": meta["resourceVersion"]}
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": preconditions}
        return self.send("DELETE", path, json.dumps(body).encode())

    def _exchange(
        self,
        connection: http.client.HTTPSConnection,
        method: str,
        path: str,
        body: bytes | None,
        kind: str,
    ) -> bytes:
        headers = {"Content-Type": kind or "application/json", "Accept": "application/json"}
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            answer: bytes = response.read()
        except (OSError, http.client.HTTPException):
            self._local.connection = None
            raise
        if response.status >= 300:
            raise Refused(response.status, answer.decode(errors="replace"))
        return answer


def in_parallel(work: Callable[[T], Any], items: Iterable[T], threads: int = 8) -> None:
    """Do the work on every item, several at a time; raises the first error."""
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(work, items):
            pass


class Timetable:
    """Runs actions at their times on a few threads, and knows how late it was itself.

    Times are `time.time()`.  Actions may add further ones.
    """

    def __init__(self, threads: int = 8) -> None:
        self._changed = threading.Condition()
        self._heap: list[tuple[float, int, Callable[[], object]]] = []
        self._count = 0
        self._busy = 0
        self._closed = False
        self.latest = 0.0
        """Seconds: how late the latest action began; the driver was the limit if this is much."""
        self.errors: list[Exception] = []
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def at(self, when: float, action: Callable[[], object]) -> None:
        """Do it then, or at once if that has passed."""
        with self._changed:
            self._count += 1
            heapq.heappush(self._heap, (when, self._count, action))
            self._changed.notify()

    def close(self) -> None:
        """Drop what was not begun and wait for the rest."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _next(self) -> Callable[[], object] | None:
        with self._changed:
            while not self._closed:
                left = self._heap[0][0] - time.time() if self._heap else 1.0
                if self._heap and left <= 0:
                    self.latest = max(self.latest, -left)
                    return heapq.heappop(self._heap)[2]
                self._changed.wait(left)
            return None

    def _run(self) -> None:
        while (action := self._next()) is not None:
            try:
                action()
            except Exception as error:
                self.errors.append(error)
