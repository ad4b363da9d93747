"""The documentation's pages as what they tell a reader to do, and how that is done.

A page is cut at its `##` headings; every section is a story of its own, told in a
namespace of its own. What a fenced block is decides what is done with it:

yaml      applied, as `kubectl apply -f -` does
sh        run by bash, which stops at the first failure
console   the lines after `$` are run, and print what the block says; `...` stands for
          anything, a time for any time, an age for any age
others    text, not run

A comment says more about the block after it:

not run: REASON   it cannot be run here; one of NOT_RUN
needs: NEED       only a reader who has that can run it; one of NEEDS
fails             what it runs must fail
meanwhile         its lines run until they are stopped: each is, and must end well, when the
                  script in the comment has run beside it

or about all of its section: PLACES. A comment that begins with `test` is a script for the
test alone: it makes the situation the reader is in, or looks at what came of it.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted(ROOT.glob("docs/**/*.md")),
    ROOT / "test" / "faults" / "README.md",
]

NOT_RUN = {
    "run by .ci/run": "takes minutes; a test looks for it there",
}
"""Why a block is not run, and what that means."""

NETWORK, REGISTRY, KUBELET = "the network", "a registry", "a kubelet"
NEEDS = {NETWORK, REGISTRY, KUBELET}
"""What is not everywhere: `make e2e CLUSTER=node` has it, the first before there is a node."""

CLUSTER = "on a cluster of its own"
CHECKOUT = "in a copy of the checkout"
PLACES = {CLUSTER, CHECKOUT}
"""Where a section changes what others use; by default all are told on one cluster."""

SECONDS = 150.0
TOKENS = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$"
    r"|^<!-- (?P<comment>[^\n]*?)(?: -->|\n(?P<script>.*?)^-->)$"
    r"|^## (?P<heading>[^\n]*)$",
    re.MULTILINE | re.DOTALL,
)
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
AGE = re.compile(r"\b(\d+[smhd])+\b")
# Bash ends at the first failure of these, and what it started with it.
BESIDE = """
{command} &
trap "kill -INT $!" EXIT
{script}
trap - EXIT
kill -INT $!
wait $!
"""


class PageError(AssertionError):
    """What a page says is not so; the message says where, and what is."""


@dataclass(frozen=True)
class Block:
    """Something to do."""

    place: str
    """page:line."""
    language: str
    text: str
    not_run: str | None = None
    needs: str = ""
    fails: bool = False
    meanwhile: str = ""


@dataclass(frozen=True)
class Section:
    """A heading and what is to be done under it, in order."""

    page: str
    heading: str
    blocks: tuple[Block, ...]
    where: str = ""

    @property
    def name(self) -> str:
        """page: heading."""
        return f"{self.page}: {self.heading or '(top)'}"


def sections(page: str, text: str) -> Iterator[Section]:
    """Cut a page into sections; raises PageError for a block that says not what it is."""
    heading, where = "", ""
    blocks, marks = list[Block](), dict[str, Any]()
    for token in TOKENS.finditer(text):
        place = f"{page}:{text.count(chr(10), 0, token.start()) + 1}"
        if token["heading"] is not None:
            yield Section(page, heading, tuple(blocks), where)
            heading, where, blocks, marks = token["heading"], "", [], {}
        elif token["comment"] is None:
            blocks.append(_block(place, token, marks))
            marks = {}
        elif token["comment"] == "test":
            blocks.append(Block(place, "sh", token["script"]))
        elif token["comment"] in PLACES:
            where = token["comment"]
        else:
            marks |= _mark(place, token)
    yield Section(page, heading, tuple(blocks), where)


def _block(place: str, token: re.Match[str], marks: dict[str, Any]) -> Block:
    if not token["language"]:
        raise PageError(f"{place}: say what the block is: ```text, ```sh, ```yaml ...")
    lines = token["text"].splitlines()
    body = "\n".join(line.removeprefix(token["indent"]) for line in lines) + "\n"
    return Block(place, token["language"], body, **marks)


def _mark(place: str, token: re.Match[str]) -> dict[str, Any]:
    """What a comment says about the next block, as that block's fields."""
    match token["comment"].partition(": "):
        case "not run", _, reason if reason in NOT_RUN:
            return {"not_run": reason}
        case "not run", _, reason:
            raise PageError(f"{place}: {reason!r} is none of {sorted(NOT_RUN)}")
        case "needs", _, need if need in NEEDS:
            return {"needs": need}
        case "fails", "", "":
            return {"fails": True}
        case "meanwhile", "", "":
            return {"meanwhile": token["script"]}
        case comment, _, _ if comment.startswith("Generated by "):
            return {}
        case comment, _, _:
            raise PageError(f"{place}: {comment!r} means nothing here")


