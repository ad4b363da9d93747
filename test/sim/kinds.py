"""What the API server does differently from type to type."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from sim.history import Json, deleting

PVCS = "persistentvolumeclaims"
PVS = "persistentvolumes"
PODS = "pods"
JOBS = "jobs"
NODES = "nodes"
ATTACHMENTS = "volumeattachments"
LEASES = "leases"
EVENTS = "events"
EVCS = "ephemeralvolumeclaims"
REPLICASETS = "replicasets"
CONTROLLERS = "replicationcontrollers"
DEPLOYMENTS = "deployments"
STATEFULSETS = "statefulsets"
DAEMONSETS = "daemonsets"
WORKLOADS = (DEPLOYMENTS, REPLICASETS, STATEFULSETS, DAEMONSETS, CONTROLLERS)
"""Kubernetes' own makers of pods besides Jobs."""
CRONJOBS = "cronjobs"
WORKFLOWS = "workflows"
JOBSETS = "jobsets"
TRAINJOBS = "trainjobs"
ROLLOUTS = "rollouts"
FOREIGN = (WORKFLOWS, JOBSETS, TRAINJOBS, ROLLOUTS)
"""Makers of kinds that the operator has no type for."""
MAKERS = frozenset({*WORKLOADS, *FOREIGN, CRONJOBS})
"""Makers of pods that the operator does not watch."""
PROTECTION = "kubernetes.io/pvc-protection"

DEFAULTS: dict[str, Any] = {
    "minimumWaitSeconds": 60,
    "expirySeconds": 86_400,
    "gracePeriodSeconds": 30,
    "completedPods": "Release",
    "hold": False,
    "ttlSecondsAfterFinished": 0,
}
"""The CRD's; the conformance test compares them with what the real server fills in."""
KEPT = ("name", "namespace", "uid", "creationTimestamp", "generation")
DELETION = ("deletionTimestamp", "deletionGracePeriodSeconds")


@dataclass(frozen=True)
class Kind:
    """One resource type."""

    plural: str
    kind: str
    api_version: str
    namespaced: bool = True
    has_status: bool = True
    has_generation: bool = False
    needs_version: bool = False
    """Whether a PUT without resourceVersion is refused (custom resources)."""
    by_kind: ClassVar[dict[str, str]] = {}

    def on_create(self, item: Json) -> Json:
        """Fill in defaults and take away what only others may write."""
        if self.plural == EVCS:
            return {k: v for k, v in item.items() if k != "status"} | {
                "spec": DEFAULTS | item["spec"]
            }
        if self.plural == PVCS:
            return item | {"status": {"phase": "Pending"}}
        if self.plural == PODS:
            return item | {"status": {"phase": "Pending"}}
        if self.plural in (*WORKLOADS, *FOREIGN, CRONJOBS):
            return item | {"status": {}}
        if self.plural == JOBS:
            spec = {"suspend": False, "backoffLimit": 6} | item["spec"]
            return item | {"spec": spec, "status": {}}
        return item

    def merge_update(self, old: Json, body: Json, sub: str) -> Json:
        """The object a PUT or a patch leads to, before its version."""
        if sub == "status":
            new = old | {"status": body.get("status", {})}
            if self.plural == EVCS:
                return new
            return new | {"metadata": self._metadata(old, body)}
        new = {k: v for k, v in body.items() if k != "status"}
        if "status" in old:
            new["status"] = old["status"]
        if not self.has_status and "status" in body:
            new["status"] = body["status"]
        if self.plural == EVCS:
            new["spec"] = DEFAULTS | body["spec"]
        return new | {"metadata": self._metadata(old, body)}

    @staticmethod
    def _metadata(old: Json, body: Json) -> Json:
        before = old["metadata"]
        fixed = (*KEPT, *DELETION, "resourceVersion")
        meta = {k: v for k, v in body["metadata"].items() if k not in fixed and v not in ({}, [])}
        return meta | {k: before[k] for k in fixed if k in before}

    def check_update(self, old: Json, new: Json, invalid: Callable[[str], Any]) -> None:
        """Refuse what may not change."""
        before = old["metadata"].get("finalizers", ())
        after = new["metadata"].get("finalizers", ())
        if deleting(old) and not set(after) <= set(before):
            invalid("metadata.finalizers: Forbidden: no new finalizers if it is being deleted")
        if self.plural == PVCS:
            self._check_size(old, new, invalid)
        if self.plural == EVCS:
            if new["spec"]["podSelector"] != old["spec"]["podSelector"]:
                invalid("podSelector cannot be changed")
            if new["spec"]["expirySeconds"] < new["spec"]["minimumWaitSeconds"]:
                invalid("expirySeconds must be at least minimumWaitSeconds")

    @staticmethod
    def _check_size(old: Json, new: Json, invalid: Callable[[str], Any]) -> None:
        before = old["spec"].get("resources", {}).get("requests", {}).get("storage")
        after = new["spec"].get("resources", {}).get("requests", {}).get("storage")
        if before != after and old["status"].get("phase") != "Bound":
            invalid("spec is immutable after creation except resources.requests for bound claims")
        if before != after and size(after) < size(before):
            invalid("spec.resources.requests.storage: field can not be less than previous value")

    @staticmethod
    def plural_of(item: Json) -> str:
        return Kind.by_kind[item["kind"]]


