"""Kubernetes' volume controllers: provisioner, pvc-protection and garbage collector."""

from __future__ import annotations

from functools import partial

from sim.history import Commit, Json, condition, deleting, meta, uid
from sim.kinds import (
    ATTACHMENTS,
    CRONJOBS,
    EVCS,
    FOREIGN,
    JOBS,
    JOBSETS,
    PODS,
    PROTECTION,
    PVCS,
    PVS,
    REPLICASETS,
    WORKLOADS,
    Kind,
)
from sim.world import Controller, World

MERGE = "application/merge-patch+json"
OWNERS = (EVCS, JOBS, CRONJOBS, *WORKLOADS, *FOREIGN)
"""What has dependents in these worlds."""
DEPENDENTS = (PVCS, PODS, JOBS, REPLICASETS, JOBSETS)
GARBAGE = {*OWNERS, *DEPENDENTS}


def claim_names(pod: Json) -> list[str]:
    """The claims a pod references."""
    volumes = pod["spec"].get("volumes", ())
    return [
        v["persistentVolumeClaim"]["claimName"] for v in volumes if "persistentVolumeClaim" in v
    ]


class Provisioner(Controller):
    """Makes a volume for each claim, and destroys it when the claim is gone.

    ``attachable``: a block device that is attached to a node; else a file share, of
    which nothing in the API says where it is mounted.
    """

    actor = "provisioner"

    def __init__(self, world: World, *, attachable: bool, careful: bool) -> None:
        super().__init__(world)
        self._attachable = attachable
        self._careful = careful

    def committed(self, commit: Commit) -> None:
        name = commit.name
        if name.plural != PVCS:
            return
        if commit.before is None:
            self.world.soon("provision pace", lambda: self._provision(name.namespace, name.name))
        elif commit.after is not None:
            self._grow(commit.after)
        else:
            volume = commit.before["spec"].get("volumeName")
            if volume:
                self.world.soon("reclaim pace", lambda: self._reclaim(volume))

    def _provision(self, namespace: str, name: str) -> None:
        claim = self.server.find(PVCS, namespace, name)
        if claim is None or claim["spec"].get("volumeName") or deleting(claim):
            return
        volume = f"pv-{uid(claim)}"
        source: Json = {"csi": {"driver": "sim.csi", "volumeHandle": volume}}
        if not self._attachable:
            source = {"nfs": {"server": "filer", "path": "/"}}
        if self.server.find(PVS, "", volume) is None:
            body = {"metadata": {"name": volume}, "spec": source}
            self.server.create(self.actor, PVS, "", body)
        claim = self.server.patch(
            self.actor, PVCS, namespace, name, {"spec": {"volumeName": volume}}, MERGE
        )
        bound = claim | {"status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}}
        self.server.replace(self.actor, PVCS, namespace, name, bound, "status")

    def _grow(self, claim: Json) -> None:
        wanted = claim["spec"]["resources"]["requests"]["storage"]
        if claim["status"].get("capacity", {}).get("storage", wanted) == wanted:
            return

        def grown() -> None:
            found = self.server.get(PVCS, meta(claim)["namespace"], meta(claim)["name"])
            status = found["status"] | {"capacity": {"storage": wanted}}
            where = meta(found)["namespace"], meta(found)["name"]
            self.server.replace(self.actor, PVCS, *where, found | {"status": status}, "status")

        self.world.soon("provision pace", grown)

    def _reclaim(self, volume: str) -> None:
        attached = any(
            a["spec"]["source"]["persistentVolumeName"] == volume
            for a in self.server.items(ATTACHMENTS)
        )
        if attached and self._careful:
            self.world.soon("reclaim pace", lambda: self._reclaim(volume), 1.0, 3.0)
        elif self.server.find(PVS, "", volume) is not None:
            self.server.delete(self.actor, PVS, "", volume)


class Protection(Controller):
    """Puts pvc-protection on every claim; takes it off a deleted one that no scheduled pod
    object references.

    ``unused``: it also keeps the Unused condition, at most so many seconds late.
    """

    actor = "pvc-protection"

    def __init__(self, world: World, unused: float | None = None) -> None:
        super().__init__(world)
        self._unused = unused

    def committed(self, commit: Commit) -> None:
        last, name = commit.last, commit.name
        if name.plural == PVCS and commit.after is not None:
            protected = PROTECTION in meta(last).get("finalizers", ())
            if deleting(last) == protected:
                self._look(name.namespace, name.name)
        if name.plural == PODS and commit.after is None:
            for claim in claim_names(last):
                self._look(name.namespace, claim)
        if self._unused is not None and name.plural == PODS:
            for claim in claim_names(last):
                self._observe(name.namespace, claim)
        elif self._unused is not None and name.plural == PVCS and commit.before is None:
            self._observe(name.namespace, name.name)

    def _observe(self, namespace: str, name: str) -> None:
        assert self._unused is not None
        action = partial(self._condition, namespace, name)
        self.world.soon("protection pace", action, 0.01, self._unused)

    def _condition(self, namespace: str, name: str) -> None:
        """Write the Unused condition (KEP-5541): no pod but completed ones references it."""
        claim = self.server.find(PVCS, namespace, name)
        if claim is None:
            return
        pods = [p for p in self.server.items(PODS, namespace) if name in claim_names(p)]
        used = any(p["status"].get("phase") not in ("Succeeded", "Failed") for p in pods)
        wanted = "False" if used else "True"
        if condition(claim, "Unused").get("status") == wanted:
            return
        now = self.world.timeline.stamp()
        entry = {"type": "Unused", "status": wanted, "lastTransitionTime": now}
        body = claim | {"status": claim["status"] | {"conditions": [entry]}}
        self.server.replace(self.actor, PVCS, namespace, name, body, "status")

    def _look(self, namespace: str, name: str) -> None:
        self.world.soon("protection pace", lambda: self._release(namespace, name))

    def _release(self, namespace: str, name: str) -> None:
        claim = self.server.find(PVCS, namespace, name)
        if claim is None:
            return
        finalizers = meta(claim).get("finalizers", [])
        if not deleting(claim):
            self._protect(namespace, name, finalizers)
            return
        used = any(
            pod["spec"].get("nodeName") and name in claim_names(pod)
            for pod in self.server.items(PODS, namespace)
        )
        if PROTECTION in finalizers and not used:
            left = [f for f in finalizers if f != PROTECTION]
            patch = {"metadata": {"finalizers": left}}
            self.server.patch(self.actor, PVCS, namespace, name, patch, MERGE)

    def _protect(self, namespace: str, name: str, finalizers: list[str]) -> None:
        if PROTECTION not in finalizers:
            patch = {"metadata": {"finalizers": [*finalizers, PROTECTION]}}
            self.server.patch(self.actor, PVCS, namespace, name, patch, MERGE)


class GarbageCollector(Controller):
    """Deletes what has owners that are all gone; foreground and orphan as they are asked for."""

    actor = "garbage-collector"

    def committed(self, commit: Commit) -> None:
        name, last = commit.name, commit.last
        if name.plural not in GARBAGE:
            return
        owners = meta(last).get("ownerReferences")
        known = meta(commit.before).get("ownerReferences") if commit.before else None
        if owners and owners != known and commit.after is not None:
            self._later(name.namespace, last)
        if commit.after is None:
            for item in self._dependents(name.namespace, uid(last)):
                self._later(name.namespace, item)
                self._finish_owner(name.namespace)
        elif deleting(last) and not (commit.before and deleting(commit.before)):
            self._finish_owner(name.namespace)

    def _dependents(self, namespace: str, owner: str) -> list[Json]:
        return [
            item
            for plural in DEPENDENTS
            for item in self.server.items(plural, namespace)
            if any(o["uid"] == owner for o in meta(item).get("ownerReferences", ()))
        ]

    def _later(self, namespace: str, item: Json) -> None:
        plural = Kind.plural_of(item)
        name, known = meta(item)["name"], uid(item)
        self.world.soon("gc pace", lambda: self._collect(plural, namespace, name, known))

    def _collect(self, plural: str, namespace: str, name: str, known: str) -> None:
        item = self.server.find(plural, namespace, name)
        if item is None or uid(item) != known or deleting(item):
            return
        owners = meta(item).get("ownerReferences", ())
        living = {uid(o) for p in OWNERS for o in self.server.items(p, namespace)}
        if owners and not any(o["uid"] in living for o in owners):
            options = {"preconditions": {"uid": known}, "propagationPolicy": "Background"}
            self.server.delete(self.actor, plural, namespace, name, options)

    def _finish_owner(self, namespace: str) -> None:
        self.world.soon("gc pace", lambda: self._finish_owners(namespace))

    def _finish_owners(self, namespace: str) -> None:
        """Do what a foreground or orphaning DELETE asked for, then let the owner go."""
        for plural in OWNERS:
            for owner in self.server.items(plural, namespace):
                for policy in ("foregroundDeletion", "orphan"):
                    if deleting(owner) and policy in meta(owner).get("finalizers", ()):
                        self.world.attempt(partial(self._finish, owner, policy))

    def _finish(self, owner: Json, policy: str) -> None:
        namespace = meta(owner)["namespace"]
        for item in self._dependents(namespace, uid(owner)):
            plural, name = Kind.plural_of(item), meta(item)["name"]
            refs = meta(item)["ownerReferences"]
            if policy == "orphan":
                left = [o for o in refs if o["uid"] != uid(owner)]
                patch = {"metadata": {"ownerReferences": left}}
                self.server.patch(self.actor, plural, namespace, name, patch, MERGE)
                continue
            if not deleting(item):
                self.server.delete(self.actor, plural, namespace, name)
            if any(o["uid"] == uid(owner) and o.get("blockOwnerDeletion") for o in refs):
                return
        left = [f for f in meta(owner)["finalizers"] if f != policy]
        plural, patch = Kind.plural_of(owner), {"metadata": {"finalizers": left}}
        self.server.patch(self.actor, plural, namespace, meta(owner)["name"], patch, MERGE)
