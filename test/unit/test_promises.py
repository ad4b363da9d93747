"""Every promise at the top of a module has a test that is named after it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROMISE = re.compile(r"^ *\d+\. +\*([^*]+)\*", re.MULTILINE)
TESTS = re.compile(r"``(test/unit/\S+\.py)``")


def promising() -> list[tuple[str, str, str]]:
    """Return (module, file of its tests, promise) for each promise made in a docstring."""
    found = []
    for module in sorted((ROOT / "src").rglob("*.py")):
        text = ast.get_docstring(ast.parse(module.read_text())) or ""
        _, marker, promises = text.partition("Promises")
        tests = TESTS.search(promises)
        if marker and tests:
            name = str(module.relative_to(ROOT / "src"))
            found += [(name, tests[1], " ".join(p.split())) for p in PROMISE.findall(promises)]
    return found


def words(promise: str) -> str:
    """Return the promise as it stands in the name of a test."""
    return re.sub(r"[^a-z0-9]+", "_", promise.lower().replace("'", "")).strip("_")


@pytest.mark.parametrize(("module", "tests", "promise"), promising(), ids=str)
def test_each_promise_has_a_test_of_its_name(module: str, tests: str, promise: str) -> None:
    assert f"_{words(promise)}" in (ROOT / tests).read_text(), f"{module}: {promise}"


def test_the_modules_that_promise_are_found() -> None:
    modules = {module for module, _, _ in promising()}
    assert {f"evc/runtime/{name}.py" for name in ("queue", "store", "reflector", "election")} <= (
        modules
    )
    assert {f"evc/kube/{name}.py" for name in ("client", "transport", "watch")} <= modules
