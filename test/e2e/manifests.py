"""Manifests for the scenarios. What pods do is said twice: in annotations, for the local cluster's
fake nodes, and in a command, for a real one.
"""

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
    name: str,
    claim: str,
    *,
    app: str | None = None,
    nowhere: bool = False,
    script: str = "",
    **does: str,
) -> Json:
    """A bare pod with the volume: `complete_after="1s"`, `fail_after=...`; else it runs on.

    ``nowhere``: no node fits, so that it stays Pending and unscheduled.
    ``script``: a shell script instead, for a real node only.
    """
    template = pod_template(claim, app=app or claim, script=script, **does)
    template["metadata"]["name"] = name
    if nowhere:
        template["spec"]["nodeSelector"] = {"no-such": "node"}
    return {"apiVersion": "v1", "kind": "Pod"} | template


def pod_template(claim: str, *, app: str, script: str = "", **does: str) -> Json:
    """What pods of a workload look like; see `pod`."""
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
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["sh", "-c", script or behaviour(**does)],
                    "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
                }
            ],
            "volumes": [{"name": "scratch", "persistentVolumeClaim": {"claimName": claim}}],
        },
    }


def behaviour(
    complete_after: str = "infinity", fail_after: str = "", stop_after: str = "0s", **_: str
) -> str:
    """The same as these annotations, as a shell script; only the delay of a start is missing.

    The first process of a container ignores SIGTERM unless it says what to do.
    """
    length, code = (fail_after, 1) if fail_after else (complete_after, 0)
    stop = f"trap 'sleep {_seconds(stop_after)}; exit 143' TERM"
    return f"{stop}; sleep {_seconds(length)} & wait; exit {code}"


def _seconds(duration: str) -> str:
    """`100ms` as `0.1`, `2s` as `2`, for `sleep`."""
    if duration.endswith("ms"):
        return str(int(duration.removesuffix("ms")) / 1000)
    return duration.removesuffix("s")


def job(name: str, claim: str, *, spec: Json | None = None, script: str = "", **does: str) -> Json:
    """A Job whose pods use the volume; ``spec`` adds to the Job's own. See `pod`."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"template": pod_template(claim, app=claim, script=script, **does)} | (spec or {}),
    }
