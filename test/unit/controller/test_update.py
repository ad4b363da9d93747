"""A change the API server refuses: when it is tried again, and what goes on meanwhile."""

from __future__ import annotations

from typing import Any

import pytest

from evc.controller.gather import OwnWrites
from evc.controller.update import Refused, UpdateClaims
from evc.model.errors import Forbidden, Unreachable
from evc.policy.template import update
from unit.builders import ClaimBuilder, EvcBuilder, at, provided, volume

from .fakes import Cluster, RecordingClient

APPLY = ("apply", "persistentvolumeclaims")
LARGER = provided().sized("1Ti")
LABELLED = LARGER.template_labels({"team": "a"})


class Room:
    """An `UpdateClaims`, its API server, and the time."""

    def __init__(self) -> None:
        self.client = RecordingClient().refuse(*APPLY, Forbidden("not yet"))
        self.now = 0.0
        fake: Any = self.client
        self._update = UpdateClaims(fake, OwnWrites(Cluster().caches), lambda: at(self.now))

    def visit(self, evc: EvcBuilder = LARGER, claim: ClaimBuilder | None = None) -> float | None:
        present = (claim or volume()).value
        manifest = update(present, evc.value)
        assert manifest is not None
        return self._update(present, manifest, evc.value)

    def refused(self, evc: EvcBuilder = LARGER, claim: ClaimBuilder | None = None) -> float:
        with pytest.raises(Refused) as refusal:
            self.visit(evc, claim)
        return refusal.value.again_in

    @property
    def tried(self) -> int:
        return len(self.client.calls)


def test_it_is_tried_again_with_a_backoff_and_not_at_each_event() -> None:
    room, waits = Room(), []
    for _ in range(8):
        waits.append(room.refused())
        attempts = room.tried
        assert room.visit() == waits[-1]
        room.now += waits[-1] - 1
        assert room.visit() == 1
        assert room.tried == attempts
        room.now += 1
    assert waits == [5, 10, 20, 40, 80, 160, 300, 300]


def test_what_was_refused_for_a_moment_is_done_at_the_next_attempt() -> None:
    room = Room()
    room.now += room.refused()
    room.client.refusing.clear()
    assert room.visit() is None
    room.client.refuse(*APPLY, Forbidden("again"))
    assert room.refused() == 5, "forgotten"


@pytest.mark.parametrize(
    ("evc", "claim"),
    [
        pytest.param(LARGER.meta(generation=2), volume(), id="template"),
        pytest.param(LARGER, volume().in_phase("Pending"), id="claim's phase"),
    ],
)
def test_it_is_tried_at_once_when_that_changes(evc: EvcBuilder, claim: ClaimBuilder) -> None:
    room = Room()
    room.refused()
    assert room.refused(evc, claim) == 5
    assert room.tried == 2


def test_labels_follow_although_the_size_is_refused() -> None:
    room = Room()
    assert room.refused(LABELLED) == 0, "at once, at the version there is then"
    room.client.refusing.clear()
    assert room.visit(LABELLED) == 5
    sent = room.client.calls[-1][3]
    assert sent["metadata"]["labels"]["team"] == "a"
    assert "spec" not in sent


def test_a_clock_that_was_set_back_puts_nothing_off() -> None:
    room = Room()
    room.now = 86_400
    room.refused()
    room.now = 0
    assert room.refused() == 10


def test_no_answer_is_no_refusal() -> None:
    room = Room()
    room.client.refuse(*APPLY, Unreachable("reset"))
    for _ in range(2):
        with pytest.raises(Unreachable):
            room.visit()
    assert room.tried == 2
