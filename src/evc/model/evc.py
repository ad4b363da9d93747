"""The EphemeralVolumeClaim API, `evc.dev/v1alpha1`.

These structs are the single source: the CustomResourceDefinition in `config/crd`
is generated from them (`evc.model.schema`), with the descriptions, bounds and CEL
rules written here as field metadata.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from evc.model.core import LabelSelector
from evc.model.meta import Condition, ObjectMeta, Record, Time

GROUP = "evc.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "EphemeralVolumeClaim"
PLURAL = "ephemeralvolumeclaims"
FIELD_MANAGER = "evc"
"""Our name in managedFields, by which server-side apply knows what is ours to take off."""

OWNER_UID = f"{GROUP}/owner-uid"
"""PVC annotation, our mark: the UID of the EphemeralVolumeClaim that made or took it."""
OWNER_NAME = f"{GROUP}/owner-name"
"""PVC annotation, part of the mark: that object's name."""
COMPLETED_PODS = f"{GROUP}/completed-pods"
"""PVC annotation, part of the mark: its ``completedPods``, for when it is gone first."""
HOLD = f"{GROUP}/hold"
"""PVC annotation anyone with rights on the PVC may set: any value but "false" stops deletion."""
ADOPT_BY = f"{GROUP}/adopt-by"
"""PVC annotation by which its owner lets the EphemeralVolumeClaim of that name take it over."""
MANAGED_BY = "app.kubernetes.io/managed-by"
"""PVC label on what we made, for people to list by; nothing is decided on it."""
REQUEST_ID = f"{GROUP}/request-id"
"""PVC annotation, part of the mark: which recorded intent this claim was made for."""
MARKS = (OWNER_UID, OWNER_NAME, COMPLETED_PODS, REQUEST_ID)

RESERVED_KEYS = re.compile(
    "^(([^/]*[.])?kubernetes[.]io|([^/]*[.])?k8s[.]io|([^/]*[.])?evc[.]dev|"
    "([^/]*[.])?argoproj[.]io)/"
)


def _cel(*rules: tuple[str, str]) -> dict[str, Any]:
    """Return the schema extension for CEL rules given as (expression, message)."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": text} for rule, text in rules]}


_NEW_OBJECT = "delete this EphemeralVolumeClaim and create another"

Seconds = Annotated[int, Meta(ge=0, le=315_360_000)]
"""Up to ten years."""
UserLabels = Annotated[
    dict[str, str],
    Meta(
        extra_json_schema={
            "maxProperties": 32,
            **_cel(
                (
                    f"self.all(key, !key.matches('{RESERVED_KEYS.pattern}'))",
                    "keys under kubernetes.io, k8s.io, evc.dev and argoproj.io are reserved:"
                    " use a domain of your own",
                )
            ),
        }
    ),
]


class ClaimTemplateMeta(Record, frozen=True):
    """Labels and annotations the PersistentVolumeClaim will carry."""

    labels: UserLabels = {}
    annotations: UserLabels = {}


class StorageRequest(Record, frozen=True):
    """The size asked for."""

    storage: Annotated[
        str,
        Meta(
            description="How much space, as a quantity such as 500Gi. It can grow, not shrink.",
            max_length=32,
            extra_json_schema=_cel(
                (
                    "isQuantity(self) && quantity(self).isGreaterThan(quantity('0'))",
                    "must be a quantity above zero, such as 500Gi",
                ),
                (
                    "!isQuantity(self) || !isQuantity(oldSelf)"
                    " || quantity(self).compareTo(quantity(oldSelf)) >= 0",
                    "a volume can grow but not shrink",
                ),
            ),
        ),
    ]


class ClaimResources(Record, frozen=True):
    """Resources of the volume."""

    requests: StorageRequest


class DataSource(Record, frozen=True):
    """An object of the same namespace to fill the volume from (snapshot, claim, populator)."""

    kind: str
    name: str
    api_group: str | None = None


class ClaimTemplateSpec(Record, frozen=True):
    """The allowed part of a PersistentVolumeClaim's spec.

    ``volumeName`` and ``selector`` are left out on purpose: they could pin
    somebody else's volume, which would then be deleted.
    """

    access_modes: Annotated[
        tuple[Literal["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"], ...],
        Meta(min_length=1, max_length=4, extra_json_schema={"x-kubernetes-list-type": "set"}),
    ]
    resources: ClaimResources
    storage_class_name: Annotated[str | None, Meta(description="Absent: the default class.")] = None
    volume_mode: Literal["Filesystem", "Block"] | None = None
    volume_attributes_class_name: str | None = None
    data_source: DataSource | None = None
    data_source_ref: DataSource | None = None


_FIXED_FIELDS = _cel(
    *(
        (
            f"has(self.{field}) == has(oldSelf.{field}) && "
            f"(!has(self.{field}) || self.{field} == oldSelf.{field})",
            f"{field} cannot be changed: {_NEW_OBJECT}",
        )
        for field in (
            "accessModes",
            "storageClassName",
            "volumeMode",
            "dataSource",
            "dataSourceRef",
        )
    )
)


class ClaimTemplate(Record, frozen=True):
    """What the PersistentVolumeClaim will look like; its name is the object's own."""

    spec: Annotated[ClaimTemplateSpec, Meta(extra_json_schema=_FIXED_FIELDS)]
    metadata: ClaimTemplateMeta = ClaimTemplateMeta()


