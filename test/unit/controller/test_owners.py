"""Who is asked whether it will make more pods, and what its silence means."""

from __future__ import annotations

from typing import Any

import pytest

from evc.controller.owners import AskOwners, list_workloads, wanting
from evc.kube.resources import WORKLOADS
from evc.model.core import (
    PodTemplate,
    PodTemplateMeta,
    Unstructured,
    Workload,
    WorkloadSpec,
    WorkloadStatus,
)
from evc.model.errors import Forbidden, Unreachable
from evc.model.evc import OwnerSeen
from evc.model.meta import ObjectMeta, OwnerReference
from evc.policy.owners import Owner
from unit.builders import (
    LABELS,
    NAMESPACE,
    Builder,
    at,
    job,
    observed,
    over,
    pod,
    provided,
    still,
    workflow,
)

from .fakes import RecordingClient

FINISHED = {"phase": "Succeeded", "finishedAt": "2026-01-01T00:01:40Z"}
worker = pod().worker().owned_by(workflow()).succeeded(at=90)


def ask(client: RecordingClient, *things: Builder[Any]) -> tuple[Owner, ...]:
    fake: Any = client
    owner = next((t for t in things if type(t) is type(provided())), provided())
    seen = observed(owner, *(t for t in things if t is not owner))
    workloads = {kind: list_workloads(fake, NAMESPACE, kind) for kind in WORKLOADS}
    asked = AskOwners(fake)(owner.value, seen, workloads)
    return (*wanting(owner.value, workloads), *asked)


def web(kind: str, replicas: int, labels: dict[str, str] = LABELS, **fields: Any) -> Workload:
    template = PodTemplate(PodTemplateMeta(labels))
    meta = ObjectMeta(name="web", namespace=NAMESPACE, generation=1, **fields)
    if kind == "DaemonSet":
        return Workload(meta, WorkloadSpec(None, template), WorkloadStatus(replicas, 1))
    return Workload(meta, WorkloadSpec(replicas, template))


def dag(status: dict[str, Any], **meta: Any) -> Unstructured:
    return Unstructured(
        ObjectMeta(name="dag", namespace=NAMESPACE, **{"uid": "Workflow-dag"} | meta), status
    )


@pytest.mark.parametrize("kind", WORKLOADS)
@pytest.mark.parametrize("replicas", [0, 2])
def test_a_workload_that_makes_designated_pods_is_found_by_its_template(
    kind: str, replicas: int
) -> None:
    (owner,) = ask(RecordingClient().running(kind, web(kind, replicas)))
    assert (owner.name, owner.ending is None) == (f"{kind}/web", replicas > 0)


@pytest.mark.parametrize("kind", WORKLOADS)
def test_a_workload_of_others_is_not_asked(kind: str) -> None:
    assert ask(RecordingClient().running(kind, web(kind, 2, {"app": "web"}))) == ()


@pytest.mark.parametrize("kind", WORKLOADS)
def test_a_workload_kind_that_may_not_be_listed_holds_and_says_so(kind: str) -> None:
    client = RecordingClient().refuse("list", WORKLOADS[kind].plural, Forbidden("RBAC"))
    (owner,) = ask(client)
    assert (owner.name, owner.ending) == (f"{kind}/*", None)
    assert "may not be listed: RBAC" in owner.why


def test_an_owner_of_any_kind_is_judged_by_its_status() -> None:
    assert ask(RecordingClient().running("Workflow", dag({"phase": "Running"})), worker) == (
        still(seen=workflow()),
    )
    assert ask(RecordingClient().running("Workflow", dag(FINISHED)), worker) == (
        over(at=100, seen=workflow()),
    )


def test_the_owner_of_a_job_is_asked() -> None:
    client = RecordingClient().running("Workflow", dag({"phase": "Running"}))
    assert ask(client, job().owned_by(workflow()).complete(at=90)) == (still(seen=workflow()),)


def test_a_remembered_owner_is_asked() -> None:
    client = RecordingClient().running("Workflow", dag({"phase": "Running"}))
    assert ask(client, provided().remembering(workflow())) == (still(seen=workflow()),)


ROLLOUT = workflow("web", "Rollout")
OF_ROLLOUT = OwnerReference(
    ROLLOUT.api_version, ROLLOUT.kind, ROLLOUT.name, ROLLOUT.uid, controller=True
)


