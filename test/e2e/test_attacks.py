"""What somebody with rights in one namespace can write (docs/threat-model.md).

Rows of the threat model that no other test shows.
"""

from __future__ import annotations

import base64
import os
import re
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import certifi
import pytest
import yaml

from cluster import ControlPlane
from e2e import manifests
from e2e.scenario import Json, Operator, Scenario, condition, evc_cli, free_port, phase
from evc.kube.config import load
from evc.kube.transport import Request, Transport

FAT = 250_000
"""Bytes of annotations; the API server takes 256 KiB per object."""
FAT_PODS = 60
ROOM = 8 * 1024
"""KiB by which the peak memory may grow for 15 MB of pods."""
STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z \[(info|warning) *\] ")
"""How each line of the operator's log begins, of those that are no error."""
LINE = 2_000
"""Characters: a message of 1,024, some of them escaped, and the keys."""
SECRET = "correct-horse-battery-staple"


def peak_memory(operator: Operator) -> int:
    """The most resident memory that the process ever had, in KiB."""
    assert operator._process is not None
    status = Path(f"/proc/{operator._process.pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1])


def pod(name: str, **metadata: Any) -> Json:
    """A pod that no node takes, with the volume of the claim `scratch`."""
    made = manifests.pod(name, "scratch", nowhere=True)
    made["metadata"] |= metadata
    return made


def test_fat_pods_do_not_fill_the_operators_memory(scenario: Scenario, operator: Operator) -> None:
    """Row 15: what decides nothing is not kept, however much of it there is."""
    operator.stop()
    operator.start()
    lean = peak_memory(operator)
    for number in range(FAT_PODS):
        scenario.create("pod", pod(f"fat-{number}", annotations={"fat": "x" * FAT}))
    scenario.create("evc", manifests.claim("scratch"))
    scenario.until_reason("scratch", "Waiting")
    assert peak_memory(operator) < lean + ROOM, "by watching"
    operator.stop()
    operator.start()
    assert peak_memory(operator) < lean + ROOM, "by listing"


ESCAPE = "\x1b[2J"
FORGED = f"w\n2026-01-01T00:00:00.000000Z [info     ] All is well {ESCAPE}"
ODD_OWNERS = {
    "control characters": ({"apiVersion": "v1", "kind": "ConfigMap", "name": FORGED}, True),
    "a long name": ({"apiVersion": "v1", "kind": "ConfigMap", "name": "w" * 20_000}, True),
    "a path as name": ({"apiVersion": "v1", "kind": "ConfigMap", "name": "../pods/x"}, False),
    "a path as version": ({"apiVersion": "../version", "kind": "Work", "name": "w"}, False),
    "a query": ({"apiVersion": "v1?a=b", "kind": "ConfigMap", "name": "w?a=b"}, False),
    "a kind of two lines": ({"apiVersion": "v1", "kind": f"ConfigMap{FORGED}", "name": "w"}, False),
}
"""By what is odd: an owner, and whether there is such a kind, which then may not be read."""


@pytest.mark.parametrize(("odd", "holds"), ODD_OWNERS.values(), ids=ODD_OWNERS.keys())
def test_an_odd_owner_holds_or_is_gone_and_says_so_in_bounds(
    scenario: Scenario, operator: Operator, odd: dict[str, str], holds: bool
) -> None:
    """Rows 17 and 18: of an ownerReference the API server checks next to nothing."""
    scenario.create("evc", manifests.claim("scratch"))
    scenario.until_bound("scratch")
    operator.stop()  # so that the owner is what it has to tell first
    made = manifests.pod("odd", "scratch")
    # The garbage collector deletes a pod whose owner does not exist; a finalizer keeps it.
    made["metadata"]["finalizers"] = ["example.com/keep"]
    scenario.create("pod", made)
    scenario.until_phase("odd", "Running")
    owner = {"uid": str(uuid.uuid4()), "controller": True} | odd
    ends = {manifests.COMPLETE_AFTER: "100ms"}  # whose owner may exist is not stopped
    change = {"metadata": {"ownerReferences": [owner], "annotations": ends}}
    scenario.patch("pod", "odd", change)
    scenario.eventually(
        lambda: phase(scenario.get("pod", "odd")) in ("Succeeded", "Failed"), "the pod has ended"
    )
    operator.start()
    if holds:
        told = f"held by ConfigMap/{odd['name'][:100]}"
        scenario.eventually(lambda: told in ready_message(scenario), "the owner is asked")
        logged = "message='held by ConfigMap/"  # after the status is written: maybe not yet
        scenario.eventually(lambda: logged in operator.log.read_text(), "the owner is logged")
        scenario.stays("pvc", "scratch", seconds=2)
        assert len(ready_message(scenario)) <= 1024
    else:
        scenario.until_gone("pvc", "scratch")
    scenario.create("evc", manifests.claim("next"))
    scenario.until_bound("next")
    *lines, _ = operator.log.read_text().split("\n")  # the last may be half written
    assert all(STAMP.match(line) for line in lines), "\n".join(lines)
    assert not any(ESCAPE in line for line in lines)
    assert all(len(line) < LINE for line in lines)
    assert all(len(event["note"].encode()) <= 1000 for event in scenario.items("event"))


def ready_message(scenario: Scenario) -> str:
    """What the claim says of its stage."""
    message: str = condition(scenario.get("evc", "scratch"), "Ready").get("message", "")
    return message


def test_logs_have_no_token_and_no_contents_of_objects(
    scenario: Scenario, operator: Operator, operator_kubeconfig: Path
) -> None:
    """Row 23: also when something is refused."""
    scenario.create("pvc", manifests.pvc("theirs"))
    template = {"spec": manifests.pvc_spec(), "metadata": {"annotations": {"key": SECRET}}}
    for name in ("scratch", "theirs"):
        scenario.create("evc", manifests.claim(name, volumeClaimTemplate=template))
    made = manifests.pod("worker", "scratch", complete_after="100ms")
    made["metadata"]["annotations"]["password"] = SECRET
    made["spec"]["containers"][0]["env"] = [{"name": "PASSWORD", "value": SECRET}]
    scenario.until_reason("theirs", "Conflict")
    scenario.until_bound("scratch")
    scenario.create("pod", made)
    scenario.until_gone("pvc", "scratch")
    text = scenario.eventually(
        lambda: found if "Deleted" in (found := operator.log.read_text()) else None,
        "the log says so",
    )
    assert SECRET not in text
    users = yaml.safe_load(operator_kubeconfig.read_text())["users"]
    assert users[0]["user"]["token"] not in text


def test_a_server_that_others_signed_is_not_talked_to(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    """Row 24: neither a kubeconfig's nor an administrator's wish, but TLS decides."""
    config = yaml.safe_load(control_plane.kubeconfig.read_text())
    cluster = config["clusters"][0]["cluster"]
    authorities = Path(certifi.where()).read_bytes()
    cluster["certificate-authority-data"] = base64.b64encode(authorities).decode()
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    result = evc_cli("run", f"--kubeconfig={path}")
    assert result.returncode == 1
    (line,) = result.stderr.strip().splitlines()
    assert "certificate verify failed" in line


def test_in_a_pod_no_proxy_of_the_environment_is_asked(
    control_plane: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 24: an injected variable must not put anybody in between."""
    cluster = yaml.safe_load(control_plane.kubeconfig.read_text())["clusters"][0]["cluster"]
    server = urlsplit(cluster["server"])
    created = ("create", "token", "default", "-n", "default")
    (tmp_path / "token").write_text(control_plane.kubectl(*created))
    (tmp_path / "ca.crt").write_bytes(base64.b64decode(cluster["certificate-authority-data"]))
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    environ = {
        "KUBERNETES_SERVICE_HOST": str(server.hostname),
        "KUBERNETES_SERVICE_PORT": str(server.port),
    }
    transport = Transport(
        load(None, os.environ | environ, tmp_path),
        user_agent="test",
        connections=1,
        on_request=lambda method, code: None,
        wait=lambda seconds: True,
    )
    assert b"gitVersion" in transport.call(Request("GET", "/version"))
