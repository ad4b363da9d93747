"""The operator has the rights it uses and no other (see `rights`, which judges the whole run)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from cluster import ControlPlane
from e2e import manifests
from e2e.conftest import ACCOUNT, install_kinds
from e2e.kustomize import CONFIG, rendered
from e2e.rights import Call, Grant, differences, granted, used
from e2e.scenario import Audit, Json, Operator, Scenario, condition

READ = Grant("get", "", "pods")
LEASE = Grant("update", "coordination.k8s.io", "leases", ("ours",))


@pytest.mark.parametrize(
    ("grants", "calls", "says"),
    [
        ([READ], [Call("get", "", "pods")], []),
        ([READ], [], ["granted, but never used: get pods"]),
        ([], [Call("get", "", "pods")], ["used, but not granted: get pods"]),
        ([READ], [Call("list", "", "pods"), Call("get", "", "pods")], ["used, but not granted"]),
        ([READ], [Call("get", "apps", "pods")], ["granted, but", "used, but not granted"]),
        ([READ], [Call("get", "", "pods/status")], ["granted, but", "used, but not granted"]),
        ([LEASE], [Call("update", "coordination.k8s.io", "leases", "ours")], []),
        (
            [LEASE],
            [Call("update", "coordination.k8s.io", "leases", "theirs")],
            ["granted, but", "used, but not granted: update leases.coordination.k8s.io theirs"],
        ),
        ([], [Call("get", "train.example.com", "trains")], []),
    ],
)
def test_both_directions_are_judged(
    grants: list[Grant], calls: list[Call], says: list[str]
) -> None:
    found = differences(grants, calls)
    assert len(found) == len(says)
    assert all(line.startswith(start) for line, start in zip(found, says, strict=True))


def test_no_right_is_a_wildcard_or_a_way_to_more() -> None:
    grants = granted(rendered(CONFIG / "default"), ACCOUNT)
    assert Grant("get", "jobset.x-k8s.io", "jobsets") in grants  # by aggregation
    for grant in grants:
        assert "*" not in (grant.verb, grant.group, *grant.resource.split("/")), grant
        assert grant.verb not in ("bind", "escalate", "impersonate", "deletecollection"), grant
        assert grant.resource not in ("secrets", "configmaps", "pods/exec"), grant


def test_what_a_process_asks_is_seen_and_what_a_test_asks_is_not(
    scenario: Scenario, operator: Operator, operator_kubeconfig: Path, audit: Audit
) -> None:
    borrowed = scenario.seen_by(operator_kubeconfig)
    borrowed.items("job", limit="7")
    with pytest.raises(AssertionError, match="forbidden"):
        borrowed.create("namespace", {"metadata": {"name": "nope"}})
    scenario.create("evc", manifests.claim("scratch"))
    scenario.until_reason("scratch", "Waiting")
    calls = used(audit._log, audit._user)
    assert Call("create", "", "persistentvolumeclaims") in calls
    assert Call("watch", "evc.dev", "ephemeralvolumeclaims") in calls
    assert Call("create", "", "namespaces") not in calls


OWNERS = {
    "JobSet": "jobset.x-k8s.io/v1alpha2/jobsets",
    "Workflow": "argoproj.io/v1alpha1/workflows",
    "Rollout": "argoproj.io/v1alpha1/rollouts",
    "LeaderWorkerSet": "leaderworkerset.x-k8s.io/v1/leaderworkersets",
    "RayJob": "ray.io/v1/rayjobs",
    "RayCluster": "ray.io/v1/rayclusters",
    "SparkApplication": "sparkoperator.k8s.io/v1beta2/sparkapplications",
    "PipelineRun": "tekton.dev/v1/pipelineruns",
    "TaskRun": "tekton.dev/v1/taskruns",
    "Job": "batch.volcano.sh/v1alpha1/jobs",
    "PyTorchJob": "kubeflow.org/v1/pytorchjobs",
    "TFJob": "kubeflow.org/v1/tfjobs",
    "MPIJob": "kubeflow.org/v2beta1/mpijobs",
}
"""The kinds the operator may read out of the box: kind -> group, version and resource."""


def definition(kind: str) -> Json:
    """A stand-in for the kind's own CustomResourceDefinition."""
    group, version, plural = OWNERS[kind].split("/")
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    approved = {"api-approved.kubernetes.io": "unapproved, a stand-in for tests"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}", "annotations": approved},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural},
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }


