"""What README.md and docs/*.md tell a reader to do works, on a real control plane."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cluster import ControlPlane
from cluster.build import ensure_binaries
from e2e.conftest import install_kinds
from e2e.pages import NOT_RUN, ROOT, Block, PageError, Reader, Section, matches, sections
from e2e.scenario import Operator, Scenario

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
STAND_INS = (Path(__file__).parent / "data" / "stand-ins.yaml").read_text()
"""Kinds of projects that are not here, so that manifests of theirs can be applied."""


def told() -> list[Section]:
    """Every section of every page."""
    return [
        section
        for page in PAGES
        for section in sections(str(page.relative_to(ROOT)), page.read_text())
    ]


@pytest.fixture
def reading_operator(operator_kubeconfig: Path, tmp_path: Path) -> Iterator[Operator]:
    """An operator that looks after all namespaces."""
    process = Operator(operator_kubeconfig, tmp_path / "operator.log")
    process.start()
    yield process
    process.close()


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder with the programs that the pages use."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "kubectl").symlink_to(ensure_binaries() / "kubectl")
    evc = folder / "evc"
    evc.write_text(f'#!/bin/sh\nexec {sys.executable} -m evc "$@"\n')
    evc.chmod(0o755)
    return folder


@pytest.fixture
def stand_ins(with_crd: ControlPlane) -> Iterator[None]:
    """The foreign kinds, for the time of a test."""
    install_kinds(with_crd, STAND_INS)
    yield
    with_crd.kubectl("delete", "-f", "-", input=STAND_INS)


def follow(section: Section, plane: ControlPlane, tools: Path) -> str:
    """Do what a section says in a new namespace; return what went wrong."""
    scenario = Scenario(plane.kubeconfig)
    config = json.loads(plane.kubeconfig.read_text())
    config["contexts"][0]["context"]["namespace"] = scenario.namespace
    kubeconfig = tools.parent / f"{scenario.namespace}.kubeconfig"
    kubeconfig.write_text(json.dumps(config))
    reader = Reader(
        {
            "PATH": f"{tools}:{os.environ['PATH']}",
            "KUBECONFIG": str(kubeconfig),
            "KUBECACHEDIR": str(tools.parent / "cache"),
            "NAMESPACE": scenario.namespace,
        }
    )
    try:
        reader.follow(section)
    except PageError as error:
        return f"{section.name}\n{error}"
    finally:
        scenario.call("DELETE", f"/api/v1/namespaces/{scenario.namespace}")
    return ""


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("reading_operator", "stand_ins")
def test_everything_the_pages_tell_works(with_crd: ControlPlane, tools: Path) -> None:
    """All sections at the same time, for they mostly wait."""
    work = [section for section in told() if section.blocks]
    with ThreadPoolExecutor(len(work)) as pool:
        wrong = [*filter(None, pool.map(lambda section: follow(section, with_crd, tools), work))]
    assert not wrong, "\n\n".join(wrong)


def test_what_is_not_run_is_marked_with_a_reason_that_is_used() -> None:
    """`sections` refuses an unknown reason; here, none is left over."""
    blocks = [block for section in told() for block in section.blocks]
    assert {block.not_run for block in blocks if block.not_run} <= NOT_RUN.keys()
    for block in blocks:
        if block.not_run:
            print(f"{block.place}: not run: {block.not_run} ({NOT_RUN[block.not_run]})")
    assert sum(block.not_run is None for block in blocks) > len(blocks) / 2


def block(language: str, text: str) -> Section:
    return Section("page.md", "", (Block("page.md:1", language, text),))


@pytest.mark.parametrize(
    ("language", "text", "says"),
    [
        ("sh", "false\necho on", "exit code 1"),
        ("sh", "echo in | false | cat", "exit code 1"),
        ("console", "$ echo yes\nno\n", "and not\nno"),
        ("console", "no command\n", "a line that begins with"),
    ],
)
def test_a_block_that_does_not_work_is_found(language: str, text: str, says: str) -> None:
    with pytest.raises(PageError, match=says):
        Reader({}).follow(block(language, text))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("```\nkubectl get pods\n```\n", "say what the block is"),
        ("<!-- not run: no time -->\n```sh\ntrue\n```\n", "'no time' is none of"),
    ],
)
def test_an_unmarked_block_is_found(text: str, says: str) -> None:
    with pytest.raises(PageError, match=says):
        list(sections("page.md", text))


def test_a_mark_is_for_the_next_block_only() -> None:
    text = "<!-- not run: takes minutes -->\n```sh\nfalse\n```\n## Two\n```sh\ntrue\n```\n"
    first, second = sections("page.md", text)
    assert [found.blocks[0].not_run for found in (first, second)] == ["takes minutes", None]


def test_times_ages_and_widths_may_differ() -> None:
    assert matches("NAME   AGE\nx   2h\n", "NAME AGE\nx 3m12s\n")
    assert matches("at 2026-01-01T00:00:00Z ...", "at 2026-11-23T17:00:00Z and more\n")
    assert not matches("x Held", "x InUse")
