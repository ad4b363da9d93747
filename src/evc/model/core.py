"""Kubernetes' own types, trimmed to the fields that decide about a claim's life."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from evc.model.meta import GeneratedMeta, Meta, ObjectMeta, Record

SUCCEEDED = "Succeeded"
FAILED = "Failed"
PVC_PROTECTION = "kubernetes.io/pvc-protection"


class LabelSelectorRequirement(Record, frozen=True):
    """metav1.LabelSelectorRequirement; In and NotIn need values, the others take none."""

    key: str
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: tuple[str, ...] = ()


class LabelSelector(Record, frozen=True):
    """metav1.LabelSelector; every label and every expression must match."""

    match_labels: dict[str, str] = {}
    match_expressions: tuple[LabelSelectorRequirement, ...] = ()


class ClaimSource(Record, frozen=True):
    """The part of a pod volume that names a PersistentVolumeClaim."""

    claim_name: str


class Volume(Record, frozen=True):
    """A pod volume; only those backed by a claim matter here."""

    name: str
    persistent_volume_claim: ClaimSource | None = None


class ContainerRunning(Record, frozen=True):
    """A container that runs now."""

    started_at: datetime | None = None


class ContainerTerminated(Record, frozen=True):
    """A container that ended; times come from the kubelet."""

    started_at: datetime | None = None
    finished_at: datetime | None = None


class ContainerState(Record, frozen=True):
    """Exactly one of running, terminated, or (left out here) waiting."""

    running: ContainerRunning | None = None
    terminated: ContainerTerminated | None = None


class ContainerStatus(Record, frozen=True):
    """How one container is, and how its previous run ended."""

    state: ContainerState = ContainerState()
    last_state: ContainerState = ContainerState()


class PodSpec(Record, frozen=True):
    """The volumes and the node (empty: not scheduled)."""

    node_name: str = ""
    volumes: tuple[Volume, ...] = ()

    @property
    def claim_names(self) -> tuple[str, ...]:
        """Names of the PersistentVolumeClaims referenced, scheduled or not."""
        return tuple(
            volume.persistent_volume_claim.claim_name
            for volume in self.volumes
            if volume.persistent_volume_claim is not None
        )


class PodStatus(Record, frozen=True):
    """Phase and container states, init containers apart."""

    phase: str = "Pending"
    container_statuses: tuple[ContainerStatus, ...] = ()
    init_container_statuses: tuple[ContainerStatus, ...] = ()


class Pod(Record, frozen=True):
    """v1 Pod."""

    metadata: Meta
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @property
    def terminal(self) -> bool:
        """Succeeded or Failed: its containers will never run again."""
        return self.status.phase in (SUCCEEDED, FAILED)

    @property
    def claim_names(self) -> tuple[str, ...]:
        """Names of the PersistentVolumeClaims the pod references, scheduled or not."""
        return self.spec.claim_names


class PodTemplateMeta(Record, frozen=True):
    """Labels the pods made from a template will carry."""

    labels: dict[str, str] = {}


class PodTemplate(Record, frozen=True):
    """v1 PodTemplateSpec."""

    metadata: PodTemplateMeta = PodTemplateMeta()
    spec: PodSpec = PodSpec()


class JobSpec(Record, frozen=True):
    """The pods a Job makes, and whether it is paused."""

    template: PodTemplate = PodTemplate()
    suspend: bool | None = None


class JobCondition(Record, frozen=True):
    """batch/v1 JobCondition (older than metav1.Condition: no observedGeneration)."""

    type: str
    status: str
    reason: str = ""
    last_transition_time: datetime | None = None


class JobStatus(Record, frozen=True):
    """Counts of pods and how the Job ended."""

    active: int = 0
    succeeded: int = 0
    failed: int = 0
    start_time: datetime | None = None
    completion_time: datetime | None = None
    conditions: tuple[JobCondition, ...] = ()


class Job(Record, frozen=True):
    """batch/v1 Job."""

    metadata: Meta
    spec: JobSpec = JobSpec()
    status: JobStatus = JobStatus()

    @property
    def template(self) -> PodTemplate:
        """What its pods are made from."""
        return self.spec.template


class WorkloadSpec(Record, frozen=True):
    """How many pods of which shape; a DaemonSet has no replicas."""

    replicas: int | None = None
    template: PodTemplate | None = None


class WorkloadStatus(Record, frozen=True):
    """What a DaemonSet's controller counted; None for the other kinds."""

    desired_number_scheduled: int | None = None
    observed_generation: int = 0


class Workload(Record, frozen=True):
    """Base of Kubernetes' own makers of pods that run until somebody scales them down."""

    metadata: GeneratedMeta
    spec: WorkloadSpec = WorkloadSpec()
    status: WorkloadStatus = WorkloadStatus()

    @property
    def kind(self) -> str:
        """Its kind, which the items of a list do not say."""
        return type(self).__name__

    @property
    def template(self) -> PodTemplate:
        """What its pods are made from; a ReplicationController may have none."""
        return self.spec.template or PodTemplate()