Selector = Annotated[
    LabelSelector,
    Meta(
        description="Which pods of this namespace the volume is for.",
        extra_json_schema=_cel(
            (
                "(has(self.matchLabels) && size(self.matchLabels) > 0) ||"
                " (has(self.matchExpressions) && size(self.matchExpressions) > 0)",
                "an empty podSelector would designate every pod: name at least one label",
            ),
            (
                "!has(self.matchExpressions) || self.matchExpressions.all(e,"
                " (e.operator in ['In', 'NotIn']) == (has(e.values) && size(e.values) > 0))",
                "operators In and NotIn need values, Exists and DoesNotExist take none",
            ),
            ("self == oldSelf", f"podSelector cannot be changed: {_NEW_OBJECT}"),
        ),
    ),
]


class OutcomeRule(Record, frozen=True):
    """What to do with the volume when its work ended this way."""

    action: Annotated[
        Literal["Delete", "Retain"],
        Meta(description="Retain keeps the volume and takes our marks and ownership off it."),
    ] = "Delete"
    grace_period_seconds: Annotated[
        Seconds | None, Meta(description="Instead of the spec's gracePeriodSeconds.")
    ] = None


class EphemeralVolumeClaimSpec(Record, frozen=True):
    """What to provide, for whom, and when it is over."""

    pod_selector: Selector
    volume_claim_template: Annotated[
        ClaimTemplate | None, Meta(description="The PersistentVolumeClaim to make.")
    ] = None
    existing_claim_name: Annotated[
        Annotated[str, Meta(min_length=1, max_length=253)] | None,
        Meta(
            description=(
                "Instead of a template: the PersistentVolumeClaim to take over and delete when"
                " the work is over. Its owner must have annotated it with"
                " evc.dev/adopt-by=NAME, where NAME is this object's name."
            )
        ),
    ] = None
    minimum_wait_seconds: Annotated[
        Seconds, Meta(description="Never delete earlier than this after creation.")
    ] = 60
    expiry_seconds: Annotated[
        Seconds,
        Meta(description="Delete this long after creation if no designated pod ever used it."),
    ] = 86_400
    grace_period_seconds: Annotated[
        Seconds,
        Meta(description="Time from the end of the last designated pod to deletion."),
    ] = 30
    on_success: Annotated[
        OutcomeRule | None, Meta(description="When the last designated work succeeded.")
    ] = None
    on_failure: Annotated[
        OutcomeRule | None, Meta(description="When the last designated work failed.")
    ] = None
    on_expiry: Annotated[
        OutcomeRule | None,
        Meta(description="When no designated pod ever used it; its grace period starts at expiry."),
    ] = None
    completed_pods: Annotated[
        Literal["Release", "Delete", "Wait"],
        Meta(
            description=(
                "A completed pod object keeps a deleted PersistentVolumeClaim Terminating"
                " (kubernetes#120756). Release: free it once it is provably unmounted."
                " Delete: delete those completed designated pods. Wait: do neither and"
                " report which pods keep it."
            )
        ),
    ] = "Release"
    when_deleted: Annotated[
        Literal["Delete", "Retain"] | None,
        Meta(
            description=(
                "What deleting this object does to the PersistentVolumeClaim. Absent means Delete"
                " for a volume made from the template and Retain for one that was taken over."
            )
        ),
    ] = None
    hold: Annotated[bool, Meta(description="While true, nothing is deleted.")] = False
    ttl_seconds_after_finished: Annotated[
        Seconds,
        Meta(description="How long this object stays as a record after it finished."),
    ] = 0


