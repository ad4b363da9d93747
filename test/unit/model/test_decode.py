"""Objects as the API server sends them become small values; odd ones become a message."""

from __future__ import annotations

import gc
from typing import Any

import msgspec
import pytest

from evc.kube.resources import CLAIMS
from evc.model.core import Job, PersistentVolumeClaim, Pod
from evc.model.evc import ClaimReference, EphemeralVolumeClaim, rescue

MANAGED = [
    {
        "manager": "kube-controller-manager",
        "operation": "Update",
        "apiVersion": "v1",
        "time": "2026-01-01T00:00:01Z",
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:metadata": {"f:labels": {".": {}, "f:app": {}}}},
    }
]
POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "name": "train-0",
        "generateName": "train-",
        "namespace": "lab",
        "uid": "p-1",
        "resourceVersion": "123",
        "creationTimestamp": "2026-01-01T00:00:01Z",
        "labels": {"app": "train", "batch.kubernetes.io/job-name": "train"},
        "annotations": {"cni.projectcalico.org/podIP": "10.0.0.7/32"},
        "finalizers": ["batch.kubernetes.io/job-tracking"],
        "ownerReferences": [
            {
                "apiVersion": "batch/v1",
                "kind": "Job",
                "name": "train",
                "uid": "j-1",
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
        "managedFields": MANAGED,
    },
    "spec": {
        "volumes": [
            {"name": "data", "persistentVolumeClaim": {"claimName": "scratch"}},
            {"name": "work", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}},
            {
                "name": "token",
                "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]},
            },
        ],
        "containers": [{"name": "main", "image": "busybox", "resources": {}}],
        "nodeName": "node-1",
        "tolerations": [{"key": "k", "operator": "Exists"}],
        "securityContext": {},
    },
    "status": {
        "phase": "Succeeded",
        "conditions": [{"type": "Ready", "status": "False", "reason": "PodCompleted"}],
        "hostIP": "10.1.1.1",
        "initContainerStatuses": [
            {
                "name": "fetch",
                "ready": True,
                "restartCount": 1,
                "state": {
                    "terminated": {
                        "exitCode": 0,
                        "reason": "Completed",
                        "startedAt": "2026-01-01T00:00:05Z",
                        "finishedAt": "2026-01-01T00:00:09Z",
                        "containerID": "containerd://1",
                    }
                },
                "lastState": {
                    "terminated": {
                        "exitCode": 1,
                        "startedAt": "2026-01-01T00:00:03Z",
                        "finishedAt": "2026-01-01T00:00:04Z",
                    }
                },
            }
        ],
        "containerStatuses": [
            {
                "name": "main",
                "started": False,
                "state": {
                    "terminated": {
                        "exitCode": 137,
                        "reason": "ContainerStatusUnknown",
                        "startedAt": None,
                        "finishedAt": None,
                    }
                },
                "lastState": {},
                "image": "busybox",
            },
            {"name": "side", "state": {"waiting": {"reason": "PodInitializing"}}, "lastState": {}},
        ],
        "qosClass": "BestEffort",
    },
}
JOB: dict[str, Any] = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": "train", "namespace": "lab", "uid": "j-1", "managedFields": MANAGED},
    "spec": {
        "parallelism": 2,
        "completions": 2,
        "backoffLimit": 6,
        "suspend": False,
        "selector": {"matchLabels": {"batch.kubernetes.io/controller-uid": "j-1"}},
        "template": {
            "metadata": {"creationTimestamp": None, "labels": {"app": "train"}},
            "spec": POD["spec"],
        },
    },
    "status": {
        "conditions": [
            {
                "type": "SuccessCriteriaMet",
                "status": "True",
                "lastProbeTime": "2026-01-01T00:01:00Z",
                "lastTransitionTime": "2026-01-01T00:01:00Z",
                "reason": "CompletionsReached",
                "message": "Reached expected number of succeeded pods",
            },
            {"type": "Complete", "status": "True", "lastTransitionTime": "2026-01-01T00:01:01Z"},
        ],
        "startTime": "2026-01-01T00:00:02Z",
        "completionTime": "2026-01-01T00:01:00Z",
        "succeeded": 2,
        "terminating": 0,
        "uncountedTerminatedPods": {},
        "ready": 0,
    },
}
PVC: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {
        "name": "scratch",
        "namespace": "lab",
        "uid": "c-1",
        "annotations": {"pv.kubernetes.io/bind-completed": "yes", "evc.dev/owner-uid": "e-1"},
        "finalizers": ["kubernetes.io/pvc-protection"],
        "managedFields": MANAGED,
    },
    "spec": {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "500Gi"}},
        "volumeName": "pv-1",
        "storageClassName": "fast",
        "volumeMode": "Filesystem",
    },
    "status": {
        "phase": "Bound",
        "accessModes": ["ReadWriteOnce"],
        "capacity": {"storage": "512Gi"},
    },
}
EVC: dict[str, Any] = {
    "apiVersion": "evc.dev/v1alpha1",
    "kind": "EphemeralVolumeClaim",
    "metadata": {
        "name": "scratch",
        "namespace": "lab",
        "uid": "e-1",
        "generation": 3,
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "managedFields": MANAGED,
    },
    "spec": {
        "podSelector": {"matchLabels": {"app": "train"}},
        "volumeClaimTemplate": {
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "500Gi"}},
            }
        },
        "minimumWaitSeconds": 60,
    },
    "status": {"claim": {"name": "scratch", "uid": "c-1"}, "firstUsedTime": "2026-01-01T00:00:05Z"},
}


def decoded(thing: dict[str, Any], type: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(thing), type=type)


