"""What every line of one reconcile carries."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from structlog.contextvars import get_contextvars

from evc.model.meta import Key
from evc.serving.logs import LogObserver


def bound() -> dict[str, Any]:
    with LogObserver().reconciling("claims", Key("data", "scratch")):
        return get_contextvars()


def test_lines_name_their_object_and_the_reconcile_they_belong_to() -> None:
    first, second = bound(), bound()
    ids = [UUID(said.pop("reconcileID")) for said in (first, second)]
    assert ids[0] != ids[1]
    assert first == {"controller": "claims", "namespace": "data", "name": "scratch"}
    assert "reconcileID" not in get_contextvars()
