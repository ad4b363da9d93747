"""A namespace of a real cluster, an operator process that looks after it, and a judge.

Nothing here knows which cluster it is: it has a kubeconfig and asks the API server.
"""

from __future__ import annotations

import copy
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

from kubernetes.client import ApiClient, Configuration
from kubernetes.config import load_kube_config

Json = dict[str, Any]
Found = TypeVar("Found")

PATIENCE = 60.0
"""Seconds to wait for what must happen."""
_LOADING = threading.Lock()
"""The official client tells of the file it keeps a key in before it has written the key there."""

PATHS = {
    "evc": "/apis/evc.dev/v1alpha1/namespaces/{ns}/ephemeralvolumeclaims",
    "pvc": "/api/v1/namespaces/{ns}/persistentvolumeclaims",
    "pod": "/api/v1/namespaces/{ns}/pods",
    "job": "/apis/batch/v1/namespaces/{ns}/jobs",
    "event": "/apis/events.k8s.io/v1/namespaces/{ns}/events",
    "pv": "/api/v1/persistentvolumes",
    "namespace": "/api/v1/namespaces",
}


def eventually(found: Callable[[], Found | None], what: str, seconds: float = PATIENCE) -> Found:
    """Return the first truthy answer; fail when there is none in time."""
    deadline = time.monotonic() + seconds
    while True:
        answer = found()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.05)


def when(text: str) -> datetime:
    """Read a time of the API."""
    return datetime.fromisoformat(text)


