"""The model API server: objects, versions and refusals as the real one has them.

`test/e2e/test_conformance.py` sends the same random requests to both and compares.
No sockets, no threads: a call is executed at once.  Values are plain JSON dicts that
are never changed after they were committed.
"""

from __future__ import annotations

import builtins
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from sim import fields, patches
from sim.history import Commit, Json, Name, deleting
from sim.kinds import PROTECTION, PVCS, Kind, field_matches, kind_of
from sim.timeline import Timeline, stamp

JSON_PATCH = "application/json-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

Admission = Callable[[str, Name, Json | None, Json], None]
"""Hears of (actor, name, before, after) before a write; raises Refusal to stop it."""


class Refusal(Exception):
    """A metav1.Status that is not Success."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason


class Server:
    """Storage and verbs; ``actor`` is who asks, for the history."""

    def __init__(self, timeline: Timeline) -> None:
        self.revision = 1
        self.history: builtins.list[Commit] = []
        self.listeners: builtins.list[Callable[[Commit], None]] = []
        self.watching: defaultdict[str, builtins.list[Callable[[], None]]] = defaultdict(list)
        """Streams to wake when there is something new of their type."""
        self.admission: builtins.list[Admission] = []
        self._timeline = timeline
        self._objects: dict[Name, Json] = {}
        self._by_plural: defaultdict[str, dict[Name, None]] = defaultdict(dict)
        self._events: defaultdict[str, builtins.list[Commit]] = defaultdict(list)
        self._uids = 0

    # Reads

    def find(self, plural: str, namespace: str, name: str) -> Json | None:
        """The object, None if there is none: for the world's own parts."""
        return self._objects.get(Name(plural, namespace, name))

    def items(self, plural: str, namespace: str = "") -> builtins.list[Json]:
        """All objects of a type, in the order of their creation."""
        return [
            self._objects[name]
            for name in self._by_plural[plural]
            if not namespace or name.namespace == namespace
        ]

    def everything(self) -> Iterable[Json]:
        """All objects of all types."""
        return self._objects.values()

    def get(self, plural: str, namespace: str, name: str) -> Json:
        item = self.find(plural, namespace, name)
        if item is None:
            raise Refusal(404, "NotFound", f'{plural} "{name}" not found')
        return item

    def list(
        self, plural: str, namespace: str = "", field_selector: str = ""
    ) -> builtins.list[Json]:
        items = self.items(plural, namespace)
        return [item for item in items if field_matches(field_selector, item)]

    def events(self, plural: str) -> builtins.list[Commit]:
        """Everything that ever happened to a type: what watches send, by position."""
        return self._events[plural]

    def items_at(self, plural: str, revision: int) -> builtins.list[Json]:
        """The objects as they were: what an API server that lags behind lists."""
        found: dict[Name, Json] = {}
        for commit in self._events[plural]:
            if commit.revision > revision:
                break
            if commit.after is None:
                found.pop(commit.name, None)
            else:
                found[commit.name] = commit.after
        return [*found.values()]

    # Writes

    def create(self, actor: str, plural: str, namespace: str, body: Json) -> Json:
        kind = kind_of(plural)
        meta = body.get("metadata", {})
        if not meta.get("name"):
            raise Refusal(422, "Invalid", "metadata.name is required")
        name = Name(plural, namespace, meta["name"])
        if meta.get("resourceVersion"):
            raise Refusal(400, "BadRequest", "resourceVersion should not be set on creation")
        if name in self._objects:
            raise Refusal(409, "AlreadyExists", f'{plural} "{name.name}" already exists')
        self._uids += 1
        fresh = {
            "uid": f"{plural}-{self._uids}",
            "creationTimestamp": self._timeline.stamp(),
            "name": name.name,
        }
        if kind.namespaced:
            fresh["namespace"] = namespace
        dropped = ("deletionTimestamp", "generation", "deletionGracePeriodSeconds")
        meta = {k: v for k, v in meta.items() if k not in dropped and v not in ({}, [])} | fresh
        if kind.has_generation:
            meta["generation"] = 1
        if plural == PVCS and PROTECTION not in meta.get("finalizers", ()):
            meta["finalizers"] = [*meta.get("finalizers", ()), PROTECTION]
        item = {"apiVersion": kind.api_version, "kind": kind.kind} | body | {"metadata": meta}
        if plural == PVCS:
            meta["managedFields"] = fields.updated({}, meta, manager_of(actor))
        for admit in self.admission:
            admit(actor, name, None, item)
        return self._commit(actor, "create", name, None, kind.on_create(item))

    def replace(
        self, actor: str, plural: str, namespace: str, name: str, body: Json, sub: str = ""
    ) -> Json:
        old = self.get(plural, namespace, name)
        wanted = body.get("metadata", {})
        if not wanted.get("resourceVersion") and kind_of(plural).needs_version:
            self._invalid("metadata.resourceVersion: must be specified for an update")
        self._check(old, wanted.get("uid", ""), wanted.get("resourceVersion", ""))
        return self._update(actor, "status" if sub else "update", old, body, sub)

    def patch(
        self, actor: str, plural: str, namespace: str, name: str, patch: Any, content_type: str
    ) -> Json:
        old = self.get(plural, namespace, name)
        if content_type == APPLY_PATCH:
            return self._apply(actor, old, patch)
        try:
            if content_type == JSON_PATCH:
                new = patches.apply_operations(old, patch)
            else:
                new = patches.merge(old, patch)
        except patches.PatchFailed as error:
            raise Refusal(422, "Invalid", str(error)) from error
        wanted = new.get("metadata", {})
        if wanted.get("uid") != old["metadata"]["uid"]:
            self._invalid("metadata.uid: field is immutable")
        self._check(old, "", wanted.get("resourceVersion", ""))
        return self._update(actor, "patch", old, new, "")

    def _apply(self, actor: str, old: Json, body: Json) -> Json:
        """Server-side apply, forced: labels, annotations and spec, which is enough for claims."""
        wanted = body.get("metadata", {})
        if wanted.get("uid", old["metadata"]["uid"]) != old["metadata"]["uid"]:
            self._invalid("metadata.uid: field is immutable")
        self._check(old, "", wanted.get("resourceVersion", ""))
        new = old | {"metadata": fields.applied(old["metadata"], wanted, manager_of(actor))}
        if "spec" in body:
            new["spec"] = patches.merge(old["spec"], body["spec"])
        return self._update(actor, "apply", old, new, "")

    def delete(
        self, actor: str, plural: str, namespace: str, name: str, options: Json | None = None
    ) -> Json:
        options = options or {}
        old = self.get(plural, namespace, name)
        wanted = options.get("preconditions", {})
        self._check(old, wanted.get("uid", ""), wanted.get("resourceVersion", ""))
        finalizers = list(old["metadata"].get("finalizers", ()))
        policy = options.get("propagationPolicy", "Background")
        extra = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}.get(policy)
        if extra and extra not in finalizers and not deleting(old):
            finalizers.append(extra)
        grace = self._grace(old, options)
        if not finalizers and not grace:
            return self._commit(actor, "delete", self._name(old), old, None, options)
        return self._mark(actor, old, finalizers, grace, options)

    def _mark(
        self, actor: str, old: Json, finalizers: builtins.list[str], grace: int, options: Json
    ) -> Json:
        """Accept a DELETE of an object that cannot go at once."""
        before = old["metadata"]
        if deleting(old) and grace >= before.get("deletionGracePeriodSeconds", 0):
            return old
        meta = before | {
            "deletionTimestamp": stamp(self._timeline.now + grace),
            "deletionGracePeriodSeconds": grace,
        }
        if finalizers:
            meta["finalizers"] = finalizers
        if "generation" in meta and not deleting(old):
            meta["generation"] += 1
        new = old | {"metadata": meta}
        return self._commit(actor, "delete", self._name(old), old, new, options)

    @staticmethod
    def _grace(old: Json, options: Json) -> int:
        """Only a pod that may be running ends gracefully."""
        phase = old.get("status", {}).get("phase")
        runs = old["kind"] == "Pod" and old["spec"].get("nodeName")
        if not runs or phase in ("Succeeded", "Failed"):
            return 0
        default = old["spec"].get("terminationGracePeriodSeconds", 30)
        return int(options.get("gracePeriodSeconds", default))

    def _update(self, actor: str, verb: str, old: Json, body: Json, sub: str) -> Json:
        name = self._name(old)
        kind = kind_of(name.plural)
        new = kind.merge_update(old, body, sub)
        kind.check_update(old, new, self._invalid)
        if name.plural == PVCS and verb != "apply":
            entries = fields.updated(old["metadata"], new["metadata"], manager_of(actor), sub)
            new["metadata"]["managedFields"] = entries
        if new == old:
            return old
        for admit in self.admission:
            admit(actor, name, old, new)
        if kind.has_generation and new.get("spec") != old.get("spec"):
            meta = new["metadata"]
            new["metadata"] = meta | {"generation": old["metadata"].get("generation", 0) + 1}
        grace = new["metadata"].get("deletionGracePeriodSeconds", 0)
        if deleting(new) and not new["metadata"].get("finalizers") and not grace:
            return self._commit(actor, verb, name, old, None)
        return self._commit(actor, verb, name, old, new)

    def _commit(
        self,
        actor: str,
        verb: str,
        name: Name,
        before: Json | None,
        after: Json | None,
        options: Json | None = None,
    ) -> Json:
        self.revision += 1
        if after is None:
            del self._objects[name], self._by_plural[name.plural][name]
        else:
            meta = after["metadata"] | {"resourceVersion": str(self.revision)}
            after = after | {"metadata": meta}
            self._objects[name] = after
            self._by_plural[name.plural][name] = None
        now = self._timeline.now
        commit = Commit(self.revision, now, actor, verb, name, before, after, options or {})
        self.history.append(commit)
        self._events[name.plural].append(commit)
        for listener in self.listeners:
            listener(commit)
        for wake in self.watching[name.plural]:
            wake()
        return commit.last

    @staticmethod
    def _check(old: Json, uid: str, version: str) -> None:
        meta = old["metadata"]
        if uid and uid != meta["uid"]:
            raise Refusal(409, "Conflict", f"Precondition failed: UID {uid} is {meta['uid']}")
        if version and version != meta["resourceVersion"]:
            raise Refusal(409, "Conflict", f"the object has been modified: {version}")

    @staticmethod
    def _invalid(message: str) -> NoReturn:
        raise Refusal(422, "Invalid", message)

    @staticmethod
    def _name(item: Json) -> Name:
        meta = item["metadata"]
        return Name(Kind.plural_of(item), meta.get("namespace", ""), meta["name"])


def manager_of(actor: str) -> str:
    """The field manager: that of the product is the same for every process of it."""
    return "evc" if actor.startswith("operator") else actor