SPEC_RULES = _cel(
    (
        "self.expirySeconds >= self.minimumWaitSeconds",
        "expirySeconds must be at least minimumWaitSeconds: raise expirySeconds",
    ),
    (
        "has(self.volumeClaimTemplate) != has(self.existingClaimName)",
        "give either volumeClaimTemplate or existingClaimName, and not both",
    ),
    (
        "has(self.existingClaimName) == has(oldSelf.existingClaimName)"
        " && (!has(self.existingClaimName) || self.existingClaimName == oldSelf.existingClaimName)",
        f"existingClaimName cannot be changed: {_NEW_OBJECT}",
    ),
)


class ClaimReference(Record, frozen=True):
    """The PersistentVolumeClaim; without ``uid`` it was asked for but not seen yet."""

    name: str
    uid: str | None = None
    request_id: Annotated[
        str | None, Meta(description="Of the request to create it, until its uid is known.")
    ] = None
    volume_name: str | None = None
    capacity: str | None = None
    storage_class_name: str | None = None


class OwnerSeen(Record, frozen=True):
    """A controller of designated pods that is not built into Kubernetes, to be asked."""

    api_version: str
    kind: str
    name: str
    uid: str


class HeldBy(Record, frozen=True):
    """Who keeps the volume: how many, the first five as Kind/name, and that as one text."""

    count: int
    names: tuple[str, ...] = ()
    summary: str = ""


Outcome = Literal["Succeeded", "Failed", "Expired"]


class EphemeralVolumeClaimStatus(Record, frozen=True):
    """What the operator has seen and decided."""

    observed_generation: int = 0
    conditions: Annotated[
        tuple[Condition, ...],
        Meta(
            extra_json_schema={
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["type"],
            }
        ),
    ] = ()
    claim: ClaimReference | None = None
    first_used_time: Annotated[
        Time | None, Meta(description="When a container of a designated pod first started.")
    ] = None
    finished_time: Annotated[
        Time | None, Meta(description="When the last designated pod finished for good.")
    ] = None
    deletion_time: Annotated[
        Time | None,
        Meta(description="When the volume will be deleted; absent while something holds it."),
    ] = None
    outcome: Annotated[
        Outcome | None,
        Meta(description="How the work ended; Expired if there never was any."),
    ] = None
    held_by: HeldBy | None = None
    owners: Annotated[
        tuple[OwnerSeen, ...],
        Meta(
            description=(
                "Owners of designated pods that must say that they are over (a JobSet, a"
                " Workflow); kept here because their pods may be gone by then."
            )
        ),
    ] = ()

    def condition(self, kind: str) -> Condition | None:
        """Return the condition of that type, if it was ever written."""
        return next((c for c in self.conditions if c.type == kind), None)


class EphemeralVolumeClaim(Record, frozen=True):
    """A scratch volume for designated pods that goes away when their work is over."""

    metadata: ObjectMeta
    spec: EphemeralVolumeClaimSpec
    status: EphemeralVolumeClaimStatus = EphemeralVolumeClaimStatus()
    malformed: str = ""
    """Why the stored object does not fit this API; never on the wire."""

    @property
    def claim_name(self) -> str:
        """Name of the PersistentVolumeClaim: what pods write as claimName."""
        return self.spec.existing_claim_name or self.metadata.name

    @property
    def adopts(self) -> bool:
        """Whether it takes over a claim instead of making one."""
        return self.spec.existing_claim_name is not None

    @property
    def owns(self) -> bool:
        """Whether the claim is to be deleted together with this object."""
        default = "Retain" if self.adopts else "Delete"
        return (self.spec.when_deleted or default) == "Delete"


class _Rescued(Record, frozen=True):
    metadata: ObjectMeta
    status: Any = None


def rescue(raw: bytes, error: str) -> EphemeralVolumeClaim:
    """Return a claim that only says what is wrong with it.

    For objects stored before a schema change or written around the API server:
    they must become a Stalled condition, not a crash loop.
    """
    found = msgspec.json.decode(raw, type=_Rescued)
    try:
        status = msgspec.convert(found.status or {}, EphemeralVolumeClaimStatus)
    except msgspec.ValidationError:
        status = EphemeralVolumeClaimStatus()
    spec = EphemeralVolumeClaimSpec(LabelSelector())
    return EphemeralVolumeClaim(found.metadata, spec, status, malformed=error)
