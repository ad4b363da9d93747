"""Argo CD's health check, in its own repository's form, on what the operator writes."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from lupa.lua51 import LuaRuntime

from evc.policy.reasons import Reason
from unit.docs.argocd import FOLDER, files

CASES = yaml.safe_load((FOLDER / "health_test.yaml").read_text())["tests"]


def judged(item: dict[str, Any]) -> tuple[str, str]:
    """What the script says; like Argo CD's, its Lua is 5.1 and has no library but the basics."""
    lua = LuaRuntime(register_eval=False, unpack_returned_tuples=True)
    run = lua.eval(
        "function(text, obj)"
        " local check = assert(loadstring(text))"
        " setfenv(check, {obj = obj, ipairs = ipairs, pairs = pairs})"
        " return check() end"
    )
    verdict = run((FOLDER / "health.lua").read_text(), lua.table_from(item, recursive=True))
    return verdict["status"], verdict["message"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["inputPath"])
def test_health(case: dict[str, Any]) -> None:
    item = yaml.safe_load((FOLDER / case["inputPath"]).read_text())
    assert judged(item) == (case["healthStatus"]["status"], case["healthStatus"]["message"])


def test_the_data_is_what_the_operator_writes() -> None:
    """If this fails, run `python -m unit.docs.argocd` with src and test on PYTHONPATH."""
    wanted = files()
    there = {f"testdata/{path.name}" for path in (FOLDER / "testdata").iterdir()}
    assert there | {"health_test.yaml"} == wanted.keys()
    for name, text in wanted.items():
        assert (FOLDER / name).read_text() == text, name


def test_every_stage_is_judged() -> None:
    reasons = {
        condition["reason"]
        for case in CASES
        for condition in yaml.safe_load((FOLDER / case["inputPath"]).read_text())
        .get("status", {})
        .get("conditions", [])
        if condition["type"] == "Ready"
    }
    assert reasons == set(Reason)


def test_the_page_shows_the_script_that_is_tested() -> None:
    page = (FOLDER.parents[3].parent / "docs" / "gitops.md").read_text()
    script = (FOLDER / "health.lua").read_text()
    assert "".join(f"    {line}".rstrip() + "\n" for line in script.splitlines()) in page
