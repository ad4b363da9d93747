"""EphemeralVolumeClaim -> PersistentVolumeClaim, and whether a claim is ours."""

from __future__ import annotations

from typing import Any

import msgspec

from evc.model.core import PersistentVolumeClaim
from evc.model.evc import (
    API_VERSION,
    COMPLETED_PODS,
    HOLD,
    KIND,
    OWNER_NAME,
    OWNER_UID,
    EphemeralVolumeClaim,
)


def problem(evc: EphemeralVolumeClaim) -> str:
    """Return what is wrong with the object and how to mend it; "" if nothing is.

    The CRD refuses all this; what slipped past it must not be acted on.
    """
    selector = evc.spec.pod_selector
    if evc.malformed:
        return f"the object does not fit the API: {evc.malformed}"
    if not selector.match_labels and not selector.match_expressions:
        return "podSelector is empty and would designate every pod: name at least one label"
    for requirement in selector.match_expressions:
        if requirement.operator in ("In", "NotIn") and not requirement.values:
            return f"podSelector: {requirement.key} {requirement.operator} needs values"
    return ""


def manifest(evc: EphemeralVolumeClaim) -> dict[str, Any]:
    """Return the PersistentVolumeClaim to create, with our mark.

    The ownerReference lets the garbage collector delete it when the
    EphemeralVolumeClaim is deleted, with or without a running operator;
    ``whenDeleted: Retain`` leaves it out.
    """
    template = evc.spec.volume_claim_template
    meta = evc.metadata
    metadata: dict[str, Any] = {
        "name": evc.claim_name,
        "namespace": meta.namespace,
        "labels": template.metadata.labels | {"app.kubernetes.io/managed-by": "evc"},
        "annotations": template.metadata.annotations
        | {
            OWNER_UID: meta.uid,
            OWNER_NAME: meta.name,
            COMPLETED_PODS: evc.spec.completed_pods,
        },
    }
    if evc.spec.when_deleted != "Retain":
        metadata["ownerReferences"] = [
            {
                "apiVersion": API_VERSION,
                "kind": KIND,
                "name": meta.name,
                "uid": meta.uid,
                "controller": True,
            }
        ]
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": metadata,
        "spec": msgspec.to_builtins(template.spec),
    }


def ours(claim: PersistentVolumeClaim, evc: EphemeralVolumeClaim) -> bool:
    """Whether this claim is the one this object made.

    Its mark must name our UID, and our status must name its UID.  Between the CREATE
    and the first look at its answer (perhaps by another process after a crash) the
    status has only the name: written before the CREATE, while no claim of that name
    existed, and wiped when the CREATE was refused.  So a claim that is older than
    this object is never ours, whatever it is marked with.
    """
    recorded = evc.status.claim
    if recorded is None or claim.metadata.annotations.get(OWNER_UID) != evc.metadata.uid:
        return False
    if recorded.uid is not None:
        return recorded.uid == claim.metadata.uid
    made, asked = claim.metadata.creation_timestamp, evc.metadata.creation_timestamp
    return made is not None and asked is not None and made >= asked


def held_by_annotation(claim: PersistentVolumeClaim | None) -> bool:
    """Whether somebody put ``evc.dev/hold`` on the claim."""
    if claim is None:
        return False
    return claim.metadata.annotations.get(HOLD, "false") != "false"