@pytest.mark.parametrize(
    ("thing", "type", "share"),
    [(POD, Pod, 0.6), (JOB, Job, 0.6), (PVC, PersistentVolumeClaim, 0.9)],
    ids=["Pod", "Job", "PersistentVolumeClaim"],
)
def test_only_what_is_needed_is_kept(thing: dict[str, Any], type: Any, share: float) -> None:
    kept = msgspec.json.encode(decoded(thing, type))
    assert len(kept) < share * len(msgspec.json.encode(thing))
    assert (b"managedFields" in kept) == (type is PersistentVolumeClaim)
    for dropped in (b"fieldsType", b"busybox", b"tolerations", b"probe", b"accessModes"):
        assert dropped not in kept


def test_a_pod_keeps_what_decides() -> None:
    pod = decoded(POD, Pod)
    assert pod.terminal
    assert pod.claim_names == ("scratch",)
    assert pod.spec.node_name == "node-1"
    assert [o.uid for o in pod.metadata.owner_references if o.controller] == ["j-1"]
    (first,) = pod.status.init_container_statuses
    unknown, waiting = pod.status.container_statuses
    assert first.state.terminated.finished_at.isoformat() == "2026-01-01T00:00:09+00:00"
    assert first.last_state.terminated.started_at.isoformat() == "2026-01-01T00:00:03+00:00"
    assert unknown.state.terminated.finished_at is None
    assert (waiting.state.running, waiting.state.terminated) == (None, None)


def test_what_a_mesh_writes_on_a_pod_costs_no_memory() -> None:
    annotated = POD | {"metadata": POD["metadata"] | {"annotations": {"mesh": "x" * 8000}}}
    assert decoded(annotated, Pod) == decoded(POD, Pod)


@pytest.mark.parametrize(
    ("thing", "type"), [(POD, Pod), (JOB, Job), (PVC, PersistentVolumeClaim)], ids=str
)
def test_the_garbage_collector_need_not_walk_a_cache(thing: dict[str, Any], type: Any) -> None:
    kept = decoded(thing, type)
    assert not gc.is_tracked(kept)
    assert not gc.is_tracked(kept.metadata)


def test_a_job_keeps_what_decides() -> None:
    job = decoded(JOB, Job)
    assert [c.type for c in job.status.conditions] == ["SuccessCriteriaMet", "Complete"]
    assert job.status.completion_time.isoformat() == "2026-01-01T00:01:00+00:00"
    assert job.spec.template.metadata.labels == {"app": "train"}
    assert job.spec.suspend is False


def test_a_claim_keeps_what_decides() -> None:
    claim = decoded(PVC, PersistentVolumeClaim)
    assert claim.spec.volume_name == "pv-1"
    assert claim.status.capacity.storage == "512Gi"
    assert claim.metadata.annotations["evc.dev/owner-uid"] == "e-1"
    (entry,) = claim.metadata.managed_fields
    assert entry.manager == "kube-controller-manager"
    assert set(entry.fields.metadata.labels) == {".", "f:app"}
    assert not claim.metadata.deleting


def test_what_is_absent_has_the_api_servers_default() -> None:
    found = decoded({"metadata": {"name": "a"}}, Pod)
    assert (found.status.phase, found.claim_names, found.terminal) == ("Pending", (), False)


def test_an_object_survives_the_wire() -> None:
    value = decoded(EVC, EphemeralVolumeClaim)
    assert msgspec.json.decode(msgspec.json.encode(value), type=EphemeralVolumeClaim) == value


@pytest.mark.parametrize(
    ("spec", "word"),
    [
        ({"minimumWaitSeconds": "60"}, "int"),
        ({"minimumWaitSeconds": -1}, ">= 0"),
        ({"expirySeconds": 10**12}, "<= 315360000"),
        ({"completedPods": "Shred"}, "Shred"),
        ({"podSelector": None}, "object"),
        ({"podSelector": {"matchExpressions": [{"key": "a", "operator": "Gt"}]}}, "Gt"),
        ({"volumeClaimTemplate": {"spec": {"accessModes": []}}}, "length >= 1"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_a_malformed_object_is_rescued_with_a_reason(spec: dict[str, Any], word: str) -> None:
    """Attack 18, fault 35: one object fails, the list does not."""
    found = CLAIMS.decode(msgspec.json.encode(EVC | {"spec": EVC["spec"] | spec}))
    assert word in found.malformed
    assert found.metadata.uid == "e-1"
    assert found.status.claim == ClaimReference("scratch", "c-1")
    assert found.status.first_used_time is not None


def test_an_object_without_spec_is_rescued() -> None:
    found = CLAIMS.decode(msgspec.json.encode({"metadata": EVC["metadata"]}))
    assert "spec" in found.malformed


@pytest.mark.parametrize(
    "status", [None, "odd", 5, [], {"conditions": [{"type": "Ready"}]}, {"finishedTime": "soon"}]
)
def test_a_malformed_status_counts_as_none(status: Any) -> None:
    raw = msgspec.json.encode(EVC | {"status": status, "spec": {}})
    found = rescue(raw, "why")
    assert found.status.claim is None
    assert found.malformed == "why"


def test_a_rescued_object_designates_nothing() -> None:
    found = rescue(msgspec.json.encode(EVC), "why")
    assert found.spec.pod_selector.match_labels == {}


def test_why_it_is_malformed_is_not_written_back() -> None:
    """Only the status is ever written, and it has no such field."""
    found = rescue(msgspec.json.encode(EVC), "why")
    assert b"why" not in msgspec.json.encode(found.status)
