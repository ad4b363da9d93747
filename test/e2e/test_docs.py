"""What the pages tell a reader to do works, on a real control plane."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cluster import ControlPlane
from cluster.build import ensure_binaries
from e2e.conftest import install_kinds
from e2e.pages import (
    CHECKOUT,
    CLUSTER,
    NEEDS,
    NOT_RUN,
    ROOT,
    Block,
    PageError,
    Reader,
    Section,
    matches,
    sections,
    told,
)
from e2e.scenario import Operator, Scenario

STAND_INS = (Path(__file__).parent / "data" / "stand-ins.yaml").read_text()
"""Kinds of projects that are not here, so that manifests of theirs can be applied."""


WRAPPER = f"""#!/bin/sh
# Others may use the port of the probes on this machine.
test "$1" != run || set -- "$@" --health-probe-bind-address=0
exec {sys.executable} -m evc "$@"
"""


def told_where(place: str) -> list[Section]:
    """The sections that are told there."""
    return [section for section in told() if section.where == place]


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
    evc.write_text(WRAPPER)
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
    work = told_where("")
    with ThreadPoolExecutor(len(work)) as pool:
        wrong = [*filter(None, pool.map(lambda section: follow(section, with_crd, tools), work))]
    assert not wrong, "\n\n".join(wrong)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("section", told_where(CLUSTER), ids=lambda section: section.name)
def test_what_changes_a_cluster_works_on_one_of_its_own(
    section: Section, tools: Path, tmp_path: Path
) -> None:
    with ControlPlane.boot(directory=tmp_path / "cp") as plane:
        wrong = follow(section, plane, tools)
    assert not wrong, wrong


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of this one, as a git repository that a test may change, and set up already."""
    folder = tmp_path / "checkout"
    ignored = (ROOT / ".gitignore").read_text().replace("/", "").split()
    others = shutil.ignore_patterns(".git", *ignored)
    shutil.copytree(ROOT, folder, symlinks=True, ignore=others)
    venv = folder / ".venv"
    venv.mkdir()
    for path in Path(sys.prefix).glob("[!.]*"):
        (venv / path.name).symlink_to(path)
    (venv / ".ready").touch()
    return folder


@pytest.mark.timeout(300)
@pytest.mark.parametrize("section", told_where(CHECKOUT), ids=lambda section: section.name)
def test_what_changes_the_checkout_works_in_a_copy(section: Section, checkout: Path) -> None:
    somebody = {"GIT_AUTHOR_NAME": "Somebody", "GIT_AUTHOR_EMAIL": "somebody@example.com"}
    somebody |= {name.replace("AUTHOR", "COMMITTER"): text for name, text in somebody.items()}
    alone = {"GIT_CONFIG_GLOBAL": os.devnull}
    path = {"PYTHONPATH": f"{checkout / 'src'}:{checkout / 'test'}"}
    reader = Reader(somebody | alone | path, checkout)
    begin = "git init -q -b main && git add --all && git commit -qm 'What there was'"
    reader.follow(Section("", "", (Block("the copy", "sh", begin),)))
    reader.follow(section)


def test_what_takes_minutes_is_run_by_ci() -> None:
    ran = made_by_ci()
    for block in not_run():
        if block.not_run == "run by .ci/run":
            assert goals(block.text) <= ran, f"{block.place}: {goals(block.text) - ran}"


def goals(script: str) -> set[str]:
    """What its lines that call make ask for, with the variables they set; they do no more."""
    lines = [line.partition("#")[0].split() for line in script.splitlines()]
    assert {words[0] for words in lines} == {"make"}
    return {word for words in lines for word in words[1:]}


def made_by_ci() -> set[str]:
    """What .ci/run makes in any case, and what those targets are made of."""
    ci = (ROOT / ".ci" / "run").read_text()
    asked = goals("\n".join(re.findall(r"^make .*", ci, re.MULTILINE)))
    rules = re.findall(r"^([\w-]+):([^=#\n]*)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    return asked.union(*(needs.split() for target, needs in rules if target in asked))


def not_run() -> list[Block]:
    """What is marked as such."""
    return [block for section in told() for block in section.blocks if block.not_run]


def test_what_is_not_run_is_marked_with_a_reason_that_is_used() -> None:
    """`sections` refuses an unknown reason; here, none is left over."""
    for block in not_run():
        print(f"{block.place}: not run: {block.not_run} ({NOT_RUN[str(block.not_run)]})")
    assert {block.not_run for block in not_run()} == NOT_RUN.keys()


def test_what_needs_more_than_this_cluster_is_run_by_ci() -> None:
    assert {block.needs for section in told() for block in section.blocks} == {"", *NEEDS}
    assert "make e2e CLUSTER=node\n" in (ROOT / ".ci" / "run").read_text()


def block(language: str, text: str, **marks: Any) -> Section:
    return Section("page.md", "", (Block("page.md:1", language, text, **marks),))


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
    ("text", "marks", "says"),
    [
        ("true", {"fails": True}, "exit code 0"),
        ("true", {"meanwhile": "false"}, "exit code 1"),
        ("exit 3", {"meanwhile": "sleep 0.2"}, "exit code"),
        ("true", {"meanwhile": "sleep 0.2"}, "exit code"),
    ],
)
def test_what_does_not_end_as_it_should_is_found(
    text: str, marks: dict[str, Any], says: str
) -> None:
    with pytest.raises(PageError, match=says):
        Reader({}).follow(block("sh", text, **marks))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("```\nkubectl get pods\n```\n", "say what the block is"),
        ("<!-- not run: no time -->\n```sh\ntrue\n```\n", "'no time' is none of"),
        ("<!-- fail -->\n```sh\nfalse\n```\n", "'fail' means nothing here"),
    ],
)
def test_an_unmarked_block_is_found(text: str, says: str) -> None:
    with pytest.raises(PageError, match=says):
        list(sections("page.md", text))


def test_a_mark_is_for_the_next_block_only() -> None:
    text = "<!-- not run: run by .ci/run -->\n```sh\nfalse\n```\n## Two\n```sh\ntrue\n```\n"
    first, second = sections("page.md", text)
    assert [found.blocks[0].not_run for found in (first, second)] == ["run by .ci/run", None]


def test_times_ages_and_widths_may_differ() -> None:
    assert matches("NAME   AGE\nx   2h\n", "NAME AGE\nx 3m12s\n")
    assert matches("at 2026-01-01T00:00:00Z ...", "at 2026-11-23T17:00:00Z and more\n")
    assert not matches("x Held", "x InUse")
