"""EphemeralVolumeClaim -> PersistentVolumeClaim, and whether a claim is ours."""

from __future__ import annotations

from typing import Any

import msgspec

from evc.model.core import PersistentVolumeClaim
from evc.model.evc import (
    ADOPT_BY,
    API_VERSION,
    COMPLETED_PODS,
    FIELD_MANAGER,
    HOLD,
    KIND,
    MANAGED_BY,
    MARKS,
    OWNER_NAME,
    OWNER_UID,
    REQUEST_ID,
    RESERVED_KEYS,
    ClaimReference,
    EphemeralVolumeClaim,
)
from evc.policy.quantity import parse


def problem(evc: EphemeralVolumeClaim) -> str:
    """Return what is wrong with the object and how to mend it; "" if nothing is.

    The CRD refuses all this; what slipped past it must not be acted on.
    """
    selector = evc.spec.pod_selector
    if evc.malformed:
        return f"the object does not fit the API: {evc.malformed}"
    if (evc.spec.volume_claim_template is None) == (evc.spec.existing_claim_name is None):
        return "give either volumeClaimTemplate or existingClaimName, and not both"
    if not selector.match_labels and not selector.match_expressions:
        return "podSelector is empty and would designate every pod: name at least one label"
    for requirement in selector.match_expressions:
        if requirement.operator in ("In", "NotIn") and not requirement.values:
            return f"podSelector: {requirement.key} {requirement.operator} needs values"
    if evc.spec.expiry_seconds < evc.spec.minimum_wait_seconds:
        return "expirySeconds is less than minimumWaitSeconds: raise expirySeconds"
    template = evc.spec.volume_claim_template
    for key in (
        *(template.metadata.labels if template is not None else ()),
        *(template.metadata.annotations if template is not None else ()),
    ):
        if RESERVED_KEYS.match(key):
            return f"the template's key {key} is reserved: use a domain of your own"
    return ""


def manifest(evc: EphemeralVolumeClaim, intent: ClaimReference) -> dict[str, Any]:
    """Return the PersistentVolumeClaim to create, with our mark and the intent's request id.

    The ownerReference lets the garbage collector delete it when the
    EphemeralVolumeClaim is deleted, with or without a running operator;
    ``whenDeleted: Retain`` leaves it out.
    """
    template = evc.spec.volume_claim_template
    assert template is not None  # `problem` was asked first
    metadata: dict[str, Any] = {
        "name": evc.claim_name,
        "namespace": evc.metadata.namespace,
        "labels": wanted_labels(evc),
        "annotations": wanted_annotations(evc) | {REQUEST_ID: intent.request_id},
    }
    if evc.owns:
        metadata["ownerReferences"] = [owner_reference(evc)]
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": metadata,
        "spec": msgspec.to_builtins(template.spec),
    }


def wanted_labels(evc: EphemeralVolumeClaim) -> dict[str, str]:
    """Return the template's labels and ours."""
    template = evc.spec.volume_claim_template
    return (template.metadata.labels if template is not None else {}) | {MANAGED_BY: "evc"}


def wanted_annotations(evc: EphemeralVolumeClaim) -> dict[str, str]:
    """Return the template's annotations and our mark."""
    template = evc.spec.volume_claim_template
    return (template.metadata.annotations if template is not None else {}) | mark(evc)


def mark(evc: EphemeralVolumeClaim) -> dict[str, str]:
    """Return the annotations by which a claim is known to be this object's."""
    return {
        OWNER_UID: evc.metadata.uid,
        OWNER_NAME: evc.metadata.name,
        COMPLETED_PODS: evc.spec.completed_pods,
    }


def owner_reference(evc: EphemeralVolumeClaim) -> dict[str, Any]:
    """Return the reference that makes the garbage collector delete the claim with us."""
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "name": evc.metadata.name,
        "uid": evc.metadata.uid,
        "controller": True,
    }


def remark(claim: PersistentVolumeClaim, evc: EphemeralVolumeClaim) -> dict[str, Any] | None:
    """Return the merge patch that makes mark and ownership what the spec says; None if they are.

    It takes over an existing claim, and follows a change of completedPods or whenDeleted:
    before Retain helps, the ownerReference must be off.
    """
    owned = any(o.uid == evc.metadata.uid for o in claim.metadata.owner_references)
    if owned == evc.owns and mark(evc).items() <= claim.metadata.annotations.items():
        return None
    others = [
        msgspec.to_builtins(o) for o in claim.metadata.owner_references if o.uid != evc.metadata.uid
    ]
    references = [*others, owner_reference(evc)] if evc.owns else others
    return {"metadata": _exactly(claim) | {"annotations": mark(evc), "ownerReferences": references}}


def letting_go(claim: PersistentVolumeClaim, evc: EphemeralVolumeClaim) -> dict[str, Any]:
    """Return the merge patch that takes our marks and ownership off, in this version only.

    A mark that somebody rewrote is no longer ours to take off; the ownerReference is.
    """
    uid = evc.metadata.uid
    others = [msgspec.to_builtins(o) for o in claim.metadata.owner_references if o.uid != uid]
    metadata: dict[str, Any] = _exactly(claim) | {"ownerReferences": others}
    if claim.metadata.annotations.get(OWNER_UID) == uid:
        metadata |= _unmarked(claim, evc.metadata.name)
    return {"metadata": metadata}


