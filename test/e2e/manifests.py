"""Manifests for the scenarios, with the local cluster's annotations for what pods do."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

COMPLETE_AFTER = "cluster.evc.dev/complete-after"
FAIL_AFTER = "cluster.evc.dev/fail-after"


def claim(name: str, **spec: Any) -> Json:
    """An EphemeralVolumeClaim for pods labelled app=NAME; fields as in the API."""
    defaults = {
        "podSelector": {"matchLabels": {"app": name}},
        "minimumWaitSeconds": 0,
        "gracePeriodSeconds": 1,
        "volumeClaimTemplate": {"spec": pvc_spec()},
    }
    return {
        "apiVersion": "evc.dev/v1alpha1",
        "kind": "EphemeralVolumeClaim",
        "metadata": {"name": name},
        "spec": defaults | spec,
    }


def pvc_spec() -> Json:
    """The spec of a small volume."""
    return {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}


def pvc(name: str) -> Json:
    """Somebody's own PersistentVolumeClaim."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": pvc_spec(),
    }


def pod(
    name: str, claim: str, *, app: str | None = None, nowhere: bool = False, **does: str
) -> Json:
    """A bare pod with the volume: `complete_after="1s"`, `fail_after=...`; else it runs on.

    ``nowhere``: no node fits, so that it stays Pending and unscheduled.
    """
    template = pod_template(claim, app=app or claim, **does)
    template["metadata"]["name"] = name
    if nowhere:
        template["spec"]["nodeSelector"] = {"no-such": "node"}
    return {"apiVersion": "v1", "kind": "Pod"} | template


def pod_template(claim: str, *, app: str, **does: str) -> Json:
    """What pods of a workload look like."""
    return {
        "metadata": {
            "labels": {"app": app},
            "annotations": {
                f"cluster.evc.dev/{key.replace('_', '-')}": text for key, text in does.items()
            },
        },
        "spec": {
            "restartPolicy": "Never",
            "containers": [
                {
                    "name": "main",
                    "image": "busybox",
                    "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
                }
            ],
            "volumes": [{"name": "scratch", "persistentVolumeClaim": {"claimName": claim}}],
        },
    }


def job(name: str, claim: str, *, spec: Json | None = None, **does: str) -> Json:
    """A Job whose pods use the volume; ``spec`` adds to the Job's own."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"template": pod_template(claim, app=claim, **does)} | (spec or {}),
    }
