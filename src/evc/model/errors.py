"""How the API server says no: metav1.Status as exceptions.

They are part of the model, not of the HTTP client, because the runtime and the
controller react to them without knowing that HTTP exists.
"""

from __future__ import annotations


class ApiError(Exception):
    """The API server refused, failed, or could not be reached.

    ``status`` is the HTTP code (0: no answer arrived, so a write may or may not
    have happened), ``reason`` the metav1.Status reason, and ``retry_after`` the
    seconds the server asked us to wait, if it did.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        reason: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.retry_after = retry_after

    @property
    def ambiguous(self) -> bool:
        """Whether a write that ended like this may have been carried out (kubernetes#44372)."""
        return self.status == 504


class Unreachable(ApiError):
    """No answer: refused, reset, timed out, or TLS failed. A write may have happened."""

    ambiguous = True


class NotListening(Unreachable):
    """Nobody accepts connections there (refused, no route, no name): nothing was sent."""


class DeadlineExceeded(ApiError):
    """The time of a reconcile was up, so the request was not sent: nothing happened."""


class Invalid(ApiError):
    """400 or 422: the object itself is wrong; the same request will fail again."""


class Unauthorized(ApiError):
    """401: the credentials are not accepted (expired, rotated, unknown)."""


class Forbidden(ApiError):
    """403: RBAC, quota or admission refuse; retrying soon does not help."""


class NotFound(ApiError):
    """404: no such object, or no such resource type (its CRD is not installed)."""


class Conflict(ApiError):
    """409: a precondition (uid, resourceVersion, JSON patch test) did not hold."""


class AlreadyExists(Conflict):
    """409 AlreadyExists: an object of that name is there."""


class Expired(ApiError):
    """410: the resourceVersion or continue token is too old; list again."""


class TooManyRequests(ApiError):
    """429: the server is overloaded or an eviction is blocked; wait ``retry_after``."""
