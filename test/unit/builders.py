"""Builders that make tests read as sentences.

``evc().used(at=10)`` is an EphemeralVolumeClaim that was first used ten seconds after
T0, ``pod().designated().succeeded(at=40)`` a pod that ended then.  Times are seconds
after T0, at which the EphemeralVolumeClaim was created.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, Self, TypeVar

from msgspec.structs import replace

from evc.model.core import (
    PVC_PROTECTION,
    ClaimCondition,
    ClaimMeta,
    ClaimSource,
    ClaimSpec,
    ClaimStatus,
    ContainerRunning,
    ContainerState,
    ContainerStatus,
    ContainerTerminated,
    Job,
    JobCondition,
    JobSpec,
    JobStatus,
    LabelSelector,
    ManagedFields,
    OwnedFields,
    OwnedKeys,
    PersistentVolumeClaim,
    Pod,
    PodSpec,
    PodStatus,
    PodTemplate,
    PodTemplateMeta,
    ResourceList,
    ResourceRequirements,
    Volume,
)
from evc.model.evc import (
    ADOPT_BY,
    API_VERSION,
    COMPLETED_PODS,
    FIELD_MANAGER,
    HOLD,
    KIND,
    MANAGED_BY,
    OWNER_NAME,
    OWNER_UID,
    REQUEST_ID,
    ClaimReference,
    ClaimResources,
    ClaimTemplate,
    ClaimTemplateMeta,
    ClaimTemplateSpec,
    EphemeralVolumeClaim,
    EphemeralVolumeClaimSpec,
    HeldBy,
    OutcomeRule,
    OwnerSeen,
    StorageRequest,
)
from evc.model.meta import Condition, ObjectMeta, OwnerReference
from evc.policy.observed import Observed
from evc.policy.owners import Ending, Owner
from evc.policy.reasons import FINISHED, READY, RECONCILING, STALLED, USED, Reason

T0 = datetime(2026, 1, 1, tzinfo=UTC)
NAMESPACE = "lab"
LABELS = {"app": "train"}
EVC_UID = "evc-1"
CLAIM_UID = "claim-1"
REQUEST = "10"
"""The request id of `evc`'s intent: the version of the object that is decided on."""

B = TypeVar("B", EphemeralVolumeClaim, PersistentVolumeClaim, Pod, Job)


def at(seconds: float) -> datetime:
    """Return the time so many seconds after T0."""
    return T0 + timedelta(seconds=seconds)


@dataclass(frozen=True)
class Builder(Generic[B]):
    """A value under construction; ``value`` is the finished one."""

    value: B

    def _with(self, **fields: Any) -> Self:
        return type(self)(replace(self.value, **fields))

    def meta(self, **fields: Any) -> Self:
        """Replace fields of the metadata."""
        return self._with(metadata=replace(self.value.metadata, **fields))

    def being_deleted(self, at: float = 0) -> Self:
        """Accepted for deletion, kept by a finalizer or a grace period."""
        return self.meta(deletion_timestamp=T0 + timedelta(seconds=at))

    def created(self, at: float) -> Self:
        """Created then, by the API server's clock."""
        return self.meta(creation_timestamp=T0 + timedelta(seconds=at))

    def annotated(self, **annotations: str) -> Self:
        """Annotated with evc.dev keys: ``hold="true"``, ``owner_uid="x"``."""
        keys = {
            "hold": HOLD,
            "owner_uid": OWNER_UID,
            "owner_name": OWNER_NAME,
            "completed_pods": COMPLETED_PODS,
            "adopt_by": ADOPT_BY,
            "request_id": REQUEST_ID,
        }
        new = {keys[name]: value for name, value in annotations.items()}
        return self.meta(annotations=self.value.metadata.annotations | new)


