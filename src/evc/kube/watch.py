"""Bytes of a watch stream -> events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from evc.kube.errors import Status, from_status
from evc.kube.resources import Resource
from evc.model.errors import ApiError
from evc.model.meta import ObjectMeta, T, WatchEvent

MAX_LINE = 32 << 20
"""Bytes; 20 times the largest object etcd takes (1.5 MB), so only a fault exceeds it."""


class _Envelope(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _Bookmark(msgspec.Struct):
    metadata: ObjectMeta


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
    raw = bytes(envelope.object)
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
