"""What the API server was asked, by its own audit log: the judge of every latency here."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

OPERATOR = "system:serviceaccount:evc-system:evc-controller-manager"
PEER = "system:serviceaccount:bench:peer"


class _User(msgspec.Struct):
    username: str = ""


class _Object(msgspec.Struct):
    resource: str = ""
    namespace: str = ""
    name: str = ""
    subresource: str = ""


class _Answer(msgspec.Struct):
    code: int = 0


class Request(msgspec.Struct, rename="camel"):
    """One request; times are those of the API server."""

    verb: str
    user: _User
    request_received_timestamp: datetime
    stage_timestamp: datetime
    request_uri: str = msgspec.field(name="requestURI", default="")
    stage: str = ""
    object_ref: _Object = msgspec.field(default_factory=_Object)
    response_status: _Answer = msgspec.field(default_factory=_Answer)
    request_object: Any = None

    @property
    def received(self) -> float:
        """When it came in, as `time.time()`."""
        return self.request_received_timestamp.timestamp()

    @property
    def code(self) -> int:
        """The HTTP status."""
        return self.response_status.code

    @property
    def what(self) -> str:
        """Verb and resource, such as ``update evcs/status``."""
        to = self.object_ref
        short = {
            "ephemeralvolumeclaims": "evc",
            "persistentvolumeclaims": "pvc",
        }.get(to.resource, to.resource)
        return f"{self.verb} {short}" + (f"/{to.subresource}" if to.subresource else "")


class Log:
    """The audit log from here on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._decoder = msgspec.json.Decoder(Request)
        self.mark()

    def mark(self) -> None:
        """Forget what was asked so far."""
        self._offset = self._path.stat().st_size if self._path.exists() else 0

    def requests(self, user: str = OPERATOR) -> Iterator[Request]:
        """Every answered request of that user since the mark; a watch once, when it starts."""
        with self._path.open("rb") as log:
            log.seek(self._offset)
            for line in log:
                if not line.endswith(b"\n"):
                    break
                request = self._decoder.decode(line)
                ended = request.verb == "watch" and request.stage == "ResponseComplete"
                if request.user.username == user and not ended:
                    yield request
