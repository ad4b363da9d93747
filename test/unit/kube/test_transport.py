"""The promises at the top of `evc.kube.transport`, on real sockets."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from evc.kube.config import TokenFile
from evc.kube.errors import Status, StatusDetails, from_status
from evc.kube.resources import CLAIMS, PODS
from evc.model.errors import (
    AlreadyExists,
    ApiError,
    Conflict,
    DeadlineExceeded,
    Expired,
    Forbidden,
    Invalid,
    NotFound,
    NotListening,
    TooManyRequests,
    Unauthorized,
    Unreachable,
)
from evc.model.meta import Key

from .server import Answer, Badge, Exchange, Waits, client, serving

A = Key("ns", "a")
POD = {"metadata": {"name": "a", "namespace": "ns", "resourceVersion": "7"}}


def good(exchange: Exchange) -> None:
    exchange.answer(POD)


def hang(exchange: Exchange) -> None:
    exchange.server.over.wait(10.0)
    exchange.close_connection = True


def refused(code: int, reason: str = "", **headers: str) -> Answer:
    return lambda exchange: exchange.refuse(code, reason, **headers)


BUSY = refused(429, "TooManyRequests", Retry_After="3")


@pytest.mark.parametrize(
    ("code", "reason", "error"),
    [
        (400, "BadRequest", Invalid),
        (401, "Unauthorized", Unauthorized),
        (403, "Forbidden", Forbidden),
        (404, "NotFound", NotFound),
        (409, "Conflict", Conflict),
        (409, "AlreadyExists", AlreadyExists),
        (410, "Expired", Expired),
        (422, "Invalid", Invalid),
        (500, "InternalError", ApiError),
    ],
)
def test_a_refusal_is_raised_as_its_own_error(
    code: int, reason: str, error: type[ApiError]
) -> None:
    with serving(refused(code, reason)) as server, pytest.raises(error) as raised:
        client(server).get(PODS, A)
    assert type(raised.value) is error
    assert (raised.value.status, raised.value.reason) == (code, reason)
    assert str(raised.value) == f"refused: {reason}"


def test_the_time_to_wait_may_be_in_the_header_or_in_the_status() -> None:
    """Inside of a watch there is no header."""
    busy = Status("busy", "TooManyRequests", 429, StatusDetails(retry_after_seconds=7))
    assert from_status(busy).retry_after == 7.0
    assert from_status(busy, "3").retry_after == 3.0
    assert from_status(Status(code=429), "Wed, 21 Oct 2026 07:28:00 GMT").retry_after is None


def test_a_gateways_page_is_quoted_in_part() -> None:
    with (
        serving(lambda exchange: exchange.answer(b"<html>" + b"x" * 9000, 502)) as server,
        pytest.raises(ApiError, match=r"<html>x+$") as raised,
    ):
        client(server).get(PODS, A)
    assert len(str(raised.value)) == 200


@pytest.mark.parametrize("method", ["get", "delete"])
def test_a_connection_that_breaks_is_unreachable_and_not_tried_again(method: str) -> None:
    with serving(Exchange.cut) as server:
        made = client(server)
        with pytest.raises(Unreachable) as raised:
            made.get(PODS, A) if method == "get" else made.delete(PODS, A, uid="u")
        assert raised.value.status == 0, "it may have happened"
        assert len(server.requests) == 1


def test_no_server_is_known_from_one_that_gives_no_answer() -> None:
    with serving(good) as server:
        made = client(server)
    with pytest.raises(NotListening, match="refused"):
        made.get(PODS, A)


def test_a_slow_answer_is_unreachable() -> None:
    with (
        serving(hang) as server,
        pytest.raises(Unreachable, match="timed out"),
    ):
        client(server, timeout=0.05).get(PODS, A)


def test_flow_control_is_waited_for_and_the_same_request_sent_again() -> None:
    waits = Waits()
    with serving(BUSY, BUSY, good) as server:
        found = client(server, wait=waits).patch(PODS, A, {"metadata": {}})
        sent = [*server.requests]
    assert found.metadata.name == "a"
    assert waits.seconds == [3.0, 3.0]
    assert sent == [sent[0]] * 3


def test_a_server_that_stays_busy_is_left_to_the_queue_with_its_retry_after() -> None:
    waits = Waits()
    with serving(BUSY) as server, pytest.raises(TooManyRequests) as raised:
        client(server, wait=waits).get(PODS, A)
    assert len(waits.seconds) == 4
    assert raised.value.retry_after == 3.0


def test_a_pause_ends_when_the_process_stops() -> None:
    waits = Waits(stops=1)
    with serving(BUSY) as server, pytest.raises(TooManyRequests):
        client(server, wait=waits).get(PODS, A)
    assert waits.seconds == [3.0]
    assert len(server.requests) == 1


def test_a_write_whose_answer_was_lost_is_not_repeated() -> None:
    """504 with Retry-After: the server gave up waiting for etcd, which may have stored it."""
    with (
        serving(refused(504, "Timeout", Retry_After="1"), good) as server,
        pytest.raises(ApiError) as raised,
    ):
        client(server).create(PODS, "ns", POD)
    assert raised.value.status == 504
    assert len(server.requests) == 1


def test_a_rotated_token_is_picked_up_after_a_401() -> None:
    with serving(refused(401, "Unauthorized"), good) as server:
        client(server, credentials=Badge("old", "new")).get(PODS, A)
        assert [e.headers["Authorization"] for e in server.requests] == ["old", "new"]


def test_the_same_token_is_not_offered_twice() -> None:
    with serving(refused(401, "Unauthorized")) as server:
        with pytest.raises(Unauthorized):
            client(server, credentials=Badge("old")).get(PODS, A)
        assert len(server.requests) == 1


def test_two_bad_tokens_are_enough() -> None:
    class Plugin(Badge):
        """Makes another token each time it is asked."""

        def renewed(self) -> dict[str, str]:
            self.token += "!"
            return self.headers()

    with serving(refused(401, "Unauthorized")) as server:
        with pytest.raises(Unauthorized):
            client(server, credentials=Plugin()).get(PODS, A)
        assert len(server.requests) == 2


def test_a_token_file_is_read_for_each_request(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first\n")

    def rotate(exchange: Exchange) -> None:
        file.write_text("second\n")
        exchange.answer(POD)

    with serving(rotate, good) as server:
        made = client(server, credentials=TokenFile(file))
        made.get(PODS, A)
        made.get(PODS, A)
        sent = [e.headers["Authorization"] for e in server.requests]
    assert sent == ["Bearer first", "Bearer second"]
    file.unlink()
    with pytest.raises(Unauthorized, match="token"):
        TokenFile(file).headers()


def test_nothing_is_sent_after_the_deadline() -> None:
    with serving(good) as server:
        for left in (0.0, -1.0):
            with pytest.raises(DeadlineExceeded):
                client(server, time_left=lambda left=left: left).delete(PODS, A, uid="u")
        assert server.requests == []


def test_the_deadline_bounds_a_wait_for_an_answer_and_a_pause() -> None:
    waits = Waits()
    with serving(hang) as server, pytest.raises(Unreachable, match="timed out"):
        client(server, time_left=lambda: 0.05).get(PODS, A)
    with serving(BUSY) as server, pytest.raises(TooManyRequests):
        client(server, time_left=lambda: 3.0, wait=waits).get(PODS, A)
    assert waits.seconds == [], "it would end too late"


def test_every_attempt_is_counted() -> None:
    counted: list[tuple[str, int]] = []
    with serving(BUSY, good, Exchange.cut) as server:
        made = client(server, on_request=lambda *attempt: counted.append(attempt))
        made.get(PODS, A)
        with pytest.raises(Unreachable):
            made.delete(PODS, A, uid="u")
    assert counted == [("GET", 429), ("GET", 200), ("DELETE", 0)]


@pytest.mark.parametrize("how", ["length", "chunks", "empty", "half an object", "not a list"])
def test_an_answer_cut_short_is_an_error(how: str) -> None:
    """A list that is shorter than it should be looks like a world where all is over."""

    def answer(exchange: Exchange) -> None:
        if how == "chunks":
            exchange.begin()
            exchange.send(b'{"metadata":{"resourceVersion":"9"},"items":[]}'[:20])
            exchange.cut()
        elif how == "length":
            exchange.send_response(200)
            exchange.send_header("Content-Length", "900")
            exchange.end_headers()
            exchange.wfile.write(b'{"metadata":{},"items":[]}')
            exchange.cut()
        else:
            bodies = {"empty": b"", "half an object": b'{"metadata":{"res', "not a list": b"{}"}
            exchange.answer(bodies[how])

    with serving(answer) as server, pytest.raises(ApiError):
        client(server).list(CLAIMS)


def test_answers_may_be_compressed() -> None:
    page = {"metadata": {"resourceVersion": "9"}, "items": [POD] * 50}
    with serving(lambda exchange: exchange.compressed(page)) as server:
        assert len(client(server).list(PODS).items) == 50
        assert server.requests[0].headers["Accept-Encoding"] == "gzip"


def test_a_right_that_was_taken_away_costs_one_request() -> None:
    """The loops above slow down by themselves (`evc.runtime`), and the client adds nothing."""
    with serving(refused(403, "Forbidden")) as server:
        with pytest.raises(Forbidden):
            client(server).get(PODS, A)
        assert len(server.requests) == 1


def test_writes_name_their_field_manager_and_send_json() -> None:
    with serving(good) as server:
        client(server).patch(PODS, A, {"metadata": {"labels": {"x": "y"}}})
        (sent,) = server.requests
    assert sent.query == {"fieldManager": "evc"}
    assert sent.body == b'{"metadata":{"labels":{"x":"y"}}}'
    assert sent.headers["Content-Type"] == "application/merge-patch+json"


def test_connections_are_reused() -> None:
    peers: list[Any] = []

    def note(exchange: Exchange) -> None:
        peers.append(exchange.client_address)
        exchange.answer(POD)

    with serving(note) as server:
        made = client(server)
        for _ in range(3):
            made.get(PODS, A)
        made.close()
    assert len(set(peers)) == 1


def test_sockets_probe_a_silent_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    from evc.kube.config import keepalive

    options = {option: value for level, option, value in keepalive() if level != socket.SOL_SOCKET}
    assert options[socket.TCP_NODELAY] == 1
    assert [options[getattr(socket, f"TCP_KEEP{what}")] for what in ("IDLE", "INTVL", "CNT")] == [
        30, 15, 9,
    ]  # fmt: skip
    assert (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1) in keepalive()
