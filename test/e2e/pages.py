"""The documentation's pages as what they tell a reader to do, and how that is done.

A page is cut at its `##` headings; every section is a story of its own, told in a
namespace of its own. What a fenced block is decides what is done with it:

yaml      applied, as `kubectl apply -f -` does
sh        run by bash, which stops at the first failure
console   the lines after `$` are run, and print what the block says; `...` stands for
          anything, a time for any time, an age for any age
others    text, not run

A comment before a block says why it cannot be run here (`<!-- not run: REASON -->`, one
of NOT_RUN). A comment that begins with `test` is a script for the test alone: it makes the
situation the reader is in.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

NOT_RUN = {
    "builds an image": "needs Docker and a registry",
    "takes minutes": "boots or builds whole control planes itself",
    "runs until stopped": "the operator itself, which every other block needs running",
    "changes the cluster": "would take away what other sections use; test_manifests.py runs it",
    "needs a kubelet": "logs and exec; kwok's nodes are not real",
    "a fragment": "part of a manifest, to be read",
}
"""Why a block is not run, and what that means."""

SECONDS = 150.0
TOKENS = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$"
    r"|^<!-- not run: (?P<reason>[^\n]*) -->$"
    r"|^<!-- test\n(?P<script>.*?)^-->$"
    r"|^## (?P<heading>[^\n]*)$",
    re.MULTILINE | re.DOTALL,
)
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
AGE = re.compile(r"\b(\d+[smhd])+\b")


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


@dataclass(frozen=True)
class Section:
    """A heading and what is to be done under it, in order."""

    page: str
    heading: str
    blocks: tuple[Block, ...]

    @property
    def name(self) -> str:
        """page: heading."""
        return f"{self.page}: {self.heading or '(top)'}"


def sections(page: str, text: str) -> Iterator[Section]:
    """Cut a page into sections; raises PageError for a block that says not what it is."""
    heading, blocks, reason = "", list[Block](), None
    for token in TOKENS.finditer(text):
        place = f"{page}:{text.count(chr(10), 0, token.start()) + 1}"
        if token["heading"] is not None:
            yield Section(page, heading, tuple(blocks))
            heading, blocks = token["heading"], []
        elif token["script"] is not None:
            blocks.append(Block(place, "sh", token["script"]))
        elif token["reason"] is not None:
            reason = token["reason"]
            if reason not in NOT_RUN:
                raise PageError(f"{place}: {reason!r} is none of {sorted(NOT_RUN)}")
            continue
        else:
            if not token["language"]:
                raise PageError(f"{place}: say what the block is: ```text, ```sh, ```yaml ...")
            lines = token["text"].splitlines()
            body = "\n".join(line.removeprefix(token["indent"]) for line in lines) + "\n"
            blocks.append(Block(place, token["language"], body, reason))
        reason = None
    yield Section(page, heading, tuple(blocks))


@dataclass(frozen=True)
class Reader:
    """Somebody who does what a section says, at a terminal with this environment."""

    environment: dict[str, str]

    def follow(self, section: Section) -> None:
        """Do all of it; raises PageError at the first thing that is not as it says."""
        for block in section.blocks:
            if block.not_run is not None:
                continue
            if block.language == "yaml":
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
            cwd=ROOT,
            env=os.environ | self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # so that what it started can be ended with it
        ) as process:
            try:
                said, _ = process.communicate(stdin, timeout=SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                said = process.communicate()[0]
                raise PageError(f"{block.place}: no end in {SECONDS:.0f} s:\n{said}") from None
        if process.returncode:
            raise PageError(f"{block.place}: exit code {process.returncode}\n{script}\n{said}")
        return said


def matches(expected: str, said: str) -> bool:
    """Whether the output is the one that is shown, whatever the columns' width and the time."""
    pattern = ".*".join(re.escape(part) for part in _plain(expected).split("..."))
    return re.fullmatch(pattern, _plain(said), re.DOTALL) is not None


def _plain(text: str) -> str:
    lines = (" ".join(line.split()) for line in text.splitlines())
    return AGE.sub("<age>", TIME.sub("<time>", "\n".join(line for line in lines if line)))
