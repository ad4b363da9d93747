"""A world of one namespace in memory: plans are carried out at once, time jumps ahead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec.structs import replace as altered

from evc.model.core import (
    PVC_PROTECTION,
    ManagedFields,
    OwnedFields,
    OwnedKeys,
    PersistentVolumeClaim,
)
from evc.model.evc import FIELD_MANAGER, EphemeralVolumeClaimStatus
from evc.policy.decide import OWNER_RECHECK_SECONDS, decide
from evc.policy.observed import Observed
from evc.policy.owners import Ending, Owner
from evc.policy.plan import (
    Action,
    CreateClaim,
    DeleteClaim,
    DeletePod,
    DeleteRecord,
    PatchClaim,
    Plan,
    ReleaseClaim,
    UpdateClaim,
)
from evc.policy.usage import owners_seen


def empty(plan: Plan) -> bool:
    """Whether the plan asks for nothing at all."""
    return plan.status is None and not plan.actions and not plan.notes


def merged(target: Any, patch: Any) -> Any:
    """Return JSON merge patch (RFC 7396) of a value."""
    if not isinstance(patch, Mapping):
        return patch
    result = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


@dataclass
class TinyWorld:
    """What is, and when; ``history`` is every action that was carried out.

    The owners in ``seen`` are what a live read says; those it does not name are gone.
    """

    seen: Observed
    now: datetime
    history: list[Action] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.owners = self.seen.owners
        self.seen = replace(self.seen, live=False, mounted_by=None, owners=())

    def plan(self) -> Plan:
        """Decide as the controller does: a second time, live, if it destroys."""
        plan = decide(self.seen, self.now)
        if plan.irreversible:
            plan = decide(self.live(), self.now)
        return plan

    def live(self) -> Observed:
        """Return what etcd says: here the same, and how the owners are.

        They are asked, as `Confirm` does, only while there is a claim that could be deleted.
        """
        claim, owners = self.seen.claim, self.owners
        if claim is None or claim.metadata.deleting:
            owners = ()
        elif self.seen.evc is not None:
            named = {owner.name for owner in owners}
            owners += tuple(
                Owner(f"{seen.kind}/{seen.name}", Ending(None, failed=False), seen=seen)
                for seen in owners_seen(self.seen, self.seen.evc)
                if f"{seen.kind}/{seen.name}" not in named
            )
        return replace(self.seen, live=True, mounted_by=(), owners=owners)

    def step(self, *, crash: bool = False) -> Plan:
        """Carry out one plan; with ``crash``, no more than its status."""
        plan = self.plan()
        evc = self.seen.evc
        if plan.status is not None and evc is not None:
            # Through the wire, as the API server would keep it.
            wire = msgspec.json.encode(plan.status)
            status = msgspec.json.decode(wire, type=EphemeralVolumeClaimStatus)
            self.seen = replace(self.seen, evc=altered(evc, status=status))
        for action in () if crash else plan.actions:
            self.history.append(action)
            self._carry_out(action)
        self._protect()
        return plan

    def _protect(self) -> None:
        """Let go of a deleted claim that no pod references, as Kubernetes itself does."""
        claim = self.seen.claim
        if claim is not None and claim.metadata.deleting and not self._users(claim):
            self._carry_out(ReleaseClaim(claim))

    def _users(self, claim: PersistentVolumeClaim) -> bool:
        return any(claim.metadata.name in pod.claim_names for pod in self.seen.pods)

    def settle(self, steps: int = 40) -> bool:
        """Go on until nothing is to be done and no deadline is left; say whether that came.

        An owner that holds is asked again and again; that is rest, too.
        """
        for _ in range(steps):
            plan = self.step()
            if not empty(plan):
                continue
            held = self.seen.evc is not None and self.seen.evc.status.held_by is not None
            if plan.requeue_after is None or (held and plan.requeue_after == OWNER_RECHECK_SECONDS):
                return True
            self.now += timedelta(seconds=plan.requeue_after)
        return False

    def _carry_out(self, action: Action) -> None:
        match action:
            case CreateClaim(manifest):
                self._create(manifest)
            case PatchClaim(claim, patch):
                self._patch(claim, patch)
            case UpdateClaim(claim, manifest):
                self._apply(claim, manifest)
            case DeleteClaim(claim):
                gone = altered(claim.metadata, deletion_timestamp=self.now)
                kept = altered(claim, metadata=gone)
                self._set_claim(kept if claim.metadata.finalizers else None)
            case ReleaseClaim(claim):
                left = tuple(f for f in claim.metadata.finalizers if f != PVC_PROTECTION)
                kept = altered(claim, metadata=altered(claim.metadata, finalizers=left))
                self._set_claim(kept if left else None)
            case DeletePod(pod):
                pods = tuple(p for p in self.seen.pods if p is not pod)
                self.seen = replace(self.seen, pods=pods)
            case DeleteRecord():
                self.seen = replace(self.seen, evc=None)

    def _create(self, manifest: dict[str, Any]) -> None:
        assert self.seen.claim is None
        made = {
            "uid": f"made-{len(self.history)}",
            "creationTimestamp": self.now,
            "finalizers": [PVC_PROTECTION],
        }
        whole = manifest | {"metadata": manifest["metadata"] | made}
        self._set_claim(_owning(msgspec.convert(whole, PersistentVolumeClaim), manifest))

    def _patch(self, claim: PersistentVolumeClaim, patch: dict[str, Any]) -> None:
        assert claim is self.seen.claim
        meta = claim.metadata
        condition = (patch["metadata"]["uid"], patch["metadata"]["resourceVersion"])
        assert condition == (meta.uid, meta.resource_version)
        self._set_claim(
            msgspec.convert(merged(msgspec.to_builtins(claim), patch), PersistentVolumeClaim)
        )

    def _apply(self, claim: PersistentVolumeClaim, manifest: dict[str, Any]) -> None:
        """Server-side apply: take off what this manager owned and does not name any more."""
        assert claim is self.seen.claim
        assert manifest["metadata"]["uid"] == claim.metadata.uid
        whole = msgspec.to_builtins(claim)
        for entry in claim.metadata.managed_fields:
            if entry.manager == FIELD_MANAGER:
                owned = entry.fields.metadata
                for name, keys in (("labels", owned.labels), ("annotations", owned.annotations)):
                    for key in keys:
                        whole["metadata"].get(name, {}).pop(key.removeprefix("f:"), None)
        applied = msgspec.convert(merged(whole, manifest), PersistentVolumeClaim)
        self._set_claim(_owning(applied, manifest))

    def _set_claim(self, claim: PersistentVolumeClaim | None) -> None:
        self.seen = replace(self.seen, claim=claim)


def _owning(claim: PersistentVolumeClaim, manifest: dict[str, Any]) -> PersistentVolumeClaim:
    """Return the claim with managedFields that say who set what is in the manifest."""
    keys = OwnedKeys(
        *(
            {f"f:{key}": {} for key in manifest["metadata"][name]}
            for name in ("labels", "annotations")
        )
    )
    others = tuple(e for e in claim.metadata.managed_fields if e.manager != FIELD_MANAGER)
    ours = ManagedFields(FIELD_MANAGER, "Apply", OwnedFields(keys))
    return altered(claim, metadata=altered(claim.metadata, managed_fields=(*others, ours)))
