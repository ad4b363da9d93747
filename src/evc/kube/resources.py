"""The resource types the operator touches: where they live and what they decode to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Generic
from urllib.parse import quote

import msgspec

from evc.model.core import (
    DaemonSet,
    Deployment,
    Job,
    Lease,
    Node,
    PersistentVolume,
    PersistentVolumeClaim,
    Pod,
    ReplicaSet,
    ReplicationController,
    StatefulSet,
    VolumeAttachment,
    Workload,
)
from evc.model.errors import NotFound
from evc.model.evc import GROUP, PLURAL, VERSION, EphemeralVolumeClaim, rescue
from evc.model.meta import T


@dataclass(frozen=True)
class Resource(Generic[T]):
    """One resource type: ``api_version`` as in manifests ("v1", "batch/v1")."""

    api_version: str
    plural: str
    type: type[T]
    namespaced: bool = True
    rescue: Callable[[bytes, str], T] | None = field(default=None, repr=False)
    """Makes a usable value of an object that does not fit ``type``, given why; without
    one, a single odd object would make every LIST of its type fail."""

    @cached_property
    def _decoder(self) -> msgspec.json.Decoder[Any]:
        return msgspec.json.Decoder(self.type)

    def decode(self, raw: bytes) -> T:
        """Decode one object; raises msgspec.ValidationError if it cannot be rescued."""
        try:
            decoded: T = self._decoder.decode(raw)
        except msgspec.ValidationError as error:
            if self.rescue is None:
                raise
            return self.rescue(raw, str(error))
        return decoded

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Return the URL path of the collection, the object or its subresource.

        NotFound for a name that no object can have: the server would take it for more than
        one part of the path, escaped or not (client-go's rest.IsValidPathSegmentName).
        """
        if name in (".", "..") or "/" in name or "%" in name:
            raise NotFound(f"nothing can be named {name!r}", status=404)
        root = "/api" if "/" not in self.api_version else "/apis"
        parts = [root, self.api_version]
        if self.namespaced and namespace:
            parts += ["namespaces", quote(namespace, safe="")]
        parts.append(self.plural)
        parts += [quote(part, safe="") for part in (name, subresource) if part]
        return "/".join(parts)


CLAIMS = Resource(f"{GROUP}/{VERSION}", PLURAL, EphemeralVolumeClaim, rescue=rescue)
PVCS = Resource("v1", "persistentvolumeclaims", PersistentVolumeClaim)
PODS = Resource("v1", "pods", Pod)
JOBS = Resource("batch/v1", "jobs", Job)
WORKLOADS: dict[str, Resource[Workload]] = {
    "Deployment": Resource("apps/v1", "deployments", Deployment),
    "ReplicaSet": Resource("apps/v1", "replicasets", ReplicaSet),
    "StatefulSet": Resource("apps/v1", "statefulsets", StatefulSet),
    "DaemonSet": Resource("apps/v1", "daemonsets", DaemonSet),
    "ReplicationController": Resource("v1", "replicationcontrollers", ReplicationController),
}
"""Kubernetes' own makers of pods besides Jobs, by kind."""
WATCHED: tuple[Resource[Any], ...] = (CLAIMS, PVCS, PODS, JOBS, *WORKLOADS.values())
"""What informers keep a copy of."""
VOLUMES = Resource("v1", "persistentvolumes", PersistentVolume, namespaced=False)
NODES = Resource("v1", "nodes", Node, namespaced=False)
ATTACHMENTS = Resource("storage.k8s.io/v1", "volumeattachments", VolumeAttachment, namespaced=False)
LEASES = Resource("coordination.k8s.io/v1", "leases", Lease)
EVENTS_PATH = "/apis/events.k8s.io/v1/namespaces/{namespace}/events"
