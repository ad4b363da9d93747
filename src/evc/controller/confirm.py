"""Gate 2: read live what a destructive decision rests on.

A cache may keep a volume, only etcd may destroy it (as in Kubernetes' own
pvc-protection controller).  Any error here, a 403 or a timeout included, means keep.
"""

from __future__ import annotations

from dataclasses import replace

from evc.controller.gather import Caches, surroundings
from evc.kube.client import Client
from evc.kube.resources import ATTACHMENTS, CLAIMS, JOBS, NODES, PODS, PVCS, VOLUMES, Resource
from evc.model.core import PersistentVolumeClaim
from evc.model.errors import Forbidden, NotFound
from evc.model.meta import Key, T
from evc.policy.observed import Observed

NON_TERMINAL = "status.phase!=Succeeded,status.phase!=Failed"


class Confirm:
    """Observes one key again, from etcd."""

    def __init__(self, client: Client, caches: Caches) -> None:
        self._client = client
        self._caches = caches

    def __call__(self, key: Key, cached: Observed) -> Observed:
        """Return the live observation; raises ApiError if any part cannot be read.

        Pods: those the cache knows, overlaid with the live ones.  For a deletion only
        the non-terminal ones are read; what the cache takes for running and etcd does
        not list stays a hold until the cache has caught up.  For a release (the claim
        is Terminating) every pod of the namespace is read.
        """
        evc = self._get(CLAIMS, key)
        claim = self._get(PVCS, key)
        releasing = claim is not None and claim.metadata.deleting
        live = self._client.list(
            PODS, key.namespace, field_selector="" if releasing else NON_TERMINAL
        )
        jobs = self._client.list(JOBS, key.namespace)
        pods = {} if releasing else {pod.metadata.uid: pod for pod in cached.pods}
        pods |= {pod.metadata.uid: pod for pod in live.items}
        observed = surroundings(key.name, evc, claim, pods.values(), jobs.items)
        mounts = self._mounts(claim) if claim is not None and releasing else None
        return replace(observed, live=True, mounted_by=mounts)

    def _get(self, resource: Resource[T], key: Key) -> T | None:
        try:
            return self._client.get(resource, key)
        except NotFound:
            return None

    def _mounts(self, claim: PersistentVolumeClaim) -> tuple[str, ...] | None:
        """Return what may still have the volume mounted; None if we may not know."""
        volume = claim.spec.volume_name
        if not volume:
            return ()
        try:
            attachments = self._client.list(ATTACHMENTS).items
            source = self._client.get(VOLUMES, Key("", volume)).spec.csi
            nodes = self._client.list(NODES).items if source is not None else ()
        except Forbidden:
            return None
        mounts = [
            f"VolumeAttachment/{a.metadata.name}"
            for a in attachments
            if a.spec.source.persistent_volume_name == volume
        ]
        if source is not None:
            # The name the kubelet reports in volumesInUse (volumehelper.GetUniqueVolumeName).
            unique = f"kubernetes.io/csi/{source.driver}^{source.volume_handle}"
            mounts += [
                f"Node/{node.metadata.name}"
                for node in nodes
                if unique in node.status.volumes_in_use
            ]
        return tuple(mounts)
