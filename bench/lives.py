"""Whole lives of claims under load, as scheduler and kubelet would lead them.

A pod starts when its claim is there and ends after its time; what the operator does about it
is read from the audit log and from a watch.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from . import objects
from .audit import Request
from .load import Refused, Timetable
from .stage import BenchError, Stage, until

START_AFTER = 0.1
"""Seconds from the claim's appearance to the start of its pod's container."""


@dataclass
class Life:
    """When what happened to one claim, as `time.time()`; 0: not yet."""

    namespace: str
    name: str
    evc_created: float = 0.0
    pvc_seen: float = 0.0
    started: float = 0.0
    finished: float = 0.0
    due: float = 0.0
    pvc_gone: float = 0.0
    evc_gone: float = 0.0


class _Meta(msgspec.Struct):
    name: str = ""
    namespace: str = ""
    resource_version: str = msgspec.field(name="resourceVersion", default="")


class _Object(msgspec.Struct):
    metadata: _Meta = msgspec.field(default_factory=_Meta)


class _Event(msgspec.Struct):
    type: str
    object: _Object


class Watch:
    """Tells of every object of a collection that comes or goes.

    The API server ends the watch of whoever reads too slowly for a moment; it goes on where it
    was.
    """

    def __init__(self, stage: Stage, path: str) -> None:
        self._stage = stage
        self._path = path
        self._decoder = msgspec.json.Decoder(_Event)
        self._closed = False
        self._seen = ""
        self._open()

    def _open(self) -> None:
        self._connection = self._stage.api.connect()
        query = f"watch=true&timeoutSeconds=3000&resourceVersion={self._seen}"
        self._connection.request("GET", f"{self._path}?{query}")
        self._response = self._connection.getresponse()
        if self._response.status != 200:
            raise BenchError(f"cannot watch {self._path}: {self._response.status}")

    def __iter__(self) -> Iterator[tuple[str, str, str]]:
        """Yield (type, namespace, name); ends when it is closed."""
        while not self._closed:
            try:
                while line := self._response.readline():
                    event = self._decoder.decode(line)
                    if event.type == "ERROR":
                        raise BenchError(f"the watch of {self._path} was lost: {line[:200]!r}")
                    meta = event.object.metadata
                    self._seen = meta.resource_version
                    yield event.type, meta.namespace, meta.name
            except (OSError, ValueError, AttributeError, http.client.HTTPException):
                pass
            if not self._closed:
                self._open()

    def close(self) -> None:
        """End it."""
        self._closed = True
        sock = self._connection.sock
        if sock is not None:
            sock.close()


class Lives:
    """Leads lives through one timetable, and knows what became of each."""

    def __init__(
        self,
        stage: Stage,
        *,
        run_seconds: float | None = 1.0,
        start_pods: bool = True,
        grace: int = objects.GRACE,
        threads: int = 8,
    ) -> None:
        """``run_seconds`` None: pods run until `finish`; without ``start_pods``, until `start`.

        ``grace`` is every claim's gracePeriodSeconds.
        """
        self.stage = stage
        self.lives: dict[tuple[str, str], Life] = {}
        self.run_seconds = run_seconds
        self._start_pods = start_pods
        self._grace = grace
        self.timetable = Timetable(threads)
        self._watches = [
            Watch(stage, objects.pvc_path("")),
            Watch(stage, objects.evc_path("")),
        ]
        for watch, note in zip(self._watches, (self._pvc, self._evc), strict=True):
            threading.Thread(target=self._follow, args=(watch, note), daemon=True).start()

    def begin(self, when: float, namespace: str, name: str) -> None:
        """Plan a life: the claim and its pod are made at that time."""
        life = Life(namespace, name)
        self.lives[namespace, name] = life
        self.timetable.at(when, lambda: self._create(life))

    def finish(self, life: Life) -> None:
        """The pod is done: now."""
        now = time.time()
        # Whole seconds, as the kubelet writes them.
        life.finished = now
        life.due = int(now) + self._grace
        self._patch(life, objects.succeeded(life.started, now))

    def close(self) -> None:
        """Stop leading lives; raises what went wrong on the way."""
        self.timetable.close()
        for watch in self._watches:
            watch.close()
        if self.timetable.errors:
            raise BenchError(f"the driver failed: {self.timetable.errors[0]!r}")

    def wait_over(self, seconds: float) -> bool:
        """Wait until every claim and its volume are gone; returns whether they are."""
        try:
            until(
                lambda: all(life.evc_gone and life.pvc_gone for life in [*self.lives.values()]),
                "all lives are over",
                seconds,
            )
        except BenchError:
            return False
        return True

    def _create(self, life: Life) -> None:
        api = self.stage.api
        life.evc_created = time.time()
        evc = objects.evc(life.name, gracePeriodSeconds=self._grace)
        api.create(objects.evc_path(life.namespace), evc)
        api.create(objects.pod_path(life.namespace), objects.pod(life.name, life.name))

    def start(self, life: Life) -> None:
        """The pod's container starts: now."""
        try:
            life.started = time.time()
            self._patch(life, objects.running(life.started))
        except Refused as error:
            if error.status != 404:
                raise
            # The volume was made before the driver had made its pod.
            self.timetable.at(time.time() + START_AFTER, lambda: self.start(life))
            return
        if self.run_seconds is not None:
            self.timetable.at(time.time() + self.run_seconds, lambda: self.finish(life))

    def _patch(self, life: Life, status: objects.Json) -> None:
        path = objects.pod_path(life.namespace, life.name) + "/status"
        self.stage.api.patch(path, status)

    def _follow(self, watch: Watch, note: object) -> None:
        try:
            for kind, namespace, name in watch:
                life = self.lives.get((namespace, name))
                if life is not None and callable(note):
                    note(kind, life)
        except Exception as error:
            self.timetable.errors.append(error)

    def _pvc(self, kind: str, life: Life) -> None:
        if kind == "ADDED":
            life.pvc_seen = time.time()
            if self._start_pods:
                self.timetable.at(time.time() + START_AFTER, lambda: self.start(life))
        elif kind == "DELETED":
            life.pvc_gone = time.time()

    def _evc(self, kind: str, life: Life) -> None:
        if kind == "DELETED":
            life.evc_gone = time.time()


