"""Every chance a life has: one object is asked, so one seed (or one script) is the whole life.

`Seeded` draws from separate streams per topic, so that turning faults off does not
change what the users do.  `Scripted` takes the default everywhere but at listed
places: enumerating the lists is how small worlds are explored exhaustively.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from random import Random
from typing import Protocol, TypeVar

Option = TypeVar("Option")


class Choices(Protocol):
    """Whom to ask; ``topic`` is the stream, its first word names what is decided."""

    def among(self, topic: str, options: Sequence[Option]) -> Option:
        """One of the options; the first is the harmless one."""

    def chance(self, topic: str, probability: float) -> bool:
        """Whether something that normally does not happen does."""

    def seconds(self, topic: str, low: float, high: float) -> float:
        """How long something takes; ``low`` is the normal case."""


class Seeded:
    """Random lives."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._streams: dict[str, Random] = {}

    def among(self, topic: str, options: Sequence[Option]) -> Option:
        return options[int(self._stream(topic).random() * len(options))]

    def chance(self, topic: str, probability: float) -> bool:
        return probability > 0 and self._stream(topic).random() < probability

    def seconds(self, topic: str, low: float, high: float) -> float:
        return low + (high - low) * self._stream(topic).random()

    def _stream(self, topic: str) -> Random:
        stream = self._streams.get(topic)
        if stream is None:
            # crc32, not hash(): the latter differs from process to process.
            stream = Random((self._seed << 32) + zlib.crc32(topic.encode()))
            self._streams[topic] = stream
        return stream


class Scripted:
    """The default everywhere, except at the numbered choices of ``deviations``.

    ``asked`` lists (topic, number of options) of every choice met, for the explorer.
    """

    def __init__(self, deviations: dict[int, int]) -> None:
        self.deviations = deviations
        self.asked: list[tuple[str, int]] = []

    def among(self, topic: str, options: Sequence[Option]) -> Option:
        return options[self._pick(topic, len(options))]

    def chance(self, topic: str, probability: float) -> bool:
        return probability > 0 and self._pick(topic, 2) == 1

    def seconds(self, topic: str, low: float, high: float) -> float:
        return low if low == high or self._pick(topic, 2) == 0 else high

    def _pick(self, topic: str, options: int) -> int:
        number = len(self.asked)
        self.asked.append((topic, options))
        return self.deviations.get(number, 0)
