"""The pages name what there is: links, flags with their defaults, stages, fields, rights.

That their commands work is the affair of test/e2e/test_docs.py.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from evc.__main__ import run
from evc.model.evc import EphemeralVolumeClaimSpec
from evc.model.schema import custom_resource_definition
from evc.policy.reasons import Reason
from unit.docs.argocd import FOLDER

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]


def text(page: str) -> str:
    return (DOCS / page).read_text()


def rows(page: str, heading: str) -> list[list[str]]:
    """The cells of the table under a heading, without those of its head."""
    part = text(page).partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" |")] for line in lines[2:]]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in link:
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text()), link


def anchors(page: str) -> set[str]:
    """The names GitHub gives a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in headings}


def test_operations_names_every_flag_and_its_default() -> None:
    named = {}
    for flags, default, _ in rows("operations.md", "Flags"):
        *_, flag = re.findall(r"`([^`]+)`", flags)
        named[flag] = default.partition(" (")[0].strip("`")
    there = {}
    for param in run.params:
        flag, default = max(param.opts, key=len), param.default
        if default in (None, "") or callable(default) or not isinstance(default, str | int | float):
            default = named.get(flag, "")  # found out at run time: the page says it in words
        words = {"True": "true", "False": "off"}
        there[flag] = f"{default:g}" if isinstance(default, float) else str(default)
        there[flag] = words.get(there[flag], there[flag])
    assert named == there


def test_concepts_draws_every_stage_and_no_other() -> None:
    page = text("concepts.md")
    diagram = re.search(r"```mermaid\n(.*?)```", page, re.DOTALL)
    assert diagram
    drawn = set(re.findall(r"\b[A-Z][a-z]\w*(?= -->)|(?<=--> )[A-Z]\w+", diagram[1]))
    assert drawn <= set(Reason)
    assert {reason for reason in Reason if reason not in drawn} == {
        *(Reason(word) for word in re.findall(r"`([A-Z]\w+)`", page) if word in set(Reason) - drawn)
    }, "what is not drawn is named"


def test_concepts_gives_the_defaults_of_the_three_times() -> None:
    spec = EphemeralVolumeClaimSpec.__struct_fields__
    defaults = dict(
        zip(reversed(spec), reversed(EphemeralVolumeClaimSpec.__struct_defaults__), strict=False)
    )
    for field, default, _ in rows("concepts.md", "Three times: N, M and the grace period"):
        name = re.sub("([A-Z])", r"_\1", re.findall(r"`(\w+)`", field)[0]).lower()
        assert str(defaults[name]) == default, field


def test_every_field_that_the_pages_name_exists() -> None:
    schema = custom_resource_definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    fields = set(_names(schema))
    for page in ("concepts.md", "recipes.md", "gitops.md", "runbooks.md"):
        for path in re.findall(r"\.(?:spec|status)\.(\w+)", " ".join(_evc_commands(text(page)))):
            assert path in fields, f"{page}: {path}"


def _evc_commands(page: str) -> list[str]:
    """The command lines that are about our kind."""
    return [
        line for line in page.splitlines() if re.search(r"kubectl \w+ (-A )?evc\b|\bevc/", line)
    ]


def _names(schema: object) -> list[str]:
    if isinstance(schema, list):
        return [name for part in schema for name in _names(part)]
    if not isinstance(schema, dict):
        return []
    own = list(schema.get("properties", {}))
    return own + [name for part in schema.values() for name in _names(part)]


def test_every_metric_that_the_pages_name_exists() -> None:
    there = set(re.findall(r"^\| `(\w+)`", text("reference/metrics.md"), re.MULTILINE))
    for page in ("operations.md", "runbooks.md"):
        named = set(
            re.findall(
                r"\b(?:evc|controller_runtime|workqueue|rest_client|leader_election|certwatcher)_\w+",
                text(page),
            )
        )
        assert named <= there, page


def test_every_stalled_reason_has_a_runbook_and_a_health() -> None:
    data = FOLDER / "testdata"
    stalled = {file.stem.partition("_")[2] for file in data.glob("degraded_*.yaml")}
    stalled = {reason[0].upper() + reason[1:] for reason in stalled}
    headings = re.findall(r"^## (.*)$", text("runbooks.md"), re.MULTILINE)
    (degraded,) = re.findall(r"^\| Degraded \|.*", text("gitops.md"), re.MULTILINE)
    assert stalled <= set(headings)
    assert stalled == set(re.findall(r"`(\w+)`", degraded))


def test_the_runbook_of_releasing_has_the_operators_words() -> None:
    source = ROOT / "src" / "evc" / "policy"
    code = (source / "release.py").read_text() + (source / "blocked.py").read_text()
    said = re.sub(r'"\s*f?"', "", code)
    cells = [cell for cell, _ in rows("runbooks.md", "Releasing for long")]
    assert cells
    for cell in cells:
        assert cell.strip("`").partition("Pod/")[0] in said, cell


def test_the_roles_that_operations_names_are_those_of_the_manifests() -> None:
    named = {cell.strip("`") for cell, *_ in rows("operations.md", "Rights")}
    roles = set()
    for file in (ROOT / "config" / "rbac").glob("*role.yaml"):
        for role in yaml.safe_load_all(file.read_text()):
            if "ephemeralvolumeclaim" not in role["metadata"]["name"]:
                roles.add(f"evc-{role['metadata']['name']}")
    # One is aggregated into another, one is nobody's until somebody binds it.
    assert named == roles - {"evc-known-owners-reader-role", "evc-metrics-reader"}
