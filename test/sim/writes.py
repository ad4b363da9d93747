"""Judges everything the operator writes but its DELETEs of claims: S2, S3, S5 and S7."""

from __future__ import annotations

from sim.cluster import claim_names
from sim.facts import (
    ADOPT_BY,
    MANAGED_BY,
    MARKS,
    OWNER_UID,
    REQUEST_ID,
    claim_name,
    designated,
    storage,
)
from sim.history import Commit, Json, deleting, marks_of, meta, uid
from sim.kinds import EVCS, EVENTS, LEASES, PODS, PROTECTION, PVCS, size
from sim.ledger import Judge
from sim.node import terminal

MAY_WRITE = {
    (PVCS, "create"),
    (PVCS, "delete"),
    (PVCS, "patch"),
    (PVCS, "apply"),
    (EVCS, "status"),
    (EVCS, "delete"),
    (PODS, "delete"),
    (EVENTS, "create"),
    (LEASES, "create"),
    (LEASES, "update"),
}
MAY_WRITE_DRY = {
    (EVCS, "status"),
    (EVENTS, "create"),
    (LEASES, "create"),
    (LEASES, "update"),
}
VERSIONED = ("resourceVersion", "finalizers", "managedFields")


class Writes(Judge):
    """May it be written at all, and may it say that?"""

    def creation(self, commit: Commit) -> None:
        claim = commit.last
        owner = marks_of(claim).get(OWNER_UID, "")
        evc = self._ledger.evc_of(commit)
        intent = (evc or {}).get("status", {}).get("claim", {})
        request = marks_of(claim).get(REQUEST_ID, "none")
        if "uid" in intent or intent.get("requestId") != request:
            self._violated("S7", f"{commit.name} made, but status says of it only {intent}")
        earlier = self._ledger.created.setdefault(owner, [])
        if owner in self._ledger.known_used:
            self._violated("S5", f"{commit.name} made again after it was used")
        living = {uid(item) for item in self._server.items(PVCS)} - {uid(claim)}
        if living & set(earlier):
            self._violated("S5", f"{commit.name} made though {living & set(earlier)} is there")
        if any(known in self._ledger.deleted for known in earlier):
            self._violated("S5", f"{commit.name} made again after the operator deleted it")
        earlier.append(uid(claim))

    def forgery(self, commit: Commit) -> None:
        """Note a forged claim that nothing can tell from the operator's own.

        That is between the intent in status and the CREATE, with the right mark: whoever
        does this deliberately risks his own claim only.
        """
        marks = marks_of(commit.last)
        evc = self._server.find(EVCS, commit.name.namespace, commit.name.name)
        if evc is not None and uid(evc) == marks.get(OWNER_UID):
            intent = evc.get("status", {}).get("claim", {})
            request = intent.get("requestId")
            if request and request == marks.get(REQUEST_ID) and "uid" not in intent:
                self._ledger.ambiguous.add(uid(commit.last))

    def scope(self, commit: Commit) -> None:
        name = commit.name
        dry = self._ledger.limits[commit.actor].dry_run
        if (name.plural, commit.verb) not in (MAY_WRITE_DRY if dry else MAY_WRITE):
            self._violated("S3", f"{commit.verb} of {name}" + (" in a dry run" if dry else ""))
        if name.plural == PVCS and commit.before is None and self._ledger.evc_of(commit) is None:
            self._violated("S3", f"{name} made outside of its owner's namespace or for nobody")

    def change(self, commit: Commit) -> None:
        """A claim was patched: only marks, what the template says, our reference, and growth."""
        if commit.before is None or commit.after is None:
            return
        before, after, name = meta(commit.before), meta(commit.after), commit.name
        changed = {f for f in {*before, *after} if before.get(f) != after.get(f)}
        changed -= {"labels", "annotations", "ownerReferences", "finalizers", "managedFields"}
        if changed - {"resourceVersion"}:
            self._violated("S3", f"{changed} of {name} changed")
        foreign = set(before.get("finalizers", ())) - {PROTECTION}
        if set(after.get("finalizers", ())) - {PROTECTION} != foreign:
            self._violated("S3", f"foreign finalizers of {name} changed")
        owner = self._taken(commit) if self._claimed(commit) else self._ledger.mine(commit.before)
        if owner is None:
            if uid(commit.last) not in self._ledger.ambiguous and "finalizers" not in changed:
                self._gate5_only(commit)
            return
        self._fields(commit, owner)
        self._references(commit, uid(owner))

    def _claimed(self, commit: Commit) -> bool:
        """Whether this put the mark on a claim that did not bear it, or bore a forged one."""
        assert commit.before is not None
        mark = marks_of(commit.last).get(OWNER_UID)
        forged = self._ledger.mine(commit.before) is None and ADOPT_BY in marks_of(commit.before)
        return mark is not None and (marks_of(commit.before).get(OWNER_UID) != mark or forged)

    def _taken(self, commit: Commit) -> Json | None:
        """A claim was taken over: its owner must have offered it to this very EVC."""
        assert commit.before is not None
        evc = self._ledger.evc_of(commit)
        offered = marks_of(commit.before).get(ADOPT_BY)
        wanted = evc is not None and evc["spec"].get("existingClaimName") == commit.name.name
        if evc is None or not wanted or offered != meta(evc)["name"]:
            self._violated("S2", f"{commit.name} taken over, and was offered to {offered}")
            return None
        if marks_of(commit.before).get(OWNER_UID, uid(evc)) != uid(evc) or deleting(commit.before):
            self._violated("S2", f"{commit.name} taken over from another owner")
        ended = [e for e in self._server.events(EVCS) if uid(e.last) == uid(evc)]
        seen = self._ledger.visit(commit).seen.get(EVCS, self._server.revision)
        # It may go after the last look at it, and a process may be frozen in between.
        if any(e.revision <= seen and (e.after is None or deleting(e.after)) for e in ended):
            self._violated("S3", f"{commit.name} taken over for an object that is gone")
        self._ledger.adopted[uid(commit.last)] = uid(evc)
        return evc

    def _gate5_only(self, commit: Commit) -> None:
        """Of a claim that nobody here owns nothing may change but its protection."""
        assert commit.before is not None
        before = {k: v for k, v in meta(commit.before).items() if k not in VERSIONED}
        after = {k: v for k, v in meta(commit.last).items() if k not in VERSIONED}
        if before != after or commit.before["spec"] != commit.last["spec"]:
            self._violated("S3", f"{commit.name}, which is not ours, was changed")

    def _fields(self, commit: Commit, owner: Json) -> None:
        assert commit.before is not None
        templates = [
            earlier.last["spec"].get("volumeClaimTemplate", {}).get("metadata", {})
            for earlier in self._server.events(EVCS)
            if uid(earlier.last) == uid(owner)
        ]
        for section, own in (("labels", {MANAGED_BY}), ("annotations", {*MARKS, ADOPT_BY})):
            allowed = own.union(*(template.get(section) or () for template in templates))
            before = meta(commit.before).get(section) or {}
            after = meta(commit.last).get(section) or {}
            changed = {k for k in {*before, *after} if before.get(k) != after.get(k)}
            if not changed <= allowed:
                self._violated("S3", f"{section} {changed - allowed} of {commit.name} changed")
        before, after = commit.before["spec"], commit.last["spec"]
        less = size(storage(after)) < size(storage(before))
        if less or {**before, "resources": 0} != {**after, "resources": 0}:
            self._violated("S3", f"the spec of {commit.name} changed")

    def _references(self, commit: Commit, owner: str) -> None:
        """Others' ownerReferences stay, and what was orphaned is not claimed again."""
        assert commit.before is not None
        before = {o["uid"] for o in meta(commit.before).get("ownerReferences", ())}
        after = {o["uid"] for o in meta(commit.last).get("ownerReferences", ())}
        if before ^ after and (before ^ after) != {owner}:
            self._violated("S3", f"foreign owners of {commit.name} changed")
        if owner in after - before:
            for earlier in self._server.events(PVCS):
                orphaned = earlier.actor == "garbage-collector" and earlier.after is not None
                if orphaned and uid(earlier.last) == uid(commit.last) and earlier.before:
                    refs = meta(earlier.before).get("ownerReferences", ())
                    kept = meta(earlier.last).get("ownerReferences", ())
                    if len(kept) < len(refs):
                        self._violated("S3", f"{commit.name} owned again after it was orphaned")

    def record(self, commit: Commit) -> None:
        """The operator deleted a finished object: no volume may go with it."""
        for claim in self._server.items(PVCS, commit.name.namespace):
            if uid(commit.last) in {o["uid"] for o in meta(claim).get("ownerReferences", ())}:
                self._violated("S1", f"{commit.name} deleted, and its claim with it")

    def pod_deletion(self, commit: Commit) -> None:
        pod = commit.before
        assert pod is not None
        selects = any(
            designated(earlier.last, pod) and claim_name(earlier.last) in claim_names(pod)
            for earlier in self._server.events(EVCS)
            if earlier.name.namespace == commit.name.namespace
            and earlier.last["spec"]["completedPods"] == "Delete"
        )
        if not (terminal(pod) and selects):
            self._violated("S3", f"pod {commit.name} deleted: not completed, or nobody asked")
