"""Sends requests and returns answers; what bytes mean is for `client` and `watch`.

Promises (tests of these names in ``test/unit/kube/test_transport.py``):

1. *A refusal is raised as its own error*, and a connection that breaks as Unreachable.
2. *Flow control is waited for*; only `retry` decides whether a request is sent again.
3. *A rotated token is picked up*, after a 401 at the latest.
4. *A pause ends when the process stops*, and then the error is raised.
5. *Nothing is sent after the deadline* of the work it belongs to.
6. *Every attempt is counted*, with the status code or 0.
7. *An answer cut short is an error*, never a shorter answer.
8. *Answers may be compressed.*
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlencode, urlsplit

import msgspec
import urllib3

from evc.kube import retry
from evc.kube.config import Cluster
from evc.kube.errors import from_response, from_transport
from evc.kube.throttle import TokenBucket
from evc.model.errors import ApiError, DeadlineExceeded, Unauthorized
from evc.model.evc import FIELD_MANAGER

CONNECT_TIMEOUT = 10.0
REQUEST_TIMEOUT = 35.0
"""Seconds without a byte.  Longer than the API's SLO for a LIST (p99 <= 30 s), so that a
slow answer is not taken for none."""

OnRequest = Callable[[str, int], None]


@dataclass(frozen=True)
class Request:
    """One HTTP request; ``body`` is anything that msgspec encodes."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    """Empty values are left out."""
    body: Any = None
    content_type: str = "application/json"

    def url(self) -> str:
        """Return path and query; writes name their field manager."""
        parameters = {name: value for name, value in self.query.items() if value}
        if self.method in ("POST", "PUT", "PATCH"):
            parameters["fieldManager"] = FIELD_MANAGER
        return self.path + (f"?{urlencode(parameters)}" if parameters else "")


class Transport:
    """A connection pool to one API server; safe for use by many threads."""

    def __init__(
        self,
        cluster: Cluster,
        *,
        user_agent: str,
        connections: int,
        on_request: OnRequest,
        wait: Callable[[float], bool],
        timeout: float = REQUEST_TIMEOUT,
        time_left: Callable[[], float | None] = lambda: None,
        throttle: TokenBucket | None = None,
    ) -> None:
        """Times in seconds.

        ``on_request(method, code)`` hears of every attempt's end (code 0: no answer).
        ``wait(seconds)`` pauses before a retry, and returns true if the process stops.
        ``time_left()`` is how long the work of this thread may go on; None: for ever.
        """
        self.host = cluster.host
        self._credentials = cluster.credentials
        # One host, so its own pool: the manager would look it up for every request.
        self._manager = cluster.pool(connections)
        self._pool = self._manager.connection_from_url(cluster.host)
        forwarded = self._pool.proxy is not None and self._pool.scheme == "http"
        self._root = cluster.host if forwarded else urlsplit(cluster.host).path.rstrip("/")
        """What comes before a path: a proxy that does not tunnel needs the whole URL."""
        self._headers = {
            "User-Agent": user_agent,
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
        }
        self._on_request = on_request
        self._wait = wait
        self._timeout = timeout
        self._time_left = time_left
        self._throttle = throttle

    def call(self, request: Request, *, silence: float | None = None) -> bytes:
        """Send and return the whole body of a 2xx answer; raises ApiError for all else."""
        return self.read(self.send(request, silence=silence))

    def dated(self, request: Request) -> tuple[bytes, datetime | None]:
        """Do the same, and return the server's time besides, in whole seconds, if it says so."""
        response = self.send(request)
        return self.read(response), _date(response.headers.get("Date"))

    def read(self, response: urllib3.BaseHTTPResponse) -> bytes:
        """Return the whole body, and the connection to the pool."""
        try:
            return response.data
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise from_transport(error, self.host) from error
        finally:
            response.release_conn()

    def send(self, request: Request, *, silence: float | None = None) -> urllib3.BaseHTTPResponse:
        """Send, again where `retry` says so, and return a 2xx answer with its body unread.

        ``silence`` is how many seconds without a byte make it Unreachable, now and later;
        by default this transport's timeout.
        """
        silence = self._timeout if silence is None else silence
        headers, attempt = self._credentials.headers(), 0
        while True:
            attempt += 1
            try:
                return self._attempt(request, headers, silence)
            except Unauthorized:
                refused, headers = headers, self._credentials.renewed()
                if attempt > 1 or headers == refused:
                    raise
            except ApiError as error:
                seconds = retry.pause(error, request.method, attempt)
                left = self._time_left()
                if seconds is None or (left is not None and seconds >= left):
                    raise
                if self._wait(seconds):
                    raise

    def close(self) -> None:
        """Close idle connections."""
        self._manager.clear()

    def _attempt(
        self, request: Request, credentials: Mapping[str, str], silence: float
    ) -> urllib3.BaseHTTPResponse:
        if self._throttle is not None:
            self._throttle.take()
        left = self._time_left()
        if left is not None:
            silence = min(silence, left)
        if silence <= 0:
            raise DeadlineExceeded(f"no time left to {request.method} {request.path}")
        code = 0
        try:
            response = self._pool.urlopen(
                request.method,
                self._root + request.url(),
                body=None if request.body is None else msgspec.json.encode(request.body),
                headers={**self._headers, **credentials, "Content-Type": request.content_type},
                timeout=urllib3.Timeout(connect=min(CONNECT_TIMEOUT, silence), read=silence),
                retries=False,
                redirect=False,
                assert_same_host=False,
                preload_content=False,
            )
            code = response.status
            if code >= 300:
                answer = response.data
                response.release_conn()
                raise from_response(code, answer, response.headers.get("Retry-After"))
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise from_transport(error, self.host) from error
        finally:
            self._on_request(request.method, code)
        return response


def _date(header: str | None) -> datetime | None:
    """Return the time in a Date header (RFC 9110); None if it tells none."""
    try:
        time = parsedate_to_datetime(header) if header else None
    except ValueError:
        return None
    return time if time is not None and time.tzinfo is not None else None