def disowning(claim: PersistentVolumeClaim) -> dict[str, Any] | None:
    """Return the merge patch that takes the mark of an object that is gone off its claim.

    The owner's consent goes with it: whoever is to delete a claim that was kept must be
    given it anew.  None if the garbage collector is to delete the claim, or if the mark is
    not ours to take off.
    """
    uid = claim.metadata.annotations.get(OWNER_UID)
    if not marked_by_us(claim) or any(o.uid == uid for o in claim.metadata.owner_references):
        return None
    name = claim.metadata.annotations.get(OWNER_NAME, claim.metadata.name)
    return {"metadata": _exactly(claim) | _unmarked(claim, name)}


def left_behind(claim: PersistentVolumeClaim) -> bool:
    """Whether a marked claim needs help once its object is gone."""
    return claim.metadata.deleting or disowning(claim) is not None


def _unmarked(claim: PersistentVolumeClaim, owner: str) -> dict[str, Any]:
    gone: dict[str, None] = dict.fromkeys(MARKS)
    if claim.metadata.annotations.get(ADOPT_BY) == owner:
        gone[ADOPT_BY] = None
    metadata: dict[str, Any] = {"annotations": gone}
    if claim.metadata.labels.get(MANAGED_BY) == "evc":
        metadata["labels"] = {MANAGED_BY: None}
    return metadata


def marked_by_us(claim: PersistentVolumeClaim) -> bool:
    """Whether the mark was put there by us, as managedFields say, and not by somebody's hand."""
    return OWNER_UID in claim.metadata.annotations and any(
        entry.manager == FIELD_MANAGER and f"f:{OWNER_UID}" in entry.fields.metadata.annotations
        for entry in claim.metadata.managed_fields
    )


def _exactly(claim: PersistentVolumeClaim) -> dict[str, Any]:
    return {"uid": claim.metadata.uid, "resourceVersion": claim.metadata.resource_version}


def update(claim: PersistentVolumeClaim, evc: EphemeralVolumeClaim) -> dict[str, Any] | None:
    """Return what to server-side apply so that the claim follows its template; None if it does.

    Only what may change: labels and annotations (with those taken off that we own and the
    template no longer has), the requested size, and the VolumeAttributesClass.
    """
    template = evc.spec.volume_claim_template
    if template is None or not (metadata_differs(claim, evc) or _spec_differs(claim, evc)):
        return None
    annotations = wanted_annotations(evc)
    if REQUEST_ID in claim.metadata.annotations:
        annotations[REQUEST_ID] = claim.metadata.annotations[REQUEST_ID]
    spec: dict[str, Any] = {"resources": {"requests": {"storage": _size(claim, evc)}}}
    if template.spec.volume_attributes_class_name is not None:
        spec["volumeAttributesClassName"] = template.spec.volume_attributes_class_name
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": claim.metadata.name,
            "namespace": claim.metadata.namespace,
            **_exactly(claim),
            "labels": wanted_labels(evc),
            "annotations": annotations,
        },
        "spec": spec,
    }


def metadata_differs(claim: PersistentVolumeClaim, evc: EphemeralVolumeClaim) -> bool:
    """Whether the claim lacks a label or annotation it should have, or has one of ours too many."""
    labels, annotations = wanted_labels(evc), wanted_annotations(evc)
    owned = [e.fields.metadata for e in claim.metadata.managed_fields if e.manager == FIELD_MANAGER]
    return (
        not labels.items() <= claim.metadata.labels.items()
        or not annotations.items() <= claim.metadata.annotations.items()
        or any(not _keys(keys.labels) <= labels.keys() for keys in owned)
        or any(not _keys(keys.annotations) <= {*annotations, REQUEST_ID} for keys in owned)
    )


def _spec_differs(claim: PersistentVolumeClaim, evc: EphemeralVolumeClaim) -> bool:
    template = evc.spec.volume_claim_template
    wanted = template.spec.volume_attributes_class_name if template is not None else None
    return _size(claim, evc) != claim.spec.resources.requests.storage or wanted not in (
        None,
        claim.spec.volume_attributes_class_name,
    )


def _keys(owned: dict[str, Any]) -> set[str]:
    return {key.removeprefix("f:") for key in owned if key.startswith("f:")}


def _size(claim: PersistentVolumeClaim, evc: EphemeralVolumeClaim) -> str:
    """Return the template's size if that is more than the claim has asked for."""
    template, present = evc.spec.volume_claim_template, claim.spec.resources.requests.storage
    wanted = template.spec.resources.requests.storage if template is not None else present
    more, now = parse(wanted), parse(present)
    return wanted if more is not None and now is not None and more > now else present


def ours(claim: PersistentVolumeClaim, evc: EphemeralVolumeClaim) -> bool:
    """Whether this claim is the one this object made.

    Its mark must name our UID, and our status must name its UID.  Between the CREATE
    and the first look at its answer (perhaps by another process after a crash) the
    status has a request id instead, written before the CREATE, and the claim must bear
    it.  A claim that is older than this object is never ours, whatever it is marked
    with; but for one that its owner gave to us by annotation.
    """
    recorded = evc.status.claim
    if recorded is None or claim.metadata.annotations.get(OWNER_UID) != evc.metadata.uid:
        return False
    made, asked = claim.metadata.creation_timestamp, evc.metadata.creation_timestamp
    if not evc.adopts and (made is None or asked is None or made < asked):
        return False
    if recorded.uid is not None:
        return recorded.uid == claim.metadata.uid
    if evc.adopts:
        return claim.metadata.annotations.get(ADOPT_BY) == evc.metadata.name
    request = claim.metadata.annotations.get(REQUEST_ID)
    return request is not None and request == recorded.request_id


def held_by_annotation(claim: PersistentVolumeClaim | None) -> bool:
    """Whether somebody put ``evc.dev/hold`` on the claim."""
    if claim is None:
        return False
    return claim.metadata.annotations.get(HOLD, "false") != "false"
