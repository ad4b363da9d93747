"""The audit log of one namespace as the versions of its objects, in the order of etcd."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from faults.audit import Entry
from sim.history import deleting, uid
from sim.kinds import EVCS, JOBS, PODS, PVCS

Json = dict[str, Any]
KEPT = (EVCS, PVCS, PODS, JOBS)


@dataclass(frozen=True)
class Version:
    """An object from one revision on; ``item`` None: it is gone."""

    revision: int
    time: datetime
    item: Json | None


@dataclass
class Thing:
    """One object's life."""

    resource: str
    first: Entry
    versions: list[Version] = field(default_factory=list)

    @property
    def name(self) -> str:
        return str(self.last["metadata"]["name"])

    @property
    def last(self) -> Json:
        """The newest version there is of it."""
        items = [v.item for v in self.versions if v.item is not None]
        return items[-1] if items else self.first.response

    def before(self, entry: Entry) -> Json | None:
        """What it was before this write, whose answer may bear the old revision."""
        revision = int(entry.response["metadata"]["resourceVersion"])
        earlier = [v for v in self.versions if v.revision <= revision and v.time < entry.answered]
        return earlier[-1].item if earlier else None

    def at(self, revision: int) -> Json | None:
        """What it was just before that revision; None if it was not there."""
        before = [v for v in self.versions if v.revision < revision]
        return before[-1].item if before else None

    def when(self, time: datetime) -> Json | None:
        """What it was at that time."""
        before = [v for v in self.versions if v.time <= time]
        return before[-1].item if before else None


class History:
    """All objects of a namespace that were ever there."""

    def __init__(self, entries: list[Entry]) -> None:
        self.things: dict[str, Thing] = {}
        """By uid."""
        self._newest = 0
        for entry in sorted(entries, key=lambda e: e.answered):
            if entry.writes and entry.granted and entry.resource in KEPT:
                self._learn(entry)
        for thing in self.things.values():
            thing.versions.sort(key=lambda v: (v.revision, v.time))

    def of(self, resource: str) -> Iterator[Thing]:
        """Every object of a type."""
        return (thing for thing in self.things.values() if thing.resource == resource)

    def _learn(self, entry: Entry) -> None:
        item = entry.response
        if item.get("kind") == "Status":
            self._gone(entry, str(item.get("details", {}).get("uid", "")))
            return
        if "resourceVersion" not in item.get("metadata", {}):
            return  # a Binding
        thing = self.things.setdefault(uid(item), Thing(entry.resource, entry))
        revision = int(item["metadata"]["resourceVersion"])
        self._newest = max(self._newest, revision)
        finished = deleting(item) and not item["metadata"].get("finalizers")
        # A pod that is deleted goes on until its kubelet has stopped it.
        waits = item["metadata"].get("deletionGracePeriodSeconds", 0)
        kept = None if finished and not waits else item
        thing.versions.append(Version(revision, entry.answered, kept))

    def _gone(self, entry: Entry, known: str) -> None:
        thing = self.things.get(known)
        if thing is not None:
            # The answer has no revision; it is at least the newest that was answered before.
            thing.versions.append(Version(self._newest + 1, entry.answered, None))


def counts(entries: list[Entry], resource: str, verb: str) -> dict[str, int]:
    """Name -> how often that was granted."""
    found: dict[str, int] = defaultdict(int)
    for entry in entries:
        if (entry.resource, entry.subresource, entry.verb) == (resource, "", verb):
            found[entry.name] += entry.granted
    return {name: count for name, count in sorted(found.items()) if count}