KINDS = {
    kind.plural: kind
    for kind in (
        Kind(PVCS, "PersistentVolumeClaim", "v1"),
        Kind(PVS, "PersistentVolume", "v1", namespaced=False),
        Kind(PODS, "Pod", "v1", has_generation=True),
        Kind(JOBS, "Job", "batch/v1", has_generation=True),
        Kind(REPLICASETS, "ReplicaSet", "apps/v1", has_generation=True),
        Kind(CONTROLLERS, "ReplicationController", "v1", has_generation=True),
        Kind(DEPLOYMENTS, "Deployment", "apps/v1", has_generation=True),
        Kind(STATEFULSETS, "StatefulSet", "apps/v1", has_generation=True),
        Kind(DAEMONSETS, "DaemonSet", "apps/v1", has_generation=True),
        Kind(CRONJOBS, "CronJob", "batch/v1", has_generation=True),
        Kind(WORKFLOWS, "Workflow", "argoproj.io/v1alpha1", has_generation=True),
        Kind(JOBSETS, "JobSet", "jobset.x-k8s.io/v1alpha2", has_generation=True),
        Kind(TRAINJOBS, "TrainJob", "trainer.kubeflow.org/v1alpha1", has_generation=True),
        Kind(ROLLOUTS, "Rollout", "argoproj.io/v1alpha1", has_generation=True),
        Kind(NODES, "Node", "v1", namespaced=False),
        Kind(ATTACHMENTS, "VolumeAttachment", "storage.k8s.io/v1", namespaced=False),
        Kind(LEASES, "Lease", "coordination.k8s.io/v1", has_status=False),
        Kind(EVENTS, "Event", "events.k8s.io/v1", has_status=False),
        Kind(
            EVCS,
            "EphemeralVolumeClaim",
            "evc.dev/v1alpha1",
            has_generation=True,
            needs_version=True,
        ),
    )
}
Kind.by_kind.update({kind.kind: kind.plural for kind in KINDS.values()})


def size(quantity: str | None) -> int:
    """Gibibytes; worlds have no others."""
    return int((quantity or "0").removesuffix("Gi"))


def kind_of(plural: str) -> Kind:
    """The type's rules; types nobody in this world has (yet) get the plain ones."""
    return KINDS.get(plural) or Kind(plural, plural, "example.com/v1")


def field_matches(selector: str, item: Json) -> bool:
    """Whether the object fits a field selector such as status.phase!=Failed."""
    for term in filter(None, selector.split(",")):
        path, differs, value = term.partition("!=")
        if not differs:
            path, _, value = term.partition("=")
        found: Any = item
        for part in path.split("."):
            found = found.get(part, {}) if isinstance(found, dict) else ""
        if (found == value) == bool(differs):
            return False
    return True
