"""The runtime's informer on the real client and real sockets: that the two fit together."""

from __future__ import annotations

from typing import Any

from evc.kube.client import ResourceWatcher
from evc.kube.resources import PODS
from evc.model.core import Pod
from evc.runtime.reflector import Reflector
from evc.runtime.store import Store
from unit.runtime.fakes import FakeClock, NotRandom, RecordingObserver, VirtualStop

from .server import Answer, Exchange, client, serving
from .test_watch import ERROR, line


def page(version: int, *names: str, more: str = "") -> Answer:
    items = [
        {"metadata": {"name": name, "namespace": "ns", "uid": name, "resourceVersion": "5"}}
        for name in names
    ]
    metadata = {"resourceVersion": str(version), "continue": more}
    return lambda exchange: exchange.compressed({"metadata": metadata, "items": items})


def test_an_informer_follows_a_server_through_all_that_goes_wrong() -> None:
    """No streaming lists, a list that expires half-way, silence, and a revision that is gone."""
    stop = VirtualStop(FakeClock())

    def silent(exchange: Exchange) -> None:
        exchange.begin(encoding="gzip")
        exchange.send(line("ADDED", "c", 20))
        exchange.server.over.wait(30.0)

    def too_old(exchange: Exchange) -> None:
        exchange.answer(line("DELETED", "a", 25) + ERROR + b"\n")

    def last(exchange: Exchange) -> None:
        stop.set()
        exchange.answer(b"")

    script: list[tuple[str, Answer]] = [
        ("stream", lambda exchange: exchange.refuse(422, "Invalid")),
        ("list", page(10, "a", more="token")),
        ("list after token", lambda exchange: exchange.refuse(410, "Expired")),
        ("list", page(12, "a", more="token")),
        ("list after token", page(12, "b")),
        ("watch from 12", silent),
        ("watch from 20", too_old),
        ("list", page(40, "b", "c")),
        ("watch from 40", last),
    ]
    store: Store[Pod] = Store({})
    observer = RecordingObserver()
    with serving(*(answer for _, answer in script)) as server:
        source = ResourceWatcher(client(server, watch_silence=0.2), PODS, "ns")
        Reflector(
            "pods",
            source,
            store,
            on_change=lambda old, new: None,
            observer=observer,
            clock=stop.clock,
            random=NotRandom(),  # type: ignore[arg-type]
        ).run(stop)
        asked = [verb(request.query) for request in server.requests]
    assert asked == [what for what, _ in script]
    assert sorted(item.metadata.name for item in store.list()) == ["b", "c"]
    assert store.resource_version == "40"
    assert observer.heard("streaming_refused") == [("pods",)]
    errors = [type(error).__name__ for _, error, _ in observer.heard("watch_failed")]
    assert errors == ["Expired", "Unreachable", "Expired"]


def verb(query: dict[str, Any]) -> str:
    """Say what a request asked for."""
    if "sendInitialEvents" in query:
        return "stream"
    if "watch" in query:
        return f"watch from {query['resourceVersion']}"
    assert query["limit"] == "500"
    return "list after token" if "continue" in query else "list"
