"""The objects of the load: claims and their pods, as small as the API allows."""

from __future__ import annotations

import time
from typing import Any

Json = dict[str, Any]
NODE = "bench"
"""Pods say that they run here; there is no such node, so that nothing but the driver acts."""
GRACE = 1


def evc_path(namespace: str, name: str = "") -> str:
    """Of an EphemeralVolumeClaim."""
    return _path("/apis/evc.dev/v1alpha1", namespace, "ephemeralvolumeclaims", name)


def pvc_path(namespace: str, name: str = "") -> str:
    """Of a PersistentVolumeClaim."""
    return _path("/api/v1", namespace, "persistentvolumeclaims", name)


def pod_path(namespace: str, name: str = "") -> str:
    """Of a pod."""
    return _path("/api/v1", namespace, "pods", name)


def job_path(namespace: str) -> str:
    """Of the Jobs of a namespace."""
    return _path("/apis/batch/v1", namespace, "jobs", "")


def event_path(namespace: str) -> str:
    """Of the Events of a namespace."""
    return _path("/apis/events.k8s.io/v1", namespace, "events", "")


def _path(root: str, namespace: str, plural: str, name: str) -> str:
    where = f"{root}/namespaces/{namespace}" if namespace else root
    return f"{where}/{plural}" + (f"/{name}" if name else "")


def evc(name: str, **spec: Any) -> Json:
    """An EphemeralVolumeClaim whose pods are labelled app=NAME."""
    return {
        "apiVersion": "evc.dev/v1alpha1",
        "kind": "EphemeralVolumeClaim",
        "metadata": {"name": name},
        "spec": {
            "podSelector": {"matchLabels": {"app": name}},
            "minimumWaitSeconds": 0,
            "gracePeriodSeconds": GRACE,
            "volumeClaimTemplate": {
                "spec": {
                    "accessModes": ["ReadWriteOnce"],
                    "storageClassName": "",
                    "resources": {"requests": {"storage": "1Gi"}},
                }
            },
        }
        | spec,
    }


def pod(name: str, claim: str = "") -> Json:
    """A pod labelled app=NAME, on the node of the driver, with that claim if any."""
    volumes = [{"name": "scratch", "persistentVolumeClaim": {"claimName": claim}}] if claim else []
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "nodeName": NODE,
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "tolerations": [{"operator": "Exists"}],
            "containers": [{"name": "main", "image": "busybox"}],
            "volumes": volumes,
        },
    }


def pvc(made_for: Json) -> Json:
    """The PersistentVolumeClaim of an EphemeralVolumeClaim, with what the operator puts on it."""
    meta = made_for["metadata"]
    owner = {
        "apiVersion": made_for["apiVersion"],
        "kind": made_for["kind"],
        "name": meta["name"],
        "uid": meta["uid"],
        "controller": True,
    }
    marks = {"evc.dev/owner-name": meta["name"], "evc.dev/owner-uid": meta["uid"]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": meta["name"], "annotations": marks, "ownerReferences": [owner]},
        "spec": made_for["spec"]["volumeClaimTemplate"]["spec"],
    }


def told(of: Json, reason: str) -> Json:
    """An EphemeralVolumeClaim with a status of the operator's size, written now."""
    common = {
        "status": "False",
        "reason": reason,
        "message": f"{reason}: as long as what the operator says of a claim, more or less",
        "observedGeneration": of["metadata"]["generation"],
        "lastTransitionTime": stamp(time.time()),
    }
    kinds = ("Ready", "Used", "Finished", "Reconciling", "Stalled")
    return of | {"status": {"conditions": [common | {"type": kind} for kind in kinds]}}


def event(about: Json) -> Json:
    """An Event about an object."""
    meta = about["metadata"]
    at = time.time_ns()
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": f"{meta['name']}.{at:x}", "namespace": meta["namespace"]},
        "eventTime": time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime(at // 10**9)),
        "reportingController": "evc.dev/bench",
        "reportingInstance": "bench",
        "type": "Normal",
        "reason": "Deleting",
        "action": "Delete",
        "note": "as long as what the operator says of a deletion, more or less",
        "regarding": {key: about[key] for key in ("apiVersion", "kind")}
        | {key: meta[key] for key in ("name", "namespace", "uid")},
    }


def stamp(when: float) -> str:
    """A time of the API: whole seconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(when))


def running(started: float) -> Json:
    """What the kubelet says of a pod that has started."""
    return _status("Running", {"running": {"startedAt": stamp(started)}}, ready=True)


def succeeded(started: float, finished: float) -> Json:
    """What the kubelet says of a pod that is done."""
    times = {"startedAt": stamp(started), "finishedAt": stamp(finished)}
    return _status("Succeeded", {"terminated": {"exitCode": 0, "reason": "Completed"} | times})


def _status(phase: str, state: Json, *, ready: bool = False) -> Json:
    container = {
        "name": "main",
        "image": "busybox",
        "imageID": "",
        "ready": ready,
        "restartCount": 0,
        "state": state,
    }
    return {"status": {"phase": phase, "containerStatuses": [container]}}
