"""Puts many objects into the cluster, fast: straight into etcd, one revision each.

The API server reads what it finds there as if it had written it (JSON is one of its storage
formats).  Creating 100,000 pods through the API would take longer than the whole benchmark.
"""

from __future__ import annotations

import base64
import http.client
import json
import threading
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlsplit

from . import objects
from .load import in_parallel
from .pods import SIZES, pod
from .stage import BenchError, Stage, until

Json = dict[str, Any]
PODS, PVCS = "/registry/pods", "/registry/persistentvolumeclaims"
EVCS = "/registry/evc.dev/ephemeralvolumeclaims"


class Etcd:
    """The store behind the API server, by its JSON gateway."""

    def __init__(self, stage: Stage) -> None:
        argv = Path(f"/proc/{stage.pids()['etcd']}/cmdline").read_text().split("\0")
        flag = "--listen-client-urls="
        self._address = urlsplit(next(a.removeprefix(flag) for a in argv if a.startswith(flag)))
        self._local = threading.local()

    def put(self, key: str, value: Json) -> None:
        """Write one object, as one revision."""
        connection = getattr(self._local, "connection", None)
        if connection is None:
            host, port = self._address.hostname or "", self._address.port
            connection = self._local.connection = http.client.HTTPConnection(host, port)
        body = {
            "key": base64.b64encode(key.encode()).decode(),
            "value": base64.b64encode(json.dumps(value).encode()).decode(),
        }
        connection.request("POST", "/v3/kv/put", json.dumps(body))
        response = connection.getresponse()
        answer = response.read()
        if response.status != 200:
            raise BenchError(f"etcd refused {key}: {answer[:200]!r}")

    def put_all(self, items: Iterable[tuple[str, Json]]) -> None:
        """Write many."""
        in_parallel(lambda item: self.put(*item), items, threads=4)


def pods(stage: Stage, first: int, count: int) -> None:
    """Seed pods web-FIRST ... of 3.6 KB in all namespaces; returns when they are served."""
    random = Random(20261123 + first)

    def made() -> Iterator[tuple[str, Json]]:
        for number in range(first, first + count):
            namespace = stage.namespaces[number % len(stage.namespaces)]
            item = pod(number, SIZES[3.6], random, namespace)
            yield f"{PODS}/{namespace}/{item['metadata']['name']}", item

    Etcd(stage).put_all(made())
    until(lambda: pods_served(stage) >= first + count, f"{first + count} pods are served")


def pods_served(stage: Stage) -> int:
    """How many pods the API server knows."""
    listed = stage.api.get(objects.pod_path("") + "?limit=1")
    return len(listed["items"]) + int(listed["metadata"].get("remainingItemCount", 0))


def _replaced(text: str, changes: dict[str, str]) -> str:
    for old, new in changes.items():
        text = text.replace(old, new)
    return text


def clones(stage: Stage, namespace: str, name: str, count: int) -> list[tuple[str, str]]:
    """Copy a claim that the operator has settled, with its volume and its pod, many times.

    So thousands of live claims are there in seconds, each as the operator itself left it.
    """
    originals = [
        (EVCS, stage.api.get(objects.evc_path(namespace, name))),
        (PVCS, stage.api.get(objects.pvc_path(namespace, name))),
        (PODS, stage.api.get(objects.pod_path(namespace, name))),
    ]
    uids = [item["metadata"]["uid"] for _, item in originals]
    texts = [(root, json.dumps(item)) for root, item in originals]
    made: list[tuple[str, str]] = []
    puts: list[tuple[str, Json]] = []
    for number in range(count):
        target, copy = stage.namespaces[number % len(stage.namespaces)], f"{name}-{number}"
        fresh = {uid: str(uuid.UUID(int=Random(f"{uid}{number}").getrandbits(128))) for uid in uids}
        for root, text in texts:
            item = json.loads(_replaced(text, fresh | {name: copy}))
            item["metadata"]["namespace"] = target
            item["metadata"].pop("resourceVersion", None)
            puts.append((f"{root}/{target}/{copy}", item))
        made.append((target, copy))
    # Volumes and pods first: a claim must not be seen without its volume.
    puts.sort(key=lambda put: put[0].startswith(EVCS))
    Etcd(stage).put_all(puts)
    return made
