"""Pods as clusters have them, of a given size: labels, environment, conditions, managedFields."""

from __future__ import annotations

import json
from random import Random
from typing import Any

Json = dict[str, Any]
SIZES = {3.6: 3686, 7.0: 7168, 15.0: 15360}
"""KB -> bytes."""


def pod(number: int, size: int, random: Random, namespace: str = "b-0") -> Json:
    """A running pod of about ``size`` bytes as JSON; the environment fills it up."""
    made = _pod(number, random, namespace)
    environment = made["spec"]["containers"][0]["env"]
    fields = made["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]
    missing = size - len(json.dumps(made, separators=(",", ":")))
    # A quarter of a real pod is managedFields (argo-workflows#16564).
    while missing > 160:
        index = len(environment)
        environment.append({"name": f"SETTING_{index}", "value": _word(random, 60)})
        fields[f'k:{{"name":"SETTING_{index}"}}'] = {"f:name": {}, "f:value": {}}
        missing -= 161
    return made


def _word(random: Random, length: int) -> str:
    return f"{random.getrandbits(4 * length):0{length}x}"


def _uid(random: Random) -> str:
    text = _word(random, 32)
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def _pod(number: int, random: Random, namespace: str) -> Json:
    owner = f"web-{number // 10}-{_word(random, 9)}"
    time = "2026-11-20T09:30:00Z"
    condition = {"status": "True", "lastProbeTime": None, "lastTransitionTime": time}
    kinds = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
    image = "registry.example.com/team/web:1.27.3"
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {
            "name": f"web-{number}",
            "namespace": namespace,
            "uid": _uid(random),
            "creationTimestamp": time,
            "labels": {
                "app.kubernetes.io/name": "web",
                "app.kubernetes.io/instance": f"web-{number // 10}",
                "pod-template-hash": _word(random, 10),
            },
            "annotations": {"checksum/config": _word(random, 64)},
            "ownerReferences": [
                {
                    "apiVersion": "apps/v1",
                    "kind": "ReplicaSet",
                    "name": owner,
                    "uid": _uid(random),
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
            "managedFields": [
                {
                    "manager": "kube-controller-manager",
                    "operation": "Update",
                    "apiVersion": "v1",
                    "time": time,
                    "fieldsType": "FieldsV1",
                    "fieldsV1": {"f:metadata": {"f:labels": {}}, "f:spec": {}},
                }
            ],
        },
        "spec": {
            "volumes": [
                {"name": "config", "configMap": {"name": "web", "defaultMode": 420}},
                {"name": "data", "persistentVolumeClaim": {"claimName": f"data-{number}"}},
            ],
            "containers": [
                {
                    "name": "web",
                    "image": image,
                    "env": [],
                    "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
                    "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                    "terminationMessagePath": "/dev/termination-log",
                    "terminationMessagePolicy": "File",
                    "imagePullPolicy": "IfNotPresent",
                }
            ],
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30,
            "dnsPolicy": "ClusterFirst",
            "serviceAccountName": "default",
            "nodeName": f"node-{number % 100}",
            "securityContext": {},
            "schedulerName": "default-scheduler",
            "enableServiceLinks": True,
        },
        "status": {
            "phase": "Running",
            "conditions": [{"type": kind} | condition for kind in kinds],
            "hostIP": "10.0.0.1",
            "podIP": "10.1.0.1",
            "startTime": time,
            "containerStatuses": [
                {
                    "name": "web",
                    "state": {"running": {"startedAt": time}},
                    "lastState": {},
                    "ready": True,
                    "restartCount": 0,
                    "image": image,
                    "imageID": f"sha256:{_word(random, 64)}",
                    "containerID": f"containerd://{_word(random, 64)}",
                    "started": True,
                }
            ],
            "qosClass": "Burstable",
        },
    }
