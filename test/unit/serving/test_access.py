"""Who may read the metrics: what the API server is asked, how often, and what is answered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from evc.model.errors import ApiError, Forbidden, TooManyRequests, Unreachable
from evc.serving.access import (
    ACCESS_PATH,
    ALLOW_TTL,
    DENY_TTL,
    REMEMBERED,
    TIMEOUT,
    TOKENS_PATH,
    USER_TTL,
    Guard,
)
from evc.serving.http import Answer, Request
from unit.runtime.fakes import FakeClock, NotRandom

PROMETHEUS = {
    "username": "system:serviceaccount:monitoring:prometheus",
    "uid": "u-1",
    "groups": ["system:serviceaccounts", "system:authenticated"],
    "extra": {"authentication.kubernetes.io/pod-name": ["prometheus-0"]},
}
METRICS = Answer(200, b"metrics\n")


class FakeReviewer:
    """An API server that knows some tokens and who may read; fails as often as it is told."""

    def __init__(self) -> None:
        self.users: dict[str, dict[str, Any]] = {"good": PROMETHEUS}
        self.readers = {PROMETHEUS["username"]}
        self.asked: list[tuple[str, Mapping[str, Any], float]] = []
        self.failing: list[Exception] = []
        self.garbage: bytes | None = None

    def review(self, path: str, body: Mapping[str, Any], *, timeout: float) -> bytes:
        spec = msgspec.json.decode(msgspec.json.encode(body["spec"]))
        self.asked.append((path, spec, timeout))
        if self.failing:
            raise self.failing.pop(0)
        if self.garbage is not None:
            return self.garbage
        if path == TOKENS_PATH:
            user = self.users.get(spec["token"])
            known = {"authenticated": True, "user": user}
            status: Any = known if user else {"error": "invalid bearer token"}
        else:
            status = {"allowed": spec["user"] in self.readers}
        return msgspec.json.encode({"kind": body["kind"], "status": status, "metadata": {}})

    def times(self, path: str) -> int:
        return sum(1 for asked, _, _ in self.asked if asked == path)


class Scrape:
    """A guarded page in virtual time; waits are written down."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.server = FakeReviewer()
        self.waits: list[float] = []
        random: Any = NotRandom()
        self.guard = Guard(
            self.server, monotonic=self.clock.monotonic, wait=self._wait, random=random
        )
        self.route = self.guard(lambda _: METRICS)

    def _wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.clock.advance(seconds)

    def __call__(self, authorization: str = "Bearer good", method: str = "GET") -> int:
        return self.route(Request(method, "/metrics", authorization)).code


class TestAnswers:
    def test_who_may_reads(self) -> None:
        scrape = Scrape()
        assert scrape.route(Request("GET", "/metrics", "Bearer good")) == METRICS

    @pytest.mark.parametrize(
        "header",
        ["", "good", "Basic Z29vZA==", "Bearer", "Bearer ", "Token good"],
    )
    def test_without_a_bearer_token_nobody_is_asked(self, header: str) -> None:
        scrape = Scrape()
        assert scrape(header) == 401
        assert scrape.server.asked == []

    @pytest.mark.parametrize("header", ["bearer good", "BEARER  good", "  Bearer good "])
    def test_the_scheme_is_read_as_http_says(self, header: str) -> None:
        assert Scrape()(header) == 200

    def test_a_token_nobody_has_is_unauthorized(self) -> None:
        scrape = Scrape()
        assert scrape("Bearer stolen") == 401
        assert scrape.server.times(ACCESS_PATH) == 0

    @pytest.mark.parametrize("name", ["system:anonymous", ""])
    def test_nobody_in_particular_is_unauthorized_whatever_rbac_says(self, name: str) -> None:
        scrape = Scrape()
        scrape.server.users["good"] = {"username": name}
        scrape.server.readers.add(name)
        assert scrape() == 401

    def test_who_may_not_is_forbidden_and_told_by_name(self) -> None:
        scrape = Scrape()
        scrape.server.readers.clear()
        answer = scrape.route(Request("GET", "/metrics", "Bearer good"))
        assert answer.code == 403
        assert answer.body == f"Authorization denied for user {PROMETHEUS['username']}\n".encode()

    @pytest.mark.parametrize("failures", [1, 2])
    def test_what_could_not_be_checked_is_an_error_and_no_permission(self, failures: int) -> None:
        scrape = Scrape()
        if failures == 2:
            scrape()
            scrape.clock.advance(ALLOW_TTL)
        scrape.server.failing = [Forbidden("may not create tokenreviews", status=403)]
        assert scrape() == 500

    @pytest.mark.parametrize("garbage", [b"", b"<html>", b'{"status": []}', b"[]"])
    def test_an_answer_that_cannot_be_read_is_no_permission(self, garbage: bytes) -> None:
        scrape = Scrape()
        scrape.server.garbage = garbage
        assert scrape() == 500

    @pytest.mark.parametrize("empty", [b"{}", b'{"status": {}}'])
    def test_an_answer_that_says_nothing_is_no_permission(self, empty: bytes) -> None:
        scrape = Scrape()
        scrape.server.garbage = empty
        assert scrape() == 401


