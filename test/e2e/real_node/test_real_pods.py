"""Pods that really run and write: what is on the disk is gone when, and only when, it should be."""

from __future__ import annotations

import time
from typing import Any

import pytest

from e2e import manifests
from e2e.deployment import Deployment
from e2e.node import Node
from e2e.scenario import Json, Scenario, condition, phase

pytestmark = pytest.mark.usefixtures("operator")

RETAIN = {"action": "Retain"}
RECORD = 600
"""A ttl that outlives the test."""
SETTLED = 13.0
"""Seconds after which a volume that may be released from completed pods has been."""
WRITE = "echo precious > /scratch/data"
WAIT = "until [ -e /scratch/go ]; do sleep 0.1; done"


def claim(**spec: Any) -> Json:
    """A claim that stays as a record of its end."""
    return manifests.claim("scratch", ttlSecondsAfterFinished=RECORD, **spec)


def job(script: str, name: str = "crunch", **spec: Any) -> Json:
    """A Job of one pod that runs the script; it is not tried again unless `spec` says so."""
    return manifests.job(name, "scratch", script=script, spec={"backoffLimit": 0} | spec)


def until_written(scenario: Scenario, node: Node, file: str = "data") -> str:
    """Wait until a pod wrote that file; return the volume's folder on the node."""
    folder = node.folder(scenario, "scratch")
    scenario.eventually(lambda: node.has(f"{folder}/{file}"), f"{file} is on the disk")
    return folder


def until_wiped(scenario: Scenario, node: Node, folder: str) -> None:
    """Wait until the volume is gone, from the API and from the disk."""
    scenario.until_gone("pvc", "scratch", seconds=60)
    scenario.eventually(lambda: not node.has(folder), f"{folder} is gone")


def still_there(node: Node, folder: str, seconds: float) -> None:
    """Fail if the file goes within that time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert node.read(f"{folder}/data") == "precious"
        time.sleep(0.5)


def test_what_a_job_wrote_goes_with_its_claim_while_the_completed_pod_stays(
    scenario: Scenario, node: Node
) -> None:
    scenario.create("evc", claim())
    scenario.create("job", job(f"{WRITE}; {WAIT}"))
    folder = until_written(scenario, node)
    scenario.until_reason("scratch", "InUse")
    still_there(node, folder, seconds=3)
    node.touch(f"{folder}/go")
    until_wiped(scenario, node, folder)
    ended = scenario.until_reason("scratch", "Deleted")
    assert ended["status"]["outcome"] == "Succeeded"
    (pod,) = scenario.items("pod")
    assert phase(pod) == "Succeeded"


def test_two_pods_share_it_and_the_last_one_counts(scenario: Scenario, node: Node) -> None:
    shared = {"spec": manifests.pvc_spec() | {"accessModes": ["ReadWriteMany"]}}
    scenario.create("evc", claim(gracePeriodSeconds=0, volumeClaimTemplate=shared))
    scenario.create("job", job(WRITE, name="writer"))
    reads = "until cp /scratch/data /scratch/copy; do sleep 0.1; done"
    scenario.create("job", job(f"{reads}; {WAIT}", name="reader"))
    folder = until_written(scenario, node, "copy")
    scenario.eventually(
        lambda: condition(scenario.get("job", "writer"), "Complete"), "the writer is over"
    )
    still_there(node, folder, seconds=SETTLED)
    node.touch(f"{folder}/go")
    until_wiped(scenario, node, folder)


def test_a_retry_finds_what_the_first_try_left(scenario: Scenario, node: Node) -> None:
    scenario.create("evc", claim(gracePeriodSeconds=0))
    tries = f"if [ -e /scratch/data ]; then {WAIT}; else {WRITE}; exit 1; fi"
    scenario.create("job", job(tries, backoffLimit=1))
    folder = until_written(scenario, node)
    scenario.eventually(
        lambda: (
            sum(phase(pod) == "Running" for pod in scenario.items("pod")) == 1
            and scenario.get("job", "crunch")["status"].get("failed") == 1
        ),
        "the second try runs",
    )
    still_there(node, folder, seconds=1)
    node.touch(f"{folder}/go")
    until_wiped(scenario, node, folder)
    assert scenario.until_reason("scratch", "Deleted")["status"]["outcome"] == "Succeeded"


def test_what_a_failed_job_wrote_can_be_kept(scenario: Scenario, node: Node) -> None:
    scenario.create("evc", claim(gracePeriodSeconds=0, onFailure=RETAIN))
    scenario.create("job", job(f"{WRITE}; {WAIT}; exit 3"))
    folder = until_written(scenario, node)
    node.touch(f"{folder}/go")
    ended = scenario.until_reason("scratch", "Retained")
    assert ended["status"]["outcome"] == "Failed"
    scenario.delete("evc", "scratch")
    scenario.until_gone("evc", "scratch")
    still_there(node, folder, seconds=5)
    scenario.delete("pvc", "scratch")


def test_a_container_killed_and_started_again_by_the_kubelet_finds_its_data(
    scenario: Scenario, node: Node
) -> None:
    scenario.create("evc", claim(gracePeriodSeconds=0))
    runs = f"echo run >> /scratch/runs; {WRITE}; {WAIT}; : {scenario.namespace}"
    manifest = job(runs, backoffLimit=3)
    manifest["spec"]["template"]["spec"]["restartPolicy"] = "OnFailure"
    scenario.create("job", manifest)
    folder = until_written(scenario, node)
    node.kill(f": {scenario.namespace}")
    scenario.eventually(
        lambda: node.read(f"{folder}/runs").count("run") == 2, "it was started again"
    )
    still_there(node, folder, seconds=3)
    node.touch(f"{folder}/go")
    until_wiped(scenario, node, folder)


def test_a_pod_whose_container_was_killed_has_failed(scenario: Scenario, node: Node) -> None:
    scenario.create("evc", claim(gracePeriodSeconds=2))
    script = f"{WRITE}; {WAIT}; : {scenario.namespace}"
    scenario.create("pod", manifests.pod("worker", "scratch", script=script))
    folder = until_written(scenario, node)
    node.kill(f": {scenario.namespace}")
    failed = scenario.until_phase("worker", "Failed")
    (container,) = failed["status"]["containerStatuses"]
    assert container["state"]["terminated"]["exitCode"] == 137
    until_wiped(scenario, node, folder)
    assert scenario.until_reason("scratch", "Deleted")["status"]["outcome"] == "Failed"


def test_a_pod_deleted_by_force_leaves_its_data_to_the_one_that_replaces_it(
    scenario: Scenario, node: Node
) -> None:
    scenario.create("evc", claim(gracePeriodSeconds=0))
    scenario.create("job", job(f"echo $HOSTNAME > /scratch/name; {WRITE}; {WAIT}", backoffLimit=2))
    folder = until_written(scenario, node)
    (first,) = scenario.items("pod")
    name = first["metadata"]["name"]
    scenario.delete("pod", name, gracePeriodSeconds=0)
    scenario.eventually(
        lambda: node.read(f"{folder}/name") not in ("", name), "another pod took its place"
    )
    still_there(node, folder, seconds=3)
    node.touch(f"{folder}/go")
    until_wiped(scenario, node, folder)


def test_what_is_held_stays_on_the_disk(scenario: Scenario, node: Node) -> None:
    scenario.create("evc", claim(gracePeriodSeconds=0, hold=True))
    scenario.create("job", job(f"{WRITE}; {WAIT}"))
    folder = until_written(scenario, node)
    node.touch(f"{folder}/go")
    scenario.until_reason("scratch", "Held")
    still_there(node, folder, seconds=SETTLED)
    scenario.patch("evc", "scratch", {"spec": {"hold": False}})
    until_wiped(scenario, node, folder)


def test_a_completed_pod_pins_the_data_if_we_are_to_wait_for_it(
    scenario: Scenario, node: Node
) -> None:
    """kubernetes#120756, which the other tests get past by releasing the volume."""
    scenario.create("evc", claim(gracePeriodSeconds=0, completedPods="Wait"))
    scenario.create("job", job(f"{WRITE}; {WAIT}"))
    folder = until_written(scenario, node)
    node.touch(f"{folder}/go")
    scenario.until_reason("scratch", "Releasing")
    still_there(node, folder, seconds=SETTLED)
    assert "deletionTimestamp" in scenario.get("pvc", "scratch")["metadata"]
    scenario.delete("job", "crunch")
    until_wiped(scenario, node, folder)