def told() -> list[Section]:
    """Every section of every page with something to do."""
    return [
        section
        for page in PAGES
        for section in sections(str(page.relative_to(ROOT)), page.read_text())
        if section.blocks
    ]


def told_with(need: str) -> list[Section]:
    """Those with something to do that needs that, one of NEEDS."""
    return [section for section in told() if need in {block.needs for block in section.blocks}]


@dataclass(frozen=True)
class Reader:
    """Somebody who does what a section says, at a terminal in a folder."""

    environment: dict[str, str]
    """Added to that of the test."""
    folder: Path = ROOT
    has: str = ""
    """One of NEEDS: what needs it is done, and nothing else."""
    seconds: float = SECONDS
    """How long a block may take."""

    def follow(self, section: Section) -> None:
        """Do all of it; raises PageError at the first thing that is not as it says."""
        for block in section.blocks:
            if block.not_run is not None or block.needs != self.has:
                continue
            if block.meanwhile:
                for line in block.text.splitlines():
                    command, _, _ = line.partition(" #")
                    self._run(block, BESIDE.format(command=command, script=block.meanwhile))
            elif block.language == "yaml":
                self._run(block, "kubectl apply -f -", block.text)
            elif block.language == "sh":
                self._run(block, block.text)
            elif block.language == "console":
                self._talk(block)

    def _talk(self, block: Block) -> None:
        """Run each `$` line and compare what it prints."""
        _, *turns = re.split(r"^\$ ", block.text, flags=re.MULTILINE)
        if not turns:
            raise PageError(f"{block.place}: a console block needs a line that begins with $")
        for turn in turns:
            command, _, expected = turn.partition("\n")
            said = self._run(block, command)
            if not matches(expected, said):
                raise PageError(f"{block.place}: {command}\nsays\n{said}\nand not\n{expected}")

    def _run(self, block: Block, script: str, stdin: str = "") -> str:
        """Run a script, and return what it printed."""
        with subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.folder,
            env=_terminal() | self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # so that what it started can be ended with it
        ) as process:
            try:
                said, _ = process.communicate(stdin, timeout=self.seconds)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                said = process.communicate()[0]
                raise PageError(f"{block.place}: no end in {self.seconds:.0f} s:\n{said}") from None
        if bool(process.returncode) is not block.fails:
            raise PageError(f"{block.place}: exit code {process.returncode}\n{script}\n{said}")
        return said


def _terminal() -> dict[str, str]:
    """The environment without what a make or a git hook, in which the test runs, adds to it."""
    inside = ("MAKE", "MFLAGS", "GIT_")
    return {name: text for name, text in os.environ.items() if not name.startswith(inside)}


def matches(expected: str, said: str) -> bool:
    """Whether the output is the one that is shown, whatever the columns' width and the time."""
    pattern = ".*".join(re.escape(part) for part in _plain(expected).split("..."))
    return re.fullmatch(pattern, _plain(said), re.DOTALL) is not None


def _plain(text: str) -> str:
    lines = (" ".join(line.split()) for line in text.splitlines())
    return AGE.sub("<age>", TIME.sub("<time>", "\n".join(line for line in lines if line)))