class Scenario:
    """One namespace, with verbs that read as in a story."""

    def __init__(self, kubeconfig: Path) -> None:
        self._use(kubeconfig)
        self.namespace = f"t-{uuid.uuid4().hex[:8]}"
        self.create("namespace", {"metadata": {"name": self.namespace}})
        self.eventually_service_account()

    def seen_by(self, kubeconfig: Path) -> Scenario:
        """The same namespace, with somebody else's rights."""
        other = copy.copy(self)
        other._use(kubeconfig)
        return other

    def _use(self, kubeconfig: Path) -> None:
        config = Configuration()
        with _LOADING:
            load_kube_config(  # type: ignore[no-untyped-call]
                config_file=str(kubeconfig), client_configuration=config
            )
        self._api = ApiClient(config)
        self._host = config.host
        settings: Any = config.auth_settings()
        self._credentials = {setting["key"]: setting["value"] for setting in settings.values()}
        self.kubeconfig = kubeconfig

    def call(self, method: str, path: str, body: Any = None, kind: str = "") -> Json:
        """Send one request; returns {} for 404, raises for other refusals."""
        headers = {"Accept": "application/json", "Content-Type": kind or "application/json"}
        headers |= self._credentials
        response = self._api.rest_client.pool_manager.request(
            method,
            self._host + path,
            headers=headers,
            body=None if body is None else json.dumps(body).encode(),
            retries=False,
        )
        answer: Json = json.loads(response.data)
        if response.status == 404:
            return {}
        if response.status >= 300:
            raise Refused(answer["message"])
        return answer

    def path(self, kind: str, name: str = "") -> str:
        """The URL path of a collection or an object of this namespace."""
        return PATHS[kind].format(ns=self.namespace) + (f"/{name}" if name else "")

    def get(self, kind: str, name: str) -> Json:
        """The object, {} if there is none."""
        return self.call("GET", self.path(kind, name))

    def items(self, kind: str, **query: str) -> list[Json]:
        """All objects of a kind."""
        path = self.path(kind) + (f"?{urlencode(query)}" if query else "")
        items: list[Json] = self.call("GET", path)["items"]
        return items

    def create(self, kind: str, manifest: Json) -> Json:
        """Create an object."""
        return self.call("POST", self.path(kind), manifest)

    def delete(self, kind: str, name: str, **options: Any) -> None:
        """Delete an object, dependents in the background."""
        self.call("DELETE", self.path(kind, name), {"propagationPolicy": "Background"} | options)

    def patch(self, kind: str, name: str, change: Json) -> Json:
        """Merge a change into an object."""
        return self.call("PATCH", self.path(kind, name), change, "application/merge-patch+json")

    def eventually_service_account(self) -> None:
        """Wait until pods may be created."""
        path = f"/api/v1/namespaces/{self.namespace}/serviceaccounts/default"
        eventually(lambda: self.call("GET", path), "the namespace has its service account")

    def eventually(self, found: Callable[[], Found | None], what: str) -> Found:
        """Return the first truthy answer."""
        return eventually(found, f"{what} ({self.namespace})")

    def reason(self, name: str) -> str:
        """The STATUS column of a claim, "" before the first status."""
        return stage(self.get("evc", name))

    def until_reason(self, name: str, *reasons: str, seconds: float = PATIENCE) -> Json:
        """Wait until the claim is in one of these stages; return it as it was then."""
        return eventually(
            lambda: found if stage(found := self.get("evc", name)) in reasons else None,
            f"{name} becomes {reasons} ({self.namespace})",
            seconds,
        )

    def until_seen(self, changed: Json) -> Json:
        """Wait until status tells of this version of the claim's spec; return the claim."""
        name, generation = changed["metadata"]["name"], changed["metadata"]["generation"]
        return self.eventually(
            lambda: (
                found
                if (found := self.get("evc", name))["status"]["observedGeneration"] == generation
                else None
            ),
            f"the change of {name} was seen",
        )

    def until_note(self, name: str, reason: str) -> str:
        """Wait for an event about a claim; it is written after the status. Return its text."""
        return self.eventually(lambda: self.notes(name).get(reason), f"{name} has event {reason}")

    def until_may(
        self, verb: str, resource: str, group: str = "", *, may: bool = True, sub: str = ""
    ) -> None:
        """Wait until whoever this is may do that here: RBAC reaches the authorizer later."""
        asked = {"verb": verb, "resource": resource, "group": group, "subresource": sub}
        spec = {"resourceAttributes": asked | {"namespace": self.namespace}}
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        self.eventually(
            lambda: self.call("POST", path, {"spec": spec})["status"]["allowed"] is may,
            f"{verb} {resource} is allowed: {may}",
        )

    def until_gone(self, kind: str, name: str, seconds: float = PATIENCE) -> None:
        """Wait until the object is no longer there."""
        eventually(lambda: not self.get(kind, name), f"{kind} {name} is gone", seconds)

    def until_bound(self, name: str) -> Json:
        """Wait until the volume is there; return its PersistentVolumeClaim."""
        return eventually(
            lambda: claim if phase(claim := self.get("pvc", name)) == "Bound" else None,
            f"pvc {name} is Bound",
        )

    def until_phase(self, name: str, wanted: str) -> Json:
        """Wait until the pod is in that phase; return it."""
        return eventually(
            lambda: pod if phase(pod := self.get("pod", name)) == wanted else None,
            f"pod {name} is {wanted}",
        )

    def stays(self, kind: str, name: str, seconds: float) -> None:
        """Fail if the object goes or is being deleted within that time."""
        deadline = time.monotonic() + seconds
        uid = self.get(kind, name)["metadata"]["uid"]
        while time.monotonic() < deadline:
            meta = self.get(kind, name).get("metadata", {})
            assert meta.get("uid") == uid, f"{kind} {name} did not stay"
            assert "deletionTimestamp" not in meta, f"{kind} {name} was deleted"
            time.sleep(0.1)

    def notes(self, name: str) -> dict[str, str]:
        """Reason -> text of the events about a claim."""
        return {
            event["reason"]: event["note"]
            for event in self.items("event")
            if event["regarding"]["name"] == name
            and event["regarding"]["kind"] == "EphemeralVolumeClaim"
        }


class Refused(AssertionError):
    """The API server refused; the message is its own."""


def stage(claim: Json) -> str:
    """The STATUS column of a claim, "" before the first status."""
    return str(condition(claim, "Ready").get("reason", ""))


def phase(item: Json) -> str:
    """The phase of a pod or a claim."""
    return str(item.get("status", {}).get("phase", ""))


