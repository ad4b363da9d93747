"""The promises at the top of `evc.kube.watch`: bytes in, events out."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from evc.kube import watch
from evc.kube.client import ResourceWatcher
from evc.kube.resources import PODS
from evc.model.core import Pod
from evc.model.errors import ApiError, Expired, Unreachable
from evc.model.meta import WatchEvent

from .server import Exchange, client, serving


def line(kind: str, name: str, version: int, **labels: str) -> bytes:
    meta = {"name": name, "namespace": "ns", "resourceVersion": str(version), "labels": labels}
    thing = {"kind": "Pod", "apiVersion": "v1", "metadata": meta}
    return json.dumps({"type": kind, "object": thing}, ensure_ascii=False).encode() + b"\n"


BOOKMARK = (
    b'{"type":"BOOKMARK","object":{"kind":"Pod","apiVersion":"v1","metadata":'
    b'{"resourceVersion":"9","annotations":{"k8s.io/initial-events-end":"true"}}}}\n'
)
ERROR = b'{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"old"}}'


def told(chunks: list[bytes]) -> list[tuple[str, str, bool]]:
    return [
        (event.type, event.resource_version, event.initial_events_end)
        for event in watch.events(chunks, PODS)
    ]


@given(st.data())
def test_however_it_was_cut_the_events_are_the_same(data: st.DataObject) -> None:
    """Also inside of a character of several bytes."""
    whole = line("ADDED", "a", 7, team="größe-🦀") + b"\n" + BOOKMARK + line("DELETED", "a", 11)
    cuts = data.draw(st.lists(st.integers(0, len(whole)), max_size=20).map(sorted))
    ends = [*cuts, len(whole)]
    chunks = [whole[start:end] for start, end in zip([0, *cuts], ends, strict=True)]
    events = list(watch.events(chunks, PODS))
    assert [(e.type, e.resource_version) for e in events] == [
        ("ADDED", "7"), ("BOOKMARK", "9"), ("DELETED", "11"),
    ]  # fmt: skip
    assert events[0].object is not None
    assert events[0].object.metadata.labels == {"team": "größe-🦀"}
    assert events[1].initial_events_end


def test_a_line_that_is_cut_short_is_dropped() -> None:
    assert told([line("ADDED", "a", 7), line("ADDED", "b", 8)[:-9]]) == [("ADDED", "7", False)]


def test_an_endless_line_is_refused_before_it_fills_the_memory() -> None:
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield b"x" * watch.CHUNK

    with pytest.raises(ApiError, match="exceeds"):
        list(watch.events(endless(), PODS))
    assert taken <= watch.MAX_LINE // watch.CHUNK + 1


def test_an_error_event_is_raised_as_the_error_it_carries() -> None:
    with pytest.raises(Expired, match="old"):
        told([line("ADDED", "a", 7), ERROR, b"\n"])


@pytest.mark.parametrize(
    "garbage", [b"}\n", b'{"type":"ADDED"}\n', b'{"type":"ADDED","object":7}\n']
)
def test_a_line_that_makes_no_sense_is_an_error(garbage: bytes) -> None:
    with pytest.raises(ApiError, match="cannot decode a watch event of pods"):
        told([garbage])


def opened(server: Any, **settings: Any) -> Any:
    made = client(server, **settings)
    return made.watch(PODS, "ns", resource_version="5", send_initial_events=False)


@pytest.mark.parametrize("encoding", ["", "gzip"])
@pytest.mark.parametrize("chunked", [True, False], ids=["chunked", "until closed"])
def test_an_event_is_there_as_soon_as_its_line_is(encoding: str, chunked: bool) -> None:
    """The server sends the second line only after the first one was seen."""
    seen = threading.Event()

    def answer(exchange: Exchange) -> None:
        exchange.begin(chunked=chunked, encoding=encoding)
        exchange.send(line("ADDED", "a", 7))
        assert seen.wait(10.0), "the first event did not come"
        exchange.send(line("ADDED", "b", 8))
        if chunked:
            exchange.end()

    with serving(answer) as server, opened(server) as stream:
        events = iter(stream)
        assert next(events).resource_version == "7"
        seen.set()
        assert next(events).resource_version == "8"
        assert list(events) == [], "the server closed it in good order"


def test_it_asks_for_bookmarks_and_for_an_end() -> None:
    with serving(lambda exchange: exchange.answer(b"")) as server:
        with opened(server) as stream:
            assert list(stream) == []
        query = server.requests[0].query
    assert 300 <= int(query.pop("timeoutSeconds")) <= 600
    assert query == {"watch": "true", "allowWatchBookmarks": "true", "resourceVersion": "5"}


def test_a_streaming_list_asks_for_what_is_there_first() -> None:
    with serving(lambda exchange: exchange.answer(BOOKMARK)) as server:
        made = client(server)
        with made.watch(PODS, resource_version="", send_initial_events=True) as stream:
            assert [event.initial_events_end for event in stream] == [True]
        query = server.requests[0].query
    assert query["sendInitialEvents"] == "true"
    assert query["resourceVersionMatch"] == "NotOlderThan"
    assert "resourceVersion" not in query


def silent(exchange: Exchange) -> None:
    exchange.begin()
    exchange.send(line("ADDED", "a", 7))
    exchange.server.over.wait(30.0)


def test_a_silent_stream_is_left() -> None:
    """No FIN, no RST, nothing: what a node that lost its power, or a firewall, looks like."""
    with serving(silent) as server, opened(server, watch_silence=0.1) as stream:
        events = iter(stream)
        assert next(events).resource_version == "7"
        with pytest.raises(Unreachable, match="timed out"):
            next(events)


def test_a_stream_that_breaks_is_unreachable() -> None:
    def broken(exchange: Exchange) -> None:
        exchange.begin()
        exchange.send(line("ADDED", "a", 7))
        exchange.cut()

    with serving(broken) as server, opened(server) as stream, pytest.raises(Unreachable):
        list(stream)


def certificate(folder: Path) -> tuple[ssl.SSLContext, str]:
    """Return the server's side and the path of what the client must trust."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    cert, private = folder / "cert.pem", folder / "key.pem"
    cert.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, private)
    return context, str(cert)


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
def test_shutting_down_ends_a_read_that_waits(secure: bool, tmp_path: Path) -> None:
    context, trusted = certificate(tmp_path)
    tls = {"ca_certs": trusted, "cert_reqs": "CERT_REQUIRED"} if secure else {}
    seen: list[WatchEvent[Pod]] = []
    first, ended = threading.Event(), threading.Event()

    with serving(silent, tls=context if secure else None) as server:
        watcher = ResourceWatcher(client(server, tls=tls), PODS)

        def read() -> None:
            with watcher.watch(resource_version="5", send_initial_events=False) as events:
                try:
                    for event in events:
                        seen.append(event)
                        first.set()
                except Unreachable:
                    pass
            ended.set()

        reader = threading.Thread(target=read)
        reader.start()
        assert first.wait(10.0)
        before = time.monotonic()
        watcher.interrupt()
        assert ended.wait(10.0), "it waits for the server"
        assert time.monotonic() - before < 5.0
        reader.join(10.0)
    assert [event.resource_version for event in seen] == ["7"]


def test_a_watch_that_opens_after_the_interrupt_has_nothing() -> None:
    with serving(silent) as server:
        watcher = ResourceWatcher(client(server), PODS)
        watcher.interrupt()
        with watcher.watch(resource_version="5", send_initial_events=False) as events:
            assert list(events) == []
        watcher.interrupt()
