"""The reference pages say what the code says."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[3] / "docs"
PAGES = runpy.run_path(str(DOCS / "generate.py"))["PAGES"]


@pytest.mark.parametrize("file", PAGES)
def test_the_page_is_what_the_code_generates(file: str) -> None:
    """If this fails, run `make docs`."""
    assert (DOCS / "reference" / file).read_text() == PAGES[file]()


def test_every_word_is_explained_in_a_sentence() -> None:
    reasons = runpy.run_path(str(DOCS / "generate.py"))
    for kind in ("Reason", "EventReason"):
        for member in reasons[kind]:
            assert member.meaning.endswith("."), member
