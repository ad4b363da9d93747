"""What objects say, in the model's own reading: no word of it comes from the operator's code."""

from __future__ import annotations

from sim.history import Json, condition, marks_of, meta
from sim.timeline import seconds

HOLD = "evc.dev/hold"
OWNER_UID = "evc.dev/owner-uid"
OWNER_NAME = "evc.dev/owner-name"
REQUEST_ID = "evc.dev/request-id"
ADOPT_BY = "evc.dev/adopt-by"
MARKS = {OWNER_UID, OWNER_NAME, REQUEST_ID, "evc.dev/completed-pods"}
MANAGED_BY = "app.kubernetes.io/managed-by"


def claim_name(evc: Json) -> str:
    """Name of the claim it makes or takes over."""
    return str(evc["spec"].get("existingClaimName") or meta(evc)["name"])


def offered_to(evc: Json, claim: Json) -> bool:
    """Whether the claim's owner gives it to this object, which wants it."""
    wanted = evc["spec"].get("existingClaimName") == meta(claim)["name"]
    return bool(wanted and marks_of(claim).get(ADOPT_BY) == meta(evc)["name"])


def designated(evc: Json, pod: Json) -> bool:
    """Whether its selector names the pod, or the pods of this template."""
    wanted = evc["spec"]["podSelector"].get("matchLabels", {})
    labels = meta(pod).get("labels") or {}
    return bool(wanted) and all(labels.get(key) == value for key, value in wanted.items())


def rule_of(evc: Json, outcome: str) -> Json:
    """What its spec says of an outcome."""
    field = {"Succeeded": "onSuccess", "Failed": "onFailure", "Expired": "onExpiry"}.get(outcome)
    found: Json = evc["spec"].get(field, {})
    return found


def born(item: Json) -> float:
    """When the API server made it."""
    return seconds(meta(item)["creationTimestamp"])


def storage(spec: Json) -> str:
    """The size a claim asks for."""
    return str(spec["resources"]["requests"]["storage"])


def start(pod: Json) -> float | None:
    """When its container started."""
    for status in pod["status"].get("containerStatuses", ()):
        ran = status["state"].get("running") or status["state"].get("terminated")
        return seconds(ran["startedAt"])
    return None


def job_end(job: Json) -> float | None:
    """When the Job was over for good."""
    for kind in ("Complete", "Failed"):
        over = condition(job, kind)
        if over:
            return seconds(job["status"].get("completionTime") or over["lastTransitionTime"])
    return None


def template_of(item: Json) -> Json:
    """What the pods look like that a maker makes, of whatever depth."""
    spec: Json = item["spec"]
    spec = spec.get("jobSet", spec)
    spec = spec.get("jobTemplate", {"spec": spec})["spec"]
    found: Json = spec["template"]
    return found


def pod_of(item: Json) -> Json:
    """The pod itself, or what the pods of a maker look like, in its namespace."""
    pod = item if item["kind"] == "Pod" else template_of(item)
    return pod | {"metadata": meta(pod) | {"namespace": meta(item)["namespace"]}}