def first(requests: list[Request], what: str) -> dict[tuple[str, str], float]:
    """When the first accepted request of that kind came in, by object."""
    times: dict[tuple[str, str], float] = {}
    for request in requests:
        if request.what == what and request.code < 300:
            times.setdefault(
                (request.object_ref.namespace, request.object_ref.name), request.received
            )
    return times


def latencies(lives: Lives, requests: list[Request]) -> dict[str, list[float]]:
    """Seconds, one entry per life, for each step of the way."""
    creates, deletes = first(requests, "create pvc"), first(requests, "delete pvc")
    steps: dict[str, list[float]] = {
        "create_to_pvc": [],
        "due_to_delete": [],
        "delete_to_gone": [],
    }
    for key, life in lives.lives.items():
        if key in creates:
            steps["create_to_pvc"].append(creates[key] - life.evc_created)
        if key in deletes:
            steps["due_to_delete"].append(deletes[key] - life.due)
            if life.pvc_gone:
                steps["delete_to_gone"].append(life.pvc_gone - deletes[key])
    return steps


def calls(requests: list[Request]) -> dict[str, int]:
    """How many requests of each verb and resource; conflicts and throttling apart."""
    counted: dict[str, int] = {}
    for request in requests:
        counted[request.what] = counted.get(request.what, 0) + 1
        if request.code in (409, 429):
            name = f"answered {request.code}"
            counted[name] = counted.get(name, 0) + 1
    return counted
