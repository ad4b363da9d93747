"""Writes the story for a reader: a terminal or a log, 100 columns, colour only if it is welcome."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
import time
from collections.abc import Sequence

from .story import Telling

WIDTH = 100
BOLD, DIM, GREEN, RED = "1", "2", "32", "31"
WHO = 12
INDENT = " " * 9
INTRODUCTION = """\
An EphemeralVolumeClaim (EVC) is scratch space that goes away when the work is over: a template for
a PersistentVolumeClaim (PVC), and a selector that says which pods it is for."""


class Narrator:
    """Knows when the demo started, and how to write a line."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self._colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        self._width = min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns)

    def introduce(self) -> None:
        """Say what this is."""
        self.plain(self._styled(BOLD, INTRODUCTION))
        self.plain("")

    def line(self, who: str, text: str, meaning: str = "", *, at: float | None = None) -> None:
        """One thing that happened; its further lines and its meaning are indented."""
        elapsed = time.monotonic() - self.started if at is None else at
        head, *rest = text.splitlines() or [""]
        self.plain(f"{self._time(elapsed)}  {self._styled(BOLD, who.ljust(WHO))} {head}")
        for more in rest:
            self.plain(INDENT + " " * (WHO + 1) + more)
        margin = INDENT + " " * (WHO + 3)
        for more in self.wrapped(meaning, margin):
            self.plain(self._styled(DIM, more))

    def failed(self, who: str, text: str) -> None:
        """One thing that should not have happened."""
        head, *rest = self.wrapped(text, " " * (len(INDENT) + WHO + 9))
        self.line(
            who, "\n".join([self._styled(RED, "FAILED: ") + head.strip(), *map(str.strip, rest)])
        )

    def exhibit(self, table: str) -> None:
        """Show what a tool printed, as it is: a table may need all of the width."""
        for row in table.rstrip().splitlines():
            self.plain(("    " + row).rstrip())

    def wrapped(self, text: str, margin: str) -> list[str]:
        """The text in lines that fit, each after the margin."""
        return textwrap.wrap(
            text,
            self._width,
            initial_indent=margin,
            subsequent_indent=margin,
            break_on_hyphens=False,  # so that flags, names and paths stay in one piece
            break_long_words=False,
        )

    def plain(self, text: str) -> None:
        """Any text."""
        print(text, flush=True)

    def summary(self, tellings: Sequence[Telling]) -> bool:
        """The table, and whether all is as it should be."""
        self.plain("\nSummary, in seconds since the start and since the step before\n")
        for telling in tellings:
            self._chapter(telling)
        good = sum(not telling.failure for telling in tellings)
        verdict = f"{good} of {len(tellings)} claims ended as they should."
        self.plain(self._styled(GREEN if good == len(tellings) else RED, verdict))
        return good == len(tellings)

    def _chapter(self, telling: Telling) -> None:
        story, before = telling.story, None
        self.plain(f"{self._styled(BOLD, story.claim)} ({story.title})")
        for reached in telling.reached:
            after = "" if before is None else f"{reached.at - before:8.1f}"
            self.plain(f"  {reached.step.name:<22}{reached.at:8.1f}{after}")
            before = reached.at
        text = telling.close()
        mark = self._styled(RED, "FAILED") if telling.failure else self._styled(GREEN, "OK")
        head, *rest = self.wrapped(text, " " * 10)
        self.plain(f"  {mark}: {head.strip()}")
        for more in rest:
            self.plain(more)
        self.plain("")

    def _time(self, elapsed: float) -> str:
        return f"{f'+{elapsed:.1f}s':>7}"

    def _styled(self, style: str, text: str) -> str:
        return f"\x1b[{style}m{text}\x1b[0m" if self._colour else text