class EvcBuilder(Builder[EphemeralVolumeClaim]):
    """An EphemeralVolumeClaim; by default N=60, M=86400, grace=30, never visited."""

    def spec(self, **fields: Any) -> Self:
        """Replace fields of the spec."""
        return self._with(spec=replace(self.value.spec, **fields))

    def status(self, **fields: Any) -> Self:
        """Replace fields of the status."""
        return self._with(status=replace(self.value.status, **fields))

    def selecting(self, selector: LabelSelector) -> Self:
        """Designate those pods."""
        return self.spec(pod_selector=selector)

    def template_labels(
        self, labels: dict[str, str], annotations: dict[str, str] | None = None
    ) -> Self:
        """Ask for those labels (and annotations) on the claim."""
        return self._template(metadata=ClaimTemplateMeta(labels, annotations or {}))

    def template_spec(self, **fields: Any) -> Self:
        """Replace fields of the template's spec."""
        template = self.value.spec.volume_claim_template
        assert template is not None
        return self._template(spec=replace(template.spec, **fields))

    def sized(self, size: str) -> Self:
        """Ask for that size."""
        return self.template_spec(resources=ClaimResources(StorageRequest(size)))

    def _template(self, **fields: Any) -> Self:
        template = self.value.spec.volume_claim_template
        assert template is not None
        return self.spec(volume_claim_template=replace(template, **fields))

    def adopting(self, name: str = "data") -> Self:
        """Take over that claim instead of making one."""
        return self.spec(volume_claim_template=None, existing_claim_name=name)

    def when(self, outcome: str, action: str = "Delete", grace: int | None = None) -> Self:
        """Give the rule for an outcome: ``when("failure", "Retain", 600)``."""
        return self.spec(**{f"on_{outcome}": OutcomeRule(action, grace)})  # type: ignore[arg-type]

    def remembering(self, *owners: OwnerSeen) -> Self:
        """Status remembers those owners of unknown kinds."""
        return self.status(owners=owners)

    def malformed(self, why: str) -> Self:
        """Stored so that it does not fit the API."""
        return self._with(malformed=why)

    def claiming(self, uid: str | None = CLAIM_UID, request: str = REQUEST) -> Self:
        """Status knows the claim; without ``uid`` only the intent to create or adopt it."""
        asked = None if uid is not None or self.value.adopts else request
        return self.status(claim=ClaimReference(self.value.claim_name, uid, request_id=asked))

    def used(self, at: float) -> Self:
        """Status says durably that it was used."""
        return self.status(first_used_time=T0 + timedelta(seconds=at))

    def finished(self, at: float, outcome: str = "Succeeded") -> Self:
        """Status says when the work ended."""
        return self.status(finished_time=T0 + timedelta(seconds=at), outcome=outcome)

    def held_by(self, *names: str, count: int = 0) -> Self:
        """Status says who held it when it was last looked at."""
        return self.status(held_by=HeldBy(count or len(names), names, ", ".join(names)))

    def on_hold(self) -> Self:
        """``spec.hold`` is set."""
        return self.spec(hold=True)

    def ready(
        self, reason: str, *, ready: bool = True, finished: bool = False, at: float = 0
    ) -> Self:
        """Give the five conditions as they are in that stage."""
        true = {READY: ready, FINISHED: finished}
        since = T0 + timedelta(seconds=at)
        return self.status(
            conditions=tuple(
                Condition(kind, "True" if true.get(kind) else "False", reason, "", since)
                for kind in (READY, USED, FINISHED, RECONCILING, STALLED)
            )
        )

    def releasing(self, outcome: str = "Succeeded") -> Self:
        """The deletion is durably decided."""
        return self.ready(Reason.RELEASING.value, ready=False).status(outcome=outcome)

    def tombstone(self, at: float) -> Self:
        """Finished then, and kept as a record."""
        record = self.ready(Reason.DELETED.value, finished=True, at=at)
        return record.status(observed_generation=self.value.metadata.generation)


