"""Whether a request that failed is sent again.  Nothing else in the operator decides this.

| the answer                  | again?                                                          |
|-----------------------------|-----------------------------------------------------------------|
| 401 Unauthorized            | once, if the credentials are others when read anew (a rotation) |
| 429 Too Many Requests       | after Retry-After: flow control let nothing happen              |
| 500 to 504, and Retry-After | a read after that time; no write, for it may have been done     |
| none: reset, timed out      | no: a write may have been done                                  |
| 409 Conflict                | no: what it rests on has changed                                |
| any other                   | no                                                              |

"No" means that the error is raised, and then whoever asked begins anew with a fresh look at
the world: a controller's queue after 5 ms and up to a minute, an informer after 0.8 s and up
to 30 s, an elector after its retry period.  None of them takes the failed request for done
or for not done, so an answer that got lost needs no treatment of its own; and each of them
slows down, so a right that was taken away (403) or a server that is down costs a request per
minute and key, and work goes on by itself when it is back.
"""

from __future__ import annotations

from evc.model.errors import ApiError, TooManyRequests

ATTEMPTS = 5
"""Of one request; a server that is still busy then is left to the caller's longer delays."""
LONGEST_PAUSE = 10.0
"""Seconds; a longer Retry-After should not hold a worker that could do other keys."""
DEFAULT_PAUSE = 1.0
"""Seconds, for a 429 without Retry-After; flow control of the API server says 1, too."""

_READS = frozenset({"GET"})
_SERVER_ERRORS = frozenset({500, 502, 503, 504})


def pause(error: ApiError, method: str, attempt: int) -> float | None:
    """Return the seconds after which to send it again; None: raise the error.

    ``attempt`` is how often it was sent, 1 after the first failure.
    """
    if attempt >= ATTEMPTS:
        return None
    busy = isinstance(error, TooManyRequests)
    later = error.status in _SERVER_ERRORS and error.retry_after is not None
    if not busy and not (later and method in _READS):
        return None
    seconds = DEFAULT_PAUSE if error.retry_after is None else error.retry_after
    return seconds if seconds <= LONGEST_PAUSE else None
