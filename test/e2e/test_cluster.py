"""The local control plane behaves as the tests of the operator rely on.

Each test works in a namespace of its own, so that they can run in any order.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cluster import ClusterError, ControlPlane

PATIENCE_SECONDS = 20.0


class Namespace:
    """A namespace of the control plane, and the few verbs these tests need in it."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane
        self.name = f"t-{uuid.uuid4().hex[:8]}"
        plane.kubectl("create", "namespace", self.name)

    def kubectl(self, *args: str, stdin: str | None = None) -> str:
        return self.plane.kubectl("-n", self.name, *args, input=stdin)

    def create(self, item: dict[str, Any]) -> None:
        self.kubectl("create", "-f", "-", stdin=json.dumps(item))

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """The object, or an empty one if there is none."""
        found = self.kubectl("get", kind, name, "-o", "json", "--ignore-not-found")
        item: dict[str, Any] = json.loads(found or "{}")
        return item

    def items(self, kind: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = json.loads(self.kubectl("get", kind, "-o", "json"))["items"]
        return items

    def phase(self, kind: str, name: str) -> str:
        return str(self.get(kind, name).get("status", {}).get("phase", ""))


@pytest.fixture
def ns(control_plane: ControlPlane) -> Namespace:
    return Namespace(control_plane)


def wait_for(reached: Callable[[], bool]) -> None:
    """Poll until it is so, for as long as patience lasts."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not reached():
        assert time.monotonic() < deadline, f"not within {PATIENCE_SECONDS:.0f} s"
        time.sleep(0.1)


def claim(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }


def pod(name: str, *, claim_name: str = "", **annotations: str) -> dict[str, Any]:
    """A pod; `complete_after="1s"` and its like become this cluster's annotations."""
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "initContainers": [{"name": "prepare", "image": "busybox"}],
        "containers": [{"name": "main", "image": "busybox"}],
    }
    if claim_name:
        spec["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": claim_name}}]
    marks = {f"cluster.evc.dev/{key.replace('_', '-')}": text for key, text in annotations.items()}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "annotations": marks},
        "spec": spec,
    }


def job(name: str, template: dict[str, Any], **spec: Any) -> dict[str, Any]:
    metadata = {"annotations": template["metadata"]["annotations"]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"template": {"metadata": metadata, "spec": template["spec"]}, **spec},
    }


def has_condition(item: dict[str, Any], kind: str) -> bool:
    conditions = item.get("status", {}).get("conditions", [])
    return any(c["type"] == kind and c["status"] == "True" for c in conditions)


def terminated(item: dict[str, Any]) -> dict[str, Any]:
    """How the pod's main container ended."""
    ended: dict[str, Any] = item["status"]["containerStatuses"][0]["state"]["terminated"]
    return ended


def test_it_boots_ready(control_plane: ControlPlane) -> None:
    nodes = json.loads(control_plane.kubectl("get", "nodes", "-o", "json"))["items"]
    assert [has_condition(node, "Ready") for node in nodes] == [True]
    assert "taints" not in nodes[0]["spec"]
    assert "standard (default)" in control_plane.kubectl("get", "storageclass")


def test_a_failing_kubectl_says_why(control_plane: ControlPlane) -> None:
    with pytest.raises(ClusterError, match="nothing-here"):
        control_plane.kubectl("get", "pod", "nothing-here")
    assert "nothing-here" in control_plane.kubectl("get", "pod", "nothing-here", check=False)


def test_a_claim_binds_and_takes_its_volume_along(ns: Namespace) -> None:
    ns.create(claim("data"))
    wait_for(lambda: ns.phase("pvc", "data") == "Bound")
    volume = ns.get("pvc", "data")["spec"]["volumeName"]
    path = Path(ns.get("pv", volume)["spec"]["hostPath"]["path"])
    assert path.is_dir()
    ns.kubectl("delete", "pvc", "data")
    wait_for(lambda: not ns.get("pv", volume))
    assert not path.exists()


