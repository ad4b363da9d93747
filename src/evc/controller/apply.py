"""Plan -> API calls: status first, then actions, then events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec

from evc.controller.events import Recorder
from evc.controller.gather import OwnWrites
from evc.kube.client import JSON_PATCH, Client
from evc.kube.resources import CLAIMS, PODS, PVCS
from evc.model.core import PVC_PROTECTION, PersistentVolumeClaim
from evc.model.errors import AlreadyExists, Forbidden, Invalid, NotFound
from evc.model.evc import API_VERSION, KIND, EphemeralVolumeClaim, EphemeralVolumeClaimStatus
from evc.policy.decide import refused
from evc.policy.observed import Observed
from evc.policy.plan import (
    Action,
    CreateClaim,
    DeleteClaim,
    DeletePod,
    DeleteRecord,
    Plan,
    ReleaseClaim,
)
from evc.policy.world import World


class NotConfirmed(Exception):
    """A destructive plan was not made from a live read: a bug, and nothing was done."""


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
        may_destroy: Callable[[], bool],
        now: Callable[[], datetime],
    ) -> None:
        self._client = client
        self._writes = writes
        self._recorder = recorder
        self._may_destroy = may_destroy
        self._now = now

    def __call__(self, observed: Observed, plan: Plan) -> None:
        """Write the status with the version that was read (gate 3), then act."""
        if plan.irreversible and not (observed.live and self._may_destroy()):
            raise NotConfirmed("a destructive plan needs a live read and leadership")
        evc = observed.evc
        if plan.status is not None and evc is not None:
            evc = self._write_status(evc, plan.status)
        for action in plan.actions:
            self._act(action, observed, evc)
        for note in plan.notes:
            self._recorder.record(note, evc, observed.claim)

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
        return written

    def _act(self, action: Action, observed: Observed, evc: EphemeralVolumeClaim | None) -> None:
        match action:
            case CreateClaim(manifest):
                self._create(manifest, observed, evc)
            case DeleteClaim(claim):
                self._delete(PVCS, claim)
            case ReleaseClaim(claim):
                self._release(claim)
            case DeletePod(pod):
                self._delete(PODS, pod)
            case DeleteRecord(record):
                self._delete(CLAIMS, record)

    def _create(
        self, manifest: dict[str, Any], observed: Observed, evc: EphemeralVolumeClaim | None
    ) -> None:
        assert evc is not None  # only an existing object asks for a claim
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
