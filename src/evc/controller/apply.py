"""Plan -> API calls: status first, then actions, then events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec
import structlog

from evc.controller.events import Recorder
from evc.controller.gather import OwnWrites
from evc.controller.limits import DeletionLimit
from evc.controller.observer import ClaimObserver, Unobserved
from evc.controller.update import Refused, UpdateClaims
from evc.kube.client import JSON_PATCH, Client
from evc.kube.resources import CLAIMS, PODS, PVCS
from evc.model.core import PVC_PROTECTION, PersistentVolumeClaim
from evc.model.errors import AlreadyExists, ApiError, Forbidden, Invalid, NotFound
from evc.model.evc import API_VERSION, KIND, EphemeralVolumeClaim, EphemeralVolumeClaimStatus
from evc.policy.decide import update_refused
from evc.policy.dispose import delayed
from evc.policy.observed import Observed
from evc.policy.obtain import refused
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
from evc.policy.reasons import READY
from evc.policy.world import World

log = structlog.get_logger("evc")


class NotConfirmed(Exception):
    """A destructive plan was not made from a live read: a bug, and nothing was done."""


class NotLeading(ApiError):
    """Leadership was lost between the decision and the write; the process will exit."""


class Apply:
    """Carries out one plan; raises ApiError at the first call that fails.

    Whatever was not done then is planned anew: every step is either conditional on
    what was read or harmless to repeat.
    """

    def __init__(
        self,
        client: Client,
        writes: OwnWrites,
        recorder: Recorder,
        may_write: Callable[[], bool],
        now: Callable[[], datetime],
        limit: DeletionLimit,
        *,
        dry_run: bool,
        observer: ClaimObserver | None = None,
    ) -> None:
        self._client = client
        self._writes = writes
        self._recorder = recorder
        self._update = UpdateClaims(client, writes, now)
        self._may_write = may_write
        self._now = now
        self._limit = limit
        self._dry_run = dry_run
        self._observer = observer or Unobserved()

    def __call__(self, observed: Observed, plan: Plan) -> float | None:
        """Write the status with the version that was read (gate 3), then act.

        Returns the seconds after which to come again: the plan's or an action's, or later
        ones if the deletion limit does not admit it yet; then status says so and nothing
        was done.
        """
        if plan.irreversible and not observed.live:
            raise NotConfirmed("a destructive plan needs a live read")
        self._check_leadership()
        evc = observed.evc
        volume = self._doomed(plan)
        delay = self._limit.delay(volume) if volume else 0.0
        if delay and evc is not None:
            self(observed, delayed(World(observed, evc, self._now())))
            return delay
        try:
            again_in = self._carry_out(observed, plan)
            if self._dry_run:
                self._limit.deleted(volume)  # as it would have been
        finally:
            self._limit.give_back(volume)
        return again_in

    def _doomed(self, plan: Plan) -> str:
        """Return the uid of the volume's claim that the plan deletes, "" if it deletes none.

        A dry run, which meets the same volume again and again, counts it when it says so.
        """
        deletion = _deletion(plan)
        if deletion is None or (self._dry_run and plan.status is None):
            return ""
        return deletion.claim.metadata.uid

    def _carry_out(self, observed: Observed, plan: Plan) -> float | None:
        evc = observed.evc
        if plan.retold is not None and evc is not None and not self._dry_run:
            self._recorder.retell(plan.retold, evc, observed.claim)
        if plan.status is not None and evc is not None:
            evc = self._write_status(evc, plan.status)
        again_in = [plan.requeue_after]
        for action in plan.actions:
            if self._dry_run:
                log.info("Skipped action in dry run", action=type(action).__name__)
            else:
                self._check_leadership()
                try:
                    again_in.append(self._act(action, observed, evc))
                except ApiError as error:
                    if isinstance(action, DeleteClaim) and error.ambiguous:
                        # It may be gone, and then nobody would tell with which evidence.
                        self._tell(plan, observed, evc)
                    raise
        if plan.status is not None or not self._dry_run:
            self._tell(plan, observed, evc)
        return min((seconds for seconds in again_in if seconds is not None), default=None)

    def _tell(self, plan: Plan, observed: Observed, evc: EphemeralVolumeClaim | None) -> None:
        deletion = _deletion(plan)
        for note in plan.notes:
            if deletion is not None and evc is not None:
                self._recorder.keep(note, evc, deletion.claim)
            else:
                self._recorder.record(note, evc, observed.claim)

    def _check_leadership(self) -> None:
        """Raise if the lease may be another's by now: a paused leader that woke up."""
        if not self._may_write():
            raise NotLeading("the lease is not held any more: nothing was written")

    def _write_status(
        self, evc: EphemeralVolumeClaim, status: EphemeralVolumeClaimStatus
    ) -> EphemeralVolumeClaim:
        meta = evc.metadata
        body: dict[str, Any] = {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {
                "name": meta.name,
                "namespace": meta.namespace,
                "uid": meta.uid,
                "resourceVersion": meta.resource_version,
            },
            "spec": evc.spec,
            "status": msgspec.to_builtins(status),
        }
        written = self._client.replace(CLAIMS, meta.key, body, subresource="status")
        self._writes.wrote_claim(written)
        before, after = (told.condition(READY) for told in (evc.status, status))
        if after is not None and (before is None or before.reason != after.reason):
            log.info("Changed status", reason=after.reason, message=after.message)
        return written

    def _act(
        self, action: Action, observed: Observed, evc: EphemeralVolumeClaim | None
    ) -> float | None:
        """Carry out one action; return the seconds after which it has to be looked at again."""
        match action:
            case CreateClaim(manifest):
                self._create(manifest, observed, evc)
            case PatchClaim(claim, patch):
                patched = self._client.patch(PVCS, claim.metadata.key, patch)
                self._writes.wrote_pvc(patched)
                log.info("Patched PersistentVolumeClaim", claim=claim.metadata.name)
            case UpdateClaim(claim, manifest):
                assert evc is not None  # only an existing object has a template
                return self._follow(claim, manifest, observed, evc)
            case DeleteClaim(claim):
                assert evc is not None  # without its object a claim is only released
                self._delete_claim(claim, evc)
            case ReleaseClaim(claim):
                self._release(claim)
            case DeletePod(pod):
                self._delete(PODS, pod)
            case DeleteRecord(record):
                self._delete(CLAIMS, record)
        return None

    def _create(
        self, manifest: dict[str, Any], observed: Observed, evc: EphemeralVolumeClaim | None
    ) -> None:
        assert evc is not None  # only an existing object asks for a claim
        # A status is not written to an object that is gone.  A repeated request writes none,
        # and an old cache would make a claim that is left to nobody.
        if evc is observed.evc and not self._there(evc):
            return
        try:
            created = self._client.create(PVCS, evc.metadata.namespace, manifest)
        except AlreadyExists:
            # Ours, if an earlier answer was lost, or a stranger's: the cache will tell.
            return
        except (Invalid, Forbidden) as error:
            world = World(replace(observed, evc=evc), evc, self._now())
            self(world.observed, refused(world, str(error)))
            raise
        self._writes.wrote_pvc(created)
        log.info("Created PersistentVolumeClaim", claim=created.metadata.name)

    def _delete_claim(self, claim: PersistentVolumeClaim, evc: EphemeralVolumeClaim) -> None:
        """Delete a volume, and count it unless the API server certainly did not (4xx)."""
        try:
            with self._observer.deleting(claim, evc.status, self._now()):
                self._delete(PVCS, claim)
        except ApiError as error:
            if not 400 <= error.status < 500:
                self._limit.deleted(claim.metadata.uid)
            raise
        self._limit.deleted(claim.metadata.uid)

    def _there(self, evc: EphemeralVolumeClaim) -> bool:
        try:
            meta = self._client.get(CLAIMS, evc.metadata.key).metadata
        except NotFound:
            return False
        return meta.uid == evc.metadata.uid and not meta.deleting

    def _follow(
        self,
        claim: PersistentVolumeClaim,
        manifest: dict[str, Any],
        observed: Observed,
        evc: EphemeralVolumeClaim,
    ) -> float | None:
        try:
            return self._update(claim, manifest, evc)
        except Refused as refusal:
            world = World(replace(observed, evc=evc), evc, self._now())
            self(world.observed, update_refused(world, str(refusal)))
            return refusal.again_in

    def _delete(self, resource: Any, thing: Any) -> None:
        """Delete exactly this object in exactly this version, or nothing (gate 4)."""
        try:
            self._client.delete(
                resource,
                thing.metadata.key,
                uid=thing.metadata.uid,
                resource_version=thing.metadata.resource_version,
            )
        except NotFound:
            return
        log.info(f"Deleted {type(thing).__name__}", object=thing.metadata.name)

    def _release(self, claim: PersistentVolumeClaim) -> None:
        """Take our one finalizer off, if the claim is still exactly what was read (gate 5)."""
        index = claim.metadata.finalizers.index(PVC_PROTECTION)
        path = f"/metadata/finalizers/{index}"
        patch = [
            {"op": "test", "path": "/metadata/uid", "value": claim.metadata.uid},
            {
                "op": "test",
                "path": "/metadata/resourceVersion",
                "value": claim.metadata.resource_version,
            },
            {"op": "test", "path": path, "value": PVC_PROTECTION},
            {"op": "remove", "path": path},
        ]
        try:
            self._client.patch(PVCS, claim.metadata.key, patch, content_type=JSON_PATCH)
        except NotFound:
            return
        log.info("Released PersistentVolumeClaim", claim=claim.metadata.name)


def _deletion(plan: Plan) -> DeleteClaim | None:
    """Return the action that deletes a volume, if the plan has one."""
    return next((action for action in plan.actions if isinstance(action, DeleteClaim)), None)