def test_a_completed_job_pins_its_deleted_claim(ns: Namespace) -> None:
    ns.create(claim("data"))
    ns.create(job("work", pod("work", claim_name="data")))
    wait_for(lambda: has_condition(ns.get("job", "work"), "Complete"))
    (worker,) = ns.items("pods")
    assert worker["status"]["phase"] == "Succeeded"
    ended = terminated(worker)
    assert ended["exitCode"] == 0
    assert ended["startedAt"] < ended["finishedAt"]
    ns.kubectl("delete", "pvc", "data", "--wait=false")
    time.sleep(1)
    assert ns.get("pvc", "data")["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
    ns.kubectl("delete", "job", "work")
    wait_for(lambda: not ns.get("pvc", "data"))


def test_every_pod_of_an_indexed_job_completes(ns: Namespace) -> None:
    spec = {"completionMode": "Indexed", "completions": 3, "parallelism": 2}
    ns.create(job("work", pod("work", complete_after="200ms"), **spec))
    wait_for(lambda: has_condition(ns.get("job", "work"), "Complete"))
    assert ns.get("job", "work")["status"]["completedIndexes"] == "0-2"


def test_a_bare_pod_completes_only_when_told_to(ns: Namespace) -> None:
    ns.create(pod("forever"))
    ns.create(pod("short", complete_after="1s"))
    wait_for(lambda: ns.phase("pod", "short") == "Succeeded")
    time.sleep(2)
    assert ns.phase("pod", "forever") == "Running"


def test_a_pod_fails_when_told_to(ns: Namespace) -> None:
    ns.create(pod("bare", fail_after="1s", complete_after="100ms"))
    wait_for(lambda: ns.phase("pod", "bare") == "Failed")
    failed = ns.get("pod", "bare")
    ended = terminated(failed)
    assert ended["exitCode"] == 1
    assert ended["startedAt"] < ended["finishedAt"]
    prepared = failed["status"]["initContainerStatuses"][0]["state"]["terminated"]
    assert prepared["exitCode"] == 0


def test_a_job_fails_when_its_pods_do(ns: Namespace) -> None:
    ns.create(job("work", pod("work", fail_after="1s"), backoffLimit=0))
    wait_for(lambda: has_condition(ns.get("job", "work"), "Failed"))
    assert [worker["status"]["phase"] for worker in ns.items("pods")] == ["Failed"]


def test_an_unscheduled_pod_stays_pending(ns: Namespace) -> None:
    lost = pod("lost", complete_after="100ms")
    lost["spec"]["nodeSelector"] = {"no-such": "node"}
    ns.create(lost)
    wait_for(lambda: "conditions" in ns.get("pod", "lost")["status"])
    time.sleep(1)
    assert ns.phase("pod", "lost") == "Pending"
    assert "nodeName" not in ns.get("pod", "lost")["spec"]


def test_a_slow_start_is_pending_on_its_node(ns: Namespace) -> None:
    ns.create(pod("slow", start_after="60s"))
    wait_for(lambda: bool(ns.get("pod", "slow")["status"].get("podIP")))
    time.sleep(1)
    slow = ns.get("pod", "slow")
    assert slow["status"]["phase"] == "Pending"
    assert "waiting" in slow["status"]["initContainerStatuses"][0]["state"]


def test_a_deleted_running_pod_goes_when_it_has_stopped(ns: Namespace) -> None:
    ns.create(pod("quick"))
    ns.create(pod("lingering", stop_after="3s"))
    wait_for(lambda: ns.phase("pod", "lingering") == ns.phase("pod", "quick") == "Running")
    ns.kubectl("delete", "pod", "quick", "lingering", "--wait=false")
    wait_for(lambda: not ns.get("pod", "quick"))
    assert ns.phase("pod", "lingering") == "Running"
    wait_for(lambda: not ns.get("pod", "lingering"))


def test_a_deleted_job_takes_its_running_pods_along(ns: Namespace) -> None:
    ns.create(job("work", pod("work", complete_after="1h")))
    wait_for(lambda: [p["status"]["phase"] for p in ns.items("pods")] == ["Running"])
    ns.kubectl("delete", "job", "work")
    wait_for(lambda: not ns.items("pods"))


def test_a_user_has_the_rights_of_their_groups(ns: Namespace) -> None:
    kubeconfig = ns.plane.kubeconfig_for("jane", "team-a", "team-b")
    jane = f"--kubeconfig={kubeconfig}"
    assert "cannot list" in ns.plane.kubectl(jane, "get", "pods", "-n", ns.name, check=False)
    ns.kubectl("create", "rolebinding", "view", "--clusterrole=view", "--group=team-b")
    wait_for(lambda: "yes" in ns.plane.kubectl(jane, "auth", "can-i", "get", "pods", "-n", ns.name))


def test_the_audit_log_shows_a_deletes_preconditions(ns: Namespace) -> None:
    ns.create(claim("data"))
    uid = ns.get("pvc", "data")["metadata"]["uid"]
    path = f"/api/v1/namespaces/{ns.name}/persistentvolumeclaims/data"
    options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}}
    ns.kubectl("delete", f"--raw={path}", "-f", "-", stdin=json.dumps(options))
    events = [json.loads(line) for line in ns.plane.audit_log.read_text().splitlines()]
    (deletion,) = (e for e in events if e["verb"] == "delete" and e["requestURI"] == path)
    assert deletion["requestObject"]["preconditions"] == {"uid": uid}
    assert deletion["user"]["username"] == "kubernetes-admin"
    assert {event["stage"] for event in events}.isdisjoint({"RequestReceived"})


def test_the_api_server_restarts_with_its_data(ns: Namespace) -> None:
    ns.create(claim("data"))
    ns.plane.restart("kube-apiserver")
    wait_for(lambda: ns.phase("pvc", "data") == "Bound")


def test_a_paused_controller_does_nothing_until_resumed(ns: Namespace) -> None:
    ns.plane.pause("kube-controller-manager")
    try:
        ns.create(claim("data"))
        time.sleep(2)
        assert ns.phase("pvc", "data") == "Pending"
    finally:
        ns.plane.resume("kube-controller-manager")
    wait_for(lambda: ns.phase("pvc", "data") == "Bound")


def test_a_second_control_plane_shares_nothing(ns: Namespace) -> None:
    with ControlPlane.boot(nodes=2) as other:
        assert other.url != ns.plane.url
        assert ns.name not in other.kubectl("get", "namespaces")
        assert other.kubectl("get", "nodes", "-o", "name").split() == ["node/node-0", "node/node-1"]
        other.kubectl("create", "-f", "-", input=json.dumps(claim("left-behind")))
        path = "-o=jsonpath={.items[*].spec.hostPath.path}"
        wait_for(lambda: bool(other.kubectl("get", "pv", path)))
        left_behind = Path(other.kubectl("get", "pv", path))
        assert left_behind.is_dir()
    assert not other.directory.exists()
    assert not left_behind.exists()


def test_a_killed_test_run_leaves_nothing_running(tmp_path: Path) -> None:
    script = (
        "import pathlib, sys, time\n"
        "from cluster import ControlPlane\n"
        "plane = ControlPlane.boot(directory=pathlib.Path(sys.argv[1]))\n"
        "print(plane.warden_pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as run:
        assert run.stdout is not None
        group = int(run.stdout.readline())
        assert _group_exists(group)
        run.kill()
    wait_for(lambda: not _group_exists(group))


def _group_exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
