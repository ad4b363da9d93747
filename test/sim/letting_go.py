"""Judges gate 5 (S1): nobody may have mounted a volume that the operator lets go of."""

from __future__ import annotations

from sim.cluster import claim_names
from sim.facts import HOLD
from sim.history import Commit, Json, deleting, marks_of, meta, uid
from sim.kinds import EVCS, PODS, PROTECTION, PVCS
from sim.ledger import OPERATOR, Judge
from sim.node import terminal


class LettingGo(Judge):
    """Sees the finalizer go, and the volume vanish."""

    def judge(self, commit: Commit) -> None:
        """Judge a patch that may have taken the protection off."""
        claim = commit.before
        assert claim is not None
        before = meta(claim).get("finalizers", [])
        after = meta(commit.after).get("finalizers", []) if commit.after else []
        if PROTECTION in after or PROTECTION not in before:
            return
        if not deleting(claim):
            self._violated("S3", f"protection of {commit.name} taken off while it is alive")
        evc = self._ledger.mine(claim)
        there = evc is not None and evc in self._server.items(EVCS) and not deleting(evc)
        held = there and evc is not None and evc["spec"].get("hold")
        if marks_of(claim).get(HOLD, "false") != "false":
            self._violated("S1", f"{commit.name} released though held by its annotation")
        if held and self._since(evc, "hold") <= self._seen(commit):
            self._violated("S1", f"{commit.name} released though spec.hold was set")
        volume = claim["spec"].get("volumeName")
        if any(volume in volumes for volumes in self._node.mounts.values()):
            self._violated("S1", f"{commit.name} released while {volume} is mounted")
        for pod in self._server.items(PODS, commit.name.namespace):
            seen = commit.name.name in claim_names(pod) and pod["spec"].get("nodeName")
            if seen and not terminal(pod):
                self._violated("S1", f"{commit.name} released under pod {meta(pod)['name']}")

    def _seen(self, commit: Commit) -> int:
        """The revision of the EVCs that this visit read live."""
        return self._ledger.visit(commit).seen.get(EVCS, 0)

    def _since(self, evc: Json | None, field: str) -> int:
        """The revision from which on a field of a spec has the value it has."""
        assert evc is not None
        since = 0
        for earlier in self._server.events(EVCS):
            if uid(earlier.last) == uid(evc):
                same = earlier.last["spec"].get(field) == evc["spec"].get(field)
                since = (since or earlier.revision) if same else 0
        return since

    def mounted(self, commit: Commit) -> None:
        """A volume vanished: nobody may have had it mounted, if we let its claim go."""
        volume = commit.name.name
        if not any(volume in volumes for volumes in self._node.mounts.values()):
            return
        for earlier in reversed(self._server.events(PVCS)):
            if earlier.after is None and earlier.last["spec"].get("volumeName") == volume:
                if earlier.actor.startswith(OPERATOR):
                    self._violated("S1", f"{volume} destroyed while it was mounted")
                return
