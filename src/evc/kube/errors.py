"""HTTP answers and transport failures as the exceptions of `evc.model.errors`."""

from __future__ import annotations

import msgspec
import urllib3

from evc.model.errors import (
    AlreadyExists,
    ApiError,
    Conflict,
    Expired,
    Forbidden,
    Invalid,
    NotFound,
    NotListening,
    TooManyRequests,
    Unauthorized,
    Unreachable,
)

BY_STATUS: dict[int, type[ApiError]] = {
    400: Invalid,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Expired,
    422: Invalid,
    429: TooManyRequests,
}


class StatusDetails(msgspec.Struct, rename="camel"):
    """metav1.StatusDetails: how long to wait, for those who do not see the header."""

    retry_after_seconds: int = 0


class Status(msgspec.Struct):
    """metav1.Status, which the server sends instead of an object."""

    message: str = ""
    reason: str = ""
    code: int = 0
    details: StatusDetails | None = None


def from_status(status: Status, retry_after: str | None = None) -> ApiError:
    """Return the exception for an error Status (also one inside a watch).

    ``retry_after`` is the header, in seconds; a date, which the API server never sends,
    counts as none.
    """
    kind = BY_STATUS.get(status.code, ApiError)
    if status.reason == "AlreadyExists":
        kind = AlreadyExists
    seconds = float(retry_after) if retry_after and retry_after.isdecimal() else None
    if seconds is None and status.details is not None and status.details.retry_after_seconds:
        seconds = float(status.details.retry_after_seconds)
    return kind(
        status.message or f"the API server answered {status.code}",
        status=status.code,
        reason=status.reason,
        retry_after=seconds,
    )


def from_response(code: int, body: bytes, retry_after: str | None) -> ApiError:
    """Return the exception for an answer that is not 2xx; the body may be anything."""
    try:
        status = msgspec.json.decode(body, type=Status)
    except (msgspec.DecodeError, UnicodeDecodeError):
        status = Status(message=body[:200].decode("utf-8", "replace").strip())
    status.code = code
    return from_status(status, retry_after)


def from_transport(error: Exception, host: str) -> Unreachable:
    """Return the exception for a request that got no (complete) answer."""
    cause = error.reason if isinstance(error, urllib3.exceptions.MaxRetryError) else error
    refused = isinstance(cause, urllib3.exceptions.NewConnectionError)
    kind = NotListening if refused else Unreachable
    return kind(f"no answer from the API server at {host}: {cause}")
