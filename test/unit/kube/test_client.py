"""The promises at the top of `evc.kube.client`."""

from __future__ import annotations

import gc
import json
import tracemalloc
from typing import Any

import pytest

from evc.kube.client import JSON_PATCH, PAGE_SIZE
from evc.kube.resources import CLAIMS, PODS, PVCS
from evc.model.errors import Expired, NotFound
from evc.model.meta import Key

from .server import Exchange, client, serving


def thing(number: int, padding: int = 0) -> dict[str, Any]:
    return {
        "metadata": {"name": f"pod-{number}", "namespace": "ns", "resourceVersion": str(number)},
        "spec": {"nodeName": "node-1", "containers": [{"name": "main", "image": "x" * padding}]},
    }


def pages(total: int, padding: int = 0) -> Any:
    """Return an answer that serves ``total`` pods by limit and continue, as of revision 900."""

    def answer(exchange: Exchange) -> None:
        query = exchange.server.requests[-1].query
        start, limit = int(query.get("continue", "0")), int(query["limit"])
        end = min(total, start + limit)
        more = str(end) if end < total else ""
        items = [thing(number, padding) for number in range(start, end)]
        exchange.answer({"metadata": {"resourceVersion": "900", "continue": more}, "items": items})

    return answer


def test_a_list_is_whole() -> None:
    with serving(pages(2 * PAGE_SIZE + 3)) as server:
        page = client(server).list(PODS, "ns", field_selector="status.phase!=Failed")
        queries = [request.query for request in server.requests]
    assert [item.metadata.name for item in page.items] == [f"pod-{n}" for n in range(1003)]
    assert (page.resource_version, page.continue_token) == ("900", "")
    assert [query.get("continue") for query in queries] == [None, "500", "1000"]
    assert {query["fieldSelector"] for query in queries} == {"status.phase!=Failed"}
    assert "resourceVersion" not in queries[0], "the most recent state, not a cache's"


def test_a_list_that_expires_half_way_is_an_error() -> None:
    with (
        serving(pages(PAGE_SIZE + 1), lambda exchange: exchange.refuse(410, "Expired")) as server,
        pytest.raises(Expired),
    ):
        client(server).list(PODS)


def test_one_page_is_one_request() -> None:
    with serving(pages(10)) as server:
        page = client(server).list(PODS, limit=4, continue_token="4")
        assert len(server.requests) == 1
    assert [item.metadata.name for item in page.items] == ["pod-4", "pod-5", "pod-6", "pod-7"]
    assert page.continue_token == "8"


def canned(body: bytes) -> Any:
    return lambda exchange: exchange.answer(body)


def test_one_page_is_held_at_a_time() -> None:
    """Five pages of 4 MB each: the peak is a page's bytes and text, not the sum of all."""
    bodies = []
    for number in range(5):
        items = [thing(1000 * number + n, padding=8_000) for n in range(PAGE_SIZE)]
        more = "more" if number < 4 else ""
        page = {"metadata": {"resourceVersion": "900", "continue": more}, "items": items}
        bodies.append(json.dumps(page).encode())
    with serving(*map(canned, bodies)) as server:
        tracemalloc.start()
        found = client(server).list(PODS)
        kept, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert len(found.items) == 5 * PAGE_SIZE
    assert kept < 0.2 * sum(map(len, bodies))
    assert peak < 2.5 * len(bodies[0]) + kept


@pytest.mark.parametrize("how", ["list", "watch"])
def test_a_decoded_value_keeps_nothing_of_the_answer_alive(how: str) -> None:
    """Not the line's buffer, not the page's: a pod of a megabyte is a kilobyte in the cache."""
    big = json.dumps(thing(7, padding=1 << 20)).encode()
    kept: list[Any] = []
    tracemalloc.start()
    if how == "list":
        body = b'{"metadata":{"resourceVersion":"9"},"items":[%s]}' % big
        with serving(canned(body)) as server:
            kept += client(server).list(PODS).items
        del body
    else:
        with serving(canned(b'{"type":"ADDED","object":%s}\n' % big)) as server:
            watched = client(server).watch(PODS, resource_version="1", send_initial_events=False)
            with watched as stream:
                kept += [event.object for event in stream]
            del watched, stream
    del server
    gc.collect()
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert kept[0].metadata.name == "pod-7"
    assert held < 300_000


def test_a_deletion_names_the_object_it_means() -> None:
    with serving(lambda exchange: exchange.answer({})) as server:
        made = client(server)
        made.delete(PVCS, Key("ns", "a"), uid="u-1", resource_version="7")
        made.delete(CLAIMS, Key("ns", "a"), uid="u-2")
        exact, other = [json.loads(request.body) for request in server.requests]
    assert exact["preconditions"] == {"uid": "u-1", "resourceVersion": "7"}
    assert other["preconditions"] == {"uid": "u-2"}
    assert exact["propagationPolicy"] == "Background"
    assert server.requests[0].resource == "/api/v1/namespaces/ns/persistentvolumeclaims/a"


def test_a_patch_says_what_kind_it_is() -> None:
    with serving(lambda exchange: exchange.answer(thing(1))) as server:
        client(server).patch(PODS, Key("ns", "a"), [{"op": "test"}], content_type=JSON_PATCH)
    assert server.requests[0].headers["Content-Type"] == "application/json-patch+json"


@pytest.mark.parametrize("name", [".", "..", "../pods/x", "x/log", "x%2Flog"])
def test_a_name_that_would_be_a_path_is_of_nothing(name: str) -> None:
    with serving() as server, pytest.raises(NotFound):
        client(server).get(PODS, Key("ns", name))
    assert server.requests == []


@pytest.mark.parametrize("version", ["", "../version", "v1?a=b", "a/b/c", "apps/..", "V1", "v1\n"])
def test_a_version_that_would_be_a_path_serves_nothing(version: str) -> None:
    with serving() as server, pytest.raises(NotFound):
        client(server).plural(version, "Work")
    assert server.requests == []