class TestQuestions:
    def test_the_user_is_asked_about_as_the_token_review_named_it(self) -> None:
        scrape = Scrape()
        scrape()
        (token, access) = scrape.server.asked
        assert token[:2] == (TOKENS_PATH, {"token": "good"})
        assert access[0] == ACCESS_PATH
        assert access[1] == {
            "user": PROMETHEUS["username"],
            "uid": "u-1",
            "groups": PROMETHEUS["groups"],
            "extra": PROMETHEUS["extra"],
            "nonResourceAttributes": {"verb": "get", "path": "/metrics"},
        }

    def test_another_verb_is_another_question(self) -> None:
        scrape = Scrape()
        scrape()
        scrape(method="POST")
        verbs = [spec["nonResourceAttributes"]["verb"] for _, spec, _ in scrape.server.asked[1:]]
        assert verbs == ["get", "post"]


class TestMemory:
    def test_the_figures_are_controller_runtimes(self) -> None:
        assert (USER_TTL, ALLOW_TTL, DENY_TTL, TIMEOUT) == (60, 300, 30, 10)

    @pytest.mark.parametrize(("seconds", "times"), [(0, 1), (USER_TTL - 0.01, 1), (USER_TTL, 2)])
    def test_whose_a_token_is_is_remembered_for_a_minute(self, seconds: float, times: int) -> None:
        scrape = Scrape()
        scrape()
        scrape.clock.advance(seconds)
        scrape()
        assert scrape.server.times(TOKENS_PATH) == times

    @pytest.mark.parametrize(("seconds", "times"), [(USER_TTL - 0.01, 1), (USER_TTL, 2)])
    def test_so_is_that_it_is_nobodys(self, seconds: float, times: int) -> None:
        scrape = Scrape()
        scrape("Bearer stolen")
        scrape.clock.advance(seconds)
        scrape("Bearer stolen")
        assert scrape.server.times(TOKENS_PATH) == times

    @pytest.mark.parametrize(("seconds", "code"), [(ALLOW_TTL - 0.01, 200), (ALLOW_TTL, 403)])
    def test_a_permission_is_remembered_for_five_minutes(self, seconds: float, code: int) -> None:
        scrape = Scrape()
        scrape()
        scrape.server.readers.clear()
        scrape.clock.advance(seconds)
        assert scrape() == code

    @pytest.mark.parametrize(("seconds", "code"), [(DENY_TTL - 0.01, 403), (DENY_TTL, 200)])
    def test_a_refusal_is_remembered_for_half_a_minute(self, seconds: float, code: int) -> None:
        scrape = Scrape()
        readers, scrape.server.readers = scrape.server.readers, set()
        scrape()
        scrape.server.readers = readers
        scrape.clock.advance(seconds)
        assert scrape() == code

    def test_an_error_is_not_remembered(self) -> None:
        scrape = Scrape()
        scrape.server.failing = [Forbidden("no", status=403)]
        assert scrape() == 500
        assert scrape() == 200

    def test_tokens_are_not_kept(self) -> None:
        scrape = Scrape()
        scrape()
        assert "good" not in repr(
            [scrape.guard._users, scrape.guard._allowed, scrape.guard._denied]
        )

    def test_random_tokens_fill_no_memory(self) -> None:
        scrape = Scrape()
        for number in range(REMEMBERED + 10):
            scrape(f"Bearer {number}")
        assert len(scrape.guard._users) == REMEMBERED


class TestRetries:
    @pytest.mark.parametrize(
        "error",
        [
            Unreachable("connection reset"),
            TooManyRequests("busy", status=429),
            ApiError("internal error", status=500),
            ApiError("etcd", status=503),
        ],
    )
    def test_what_may_pass_is_tried_five_times_with_growing_pauses(self, error: ApiError) -> None:
        scrape = Scrape()
        scrape.server.failing = [error] * 4
        assert scrape() == 200
        assert scrape.waits == [0.5, 0.75, 1.125, 1.6875]

    def test_after_the_fifth_it_is_over(self) -> None:
        scrape = Scrape()
        scrape.server.failing = [Unreachable("reset")] * 10
        assert scrape() == 500
        assert scrape.server.times(TOKENS_PATH) == 5

    def test_a_refusal_is_not_tried_again(self) -> None:
        scrape = Scrape()
        scrape.server.failing = [Forbidden("no", status=403)]
        assert scrape() == 500
        assert scrape.waits == []

    def test_pauses_are_lengthened_by_a_fifth_at_most(self) -> None:
        scrape = Scrape()
        scrape.guard._random = NotRandom(1.0)
        scrape.server.failing = [Unreachable("reset")]
        scrape()
        assert scrape.waits == [pytest.approx(0.6)]

    def test_retry_after_is_a_minimum(self) -> None:
        scrape = Scrape()
        scrape.server.failing = [TooManyRequests("busy", status=429, retry_after=3.0)]
        assert scrape() == 200
        assert scrape.waits == [3.0]

    def test_nobody_waits_longer_than_ten_seconds(self) -> None:
        scrape = Scrape()
        scrape.server.failing = [TooManyRequests("busy", status=429, retry_after=11.0)]
        assert scrape() == 500
        assert scrape.waits == []

    def test_an_attempt_may_take_what_is_left_of_the_ten_seconds(self) -> None:
        scrape = Scrape()
        scrape.server.failing = [Unreachable("reset")] * 2
        scrape()
        assert [timeout for _, _, timeout in scrape.server.asked][:3] == [10.0, 9.5, 8.75]
