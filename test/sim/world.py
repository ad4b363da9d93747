"""The cluster without the operator: time, the API server, Kubernetes' own controllers, a node."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from evc.kube.resources import Resource
from evc.model.meta import T
from sim.choices import Choices
from sim.history import Commit, Json
from sim.server import Refusal, Server
from sim.timeline import Timeline


@dataclass
class World:
    """What every actor needs."""

    choices: Choices
    timeline: Timeline = field(default_factory=Timeline)
    trace: Callable[[str], None] | None = None
    hurry: bool = False
    """Small worlds: everybody but the operator and its watches is always prompt."""
    skew: float = 0.0
    """Seconds by which the operators' wall clock is ahead of the API server's."""
    most_skew: float = 0.0
    """The most it was ever ahead."""

    def __post_init__(self) -> None:
        self.server = Server(self.timeline)
        self._decoded: dict[tuple[type, str, str], Any] = {}

    @property
    def now(self) -> float:
        return self.timeline.now

    def decoded(self, resource: Resource[T], item: Json) -> T:
        """An object as the operator's client decodes it; values are frozen, so once is enough."""
        meta = item["metadata"]
        version = resource.type, meta["uid"], meta["resourceVersion"]
        found = self._decoded.get(version)
        if found is None:
            found = self._decoded[version] = resource.decode(msgspec.json.encode(item))
        decoded: T = found
        return decoded

    def say(self, text: str) -> None:
        """Add a line to the trace, if there is one."""
        if self.trace is not None:
            self.trace(f"{self.now:9.3f}  {text}")

    def soon(
        self, topic: str, action: Callable[[], None], low: float = 0.01, high: float = 2.0
    ) -> None:
        """Do something as quickly as a busy cluster does; what is refused is dropped."""
        delay = low if self.hurry else self.choices.seconds(topic, low, high)
        self.timeline.after(delay, lambda: self.attempt(action))

    def attempt(self, action: Callable[[], object]) -> None:
        """Do it; a refusal (somebody was faster) is normal for whoever acts on a cache."""
        try:
            action()
        except Refusal as refusal:
            self.say(f"           refused: {refusal.code} {refusal}")


class Controller:
    """Base of what reacts to commits."""

    actor = "kubernetes"

    def __init__(self, world: World) -> None:
        self.world = world
        self.server = world.server
        self.server.listeners.append(self.committed)

    def committed(self, commit: Commit) -> None:
        """Hear of one write, at once; act on it later."""
        raise NotImplementedError
