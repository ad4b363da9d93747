"""Who may read the metrics: the API server is asked, as by controller-runtime's filter.

A caller shows the bearer token of a ServiceAccount.  A TokenReview tells whose it is, a
SubjectAccessReview whether that user may do the request's verb on its path, which RBAC
grants with ``nonResourceURLs`` (config/rbac/metrics_reader_role.yaml).  Times and retries
are those of controller-runtime's pkg/metrics/filters and apiserver's delegating
authenticator and authorizer.  One answer differs: a token that nobody has is answered 401,
where theirs is 500.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from random import Random
from typing import Any, Protocol, TypeVar

import msgspec
import structlog
from cachetools import TTLCache

from evc.model.errors import ApiError, TooManyRequests, Unreachable
from evc.model.review import SubjectAccessReview, TokenReview, User
from evc.runtime.backoff import jittered
from evc.serving.http import Answer, Request, Route

TOKENS_PATH = "/apis/authentication.k8s.io/v1/tokenreviews"
ACCESS_PATH = "/apis/authorization.k8s.io/v1/subjectaccessreviews"

USER_TTL = 60.0
"""Seconds for which it is remembered whose a token is, or that it is nobody's."""
ALLOW_TTL = 300.0
DENY_TTL = 30.0
"""Seconds for which a permission and a refusal are remembered."""
TIMEOUT = 10.0
"""Seconds for one review, its retries included."""
STEPS, FIRST_PAUSE, FACTOR, JITTER = 5, 0.5, 1.5, 0.2
REMEMBERED = 1_000
"""Callers; whoever sends random tokens fills no memory."""
ANONYMOUS = "system:anonymous"

Found = TypeVar("Found")

log = structlog.get_logger("evc")


class Reviewer(Protocol):
    """Sends a review to the API server; `evc.kube.client.Client` is one."""

    def review(self, path: str, body: Mapping[str, Any], *, timeout: float) -> bytes:
        """Return the answer's body; raises ApiError."""


class Guard:
    """Lets a request through to a route if the API server says that its sender may."""

    def __init__(
        self,
        reviewer: Reviewer,
        *,
        monotonic: Callable[[], float],
        wait: Callable[[float], Any],
        random: Random,
    ) -> None:
        """``wait`` pauses this thread for some seconds between two attempts."""
        self._reviewer = reviewer
        self._monotonic = monotonic
        self._wait = wait
        self._random = random
        self._lock = threading.Lock()
        self._users: TTLCache[bytes, User | None] = TTLCache(REMEMBERED, USER_TTL, monotonic)
        self._allowed: TTLCache[bytes, bool] = TTLCache(REMEMBERED, ALLOW_TTL, monotonic)
        self._denied: TTLCache[bytes, bool] = TTLCache(REMEMBERED, DENY_TTL, monotonic)

    def __call__(self, route: Route) -> Route:
        """Return the route behind the guard."""

        def guarded(request: Request) -> Answer:
            try:
                refusal = self._refusal(request)
            except (ApiError, msgspec.DecodeError) as error:
                log.error("Could not check who reads the metrics", error=str(error))
                return _answer(HTTPStatus.INTERNAL_SERVER_ERROR, "Access could not be checked")
            return refusal or route(request)

        return guarded

    def _refusal(self, request: Request) -> Answer | None:
        token = _bearer_token(request.authorization)
        user = self._user(token) if token else None
        if user is None:
            return _answer(HTTPStatus.UNAUTHORIZED, "Unauthorized")
        if not self._may(user, request.method.lower(), request.path):
            return _answer(HTTPStatus.FORBIDDEN, f"Authorization denied for user {user.username}")
        return None

    def _user(self, token: str) -> User | None:
        """Return whose token it is; None: nobody's."""
        key = _digest(token.encode())  # the token itself is not kept
        with self._lock:
            if key in self._users:
                return self._users[key]
        status = self._review(TOKENS_PATH, "authentication", {"token": token}, TokenReview).status
        known = status.authenticated and status.user.username not in ("", ANONYMOUS)
        user = status.user if known else None
        with self._lock:
            self._users[key] = user
        return user

    def _may(self, user: User, verb: str, path: str) -> bool:
        spec = {
            "user": user.username,
            "uid": user.uid,
            "groups": user.groups,
            "extra": user.extra,
            "nonResourceAttributes": {"verb": verb, "path": path},
        }
        key = _digest(msgspec.json.encode(spec, order="deterministic"))
        with self._lock:
            if key in self._allowed:
                return True
            if key in self._denied:
                return False
        may = self._review(ACCESS_PATH, "authorization", spec, SubjectAccessReview).status.allowed
        with self._lock:
            (self._allowed if may else self._denied)[key] = may
        return may

    def _review(self, path: str, group: str, spec: Any, kind: type[Found]) -> Found:
        """Ask until there is an answer or no time is left; raises ApiError."""
        body = {"apiVersion": f"{group}.k8s.io/v1", "kind": kind.__name__, "spec": spec}
        deadline, pause = self._monotonic() + TIMEOUT, FIRST_PAUSE
        for step in range(1, STEPS + 1):
            left = deadline - self._monotonic()
            try:
                return msgspec.json.decode(
                    self._reviewer.review(path, body, timeout=left), type=kind
                )
            except ApiError as error:
                seconds = max(jittered(pause, JITTER, self._random), error.retry_after or 0.0)
                late = self._monotonic() + seconds >= deadline
                if step == STEPS or late or not _may_pass(error):
                    raise
            self._wait(seconds)
            pause *= FACTOR
        raise AssertionError("the last step returns or raises")


def _bearer_token(header: str) -> str:
    scheme, _, token = header.strip().partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _digest(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()


def _may_pass(error: ApiError) -> bool:
    """Whether the same request may succeed in a moment."""
    return isinstance(error, Unreachable | TooManyRequests) or error.status >= 500


def _answer(code: HTTPStatus, text: str) -> Answer:
    return Answer(code, f"{text}\n".encode())
