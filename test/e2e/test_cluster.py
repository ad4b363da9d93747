"""The local control plane behaves as the tests of the operator rely on.

Each test works in a namespace of its own, so that they can run in any order.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from cluster import ClusterError, ControlPlane
from e2e import manifests
from e2e.manifests import pvc
from e2e.scenario import Json, Scenario, condition, eventually, phase


@pytest.fixture
def ns(control_plane: ControlPlane) -> Scenario:
    """A namespace, without the operator's API."""
    return Scenario(control_plane.kubeconfig)


def pod(name: str, **does: str) -> Json:
    """A pod with an init container; `complete_after="1s"` and its like become annotations."""
    marks = {f"cluster.evc.dev/{key.replace('_', '-')}": text for key, text in does.items()}
    spec = {
        "restartPolicy": "Never",
        "initContainers": [{"name": "prepare", "image": "busybox"}],
        "containers": [{"name": "main", "image": "busybox"}],
    }
    return {"metadata": {"name": name, "annotations": marks}, "spec": spec}


def job(template: Json, **spec: Any) -> Json:
    """A Job named `work`, of such pods."""
    return {"metadata": {"name": "work"}, "spec": {"template": template, **spec}}


def holds(item: Json, kind: str) -> bool:
    return bool(condition(item, kind).get("status") == "True")


def until_job(ns: Scenario, kind: str) -> Json:
    """Wait until the Job `work` has that condition; return it."""
    eventually(lambda: holds(ns.get("job", "work"), kind), f"the Job is {kind}")
    return ns.get("job", "work")


def terminated(item: Json, statuses: str = "containerStatuses") -> Json:
    """How the only container of that list ended."""
    (container,) = item["status"][statuses]
    ended: Json = container["state"]["terminated"]
    return ended


def test_it_boots_ready(control_plane: ControlPlane) -> None:
    nodes = json.loads(control_plane.kubectl("get", "nodes", "-o", "json"))["items"]
    assert [holds(node, "Ready") for node in nodes] == [True]
    assert "taints" not in nodes[0]["spec"]
    assert "standard (default)" in control_plane.kubectl("get", "storageclass")


def test_a_failing_kubectl_says_why(control_plane: ControlPlane) -> None:
    with pytest.raises(ClusterError, match="nothing-here"):
        control_plane.kubectl("get", "pod", "nothing-here")
    assert "nothing-here" in control_plane.kubectl("get", "pod", "nothing-here", check=False)


def test_a_claim_binds_and_takes_its_volume_along(ns: Scenario) -> None:
    ns.create("pvc", pvc("data"))
    volume = ns.until_bound("data")["spec"]["volumeName"]
    path = Path(ns.get("pv", volume)["spec"]["hostPath"]["path"])
    assert path.is_dir()
    ns.delete("pvc", "data")
    ns.until_gone("pv", volume)
    assert not path.exists()


