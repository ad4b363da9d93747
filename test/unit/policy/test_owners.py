"""Whether an owner is over, from the statuses that projects really write."""

from __future__ import annotations

from typing import Any

import pytest

from evc.model.core import Unstructured, Workload, WorkloadSpec, WorkloadStatus
from evc.model.meta import ObjectMeta, OwnerReference
from evc.policy.owners import Ending, judged, unknown_controllers, wants_pods
from unit.builders import at, workflow

RUNNING: dict[str, dict[str, Any]] = {
    "nothing written yet": {},
    "JobSet": {
        "conditions": [
            {"type": "Suspended", "status": "False", "reason": "ResumeJobs",
             "lastTransitionTime": "2026-01-01T00:00:01Z"},
            {"type": "StartupPolicyCompleted", "status": "True",
             "lastTransitionTime": "2026-01-01T00:00:02Z"},
        ],
        "restarts": 1,
        "replicatedJobsStatus": [{"name": "w", "ready": 1, "succeeded": 0, "failed": 0}],
    },
    "JobSet, suspended": {"conditions": [{"type": "Suspended", "status": "True"}]},
    "Argo Workflow": {
        "phase": "Running", "startedAt": "2026-01-01T00:00:01Z", "finishedAt": None,
        "progress": "1/2", "conditions": [{"type": "PodRunning", "status": "True"}],
        "nodes": {"dag-1": {"phase": "Succeeded", "finishedAt": "2026-01-01T00:00:09Z"}},
    },
    "Argo Workflow, between two steps": {
        "phase": "Running", "conditions": [{"type": "PodRunning", "status": "False"}],
    },
    "RayJob": {
        "jobId": "x", "jobStatus": "RUNNING", "jobDeploymentStatus": "Running",
        "startTime": "2026-01-01T00:00:01Z", "rayClusterStatus": {"state": "ready"},
    },
    "RayJob that will be tried again": {
        "jobStatus": "FAILED", "jobDeploymentStatus": "Retrying", "failed": 1, "succeeded": 0,
        "endTime": "2026-01-01T00:00:50Z",
    },
    "RayJob, suspended": {"jobStatus": "STOPPED", "jobDeploymentStatus": "Suspended"},
    "SparkApplication": {
        "applicationState": {"state": "RUNNING"}, "executionAttempts": 1,
        "terminationTime": None, "driverInfo": {"podName": "x-driver"},
        "executorState": {"x-exec-1": "COMPLETED", "x-exec-2": "FAILED"},
    },
    "SparkApplication, driver gone, rerun to come": {
        "applicationState": {"state": "FAILING", "errorMessage": "driver failed"},
        "terminationTime": "2026-01-01T00:00:50Z",
    },
    "SparkApplication, pending rerun": {"applicationState": {"state": "PENDING_RERUN"}},
    "SparkApplication, submission to be retried": {
        "applicationState": {"state": "SUBMISSION_FAILED"},
    },
    "Tekton PipelineRun": {
        "startTime": "2026-01-01T00:00:01Z",
        "conditions": [{"type": "Succeeded", "status": "Unknown", "reason": "Running",
                        "lastTransitionTime": "2026-01-01T00:00:01Z"}],
        "childReferences": [{"kind": "TaskRun", "name": "x"}],
    },
    "Volcano Job": {
        "state": {"phase": "Running", "lastTransitionTime": "2026-01-01T00:00:01Z"},
        "conditions": [{"status": "Pending"}, {"status": "Running"}], "minAvailable": 1,
    },
    "Volcano Job, restarting": {"state": {"phase": "Restarting"}, "retryCount": 1, "failed": 1},
    "Volcano Job, completing": {"state": {"phase": "Completing"}},
    "Volcano Job, aborted, which can be resumed": {"state": {"phase": "Aborted"}},
    "PyTorchJob": {"conditions": [{"type": "Created", "status": "True"},
                                  {"type": "Running", "status": "True"}]},
    "PyTorchJob, restarting": {"conditions": [{"type": "Running", "status": "False"},
                                              {"type": "Restarting", "status": "True"}]},
    "a condition that was taken back": {"conditions": [{"type": "Failed", "status": "False"}]},
    "conditions that are no list": {"conditions": {"type": "Complete", "status": "True"}},
    "conditions of odd things": {"conditions": [None, 1, "Complete", [], {}]},
    "a state of an odd type": {"phase": 1, "state": ["Completed"], "applicationState": "COMPLETED"},
    "a word that only contains one": {"phase": "NotSucceeded", "state": "incomplete"},
}  # fmt: skip
OVER: dict[str, tuple[dict[str, Any], Ending]] = {
    "JobSet": (
        {"terminalState": "Completed", "restarts": 0,
         "conditions": [{"type": "StartupPolicyCompleted", "status": "True",
                         "lastTransitionTime": "2026-01-01T00:00:02Z"},
                        {"type": "Completed", "status": "True", "reason": "AllJobsCompleted",
                         "lastTransitionTime": "2026-01-01T00:01:40Z"}]},
        Ending(at(100), failed=False),
    ),
    "JobSet that failed": (
        {"terminalState": "Failed",
         "conditions": [{"type": "Failed", "status": "True", "reason": "FailedJobs",
                         "lastTransitionTime": "2026-01-01T00:01:40Z"}]},
        Ending(at(100), failed=True),
    ),
    "Argo Workflow": (
        {"phase": "Succeeded", "finishedAt": "2026-01-01T00:01:40Z",
         "conditions": [{"type": "PodRunning", "status": "False"},
                        {"type": "Completed", "status": "True"}]},
        Ending(at(100), failed=False),
    ),
    "Argo Workflow that failed: it is Completed, too": (
        {"phase": "Failed", "finishedAt": "2026-01-01T00:01:40Z", "message": "child failed",
         "conditions": [{"type": "PodRunning", "status": "False"},
                        {"type": "Completed", "status": "True"}]},
        Ending(at(100), failed=True),
    ),
    "Argo Workflow in error": (
        {"phase": "Error", "finishedAt": "2026-01-01T00:01:40Z",
         "conditions": [{"type": "Completed", "status": "True"}]},
        Ending(at(100), failed=True),
    ),
    "RayJob": (
        {"jobStatus": "SUCCEEDED", "jobDeploymentStatus": "Complete", "succeeded": 1,
         "startTime": "2026-01-01T00:00:01Z", "endTime": "2026-01-01T00:01:40Z"},
        Ending(at(100), failed=False),
    ),
    "RayJob that failed": (
        {"jobStatus": "FAILED", "jobDeploymentStatus": "Failed", "reason": "AppFailed",
         "endTime": "2026-01-01T00:01:40Z"},
        Ending(at(100), failed=True),
    ),
    "RayJob that failed, of old KubeRay": (
        {"jobStatus": "FAILED", "jobDeploymentStatus": "Complete"},
        Ending(None, failed=True),
    ),
    "SparkApplication": (
        {"applicationState": {"state": "COMPLETED"}, "terminationTime": "2026-01-01T00:01:40Z"},
        Ending(at(100), failed=False),
    ),
    "SparkApplication that failed": (
        {"applicationState": {"state": "FAILED", "errorMessage": "x"},
         "terminationTime": "2026-01-01T00:01:40Z"},
        Ending(at(100), failed=True),
    ),
    "Tekton PipelineRun": (
        {"completionTime": "2026-01-01T00:01:40Z",
         "conditions": [{"type": "Succeeded", "status": "True", "reason": "Completed",
                         "lastTransitionTime": "2026-01-01T00:01:40Z"}]},
        Ending(at(100), failed=False),
    ),
    "Tekton PipelineRun that failed or was cancelled": (
        {"completionTime": "2026-01-01T00:01:40Z",
         "conditions": [{"type": "Succeeded", "status": "False", "reason": "Cancelled",
                         "lastTransitionTime": "2026-01-01T00:01:40Z"}]},
        Ending(at(100), failed=True),
    ),
    "Volcano Job": (
        {"state": {"phase": "Completed", "lastTransitionTime": "2026-01-01T00:01:40Z"},
         "conditions": [{"status": "Running"}, {"status": "Completed"}]},
        Ending(None, failed=False),
    ),
    "Volcano Job that failed": (
        {"state": {"phase": "Failed"}, "retryCount": 3}, Ending(None, failed=True),
    ),
    "PyTorchJob": (
        {"completionTime": "2026-01-01T00:01:40Z",
         "conditions": [{"type": "Running", "status": "False"},
                        {"type": "Succeeded", "status": "True",
                         "lastTransitionTime": "2026-01-01T00:01:40Z"}]},
        Ending(at(100), failed=False),
    ),
    "a driver pod, which owns Spark's executors": ({"phase": "Succeeded"}, Ending(None, False)),
    "a time without a zone counts as none": (
        {"phase": "Succeeded", "finishedAt": "2026-01-01T00:01:40"}, Ending(None, failed=False),
    ),
    "a time that is none": (
        {"phase": "Failed", "finishedAt": "soon"}, Ending(None, failed=True),
    ),
}  # fmt: skip


