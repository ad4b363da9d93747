"""Whether work is over is judged at its owner, never from "no pods now" alone."""

from __future__ import annotations

from typing import Any

import pytest

from cluster import ControlPlane
from e2e import manifests
from e2e.conftest import install_kinds
from e2e.scenario import PATHS, Refused, Scenario, condition, eventually, phase

pytestmark = pytest.mark.usefixtures("operator")

Json = dict[str, Any]


RECHECK = 90.0
"""Seconds to wait for what is noticed when an owner is asked again, every 30 s."""


def job_pods(scenario: Scenario) -> list[Json]:
    return [pod for pod in scenario.items("pod") if phase(pod) in ("Pending", "Running")]


def test_a_suspended_job_holds_although_it_has_no_pods(scenario: Scenario) -> None:
    """What Kueue does to preempt: suspending deletes every pod."""
    scenario.create("evc", manifests.claim("scratch"))
    scenario.until_bound("scratch")
    scenario.create("job", manifests.job("crunch", "scratch", complete_after="12s"))
    scenario.until_reason("scratch", "InUse")
    scenario.patch("job", "crunch", {"spec": {"suspend": True}})
    eventually(lambda: not scenario.items("pod"), "suspending deleted the pods")
    says = "held by Job/crunch (suspended)"
    eventually(
        lambda: condition(scenario.get("evc", "scratch"), "Ready")["message"] == says,
        "the Job alone is said to hold",
    )
    scenario.stays("pvc", "scratch", seconds=3)
    scenario.patch("job", "crunch", {"spec": {"suspend": False}})
    scenario.until_gone("evc", "scratch")


def test_a_job_between_retries_holds(scenario: Scenario) -> None:
    scenario.create("evc", manifests.claim("scratch", gracePeriodSeconds=0))
    scenario.until_bound("scratch")
    scenario.create(
        "job", manifests.job("crunch", "scratch", spec={"backoffLimit": 1}, fail_after="100ms")
    )
    eventually(
        lambda: (
            scenario.get("job", "crunch")["status"].get("failed") == 1 and not job_pods(scenario)
        ),
        "the first pod failed and the second is not there yet",
    )
    scenario.stays("pvc", "scratch", seconds=3)
    scenario.until_gone("evc", "scratch")
    assert scenario.get("job", "crunch")["status"]["failed"] == 2


def test_a_cron_jobs_run_is_its_own_job(scenario: Scenario) -> None:
    PATHS["cronjob"] = "/apis/batch/v1/namespaces/{ns}/cronjobs"
    scenario.create("evc", manifests.claim("scratch"))
    scenario.until_bound("scratch")
    run = manifests.job("nightly-1", "scratch", complete_after="200ms")
    cron = scenario.create(
        "cronjob",
        {
            "metadata": {"name": "nightly"},
            "spec": {"schedule": "0 3 * * *", "jobTemplate": {"spec": run["spec"]}},
        },
    )
    run["metadata"]["ownerReferences"] = [owner("batch/v1", "CronJob", cron)]
    scenario.create("job", run)
    scenario.until_gone("evc", "scratch")
    assert scenario.get("cronjob", "nightly")


def owner(api_version: str, kind: str, item: Json) -> Json:
    """A controller reference to the object."""
    return {
        "apiVersion": api_version,
        "kind": kind,
        "name": item["metadata"]["name"],
        "uid": item["metadata"]["uid"],
        "controller": True,
    }


def workload(kind: str) -> Json:
    """A workload of one pod that uses the volume."""
    template = manifests.pod_template("scratch", app="scratch")
    template["spec"]["restartPolicy"] = "Always"
    selector: Json = {"matchLabels": {"app": "scratch"}}
    spec: Json = {"template": template, "selector": selector, "replicas": 1}
    if kind == "statefulset":
        spec["serviceName"] = "web"
    if kind == "daemonset":
        del spec["replicas"]
    if kind == "replicationcontroller":
        spec["selector"] = selector["matchLabels"]
    return {"metadata": {"name": "web"}, "spec": spec}