def evc(name: str = "scratch", uid: str = EVC_UID) -> EvcBuilder:
    """Start an EphemeralVolumeClaim created at T0."""
    meta = ObjectMeta(
        name=name,
        namespace=NAMESPACE,
        uid=uid,
        resource_version="10",
        generation=1,
        creation_timestamp=T0,
    )
    template = ClaimTemplate(
        ClaimTemplateSpec(("ReadWriteOnce",), ClaimResources(StorageRequest("500Gi")))
    )
    return EvcBuilder(
        EphemeralVolumeClaim(meta, EphemeralVolumeClaimSpec(LabelSelector(LABELS), template))
    )


class ClaimBuilder(Builder[PersistentVolumeClaim]):
    """A PersistentVolumeClaim; by default a foreign one."""

    def marked_for(self, owner: EvcBuilder | EphemeralVolumeClaim) -> Self:
        """Carry our mark with that object's UID, and its ownership if it owns."""
        value = owner.value if isinstance(owner, EvcBuilder) else owner
        made = self if value.adopts else self.labelled(**{MANAGED_BY: "evc"})
        marked = made.annotated(
            owner_uid=value.metadata.uid,
            owner_name=value.metadata.name,
            completed_pods=value.spec.completed_pods,
        )
        if not value.adopts:
            marked = marked.annotated(request_id=REQUEST)
        return marked.owned_by(value) if value.owns else marked

    def owned_by(self, owner: EphemeralVolumeClaim) -> Self:
        """Be deleted by the garbage collector together with that object."""
        meta = owner.metadata
        reference = OwnerReference(API_VERSION, KIND, meta.name, meta.uid, controller=True)
        return self.meta(owner_references=(*self.value.metadata.owner_references, reference))

    def labelled(self, **labels: str) -> Self:
        """Carry those labels, too."""
        return self.meta(labels=self.value.metadata.labels | labels)

    def whose_keys(
        self, manager: str, *, labels: tuple[str, ...] = (), annotations: tuple[str, ...] = ()
    ) -> Self:
        """Say in managedFields who set those labels and annotations."""
        keys = OwnedKeys(*({f"f:{name}": {} for name in names} for names in (labels, annotations)))
        entry = ManagedFields(manager, "Apply", OwnedFields(keys))
        return self.meta(managed_fields=(*self.value.metadata.managed_fields, entry))

    def by_us(self) -> Self:
        """Say in managedFields that the mark is our work."""
        return self.whose_keys(FIELD_MANAGER, annotations=(OWNER_UID,))

    def spec(self, **fields: Any) -> Self:
        """Replace fields of the spec."""
        return self._with(spec=replace(self.value.spec, **fields))

    def sized(self, size: str) -> Self:
        """Have asked for that size."""
        return self.spec(resources=ResourceRequirements(ResourceList(size)))

    def bound(self, volume: str = "pv-1") -> Self:
        """Bound to a volume of 500Gi."""
        size = ResourceList("500Gi")
        bound = self.spec(volume_name=volume, storage_class_name="fast").sized("500Gi")
        return bound._with(status=ClaimStatus("Bound", size))

    def in_phase(self, phase: str) -> Self:
        """Be in that phase, whatever else its status says."""
        return self._with(status=replace(self.value.status, phase=phase))

    def unused(self, since: float, status: str = "True") -> Self:
        """Kubernetes says that no pod references it since then (KEP-5541)."""
        told = ClaimCondition("Unused", status, at(since))
        return self._with(status=replace(self.value.status, conditions=(told,)))

    def terminating(self, *finalizers: str, at: float = 0) -> Self:
        """Deleted, but kept by finalizers (by default pvc-protection)."""
        return self.being_deleted(at).meta(finalizers=finalizers or (PVC_PROTECTION,))


def claim(name: str = "scratch", uid: str = CLAIM_UID) -> ClaimBuilder:
    """Start a PersistentVolumeClaim created one second after T0."""
    meta = ClaimMeta(
        name=name,
        namespace=NAMESPACE,
        uid=uid,
        resource_version="20",
        creation_timestamp=at(1),
        finalizers=(PVC_PROTECTION,),
    )
    return ClaimBuilder(PersistentVolumeClaim(meta, ClaimSpec()))


