"""PVCs, changes and refusals for the tests of the guard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from e2e import manifests
from e2e.scenario import Json, Refused, Scenario

UID, NAME = "evc.dev/owner-uid", "evc.dev/owner-name"
HOLD, ADOPT_BY = "evc.dev/hold", "evc.dev/adopt-by"
MARK = {UID: "1", NAME: "scratch", "evc.dev/completed-pods": "Release", "evc.dev/request-id": "7"}
PROTECTION = "kubernetes.io/pvc-protection"
FOREIGN = "example.com/backup"


def owner(uid: str, kind: str = "EphemeralVolumeClaim", group: str = "evc.dev/v0") -> Json:
    """An ownerReference, by default of a version that nobody serves.

    Of one that is served the garbage collector finds out that there is no such owner, and
    deletes the PVC in the middle of the test.
    """
    return {"apiVersion": group, "kind": kind, "name": "scratch", "uid": uid}


def annotated(annotations: dict[str, Any], **metadata: Any) -> Json:
    """A merge patch of a PVC's metadata."""
    return {"metadata": {"annotations": annotations} | metadata}


def a_pvc(
    scenario: Scenario,
    annotations: dict[str, str] | None = None,
    *,
    spec: Json | None = None,
    **metadata: Any,
) -> Json:
    """A PVC that an administrator made, of a class that never binds, and what it became."""
    manifest = manifests.pvc("scratch")
    manifest["spec"] |= {"storageClassName": "no-such-class"} | (spec or {})
    manifest["metadata"] |= {"annotations": annotations or {}} | metadata
    return scenario.create("pvc", manifest)


def refusal(call: Callable[[], object]) -> str:
    """What the API server says to a request it must refuse."""
    with pytest.raises(Refused) as refused:
        call()
    return str(refused.value)