def condition(item: Json, kind: str) -> Json:
    """One condition of an object, {} if absent."""
    conditions: list[Json] = item.get("status", {}).get("conditions", [])
    return next((c for c in conditions if c["type"] == kind), {})


class Audit:
    """The judge: what the API server says it was asked, and by whom."""

    def __init__(self, log: Path, user: str) -> None:
        self._log = log
        self._user = user

    def writes(self, namespace: str, resource: str, verb: str) -> list[Json]:
        """The operator's accepted requests of a verb on a resource of a namespace."""
        return [
            event
            for event in self._events()
            if event["user"]["username"] == self._user
            and event["verb"] == verb
            and event.get("objectRef", {}).get("resource") == resource
            and event["objectRef"].get("namespace") == namespace
            and event["responseStatus"]["code"] < 300
        ]

    def until_writes(self, namespace: str, resource: str, verb: str, count: int = 1) -> list[Json]:
        """The same, once there are so many: a write is logged after others can see its effect."""
        return eventually(
            lambda: (
                found if len(found := self.writes(namespace, resource, verb)) >= count else None
            ),
            f"{count} times {verb} {resource} in the audit log ({namespace})",
        )

    def all_writes(self, namespace: str) -> list[Json]:
        """All the operator's accepted writes in a namespace, in order."""
        found = [
            event
            for event in self._events()
            if event["user"]["username"] == self._user
            and event["verb"] in ("create", "update", "patch", "delete", "deletecollection")
            and event.get("objectRef", {}).get("namespace") == namespace
            and event["responseStatus"]["code"] < 300
        ]
        return sorted(found, key=lambda event: str(event["requestReceivedTimestamp"]))

    def _events(self) -> Iterator[Json]:
        for line in self._log.read_bytes().splitlines(keepends=True):
            event = json.loads(line) if line.endswith(b"\n") else {"user": {}}
            # Whoever is refused for a bad token is nobody.
            if event["user"]:
                yield event


class Operator:
    """One `evc run` process."""

    def __init__(self, kubeconfig: Path, log: Path, *args: str) -> None:
        self.log = log
        self.probes, self.metrics = free_port(), free_port()
        self._command = [
            *(sys.executable, "-m", "evc", "run", f"--kubeconfig={kubeconfig}"),
            f"--health-probe-bind-address=127.0.0.1:{self.probes}",
            f"--metrics-bind-address=127.0.0.1:{self.metrics}",
            "--metrics-secure=false",
            *args,
        ]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it is ready."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdout=log,
                stderr=log,
                env=os.environ | {"PYTHONFAULTHANDLER": "1"},
            )
        eventually(self._ready, "the operator is ready")

    def stop(self) -> float:
        """Ask it to stop; return the seconds that took. It must say that all went well."""
        assert self._process is not None
        began = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGABRT)  # it writes what each thread does
            self._process.wait()
            raise AssertionError(f"it did not stop\n{self.log.read_text()}") from None
        assert code == 0, self.log.read_text()
        self._process = None
        return time.monotonic() - began

    def kill(self) -> None:
        """End it as a crash does."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

    def close(self) -> None:
        """Stop it if it runs, and fail if it met a bug."""
        if self._process is not None:
            self.stop()
        assert "Traceback" not in self.log.read_text(), self.log.read_text()

    def fetch(self, port: int, path: str) -> tuple[int, str]:
        """GET a page of its own."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def _ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text()
        try:
            return self.fetch(self.probes, "/readyz")[0] == 200
        except OSError:
            return False


RESERVED: list[socket.socket] = []
"""They stay bound, or another process could be given a port before it is listened on."""


def free_port() -> int:
    """A loopback port nobody listens on, and that no other process is given by the kernel.

    Beside a socket that is bound and does not listen, another with SO_REUSEADDR may do both.
    """
    probe = socket.socket()
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    probe.bind(("127.0.0.1", 0))
    RESERVED.append(probe)
    port: int = probe.getsockname()[1]
    return port


def evc_cli(*args: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end."""
    return subprocess.run(
        [sys.executable, "-m", "evc", *args],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | (env or {}),
    )
