"""What makers of pods have in common: they look after their children a moment after a change."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from sim.history import Commit, Json, deleting, marks_of, meta, uid
from sim.kinds import JOBS, PODS, Kind
from sim.world import Controller, World

MERGE = "application/merge-patch+json"

Sync = Callable[[Json], None]


class Makers(Controller):
    """Base: ``sync`` says for each type of maker what its controller does when it looks."""

    actor = "workload-controller"
    children: ClassVar[tuple[str, ...]] = (PODS,)
    """Types its makers make; a change of one of them wakes its maker."""

    slowest: ClassVar[dict[str, float]] = {}
    """Seconds a look may take to come, where it is not one."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.sync: dict[str, Sync] = {}
        self.made: dict[str, int] = {}
        """Uid of a maker -> how many children it has ever made."""
        self._pending: set[str] = set()

    def committed(self, commit: Commit) -> None:
        name = commit.name
        if name.plural in self.sync and commit.after is not None:
            self.later(name.plural, name.namespace, name.name)
        if name.plural in self.children:
            owner = controller_of(commit.last)
            plural = Kind.by_kind.get(owner["kind"]) if owner is not None else None
            if owner is not None and plural in self.sync:
                self.child_changed(owner["uid"], commit)
                self.later(str(plural), name.namespace, owner["name"])

    def child_changed(self, owner: str, commit: Commit) -> None:
        """Hear, at once, of a change of a child."""

    def later(self, plural: str, namespace: str, name: str) -> None:
        """Look at a maker in a moment, if it is still there and to stay."""

        def act() -> None:
            found = self.server.find(plural, namespace, name)
            if found is not None and not deleting(found):
                self.sync[plural](found)

        self.world.soon("workload pace", act, 0.01, self.slowest.get(plural, 1.0))

    def afterwards(self, maker: Json, seconds: float, action: Sync) -> None:
        """Do something with this very maker after a pause, if it is still there and to stay."""
        plural, known = Kind.plural_of(maker), uid(maker)
        where = meta(maker)["namespace"], meta(maker)["name"]
        self._pending.add(known)

        def act() -> None:
            self._pending.discard(known)
            found = self.server.find(plural, *where)
            if found is not None and uid(found) == known and not deleting(found):
                action(found)

        self.world.timeline.after(seconds, lambda: self.world.attempt(act))

    def is_pending(self, maker: Json) -> bool:
        """Whether something is to be done `afterwards`."""
        return uid(maker) in self._pending

    def those_of(self, maker: Json, plural: str = PODS) -> list[Json]:
        """Its children of a type."""
        return [
            item
            for item in self.server.items(plural, meta(maker)["namespace"])
            if any(o["uid"] == uid(maker) for o in meta(item).get("ownerReferences", ()))
        ]

    def remove(self, item: Json) -> None:
        """Delete a child that is not being deleted yet."""
        if not deleting(item):
            where = meta(item)["namespace"], meta(item)["name"]
            self.server.delete(self.actor, Kind.plural_of(item), *where)

    def scale(self, item: Json, replicas: int) -> None:
        """Have a child want so many pods."""
        if item["spec"]["replicas"] != replicas:
            where = meta(item)["namespace"], meta(item)["name"]
            patch = {"spec": {"replicas": replicas}}
            self.server.patch(self.actor, Kind.plural_of(item), *where, patch, MERGE)

    def say(self, maker: Json, status: Json) -> None:
        """Write its status."""
        plural = Kind.plural_of(maker)
        where = meta(maker)["namespace"], meta(maker)["name"]
        self.server.replace(self.actor, plural, *where, maker | {"status": status}, "status")

    def make_pod(self, maker: Json, name: str) -> None:
        """Create a pod from the maker's template."""
        template = maker["spec"]["template"]
        labels = dict(template["metadata"].get("labels", {}))
        body = {
            "metadata": {"labels": labels, "annotations": dict(marks_of(template))},
            "spec": template["spec"],
        }
        self.make(maker, PODS, name, body)

    def make_job(self, maker: Json, name: str) -> None:
        """Create a Job from the maker's Job template."""
        self.make(maker, JOBS, name, {"spec": maker["spec"]["jobTemplate"]["spec"]})

    def make(self, maker: Json, plural: str, name: str, body: Json) -> None:
        """Create a child that the maker controls."""
        reference = {
            "apiVersion": maker["apiVersion"],
            "kind": maker["kind"],
            "name": meta(maker)["name"],
            "uid": uid(maker),
            "controller": True,
            "blockOwnerDeletion": True,
        }
        metadata = body.get("metadata", {}) | {"name": name, "ownerReferences": [reference]}
        self.made[uid(maker)] = self.made.get(uid(maker), 0) + 1
        namespace = meta(maker)["namespace"]
        self.server.create(self.actor, plural, namespace, body | {"metadata": metadata})

    def next_name(self, maker: Json) -> str:
        """A name that no child of the maker had before."""
        return f"{meta(maker)['name']}-{self.made.get(uid(maker), 0)}"


def controller_of(item: Json) -> Json | None:
    """The reference to its maker."""
    references = meta(item).get("ownerReferences", ())
    return next((owner for owner in references if owner.get("controller")), None)