def test_a_running_pod_keeps_its_data_although_its_claim_was_deleted(
    scenario: Scenario, node: Node
) -> None:
    scenario.create("evc", claim())
    scenario.create("job", job(f"{WRITE}; {WAIT}"))
    folder = until_written(scenario, node)
    scenario.delete("evc", "scratch")
    scenario.until_gone("evc", "scratch")
    still_there(node, folder, seconds=SETTLED)
    node.touch(f"{folder}/go")
    until_wiped(scenario, node, folder)
    (pod,) = scenario.items("pod")
    assert phase(pod) == "Succeeded"


@pytest.mark.disruptive
def test_the_operator_killed_while_a_job_works_carries_on(scenario: Scenario, node: Node) -> None:
    scenario.create("evc", claim(gracePeriodSeconds=3))
    scenario.create("job", job(f"{WRITE}; {WAIT}"))
    folder = until_written(scenario, node)
    node.kill("/opt/evc/bin/python")
    node.touch(f"{folder}/go")
    until_wiped(scenario, node, folder)
    assert scenario.until_reason("scratch", "Deleted")["status"]["outcome"] == "Succeeded"


@pytest.mark.disruptive
def test_a_job_that_ends_while_the_operator_is_away_keeps_its_data_until_it_is_back(
    scenario: Scenario, node: Node, operator: Deployment
) -> None:
    scenario.create("evc", claim(gracePeriodSeconds=0))
    scenario.create("job", job(f"{WRITE}; {WAIT}"))
    folder = until_written(scenario, node)
    operator.kill()
    node.touch(f"{folder}/go")
    scenario.eventually(
        lambda: condition(scenario.get("job", "crunch"), "Complete"), "the Job is over"
    )
    still_there(node, folder, seconds=5)
    operator.start()
    until_wiped(scenario, node, folder)


def test_the_operator_runs_with_as_little_as_it_is_deployed_with(
    operator: Deployment, node: Node
) -> None:
    """Not root, no capability, a file system it cannot write to, a seccomp filter."""
    python = "/opt/evc/bin/python"
    status = operator.inside(python, "-c", "print(open('/proc/self/status').read())")
    found = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert found["Uid"].split() == ["65532"] * 4
    assert found["Gid"].split() == ["65532"] * 4
    assert int(found["CapEff"], 16) == int(found["CapBnd"], 16) == 0
    assert (found["NoNewPrivs"], found["Seccomp"]) == ("1", "2")
    for folder in ("/", "/tmp", "/opt/evc"):
        refused = operator.inside(python, "-c", f"open('{folder}/file', 'w')")
        assert "Read-only file system" in refused
