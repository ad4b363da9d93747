"""Bytes of a watch stream -> events.

Promises (tests of these names in ``test/unit/kube/test_watch.py``):

1. *An event is there as soon as its line is*, compressed or not, however it was cut.
2. *A line that is cut short is dropped*: it comes again after the resume.
3. *A silent stream is left* after the time that the caller set.
4. *An endless line is refused* before it fills the memory.
5. *An ERROR event is raised* as the error it carries.
6. *Shutting down ends a read that waits*, in whatever thread it waits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Generic

import msgspec
import urllib3

from evc.kube.errors import Status, from_status, from_transport
from evc.kube.resources import Resource
from evc.model.errors import ApiError
from evc.model.meta import ObjectMeta, T, WatchEvent

CHUNK = 1 << 16
"""Bytes read, and decompressed, at a time."""
MAX_LINE = 32 << 20
"""Bytes; 20 times the largest object etcd takes (1.5 MB), so only a fault exceeds it."""


class _Envelope(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _Bookmark(msgspec.Struct):
    metadata: ObjectMeta


class Stream(Generic[T]):
    """An open watch: iterate it for its events, once."""

    def __init__(
        self, response: urllib3.BaseHTTPResponse, resource: Resource[T], host: str
    ) -> None:
        self._response = response
        self._resource = resource
        self._host = host

    def __iter__(self) -> Iterator[WatchEvent[T]]:
        """Decode events as they come.

        Raises ApiError for an ERROR event (Expired for 410) or a broken line, and
        Unreachable if the stream breaks or is silent for too long.
        """
        return events(self._chunks(), self._resource)

    def shut_down(self) -> None:
        """End the stream from any thread: whoever waits for its next line gets an error."""
        # It may have ended by itself a moment ago.
        with suppress(ValueError, RuntimeError, OSError):
            self._response.shutdown()

    def _chunks(self) -> Iterator[bytes]:
        try:
            # read1: whatever has come, at least a byte; `stream` and `read` would wait for
            # more where the answer is not chunked.
            while chunk := self._response.read1(CHUNK, decode_content=True):
                yield chunk
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise from_transport(error, self._host) from error


_envelopes = msgspec.json.Decoder(_Envelope)
_bookmarks = msgspec.json.Decoder(_Bookmark)


def lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Split a byte stream at newlines, however it was cut into chunks.

    A last line without newline is dropped: the stream broke inside it, and the
    event will come again after the resume.  Raises ApiError on an endless line.
    """
    parts: list[bytes] = []
    size = 0
    for chunk in chunks:
        head, *tail = chunk.split(b"\n")
        parts.append(head)
        size += len(head)
        if size > MAX_LINE:
            raise ApiError(f"a watch line exceeds {MAX_LINE} bytes")
        for piece in tail:
            yield b"".join(parts)
            parts, size = [piece], len(piece)


def events(stream: Iterable[bytes], resource: Resource[T]) -> Iterator[WatchEvent[T]]:
    """Decode a watch; raises ApiError for an ERROR event (Expired for 410) or a broken line."""
    for line in lines(stream):
        if not line.strip():
            continue
        try:
            yield _event(line, resource)
        except msgspec.DecodeError as error:
            raise ApiError(f"cannot decode a watch event of {resource.plural}: {error}") from error


def _event(line: bytes, resource: Resource[T]) -> WatchEvent[T]:
    envelope = _envelopes.decode(line)
    raw = envelope.object
    if envelope.type == "ERROR":
        raise from_status(msgspec.json.decode(raw, type=Status))
    if envelope.type == "BOOKMARK":
        meta = _bookmarks.decode(raw).metadata
        return WatchEvent(
            type=envelope.type,
            resource_version=meta.resource_version,
            initial_events_end="k8s.io/initial-events-end" in meta.annotations,
        )
    item = resource.decode(raw)
    return WatchEvent(
        type=envelope.type, resource_version=item.metadata.resource_version, object=item
    )