@dataclass(frozen=True)
class OwnedBuilder(Builder[B]):
    """A pod or Job, which another object may control."""

    def owned_by(self, owner: OwnerSeen) -> Self:
        """Controlled by an owner of a kind Kubernetes does not know."""
        reference = OwnerReference(
            owner.api_version, owner.kind, owner.name, owner.uid, controller=True
        )
        return self.meta(owner_references=(reference,))


class PodBuilder(OwnedBuilder[Pod]):
    """A pod; by default Pending, unscheduled, and nobody's."""

    def designated(self) -> Self:
        """Its labels match the selector."""
        return self.meta(labels=LABELS)

    def using(self, name: str = "scratch") -> Self:
        """Reference the claim."""
        volume = Volume("data", ClaimSource(name))
        return self._with(spec=replace(self.value.spec, volumes=(volume,)))

    def worker(self) -> Self:
        """Designated and referencing the claim: the usual pod."""
        return self.designated().using()

    def of(self, job: JobBuilder, kind: str = "Job") -> Self:
        """Controlled by that Job (``kind``: by an owner of another kind)."""
        meta = job.value.metadata
        owner = OwnerReference("batch/v1", kind, meta.name, meta.uid, controller=True)
        return self.meta(owner_references=(owner,))

    def running(self, since: float, *, init: bool = False) -> Self:
        """Scheduled, with a running container (``init``: an init container)."""
        state = ContainerState(running=ContainerRunning(T0 + timedelta(seconds=since)))
        return self._in_phase("Pending" if init else "Running", state, init=init)

    def succeeded(self, at: float, since: float = 2) -> Self:
        """Succeeded: its one container ran from ``since`` and exited then."""
        return self._in_phase("Succeeded", _ended(since, at))

    def failed(self, at: float, since: float = 2) -> Self:
        """Failed: its one container ran from ``since`` and exited then."""
        return self._in_phase("Failed", _ended(since, at))

    def evicted(self) -> Self:
        """Failed before any container started."""
        return self._with(status=PodStatus("Failed"))

    def scheduled(self) -> Self:
        """Given to a node, where nothing has started yet."""
        return self._with(spec=replace(self.value.spec, node_name="node-1"))

    def in_phase(self, phase: str) -> Self:
        """Be in that phase, whatever the containers say."""
        return self._with(status=replace(self.value.status, phase=phase))

    def _in_phase(self, phase: str, state: ContainerState, *, init: bool = False) -> Self:
        containers = (ContainerStatus(state),)
        status = (
            PodStatus(phase, init_container_statuses=containers)
            if init
            else PodStatus(phase, container_statuses=containers)
        )
        return self._with(spec=replace(self.value.spec, node_name="node-1"), status=status)


def _ended(since: float, at: float) -> ContainerState:
    times = (T0 + timedelta(seconds=since), T0 + timedelta(seconds=at))
    return ContainerState(terminated=ContainerTerminated(*times))


def pod(name: str = "worker", uid: str = "") -> PodBuilder:
    """Start a pod created one second after T0."""
    meta = ObjectMeta(
        name=name,
        namespace=NAMESPACE,
        uid=uid or f"pod-{name}",
        resource_version="30",
        creation_timestamp=at(1),
    )
    return PodBuilder(Pod(meta, PodSpec()))


