"""Makes a claim follow its changed template, as far as the API server lets it."""

from __future__ import annotations

import threading
from typing import Any

import structlog

from evc.controller.events import Recorder
from evc.controller.gather import OwnWrites
from evc.kube.client import Client
from evc.kube.resources import PVCS
from evc.model.core import PersistentVolumeClaim
from evc.model.errors import Forbidden, Invalid
from evc.model.evc import EphemeralVolumeClaim
from evc.policy.plan import Note
from evc.policy.reasons import EventReason
from evc.policy.template import metadata_differs

REFUSALS_KEPT = 10_000

log = structlog.get_logger("evc")


class UpdateClaims:
    """Applies template changes; a class that cannot grow must not stop a claim's life.

    A refused change of size or class is told once, does not keep labels from changing,
    and is tried again when the template or the claim's phase changes (an unbound claim
    cannot grow yet).
    """

    def __init__(self, client: Client, writes: OwnWrites, recorder: Recorder) -> None:
        self._client = client
        self._writes = writes
        self._recorder = recorder
        self._lock = threading.Lock()
        self._refused: dict[tuple[str, int, str], None] = {}

    def __call__(
        self,
        claim: PersistentVolumeClaim,
        manifest: dict[str, Any],
        evc: EphemeralVolumeClaim,
    ) -> None:
        """Apply all of it, or, where the spec is refused, the metadata alone."""
        attempt = (claim.metadata.uid, evc.metadata.generation, claim.status.phase)
        metadata = {name: value for name, value in manifest.items() if name != "spec"}
        with self._lock:
            refused = attempt in self._refused
        if refused:
            if metadata_differs(claim, evc):
                self._apply(claim, metadata)
            return
        try:
            self._apply(claim, manifest)
        except (Invalid, Forbidden) as error:
            with self._lock:
                if len(self._refused) >= REFUSALS_KEPT:
                    self._refused.clear()
                self._refused[attempt] = None
            text = f"could not update PersistentVolumeClaim {claim.metadata.name}: {error}"
            note = Note("Warning", EventReason.UPDATE_REFUSED, "Update", text)
            self._recorder.record(note, evc, claim)
            if metadata_differs(claim, evc):
                raise  # it follows at the next look, at the version there is then

    def _apply(self, claim: PersistentVolumeClaim, manifest: dict[str, Any]) -> None:
        updated = self._client.apply(PVCS, claim.metadata.key, manifest)
        if updated.metadata.resource_version != claim.metadata.resource_version:
            self._writes.wrote_pvc(updated)
            log.info("Updated PersistentVolumeClaim", claim=claim.metadata.name)