class Deployment(Workload, frozen=True):
    """apps/v1 Deployment."""


class ReplicaSet(Workload, frozen=True):
    """apps/v1 ReplicaSet."""


class StatefulSet(Workload, frozen=True):
    """apps/v1 StatefulSet."""


class DaemonSet(Workload, frozen=True):
    """apps/v1 DaemonSet."""


class ReplicationController(Workload, frozen=True):
    """v1 ReplicationController."""


class Unstructured(Record, frozen=True):
    """An object of a kind we have no type for; only its status is looked at."""

    metadata: ObjectMeta
    status: dict[str, Any] = {}


class ResourceList(Record, frozen=True):
    """The one resource a volume has."""

    storage: str = ""


class ResourceRequirements(Record, frozen=True):
    """What a claim asks for."""

    requests: ResourceList = ResourceList()


class ClaimSpec(Record, frozen=True):
    """v1 PersistentVolumeClaimSpec as the API server stored it."""

    volume_name: str = ""
    storage_class_name: str | None = None
    volume_attributes_class_name: str | None = None
    resources: ResourceRequirements = ResourceRequirements()


class ClaimCondition(Record, frozen=True):
    """v1 PersistentVolumeClaimCondition."""

    type: str
    status: str
    last_transition_time: datetime | None = None


class ClaimStatus(Record, frozen=True):
    """Phase (Pending, Bound, Lost), real size, and whether pods reference it (Unused)."""

    phase: str = "Pending"
    capacity: ResourceList = ResourceList()
    conditions: tuple[ClaimCondition, ...] = ()


class OwnedKeys(Record, frozen=True, rename={"labels": "f:labels", "annotations": "f:annotations"}):
    """Which labels and annotations a field manager owns; keys are prefixed with f:."""

    labels: dict[str, dict[str, str]] = {}
    annotations: dict[str, dict[str, str]] = {}


class OwnedFields(Record, frozen=True, rename={"metadata": "f:metadata"}):
    """The metadata part of FieldsV1."""

    metadata: OwnedKeys = OwnedKeys()


class ManagedFields(Record, frozen=True, rename={"fields": "fieldsV1"}):
    """metav1.ManagedFieldsEntry: who set which fields, and how (Apply or Update)."""

    manager: str = ""
    operation: str = ""
    fields: OwnedFields = OwnedFields()


class ClaimMeta(ObjectMeta, frozen=True):
    """Metadata with field ownership, which tells what to take off when a template changes."""

    managed_fields: tuple[ManagedFields, ...] = ()


class PersistentVolumeClaim(Record, frozen=True):
    """v1 PersistentVolumeClaim."""

    metadata: ClaimMeta
    spec: ClaimSpec = ClaimSpec()
    status: ClaimStatus = ClaimStatus()


class CSISource(Record, frozen=True):
    """How a CSI driver knows a volume."""

    driver: str
    volume_handle: str


class VolumeSpec(Record, frozen=True):
    """The source of a PersistentVolume, if it is a CSI one."""

    csi: CSISource | None = None


class PersistentVolume(Record, frozen=True):
    """v1 PersistentVolume."""

    metadata: ObjectMeta
    spec: VolumeSpec = VolumeSpec()


class AttachmentSource(Record, frozen=True):
    """Which volume is attached."""

    persistent_volume_name: str = ""


class AttachmentSpec(Record, frozen=True):
    """Where it is attached."""

    node_name: str
    source: AttachmentSource


class VolumeAttachment(Record, frozen=True):
    """storage.k8s.io/v1 VolumeAttachment."""

    metadata: ObjectMeta
    spec: AttachmentSpec


class NodeStatus(Record, frozen=True):
    """``volumes_in_use``: unique volume names the kubelet may have mounted."""

    volumes_in_use: tuple[str, ...] = ()


class Node(Record, frozen=True):
    """v1 Node."""

    metadata: ObjectMeta
    status: NodeStatus = NodeStatus()


class LeaseSpec(Record, frozen=True):
    """coordination.k8s.io/v1 LeaseSpec: who leads, since when, until when."""

    holder_identity: str = ""
    lease_duration_seconds: int = 0
    acquire_time: datetime | None = None
    renew_time: datetime | None = None
    lease_transitions: int = 0


class Lease(Record, frozen=True):
    """coordination.k8s.io/v1 Lease."""

    metadata: ObjectMeta
    spec: LeaseSpec = LeaseSpec()


class ObjectReference(Record, frozen=True):
    """v1 ObjectReference, what an Event is about."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str = ""
    resource_version: str = ""
