"""The reference pages say what the code says."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from evc.policy.decide import decide
from unit.builders import at
from unit.policy.catalogue import ALL

DOCS = Path(__file__).parents[3] / "docs"
GENERATOR = runpy.run_path(str(DOCS / "generate.py"))
PAGES = GENERATOR["PAGES"]


@pytest.mark.parametrize("file", PAGES)
def test_the_page_is_what_the_code_generates(file: str) -> None:
    """If this fails, run `make docs`."""
    assert (DOCS / "reference" / file).read_text() == PAGES[file]()


def test_every_word_is_explained_in_a_sentence() -> None:
    for kind in ("Reason", "EventReason"):
        for member in GENERATOR[kind]:
            assert member.meaning.endswith("."), member


def test_every_event_that_is_told_is_in_the_page_with_its_type_and_action() -> None:
    told = GENERATOR["events_told"]()
    assert set(told) >= set(GENERATOR["EventReason"])
    for case in ALL:
        for note in decide(case.seen, at(case.now)).notes:
            assert (note.type, note.action) in told[note.reason], note