def test_a_completed_job_pins_its_deleted_claim(ns: Scenario) -> None:
    ns.create("pvc", pvc("data"))
    ns.create("job", manifests.job("work", "data"))
    until_job(ns, "Complete")
    (worker,) = ns.items("pod")
    assert phase(worker) == "Succeeded"
    ended = terminated(worker)
    assert ended["exitCode"] == 0
    assert ended["startedAt"] < ended["finishedAt"]
    ns.delete("pvc", "data")
    time.sleep(1)
    assert ns.get("pvc", "data")["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
    ns.delete("job", "work")
    ns.until_gone("pvc", "data")


def test_every_pod_of_an_indexed_job_completes(ns: Scenario) -> None:
    spec = {"completionMode": "Indexed", "completions": 3, "parallelism": 2}
    ns.create("job", job(pod("work", complete_after="200ms"), **spec))
    assert until_job(ns, "Complete")["status"]["completedIndexes"] == "0-2"


def test_a_bare_pod_completes_only_when_told_to(ns: Scenario) -> None:
    ns.create("pod", pod("forever"))
    ns.create("pod", pod("short", complete_after="1s"))
    ns.until_phase("short", "Succeeded")
    time.sleep(2)
    forever = ns.get("pod", "forever")
    assert phase(forever) == "Running"
    assert holds(forever, "Ready")


def test_a_pod_fails_when_told_to(ns: Scenario) -> None:
    ns.create("pod", pod("bare", fail_after="1s", complete_after="100ms"))
    failed = ns.until_phase("bare", "Failed")
    assert not holds(failed, "Ready")
    ended = terminated(failed)
    assert ended["exitCode"] == 1
    assert ended["startedAt"] < ended["finishedAt"]
    prepared = terminated(failed, "initContainerStatuses")
    assert prepared["exitCode"] == 0
    assert prepared["startedAt"] <= prepared["finishedAt"] <= ended["startedAt"]


def test_a_job_fails_when_its_pods_do(ns: Scenario) -> None:
    ns.create("job", job(pod("work", fail_after="1s"), backoffLimit=0))
    until_job(ns, "Failed")
    assert [phase(worker) for worker in ns.items("pod")] == ["Failed"]


def test_an_unscheduled_pod_stays_pending(ns: Scenario) -> None:
    lost = pod("lost", complete_after="100ms")
    lost["spec"]["nodeSelector"] = {"no-such": "node"}
    ns.create("pod", lost)
    eventually(lambda: condition(ns.get("pod", "lost"), "PodScheduled"), "the scheduler saw it")
    time.sleep(1)
    assert phase(ns.get("pod", "lost")) == "Pending"
    assert "nodeName" not in ns.get("pod", "lost")["spec"]


def test_a_slow_start_is_pending_on_its_node(ns: Scenario) -> None:
    slow, plain = pod("slow", start_after="60s"), pod("plain", start_after="60s")
    del plain["spec"]["initContainers"]
    ns.create("pod", slow)
    ns.create("pod", plain)
    eventually(lambda: all("podIP" in p["status"] for p in ns.items("pod")), "both have a node")
    time.sleep(1)
    slow, plain = ns.get("pod", "slow"), ns.get("pod", "plain")
    assert phase(slow) == phase(plain) == "Pending"
    assert "waiting" in slow["status"]["initContainerStatuses"][0]["state"]
    assert [holds(item, "Initialized") for item in (slow, plain)] == [False, True]


def test_a_deleted_running_pod_goes_when_it_has_stopped(ns: Scenario) -> None:
    names = ("quick", "lingering")
    ns.create("pod", pod("quick"))
    ns.create("pod", pod("lingering", stop_after="15s"))
    for name in names:
        ns.until_phase(name, "Running")
    for name in names:
        ns.delete("pod", name)
    ns.until_gone("pod", "quick")
    assert phase(ns.get("pod", "lingering")) == "Running"
    ns.until_gone("pod", "lingering")


def test_a_deleted_running_pod_has_ended_before_it_goes(ns: Scenario) -> None:
    held = pod("held")
    held["metadata"]["finalizers"] = ["cluster.evc.dev/hold"]
    ns.create("pod", held)
    ns.until_phase("held", "Running")
    ns.delete("pod", "held")
    ended = terminated(ns.until_phase("held", "Failed"))
    assert ended["exitCode"] == 143
    assert ended["startedAt"] <= ended["finishedAt"]
    ns.patch("pod", "held", {"metadata": {"finalizers": None}})
    ns.until_gone("pod", "held")


def test_a_deleted_job_takes_its_running_pods_along(ns: Scenario) -> None:
    ns.create("job", job(pod("work", complete_after="1h")))
    eventually(lambda: [phase(p) for p in ns.items("pod")] == ["Running"], "its pod runs")
    ns.delete("job", "work")
    eventually(lambda: not ns.items("pod"), "its pod is gone")


def test_a_user_has_the_rights_of_their_groups(control_plane: ControlPlane, ns: Scenario) -> None:
    kubeconfig = control_plane.kubeconfig_for("jane", "team-a", "team-b")
    kubectl, where = control_plane.kubectl, f"--namespace={ns.namespace}"
    as_jane = (f"--kubeconfig={kubeconfig}", where)
    assert "cannot list" in kubectl(*as_jane, "get", "pods", check=False)
    kubectl(where, "create", "rolebinding", "view", "--clusterrole=view", "--group=team-b")
    may = (*as_jane, "auth", "can-i", "get", "pods")
    eventually(lambda: "yes" in kubectl(*may, check=False), "jane may look")


def test_the_audit_log_shows_a_deletes_preconditions(
    control_plane: ControlPlane, ns: Scenario
) -> None:
    uid = ns.create("pvc", pvc("data"))["metadata"]["uid"]
    ns.delete("pvc", "data", preconditions={"uid": uid})
    *lines, _ = control_plane.audit_log.read_text().split("\n")  # the last may be half written
    events = [json.loads(line) for line in lines]
    path = ns.path("pvc", "data")
    (deletion,) = (e for e in events if e["verb"] == "delete" and e["requestURI"] == path)
    assert deletion["requestObject"]["preconditions"] == {"uid": uid}
    assert deletion["user"]["username"] == "kubernetes-admin"
    assert {event["stage"] for event in events}.isdisjoint({"RequestReceived"})


def test_the_api_server_restarts_with_its_data(control_plane: ControlPlane, ns: Scenario) -> None:
    ns.create("pvc", pvc("data"))
    control_plane.restart("kube-apiserver")
    ns.until_bound("data")


def test_a_paused_controller_does_nothing_until_resumed(
    control_plane: ControlPlane, ns: Scenario
) -> None:
    control_plane.pause("kube-controller-manager")
    try:
        ns.create("pvc", pvc("data"))
        time.sleep(2)
        assert phase(ns.get("pvc", "data")) == "Pending"
    finally:
        control_plane.resume("kube-controller-manager")
    ns.until_bound("data")


def test_a_second_control_plane_shares_nothing(control_plane: ControlPlane, ns: Scenario) -> None:
    with ControlPlane.boot(nodes=2) as other:
        assert other.url != control_plane.url
        assert ns.namespace not in other.kubectl("get", "namespaces")
        assert other.kubectl("get", "nodes", "-o", "name").split() == ["node/node-0", "node/node-1"]
        other.kubectl("create", "-f", "-", input=json.dumps(pvc("left-behind")))
        path = "-o=jsonpath={.items[*].spec.hostPath.path}"
        left_behind = Path(eventually(lambda: other.kubectl("get", "pv", path), "a volume"))
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
    eventually(lambda: not _group_exists(group), "all of it has ended")


def _group_exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
