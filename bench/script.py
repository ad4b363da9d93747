"""An operator's requests without an operator: the least that the API server allows under a load.

Whoever leads the lives knows what happens when, so nothing is watched and nothing is decided:
the requests of `docs/writes.md` and the reads of the gates are made one after the other, each as
soon as the one before is answered.  What is left is what API server, etcd and machine take.
"""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from . import objects
from .lives import Life, Lives
from .load import Refused
from .stage import Stage

SETTLE = 10.0
"""Seconds from a container's end to the release of its volume, as the operator waits."""
THREADS = 32
"""More than ever wait at the same time: no request waits for another's."""


@dataclass
class Sent:
    """When the script sent what the latencies are made of, as `time.time()`; 0: not yet."""

    create: float = 0.0
    delete: float = 0.0


class Script(Lives):
    """Leads lives and makes the operator's requests for each of them itself."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage, threads=THREADS)
        self.sent: dict[tuple[str, str], Sent] = {}
        self._evcs: dict[tuple[str, str], objects.Json] = {}
        self._reads = ThreadPoolExecutor(THREADS)

    @property
    def deletes(self) -> list[float]:
        """When each DELETE of a volume was sent, in order."""
        return sorted(sent.delete for sent in self.sent.values() if sent.delete)

    def latencies(self) -> dict[str, list[float]]:
        """Seconds, one entry per life, as `bench.lives.latencies` tells them of an operator."""
        lives = [(life, self.sent[key]) for key, life in self.lives.items() if key in self.sent]
        return {
            "create_to_pvc": [sent.create - life.evc_created for life, sent in lives],
            "due_to_delete": [sent.delete - life.due for life, sent in lives if sent.delete],
        }

    def start(self, life: Life) -> None:
        """The container starts, which is noted."""
        super().start(life)
        if life.started:
            self._tell(life, "InUse")

    def finish(self, life: Life) -> None:
        """The pod is done, which is noted; the deletion follows when it is due."""
        super().finish(life)
        self._tell(life, "Draining")
        self.timetable.at(life.due, lambda: self._delete(life))

    def close(self) -> None:
        """See `Lives.close`."""
        super().close()
        self._reads.shutdown()

    def _create(self, life: Life) -> None:
        api, key = self.stage.api, (life.namespace, life.name)
        life.evc_created = time.time()
        asked = objects.evc(life.name, gracePeriodSeconds=self._grace)
        evc = json.loads(api.create(objects.evc_path(life.namespace), asked))
        self._evcs[key] = evc
        pod = objects.pod(life.name, life.name)
        self.timetable.at(time.time(), lambda: api.create(objects.pod_path(life.namespace), pod))
        self._tell(life, "Provisioning")
        self.sent[key] = Sent(create=time.time())
        api.create(objects.pvc_path(life.namespace), objects.pvc(evc))

    def _delete(self, life: Life) -> None:
        claim = self._look(life, objects.pod_path(life.namespace), objects.job_path(life.namespace))
        self._tell(life, "Releasing")
        api, key = self.stage.api, (life.namespace, life.name)
        self.sent[key].delete = time.time()
        api.delete(objects.pvc_path(*key), claim["metadata"])
        api.create(objects.event_path(life.namespace), objects.event(self._evcs[key]))
        self.timetable.at(life.finished + SETTLE, lambda: self._release(life))

    def _release(self, life: Life) -> None:
        api, path = self.stage.api, objects.pvc_path(life.namespace, life.name)
        self._look(life, objects.pod_path(life.namespace))
        api.patch(path, {"metadata": {"finalizers": None}})
        try:
            api.get(path)
        except Refused as error:
            if error.status != 404:
                raise
        key = life.namespace, life.name
        api.delete(objects.evc_path(*key), self._evcs.pop(key)["metadata"])

    def _look(self, life: Life, *lists: str) -> objects.Json:
        """Read the lists at the same time, then the claim and its object; return the claim."""
        for _ in self._reads.map(self.stage.api.get, lists):
            pass
        claim: objects.Json = self.stage.api.get(objects.pvc_path(life.namespace, life.name))
        self.stage.api.get(objects.evc_path(life.namespace, life.name))
        return claim

    def _tell(self, life: Life, reason: str) -> None:
        key = life.namespace, life.name
        body = objects.told(self._evcs[key], reason)
        answer = self.stage.api.replace(objects.evc_path(*key) + "/status", body)
        self._evcs[key] = json.loads(answer)