def rollout(phase: str) -> Unstructured:
    return Unstructured(
        ObjectMeta(name="web", namespace=NAMESPACE, uid=ROLLOUT.uid), {"phase": phase}
    )


@pytest.mark.parametrize("kind", ["ReplicaSet", "StatefulSet"])
def test_the_owner_of_a_workload_is_asked_while_that_wants_no_pods(kind: str) -> None:
    """Between two of its ReplicaSets only the Rollout says that more pods will come."""
    client = RecordingClient().running(kind, web(kind, 0, owner_references=(OF_ROLLOUT,)))
    client.running("Rollout", rollout("Progressing"))
    assert still("Rollout/web", seen=ROLLOUT) in ask(client)


def test_so_is_that_of_a_workload_which_only_a_pod_names() -> None:
    of_others = web("ReplicaSet", 0, {"app": "web"}, uid="job-web", owner_references=(OF_ROLLOUT,))
    client = RecordingClient().running("ReplicaSet", of_others)
    client.running("Rollout", rollout("Progressing"))
    ended = pod().worker().of(job("web"), kind="ReplicaSet").succeeded(at=90)
    assert ask(client, ended) == (still("Rollout/web", seen=ROLLOUT),)
    assert ask(client, pod().using().of(job("web"), kind="ReplicaSet").succeeded(at=90)) == ()


def test_a_deployment_of_a_replica_set_is_asked_as_a_workload_only() -> None:
    of_deployment = OwnerReference("apps/v1", "Deployment", "web", "d", controller=True)
    client = RecordingClient().running(
        "ReplicaSet", web("ReplicaSet", 0, owner_references=(of_deployment,))
    )
    assert [owner.name for owner in ask(client)] == ["ReplicaSet/web"]


@pytest.mark.parametrize(
    "client",
    [
        RecordingClient(),
        RecordingClient(served={"Workflow": "workflows"}),
        RecordingClient().running("Workflow", dag({"phase": "Running"}, uid="another")),
    ],
    ids=["its CRD is gone", "it is gone", "another one has its name"],
)
def test_an_owner_that_is_gone_is_over(client: RecordingClient) -> None:
    assert ask(client, worker) == (over(at=None, seen=workflow()),)


@pytest.mark.parametrize("call", [("get", "workflows"), ("discover", "Workflow")])
def test_an_owner_that_may_not_be_read_holds_and_says_so(call: tuple[str, str]) -> None:
    client = RecordingClient().running("Workflow", dag(FINISHED)).refuse(*call, Forbidden("RBAC"))
    (owner,) = ask(client, worker)
    assert owner == Owner("Workflow/dag", None, "may not be read: RBAC", workflow())


@pytest.mark.parametrize(
    "call", [("list", "deployments"), ("get", "workflows"), ("discover", "Workflow")]
)
def test_no_answer_is_no_verdict(call: tuple[str, str]) -> None:
    client = RecordingClient().running("Workflow", dag(FINISHED)).refuse(*call, Unreachable("x"))
    with pytest.raises(Unreachable):
        ask(client, worker)


def test_the_owner_of_an_owner_is_asked() -> None:
    """Between two TaskRuns of a PipelineRun only the PipelineRun says that more will come."""
    task = OwnerSeen("tekton.dev/v1", "TaskRun", "build", "t-1")
    run = OwnerReference("tekton.dev/v1", "PipelineRun", "ci", "r-1", controller=True)
    client = RecordingClient().running(
        "TaskRun",
        Unstructured(
            ObjectMeta(name="build", namespace=NAMESPACE, uid="t-1", owner_references=(run,)),
            {"conditions": [{"type": "Succeeded", "status": "True"}]},
        ),
    )
    client.running(
        "PipelineRun",
        Unstructured(
            ObjectMeta(name="ci", namespace=NAMESPACE, uid="r-1", creation_timestamp=at(0)),
            {"conditions": [{"type": "Succeeded", "status": "Unknown"}]},
        ),
    )
    asked = ask(client, pod().worker().owned_by(task).succeeded(at=90))
    assert [owner.name for owner in asked if owner.ending is None] == ["PipelineRun/ci"]