def test_the_kinds_of_owners_are_those_of_the_manifest() -> None:
    _, role = yaml.safe_load_all((CONFIG / "rbac" / "owner_reader_role.yaml").read_text())
    named = {
        f"{group}/{plural}"
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for plural in rule["resources"]
    }
    assert named == {"/".join(where.split("/")[::2]) for where in OWNERS.values()}


@pytest.fixture
def owner_kinds(with_crd: ControlPlane) -> Iterator[None]:
    """Every kind of owner the manifests name, for the time of a test."""
    crds = json.dumps({"apiVersion": "v1", "kind": "List", "items": [*map(definition, OWNERS)]})
    install_kinds(with_crd, crds)
    yield
    with_crd.kubectl("delete", "-f", "-", input=crds)


def test_every_kind_of_owner_that_may_be_read_is_asked(
    scenario: Scenario, operator: Operator, audit: Audit, owner_kinds: None
) -> None:
    scenario.create("evc", manifests.claim("scratch", gracePeriodSeconds=0))
    scenario.until_bound("scratch")
    for kind, where in OWNERS.items():
        group, version, plural = where.split("/")
        path = f"/apis/{group}/{version}/namespaces/{scenario.namespace}/{plural}"
        body = {"apiVersion": f"{group}/{version}", "kind": kind, "metadata": {"name": "big"}}
        made = scenario.call("POST", path, body)
        pod = manifests.pod(kind.lower(), "scratch", complete_after="100ms")
        reference = body | {"name": "big", "uid": made["metadata"]["uid"], "controller": True}
        del reference["metadata"]
        pod["metadata"]["ownerReferences"] = [reference]
        scenario.create("pod", pod)
    asked = {Call("get", *where.split("/")[::2]) for where in OWNERS.values()}
    scenario.eventually(lambda: asked <= used(audit._log, audit._user), "all are asked")
    scenario.eventually(
        lambda: (
            scenario.get("evc", "scratch")["status"].get("heldBy", {}).get("count") == len(OWNERS)
        ),
        "all of them hold",
    )
    scenario.stays("pvc", "scratch", seconds=0.5)


def test_nodes_are_asked_whether_a_csi_volume_is_still_in_use(
    scenario: Scenario, operator: Operator
) -> None:
    """No VolumeAttachment does not mean unmounted: not every driver attaches."""
    name = f"csi-{scenario.namespace}"
    volume = {
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": "1Gi"},
            "claimRef": {"namespace": scenario.namespace, "name": "scratch"},
            "csi": {"driver": "test.example.com", "volumeHandle": name},
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": "by-hand",
        },
    }
    scenario.create("pv", volume)
    spec = manifests.pvc_spec() | {"storageClassName": "by-hand"}
    template = {"volumeClaimTemplate": {"spec": spec}}
    scenario.create("evc", manifests.claim("scratch", **template, ttlSecondsAfterFinished=60))
    scenario.until_bound("scratch")
    in_use(scenario, f"kubernetes.io/csi/test.example.com^{name}")
    scenario.create("pod", manifests.pod("quick", "scratch", complete_after="100ms"))
    says = "may still be mounted: Node/node-0"
    scenario.eventually(
        lambda: says in condition(scenario.get("evc", "scratch"), "Ready").get("message", ""),
        "the node is said to have it mounted",
    )
    in_use(scenario)
    scenario.until_gone("pvc", "scratch")
    scenario.call("DELETE", f"/api/v1/persistentvolumes/{name}")


def in_use(scenario: Scenario, *volumes: str) -> None:
    """Have the node report these volumes, as a kubelet does."""
    change = {"status": {"volumesInUse": list(volumes)}}
    merge = "application/merge-patch+json"
    scenario.call("PATCH", "/api/v1/nodes/node-0/status", change, merge)