class JobBuilder(OwnedBuilder[Job]):
    """A Job; by default designated, using the claim, and just started."""

    def suspended(self) -> Self:
        """Paused: its pods are deleted until it is resumed."""
        return self._with(spec=replace(self.value.spec, suspend=True))

    def between_retries(self, failures: int = 1) -> Self:
        """No pod at the moment, and another one will come."""
        return self._with(status=replace(self.value.status, active=0, failed=failures))

    def complete(self, at: float) -> Self:
        """Complete, by the API server's completionTime."""
        time = T0 + timedelta(seconds=at)
        condition = JobCondition("Complete", "True", "", time)
        return self._with(
            status=replace(
                self.value.status,
                active=0,
                succeeded=1,
                completion_time=time,
                conditions=(condition,),
            )
        )

    def failed(self, at: float) -> Self:
        """Failed for good; such a Job has no completionTime."""
        condition = JobCondition("Failed", "True", "", T0 + timedelta(seconds=at))
        return self._with(
            status=replace(self.value.status, active=0, failed=1, conditions=(condition,))
        )

    def announcing(self, kind: str, status: str = "True") -> Self:
        """Carry a condition that is not an end yet."""
        return self._with(
            status=replace(self.value.status, conditions=(JobCondition(kind, status),))
        )

    def making(self, labels: dict[str, str], *, claim: str = "") -> Self:
        """Make pods with these labels, referencing that claim or none."""
        volumes = (Volume("data", ClaimSource(claim)),) if claim else ()
        template = PodTemplate(PodTemplateMeta(labels), PodSpec(volumes=volumes))
        return self._with(spec=replace(self.value.spec, template=template))


def job(name: str = "train", uid: str = "", started: float = 2) -> JobBuilder:
    """Start a Job created one second after T0."""
    meta = ObjectMeta(
        name=name,
        namespace=NAMESPACE,
        uid=uid or f"job-{name}",
        resource_version="40",
        creation_timestamp=at(1),
    )
    status = JobStatus(active=1, start_time=at(started))
    return JobBuilder(Job(meta, JobSpec(), status)).making(LABELS, claim="scratch")


def observed(
    *things: EvcBuilder | ClaimBuilder | PodBuilder | JobBuilder | None,
    live: bool = False,
    mounted_by: tuple[str, ...] | None = None,
    owners: tuple[Owner, ...] = (),
    time: float | None = None,
) -> Observed:
    """Put an observation together; things may be given in any order.

    ``time``: what the API server's clock said, cut to the second.
    """
    values = [thing.value for thing in things if thing is not None]
    return Observed(
        evc=next((v for v in values if isinstance(v, EphemeralVolumeClaim)), None),
        claim=next((v for v in values if isinstance(v, PersistentVolumeClaim)), None),
        pods=tuple(v for v in values if isinstance(v, Pod)),
        jobs=tuple(v for v in values if isinstance(v, Job)),
        live=live,
        mounted_by=mounted_by,
        owners=owners,
        time=None if time is None else at(time),
    )


def workflow(name: str = "dag", kind: str = "Workflow") -> OwnerSeen:
    """Return an owner of a kind that Kubernetes does not know."""
    return OwnerSeen("argoproj.io/v1alpha1", kind, name, f"{kind}-{name}")


def still(
    owner: str = "Workflow/dag", *, seen: OwnerSeen | None = None, watched: bool = False
) -> Owner:
    """Return the verdict on an owner that may still make pods."""
    return Owner(owner, None, seen=seen, watched=watched)


def over(
    owner: str = "Workflow/dag",
    at: float | None = 100,
    *,
    failed: bool | None = False,
    seen: OwnerSeen | None = None,
) -> Owner:
    """Return the verdict on an owner that ended then (None: it does not say when, or how)."""
    time = None if at is None else T0 + timedelta(seconds=at)
    return Owner(owner, Ending(time, failed), seen=seen)


def provided() -> EvcBuilder:
    """Return an EphemeralVolumeClaim whose claim was seen: `volume` is that claim."""
    return evc().claiming()


def volume(owner: EvcBuilder | None = None) -> ClaimBuilder:
    """Return the claim of `provided`: bound and marked."""
    return claim().marked_for(owner or provided()).bound()


def adopting() -> EvcBuilder:
    """Return an EphemeralVolumeClaim that took over the claim `offered`."""
    return evc().adopting("data").claiming()


def offered(owner: EvcBuilder | None = None) -> ClaimBuilder:
    """Return a claim, older than the object, whose owner gives it to the object."""
    name = (owner or evc()).value.metadata.name
    return claim("data").created(at=-1_000).bound().annotated(adopt_by=name)
