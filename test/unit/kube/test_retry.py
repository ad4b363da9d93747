"""The table at the top of `evc.kube.retry`, row by row."""

from __future__ import annotations

import pytest

from evc.kube import retry
from evc.model.errors import (
    ApiError,
    Conflict,
    Expired,
    Forbidden,
    Invalid,
    NotFound,
    TooManyRequests,
    Unreachable,
)

BUSY = TooManyRequests("busy", status=429, retry_after=3.0)
DOWN = ApiError("shutting down", status=503, retry_after=2.0)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_429_is_sent_again_after_what_the_server_asks(method: str) -> None:
    assert retry.pause(BUSY, method, 1) == 3.0
    assert retry.pause(TooManyRequests("busy", status=429), method, 1) == 1.0


@pytest.mark.parametrize("code", [500, 502, 503, 504])
def test_a_server_error_with_retry_after_repeats_reads_only(code: int) -> None:
    error = ApiError("later", status=code, retry_after=2.0)
    assert retry.pause(error, "GET", 1) == 2.0
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert retry.pause(error, method, 1) is None, "it may have been done"
    assert retry.pause(ApiError("broken", status=code), "GET", 1) is None


@pytest.mark.parametrize(
    "error",
    [
        Unreachable("reset"),
        Conflict("changed", status=409),
        Forbidden("RBAC", status=403),
        NotFound("gone", status=404),
        Invalid("wrong", status=422),
        Expired("too old", status=410),
    ],
    ids=repr,
)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_everything_else_is_the_callers_to_look_at_anew(error: ApiError, method: str) -> None:
    assert retry.pause(error, method, 1) is None


def test_it_ends() -> None:
    pauses = [retry.pause(BUSY, "GET", attempt) for attempt in range(1, 8)]
    assert pauses == [3.0, 3.0, 3.0, 3.0, None, None, None]


def test_a_long_wait_is_left_to_the_queue() -> None:
    assert retry.pause(TooManyRequests("busy", status=429, retry_after=10.0), "GET", 1) == 10.0
    assert retry.pause(TooManyRequests("busy", status=429, retry_after=11.0), "GET", 1) is None
