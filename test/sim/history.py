"""What the API server remembers: every write it committed and every request it answered.

The observer judges from this alone.  Objects in it are never changed afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

Json = dict[str, Any]


class Name(NamedTuple):
    """Which object: ``plural`` is the resource type."""

    plural: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.plural}/{self.namespace}/{self.name}"


@dataclass(frozen=True)
class Commit:
    """One write: ``before`` None is a creation, ``after`` None the end of the object."""

    revision: int
    time: float
    actor: str
    verb: str
    name: Name
    before: Json | None
    after: Json | None
    options: Json = field(default_factory=dict)
    """What came with a DELETE."""

    @property
    def last(self) -> Json:
        """The newest state, for a deletion the last one."""
        found = self.after if self.after is not None else self.before
        assert found is not None
        return found

    @property
    def marks_deletion(self) -> bool:
        """Whether this accepted a DELETE: the object went or got its deletionTimestamp."""
        return self.verb == "delete" and self.before is not None and not deleting(self.before)

    @cached_property
    def event(self) -> tuple[str, Json]:
        """What a watch sends: type and object; the last state carries the final revision."""
        kind = "ADDED" if self.before is None else "DELETED" if self.after is None else "MODIFIED"
        item = self.last
        if self.after is None:
            meta = item["metadata"] | {"resourceVersion": str(self.revision)}
            item = item | {"metadata": meta}
        return kind, item


@dataclass(frozen=True)
class Request:
    """One request of an operator process, answered or not."""

    time: float
    revision: int
    """Of the whole server when it was executed: what a live read has seen."""
    actor: str
    visit: int
    """Number of the reconcile it belongs to."""
    verb: str
    name: Name
    failed: bool
    fault: str = ""
    selector: str = ""
    about: str = ""
    """The key that was reconciled."""


def meta(item: Json) -> Json:
    found: Json = item["metadata"]
    return found


def uid(item: Json) -> str:
    return str(meta(item)["uid"])


def marks_of(item: Json) -> dict[str, str]:
    return meta(item).get("annotations") or {}


def deleting(item: Json) -> bool:
    return "deletionTimestamp" in meta(item)


def condition(item: Json, kind: str) -> Json:
    """One condition of an object, {} if absent."""
    found = item.get("status", {}).get("conditions", ())
    return next((c for c in found if c["type"] == kind), {})
