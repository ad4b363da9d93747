"""An API server of a few lines: it keeps objects and writes down what it was asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from evc.controller.gather import Caches
from evc.controller.limits import DeletionLimit
from evc.kube.client import MERGE_PATCH
from evc.kube.resources import CLAIMS, JOBS, PODS, PVCS, WORKLOADS, Resource
from evc.model.core import (
    Job,
    PersistentVolumeClaim,
    Pod,
    PodTemplate,
    PodTemplateMeta,
    Workload,
    WorkloadSpec,
    WorkloadStatus,
)
from evc.model.errors import NotFound
from evc.model.evc import EphemeralVolumeClaim
from evc.model.meta import GeneratedMeta, Key, Page
from evc.runtime.store import Writer
from unit.builders import LABELS, NAMESPACE, T0, Builder

Call = tuple[Any, ...]
RESOURCES: dict[type, Resource[Any]] = {
    EphemeralVolumeClaim: CLAIMS,
    PersistentVolumeClaim: PVCS,
    Pod: PODS,
    Job: JOBS,
    **{resource.type: resource for resource in WORKLOADS.values()},
}


@dataclass
class RecordingClient:
    """Has `evc.kube.client.Client`'s verbs; ``refusing`` maps a verb and plural to an error."""

    calls: list[Call] = field(default_factory=list)
    objects: dict[str, dict[Key, Any]] = field(default_factory=dict)
    refusing: dict[tuple[str, str], Exception] = field(default_factory=dict)
    served: dict[str, str] = field(default_factory=dict)
    """Plurals of the kinds that discovery knows besides the built-in ones."""
    time: datetime | None = None
    """What the server's clock says."""

    def holding(self, *things: Builder[Any] | Any) -> RecordingClient:
        """Keep those objects."""
        for thing in things:
            value = thing.value if isinstance(thing, Builder) else thing
            self._keep(_plural(value), value)
        return self

    def running(self, kind: str, thing: Any) -> RecordingClient:
        """Keep that object of a kind Kubernetes does not know."""
        self.served[kind] = f"{kind.lower()}s"
        self._keep(self.served[kind], thing)
        return self

    def _keep(self, plural: str, value: Any) -> None:
        self.objects.setdefault(plural, {})[value.metadata.key] = value

    def refuse(self, verb: str, plural: str, error: Exception) -> RecordingClient:
        """Answer that with an error."""
        self.refusing[verb, plural] = error
        return self

    @property
    def asked(self) -> list[tuple[str, str]]:
        """What was asked for, as (verb, plural)."""
        return [call[:2] for call in self.calls]

    def get(self, resource: Resource[Any], key: Key) -> Any:
        self._note("get", resource.plural, key)
        try:
            return self.objects[resource.plural][key]
        except KeyError:
            raise NotFound(str(key), status=404) from None

    def list(
        self, resource: Resource[Any], namespace: str = "", *, field_selector: str = ""
    ) -> Page[Any]:
        self._note("list", resource.plural, namespace, field_selector)
        things = self.objects.get(resource.plural, {}).values()
        live = field_selector == ""
        items = tuple(t for t in things if live or not t.terminal)
        return Page(items, "99", time=self.time)

    def create(self, resource: Resource[Any], namespace: str, body: Mapping[str, Any]) -> Any:
        self._note("create", resource.plural, namespace, body)
        made = {"uid": "made", "resourceVersion": "60"}
        return msgspec.convert({**body, "metadata": {**body["metadata"], **made}}, resource.type)

    def post(self, path: str, body: Mapping[str, Any]) -> None:
        self._note("post", path.rsplit("/", 1)[-1], body)

    def replace(
        self, resource: Resource[Any], key: Key, body: Mapping[str, Any], *, subresource: str = ""
    ) -> Any:
        self._note("replace", f"{resource.plural}/{subresource}", key, body)
        made = {"resourceVersion": "50", "generation": 1, "creationTimestamp": T0}
        raw = msgspec.json.encode({**body, "metadata": {**body["metadata"], **made}})
        return msgspec.json.decode(raw, type=resource.type)

    def patch(
        self, resource: Resource[Any], key: Key, body: Any, *, content_type: str = MERGE_PATCH
    ) -> Any:
        self._note("patch", resource.plural, key, body, content_type)
        return _answer(resource, key)

    def apply(self, resource: Resource[Any], key: Key, body: Mapping[str, Any]) -> Any:
        self._note("apply", resource.plural, key, body)
        return _answer(resource, key)

    def plural(self, api_version: str, kind: str) -> str:
        self._note("discover", kind)
        try:
            return self.served[kind]
        except KeyError:
            raise NotFound(kind, status=404) from None

    def delete(
        self, resource: Resource[Any], key: Key, *, uid: str, resource_version: str = ""
    ) -> None:
        self._note("delete", resource.plural, key, uid, resource_version)

    def _note(self, *call: Any) -> None:
        self.calls.append(call)
        error = self.refusing.get(call[:2])
        if error is not None:
            raise error


def _answer(resource: Resource[Any], key: Key) -> Any:
    meta = {"namespace": key.namespace, "name": key.name, "resourceVersion": "70"}
    return msgspec.convert({"metadata": meta}, resource.type)


def workload(kind: str, replicas: int, labels: dict[str, str] = LABELS, **fields: Any) -> Workload:
    """Return a Deployment or the like, by default of designated pods."""
    template = PodTemplate(PodTemplateMeta(labels))
    known = {"namespace": NAMESPACE, "name": "web", "uid": "web", "resource_version": "7"}
    meta = GeneratedMeta(generation=1, **known | fields)
    made: type[Workload] = WORKLOADS[kind].type
    if kind == "DaemonSet":
        return made(meta, WorkloadSpec(None, template), WorkloadStatus(replicas, 1))
    return made(meta, WorkloadSpec(replicas, template))


def _plural(value: Any) -> str:
    resource = RESOURCES.get(type(value))
    if resource is not None:
        return resource.plural
    return {
        "PersistentVolume": "persistentvolumes",
        "VolumeAttachment": "volumeattachments",
        "Node": "nodes",
    }[type(value).__name__]


@dataclass
class Cluster:
    """The informers' stores with their writers."""

    caches: Caches = field(default_factory=Caches)

    def __post_init__(self) -> None:
        self.writers: dict[type, Writer[Any]] = {
            EphemeralVolumeClaim: Writer(self.caches.claims),
            PersistentVolumeClaim: Writer(self.caches.pvcs),
            Pod: Writer(self.caches.pods),
            Job: Writer(self.caches.jobs),
        }
        self.writers |= {
            WORKLOADS[kind].type: Writer(store) for kind, store in self.caches.workloads.items()
        }

    def showing(self, *things: Builder[Any] | Workload) -> Cluster:
        """Let the caches see those objects."""
        for thing in things:
            value = thing.value if isinstance(thing, Builder) else thing
            self.writers[type(value)].apply(value, value.metadata.resource_version)
        return self


def unlimited() -> DeletionLimit:
    """Return a limit that admits everything."""
    return DeletionLimit(per_minute=0, max_percent=0, claims=lambda: 0, monotonic=lambda: 0.0)