def found(status: dict[str, Any], uid: str = "Workflow-dag", **meta: Any) -> Unstructured:
    return Unstructured(ObjectMeta(name="dag", uid=uid, **meta), status)


@pytest.mark.parametrize("status", RUNNING.values(), ids=RUNNING)
def test_what_may_still_make_pods_holds(status: dict[str, Any]) -> None:
    owner = judged(workflow(), found(status))
    assert (owner.name, owner.ending) == ("Workflow/dag", None)


@pytest.mark.parametrize(("status", "ending"), OVER.values(), ids=OVER)
def test_what_says_that_it_is_over_is(status: dict[str, Any], ending: Ending) -> None:
    assert judged(workflow(), found(status)).ending == ending


@pytest.mark.parametrize(
    "thing",
    [
        None,
        found({"phase": "Running"}, uid="another of that name"),
        found({"phase": "Running"}, deletion_timestamp=at(5)),
    ],
    ids=["gone", "another one", "being deleted"],
)
def test_what_is_gone_makes_no_more_pods(thing: Unstructured | None) -> None:
    assert judged(workflow(), thing).ending == Ending(None, failed=None)


def workload(
    replicas: int | None = None,
    *,
    desired: int | None = None,
    seen: int = 1,
    generation: int = 1,
    deleting: bool = False,
) -> Workload:
    return Workload(
        ObjectMeta(
            name="web",
            namespace="lab",
            generation=generation,
            deletion_timestamp=at(5) if deleting else None,
        ),
        WorkloadSpec(replicas),
        WorkloadStatus(desired, seen),
    )


