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
