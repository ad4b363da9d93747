"""A real node seen from the inside: its files and its processes, by way of a privileged pod."""

from __future__ import annotations

import json
import subprocess
import uuid
from pathlib import Path
from typing import Any

from e2e.scenario import Scenario

Json = dict[str, Any]


class Node:
    """The cluster's node; the pod that looks at it goes with `close`."""

    def __init__(self, kubeconfig: Path) -> None:
        self._kubectl = ["kubectl", f"--kubeconfig={kubeconfig}", "--namespace=default"]
        self._witness = f"witness-{uuid.uuid4().hex[:8]}"
        self._run("create", "-f", "-", input=json.dumps(_witness(self._witness)))
        self._run("wait", f"pod/{self._witness}", "--for=condition=Ready", "--timeout=90s")

    def close(self) -> None:
        """Take the witness away."""
        self._run("delete", "pod", self._witness, "--grace-period=0", "--force")

    def folder(self, scenario: Scenario, claim: str) -> str:
        """Where on the node's disk the bound claim's volume is."""
        volume = scenario.until_bound(claim)["spec"]["volumeName"]
        spec: Json = scenario.get("pv", volume)["spec"]
        source: Json = spec.get("hostPath") or spec["local"]
        return str(source["path"])

    def has(self, path: str) -> bool:
        """Whether there is such a file or folder on the disk."""
        return self._sh(f"test -e '/host{path}' && echo yes || true") == "yes"

    def read(self, path: str) -> str:
        """What is in a file, "" if there is none."""
        return self._sh(f"cat '/host{path}' 2>/dev/null || true")

    def touch(self, path: str) -> None:
        """Make an empty file."""
        self._sh(f"touch '/host{path}'")

    def kill(self, words: str) -> None:
        """SIGKILL to the processes with these words in one argument; there must be some."""
        # The brackets keep the search, whose command line this is, from finding itself.
        pattern = f"[{words[0]}]{words[1:]}"
        found = self._sh(f"grep -lz '{pattern}' /proc/[0-9]*/cmdline 2>/dev/null || true").split()
        assert found, f"no process with {words!r}"
        self._sh(f"kill -KILL {' '.join(Path(file).parent.name for file in found)}")

    def _sh(self, script: str) -> str:
        return self._run("exec", self._witness, "--", "sh", "-c", script).strip()

    def _run(self, *args: str, input: str | None = None) -> str:
        result = subprocess.run(
            [*self._kubectl, *args],
            input=input,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert result.returncode == 0, f"kubectl {' '.join(args)}: {result.stderr}"
        return result.stdout


def _witness(name: str) -> Json:
    """It sees the node's processes, and its disk below /host as it changes."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "hostPID": True,
            "terminationGracePeriodSeconds": 0,
            "containers": [
                {
                    "name": "witness",
                    "image": "busybox",
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["sleep", "infinity"],
                    "securityContext": {"privileged": True},
                    "volumeMounts": [{"name": "host", "mountPath": "/host"}],
                }
            ],
            "volumes": [{"name": "host", "hostPath": {"path": "/"}}],
        },
    }
