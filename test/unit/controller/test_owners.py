"""Who is asked whether it will make more pods, and what its silence means."""

from __future__ import annotations

from typing import Any

import pytest

from evc.controller.gather import Caches
from evc.controller.owners import AskOwners, unlisted
from evc.kube.resources import WORKLOADS
from evc.model.core import Unstructured, Workload
from evc.model.errors import ApiError, Forbidden, Unreachable
from evc.model.evc import OwnerSeen
from evc.model.meta import ObjectMeta, OwnerReference
from evc.policy.owners import OWNERS_KEPT, Owner
from unit.builders import (
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

from .fakes import RecordingClient, workload

FINISHED = {"phase": "Succeeded", "finishedAt": "2026-01-01T00:01:40Z"}
worker = pod().worker().owned_by(workflow()).succeeded(at=90)


def ask(
    client: RecordingClient, *things: Builder[Any], cached: tuple[Workload, ...] = ()
) -> tuple[Owner, ...]:
    fake: Any = client
    owner = next((t for t in things if type(t) is type(provided())), provided())
    seen = observed(owner, *(t for t in things if t is not owner))
    return tuple(AskOwners(fake)(owner.value, seen, cached))


def dag(status: dict[str, Any], **meta: Any) -> Unstructured:
    return Unstructured(
        ObjectMeta(name="dag", namespace=NAMESPACE, **{"uid": "Workflow-dag"} | meta), status
    )


@pytest.mark.parametrize("kind", WORKLOADS)
@pytest.mark.parametrize("replicas", [0, 2])
def test_a_workload_that_the_cache_names_is_judged_by_what_etcd_says(
    kind: str, replicas: int
) -> None:
    client = RecordingClient().holding(workload(kind, replicas))
    (owner,) = ask(client, cached=(workload(kind, 2 - replicas),))
    assert (owner.name, owner.ending is None) == (f"{kind}/web", replicas > 0)


@pytest.mark.parametrize("kind", WORKLOADS)
def test_a_workload_that_the_cache_does_not_know_is_found_by_its_pods(kind: str) -> None:
    made = pod().worker().of(job("web"), kind=kind).succeeded(at=90)
    (owner,) = ask(RecordingClient().holding(workload(kind, 2)), made)
    assert (owner.name, owner.ending) == (f"{kind}/web", None)


def test_one_recreated_under_the_same_name_counts_as_well() -> None:
    client = RecordingClient().holding(workload("Deployment", 2, uid="another"))
    (owner,) = ask(client, cached=(workload("Deployment", 0),))
    assert owner.ending is None


def test_a_workload_that_is_gone_says_nothing() -> None:
    assert ask(RecordingClient(), cached=(workload("Deployment", 2),)) == ()


def test_one_that_makes_no_users_any_more_says_nothing() -> None:
    client = RecordingClient().holding(workload("Deployment", 2, {"app": "web"}))
    assert ask(client, cached=(workload("Deployment", 2),)) == ()


def test_of_another_group_a_kind_of_that_name_is_asked_by_its_status() -> None:
    kruise = workflow("web", "StatefulSet")
    client = RecordingClient().running("StatefulSet", rollout("Running", uid=kruise.uid))
    ended = pod().worker().owned_by(kruise).succeeded(at=90)
    assert ask(client, ended) == (still("StatefulSet/web", seen=kruise),)


@pytest.mark.parametrize("kind", WORKLOADS)
def test_a_workload_that_may_not_be_read_holds_and_says_so(kind: str) -> None:
    client = RecordingClient().refuse("get", WORKLOADS[kind].plural, Forbidden("RBAC"))
    (owner,) = ask(client, cached=(workload(kind, 0),))
    assert owner == Owner(f"{kind}/web", None, "may not be read: RBAC")


@pytest.mark.parametrize("kind", WORKLOADS)
def test_a_workload_kind_that_may_not_be_listed_holds_and_says_so(kind: str) -> None:
    caches = Caches()
    caches.workloads[kind].error = Forbidden("RBAC")
    (owner,) = unlisted(caches.workloads)
    assert (owner.name, owner.ending) == (f"{kind}/*", None)
    assert "may not be listed: RBAC" in owner.why


def test_more_owners_than_anybody_has_hold_and_are_not_asked() -> None:
    """Whoever makes pods can have them name any owner: each would be a request."""
    client = RecordingClient()
    pods = [
        pod(f"p-{n}").worker().of(job(f"web-{n}"), kind="ReplicaSet").succeeded(at=90)
        for n in range(OWNERS_KEPT + 1)
    ]
    assert ask(client, *pods[1:]) == ()
    assert len(client.asked) == OWNERS_KEPT
    client.calls.clear()
    (owner,) = ask(client, *pods)
    assert (owner.name, owner.ending) == ("Owner/*", None)
    assert client.asked == []


@pytest.mark.parametrize("error", [Unreachable("no route"), RuntimeError("a bug")])
def test_a_cache_that_is_not_kept_up_decides_nothing(error: Exception) -> None:
    caches = Caches()
    caches.workloads["StatefulSet"].error = error
    with pytest.raises(ApiError, match=str(error)):
        list(unlisted(caches.workloads))


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


def rollout(phase: str, uid: str = ROLLOUT.uid) -> Unstructured:
    return Unstructured(ObjectMeta(name="web", namespace=NAMESPACE, uid=uid), {"phase": phase})


@pytest.mark.parametrize("kind", ["ReplicaSet", "StatefulSet"])
def test_the_owner_of_a_workload_is_asked_while_that_wants_no_pods(kind: str) -> None:
    """Between two of its ReplicaSets only the Rollout says that more pods will come."""
    made = workload(kind, 0, owner_references=(OF_ROLLOUT,))
    client = RecordingClient().holding(made).running("Rollout", rollout("Progressing"))
    assert still("Rollout/web", seen=ROLLOUT) in ask(client, cached=(made,))


def test_so_is_that_of_a_workload_which_only_a_pod_names() -> None:
    owners = {"uid": "job-web", "owner_references": (OF_ROLLOUT,)}
    of_others = workload("ReplicaSet", 0, {"app": "web"}, **owners)
    client = RecordingClient().holding(of_others).running("Rollout", rollout("Progressing"))
    ended = pod().worker().of(job("web"), kind="ReplicaSet").succeeded(at=90)
    assert ask(client, ended) == (still("Rollout/web", seen=ROLLOUT),)
    assert ask(client, pod().using().of(job("web"), kind="ReplicaSet").succeeded(at=90)) == ()


def test_between_two_replica_sets_their_deployment_is_asked() -> None:
    """With strategy Recreate it wants pods when none of them does."""
    of_deployment = OwnerReference("apps/v1", "Deployment", "web", "d", controller=True)
    old = workload("ReplicaSet", 0, owner_references=(of_deployment,))
    client = RecordingClient().holding(old, workload("Deployment", 1))
    asked = ask(client, cached=(old,))
    assert [(owner.name, owner.ending is None) for owner in asked] == [
        ("ReplicaSet/web", False),
        ("Deployment/web", True),
    ]


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
    assert ask(client, worker) == (over(at=None, failed=None, seen=workflow()),)


@pytest.mark.parametrize("call", [("get", "workflows"), ("discover", "Workflow")])
def test_an_owner_that_may_not_be_read_holds_and_says_so(call: tuple[str, str]) -> None:
    client = RecordingClient().running("Workflow", dag(FINISHED)).refuse(*call, Forbidden("RBAC"))
    (owner,) = ask(client, worker)
    assert owner == Owner("Workflow/dag", None, "may not be read: RBAC", workflow())


@pytest.mark.parametrize("call", [("get", "workflows"), ("discover", "Workflow")])
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
