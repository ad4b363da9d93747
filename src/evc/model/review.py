"""TokenReview and SubjectAccessReview: asking the API server who somebody is, and may do what."""

from __future__ import annotations

from evc.model.meta import Record


class User(Record, frozen=True):
    """authentication.k8s.io/v1 UserInfo."""

    username: str = ""
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: dict[str, tuple[str, ...]] = {}


class TokenReviewStatus(Record, frozen=True):
    """Whose token it is, if anybody's."""

    authenticated: bool = False
    user: User = User()


class TokenReview(Record, frozen=True):
    """authentication.k8s.io/v1 TokenReview, the answer."""

    status: TokenReviewStatus = TokenReviewStatus()


class AccessReviewStatus(Record, frozen=True):
    """Whether it is allowed; what is not allowed is refused."""

    allowed: bool = False


class SubjectAccessReview(Record, frozen=True):
    """authorization.k8s.io/v1 SubjectAccessReview, the answer."""

    status: AccessReviewStatus = AccessReviewStatus()