@pytest.mark.parametrize(
    ("value", "wants"),
    [
        pytest.param(workload(3), True, id="replicas"),
        pytest.param(workload(0), False, id="scaled to zero"),
        pytest.param(workload(None), True, id="replicas left out: one"),
        pytest.param(workload(3, deleting=True), False, id="being deleted"),
        pytest.param(workload(desired=2), True, id="a DaemonSet for two nodes"),
        pytest.param(workload(desired=0), False, id="a DaemonSet for no node"),
        pytest.param(
            workload(desired=0, generation=2), True, id="a DaemonSet whose new spec nobody counted"
        ),
        pytest.param(workload(desired=0, seen=0), True, id="a DaemonSet that nobody counted yet"),
        pytest.param(workload(desired=2, deleting=True), False, id="a DaemonSet being deleted"),
    ],
)
def test_a_workload_holds_while_it_wants_pods(value: Workload, wants: bool) -> None:
    assert wants_pods(value) is wants


@pytest.mark.parametrize(
    ("api_version", "kind", "known"),
    [
        ("batch/v1", "Job", True),
        ("batch/v1", "CronJob", True),
        ("apps/v1", "Deployment", True),
        ("apps/v1", "ReplicaSet", True),
        ("apps/v1", "StatefulSet", True),
        ("apps/v1", "DaemonSet", True),
        ("v1", "ReplicationController", True),
        ("v1", "Node", True),
        ("batch.volcano.sh/v1alpha1", "Job", False),
        ("apps.kruise.io/v1beta1", "StatefulSet", False),
        ("jobset.x-k8s.io/v1alpha2", "JobSet", False),
        ("v1", "Pod", False),
    ],
)
def test_a_kind_is_known_by_name_and_group(api_version: str, kind: str, known: bool) -> None:
    reference = OwnerReference(api_version, kind, "x", "u", controller=True)
    assert [s.kind for s in unknown_controllers([reference])] == ([] if known else [kind])


def test_an_owner_that_is_not_the_controller_is_not_asked() -> None:
    reference = OwnerReference("argoproj.io/v1alpha1", "Workflow", "x", "u", controller=False)
    assert list(unknown_controllers([reference])) == []
