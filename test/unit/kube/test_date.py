"""The API server's clock, as the Date header of its answers tells it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from evc.kube.transport import _date


def test_a_date_header_is_the_servers_time() -> None:
    assert _date("Thu, 01 Jan 2026 00:01:39 GMT") == datetime(2026, 1, 1, 0, 1, 39, tzinfo=UTC)


@pytest.mark.parametrize("header", [None, "", "yesterday", "Thu, 01 Jan 2026 00:01:39 -0000"])
def test_no_date_is_no_time(header: str | None) -> None:
    assert _date(header) is None
