"""A claim's expected life as steps, and going through it one look at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .errors import Broken
from .watch import Snapshot

Sight = Callable[[Snapshot], str | None]
"""Says what is to be seen once it is; None until then. Raises Broken for what must not be."""


@dataclass(frozen=True)
class Step:
    """One thing that must happen."""

    name: str
    sight: Sight
    meaning: str = ""
    within: float = 20.0
    """Seconds after the step before."""
    show: bool = False
    """Whether this is a good moment for a look at `kubectl get evc`."""


@dataclass(frozen=True)
class Story:
    """Steps in order; those of one tuple may come in any order."""

    claim: str
    title: str
    steps: Sequence[tuple[Step, ...]]
    verdict: Callable[[], str]
    """Judges the whole afterwards: says what makes it right, or raises Broken."""


@dataclass(frozen=True)
class Reached:
    """A step that has happened, at so many seconds since the start."""

    step: Step
    at: float


@dataclass
class Telling:
    """How far one story has come."""

    story: Story
    reached: list[Reached] = field(default_factory=list)
    failure: str = ""
    _stage: int = 0
    _since: float = field(default_factory=time.monotonic)

    @property
    def open(self) -> bool:
        """Whether there is more to come."""
        return not self.failure and self._stage < len(self.story.steps)

    def advance(self, seen: Snapshot, started: float) -> list[tuple[Reached, str]]:
        """Take every step that this look shows; returns them with what there was to see."""
        news: list[tuple[Reached, str]] = []
        try:
            while self.open and (taken := self._take(seen, started)):
                news += taken
            if self.open:
                self._check_time()
        except Broken as broken:
            self.failure = str(broken)
        return news

    def abort(self, why: str) -> None:
        """Give up what is not at its end yet."""
        if self.open:
            self.failure = why

    def close(self) -> str:
        """The story's verdict; a failure is remembered, and then returned."""
        try:
            return self.failure or self.story.verdict()
        except Broken as broken:
            self.failure = str(broken)
            return self.failure

    def _take(self, seen: Snapshot, started: float) -> list[tuple[Reached, str]]:
        taken = []
        for step in self._missing():
            if text := step.sight(seen):
                self._since = time.monotonic()
                reached = Reached(step, self._since - started)
                self.reached.append(reached)
                taken.append((reached, text))
        if not self._missing():
            self._stage += 1
        return taken

    def _missing(self) -> list[Step]:
        done = {id(reached.step) for reached in self.reached}
        return [step for step in self.story.steps[self._stage] if id(step) not in done]

    def _check_time(self) -> None:
        missing = self._missing()
        patience = max(step.within for step in missing)
        if time.monotonic() - self._since > patience:
            before = self.reached[-1].step.name if self.reached else "the start"
            names = " and ".join(f"'{step.name}'" for step in missing)
            raise Broken(f"expected {names} within {patience:.0f} s after '{before}'")