@pytest.mark.parametrize("deleted", [False, True])
@pytest.mark.parametrize(
    "kind", ["deployment", "replicaset", "statefulset", "daemonset", "replicationcontroller"]
)
def test_a_workload_holds_as_long_as_it_wants_pods(
    scenario: Scenario, kind: str, deleted: bool
) -> None:
    group = "/api/v1" if kind == "replicationcontroller" else "/apis/apps/v1"
    PATHS[kind] = group + "/namespaces/{ns}/" + kind + "s"
    scenario.create("evc", manifests.claim("scratch", gracePeriodSeconds=0))
    scenario.until_bound("scratch")
    scenario.create(kind, workload(kind))
    scenario.until_reason("scratch", "InUse")
    # No room: from now on the workload wants a pod and has none.
    scenario.create("quota", {"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}})
    eventually(lambda: no_room(scenario), "the quota is in force")
    for pod in scenario.items("pod"):
        scenario.delete("pod", pod["metadata"]["name"], gracePeriodSeconds=0)
    eventually(lambda: not scenario.items("pod"), "the pods are gone")
    eventually(
        lambda: f"{kind}/web" in [name.lower() for name in held_by(scenario)],
        "the workload is said to hold",
    )
    scenario.stays("pvc", "scratch", seconds=3)
    if deleted:
        scenario.delete(kind, "web")
    elif kind == "daemonset":
        nowhere = {"nodeSelector": {"kubernetes.io/hostname": "nowhere"}}
        scenario.patch(kind, "web", {"spec": {"template": {"spec": nowhere}}})
    else:
        scenario.patch(kind, "web", {"spec": {"replicas": 0}})
    scenario.until_gone("evc", "scratch")


def no_room(scenario: Scenario) -> bool:
    """Whether the API server refuses another pod."""
    try:
        pod = manifests.pod("one-more", "scratch")
        scenario.call("POST", scenario.path("pod") + "?dryRun=All", pod)
    except Refused as refusal:
        return "exceeded quota" in str(refusal)
    return False


def held_by(scenario: Scenario) -> list[str]:
    """Who holds, as far as status names them."""
    names: list[str] = scenario.get("evc", "scratch")["status"].get("heldBy", {}).get("names", [])
    return names


PATHS["quota"] = "/api/v1/namespaces/{ns}/resourcequotas"
PATHS["jobset"] = "/apis/jobset.example.com/v1/namespaces/{ns}/jobsets"
PATHS["workflow"] = "/apis/workflow.example.com/v1/namespaces/{ns}/workflows"


@pytest.fixture(scope="module")
def foreign_kinds(with_crd: ControlPlane) -> None:
    """Kinds of our own standing in for JobSet and Argo's Workflow, statuses as theirs."""
    for kind in ("JobSet", "Workflow"):
        manifest = f"""
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: {kind.lower()}s.{kind.lower()}.example.com}}
spec:
  group: {kind.lower()}.example.com
  scope: Namespaced
  names: {{kind: {kind}, plural: {kind.lower()}s}}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {{openAPIV3Schema: {{type: object, x-kubernetes-preserve-unknown-fields: true}}}}
"""
        install_kinds(with_crd, manifest)
        with_crd.kubectl(
            "apply",
            "-f",
            "-",
            input=f"""
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: evc-reads-{kind.lower()}s
  labels: {{evc.dev/aggregate-to-owner-reader: "true"}}
rules:
- apiGroups: [{kind.lower()}.example.com]
  resources: [{kind.lower()}s]
  verbs: [get]
""",
        )


@pytest.mark.usefixtures("foreign_kinds")
def test_a_workflow_holds_between_two_steps(scenario: Scenario) -> None:
    """Its pods are its own and may be deleted as soon as they are done (podGC)."""
    scenario.create("evc", manifests.claim("scratch", ttlSecondsAfterFinished=60))
    scenario.until_bound("scratch")
    flow = scenario.create(
        "workflow",
        {
            "apiVersion": "workflow.example.com/v1",
            "kind": "Workflow",
            "metadata": {"name": "flow"},
            "status": {"phase": "Running"},
        },
    )
    step = manifests.pod("flow-1", "scratch", complete_after="1s")
    step["metadata"]["ownerReferences"] = [owner("workflow.example.com/v1", "Workflow", flow)]
    scenario.create("pod", step)
    claim = scenario.until_reason("scratch", "InUse")
    assert [seen["name"] for seen in claim["status"]["owners"]] == ["flow"]
    scenario.until_phase("flow-1", "Succeeded")
    scenario.delete("pod", "flow-1")
    eventually(lambda: "Workflow/flow" in held_by(scenario), "the Workflow is said to hold")
    scenario.stays("pvc", "scratch", seconds=3)
    scenario.patch("workflow", "flow", {"status": {"phase": "Failed"}})
    claim = scenario.until_reason("scratch", "Deleted", seconds=RECHECK)
    assert claim["status"]["outcome"] == "Failed"


@pytest.mark.usefixtures("foreign_kinds")
def test_a_jobset_that_replaces_its_jobs_holds(scenario: Scenario) -> None:
    """Between two attempts there is neither a pod nor a Job."""
    scenario.create("evc", manifests.claim("scratch", ttlSecondsAfterFinished=60))
    scenario.until_bound("scratch")
    jobset = scenario.create(
        "jobset",
        {
            "apiVersion": "jobset.example.com/v1",
            "kind": "JobSet",
            "metadata": {"name": "train"},
            "status": {"restarts": 0},
        },
    )
    job = manifests.job("train-0", "scratch", spec={"backoffLimit": 0}, fail_after="200ms")
    job["metadata"]["ownerReferences"] = [owner("jobset.example.com/v1", "JobSet", jobset)]
    scenario.create("job", job)
    scenario.until_reason("scratch", "InUse")
    eventually(lambda: condition(scenario.get("job", "train-0"), "Failed"), "the attempt failed")
    scenario.delete("job", "train-0")
    eventually(lambda: not scenario.items("pod"), "the pods are gone")
    eventually(lambda: held_by(scenario) == ["JobSet/train"], "the JobSet alone is said to hold")
    scenario.stays("pvc", "scratch", seconds=3)
    scenario.delete("jobset", "train")
    scenario.until_reason("scratch", "Deleted", seconds=RECHECK)
