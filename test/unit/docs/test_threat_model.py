"""Each attack on the page has a test that exists, or says why it is accepted."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "threat-model.md").read_text()
ROWS = {int(row[1]): row[0] for row in re.finditer(r"^\| (\d+) \|.*$", PAGE, re.MULTILINE)}
NAMED = sorted(set(re.findall(r"`(\w+/[\w/]+\.py)::(\w+)`", PAGE)))
ATTACKS = 25


@pytest.mark.parametrize(("file", "test"), NAMED, ids=str)
def test_every_named_test_exists(file: str, test: str) -> None:
    tree = ast.parse((ROOT / "test" / file).read_text())
    assert test in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("number", range(1, ATTACKS + 1))
def test_every_attack_is_shown_to_fail_or_accepted(number: int) -> None:
    assert re.search(r"::test_|\*Accepted\*", ROWS[number])


def test_no_name_of_a_test_is_written_in_another_way() -> None:
    assert len(re.findall(r"\.py\b", PAGE)) == len(re.findall(r"`\w+/[\w/]+\.py::test_\w+`", PAGE))
