"""Events (events.k8s.io/v1): what a person would want explained, told once."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime
from functools import partial

import structlog

from evc.kube.client import Client
from evc.kube.resources import EVENTS_PATH
from evc.model.core import ObjectReference, PersistentVolumeClaim
from evc.model.errors import ApiError
from evc.model.evc import API_VERSION, KIND, EphemeralVolumeClaim
from evc.model.meta import Key
from evc.policy.plan import Note
from evc.policy.reasons import EventReason, Reason

CONTROLLER = "evc.dev/ephemeralvolumeclaim"
NOTE_LIMIT = 1000
"""Bytes; the API refuses notes of more than 1 kB."""
DECISIONS = (EventReason.DELETING, EventReason.EXPIRING, Reason.RETAINING)
"""What is told of each volume at least once, whoever dies meanwhile."""
DECISIONS_KEPT = 10_000
"""How many of them a process knows that it told."""

log = structlog.get_logger(__name__)


class Recorder:
    """Writes Events; losing one is logged and never stops the work it tells of.

    What tells of a DELETE is kept until the object's next visit, so that of a thousand
    that are due none waits for another's event.  That visit always comes, for the claim
    has changed; if the process ends before it, its successor has the event to `retell`.
    """

    def __init__(self, client: Client, instance: str, now: Callable[[], datetime]) -> None:
        self._client = client
        self._instance = instance
        self._now = now
        self._told: set[str] = set()
        """Uids of the objects whose decision this process told."""
        self._kept: defaultdict[Key, list[Callable[[], None]]] = defaultdict(list)
        self._lock = threading.Lock()

    def keep(self, note: Note, evc: EphemeralVolumeClaim, claim: PersistentVolumeClaim) -> None:
        """Record at the next `tell` for the object what happened to it now."""
        with self._lock:
            self._kept[evc.metadata.key].append(
                partial(self._record, note, evc, claim, self._now())
            )

    def tell(self, key: Key) -> None:
        """Record what was kept for the object of this key, which may be gone by now."""
        with self._lock:
            kept = self._kept.pop(key, ())
        for record in kept:
            record()

    def retell(
        self, note: Note, evc: EphemeralVolumeClaim, claim: PersistentVolumeClaim | None
    ) -> None:
        """Record the event of a decision unless this process did so before."""
        if evc.metadata.uid not in self._told:
            self.record(note, evc, claim)

    def record(
        self,
        note: Note,
        evc: EphemeralVolumeClaim | None,
        claim: PersistentVolumeClaim | None,
    ) -> None:
        """Record what happened to the object; the claim is named as related.

        When the object is gone, the event is about the claim it left.
        """
        self._record(note, evc, claim, self._now())

    def _record(
        self,
        note: Note,
        evc: EphemeralVolumeClaim | None,
        claim: PersistentVolumeClaim | None,
        time: datetime,
    ) -> None:
        about = _reference(evc, claim)
        if about is None:
            return
        body = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {
                # client-go's naming: the time makes it unique per object.
                "name": f"{about.name[:200].rstrip('-.')}.{int(time.timestamp() * 1e6):x}",
                "namespace": about.namespace,
            },
            "eventTime": time.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "reportingController": CONTROLLER,
            "reportingInstance": self._instance[:128],
            "type": note.type,
            "reason": str(note.reason),
            "action": note.action,
            "note": note.text.encode()[:NOTE_LIMIT].decode(errors="ignore"),
            "regarding": about,
        }
        if evc is not None and claim is not None:
            body["related"] = _reference(None, claim)
        log.info("Recorded event", reason=str(note.reason), note=note.text)
        try:
            self._client.post(EVENTS_PATH.format(namespace=about.namespace), body)
        except ApiError as error:
            log.warning("Could not record event", reason=str(note.reason), error=str(error))
            return
        if evc is not None and note.reason in DECISIONS:
            if len(self._told) >= DECISIONS_KEPT:
                self._told.clear()  # some are told twice
            self._told.add(evc.metadata.uid)


def _reference(
    evc: EphemeralVolumeClaim | None, claim: PersistentVolumeClaim | None
) -> ObjectReference | None:
    if evc is not None:
        meta = evc.metadata
        return ObjectReference(API_VERSION, KIND, meta.namespace, meta.name, meta.uid)
    if claim is None:
        return None
    of = claim.metadata
    return ObjectReference("v1", "PersistentVolumeClaim", of.namespace, of.name, of.uid)
