"""Gate 2: read live what a destructive decision rests on.

A cache may keep a volume, only etcd may destroy it (as in Kubernetes' own
pvc-protection controller).  Any error here, a 403 or a timeout included, means keep.
"""

from __future__ import annotations

from dataclasses import replace

from evc.controller.gather import surroundings
from evc.controller.owners import AskOwners
from evc.kube.client import Client
from evc.kube.resources import ATTACHMENTS, CLAIMS, JOBS, NODES, PODS, PVCS, VOLUMES, Resource
from evc.model.core import PersistentVolumeClaim
from evc.model.errors import Forbidden, NotFound
from evc.model.meta import Key, T
from evc.policy.observed import Observed


class Confirm:
    """Observes one key again, from etcd."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._ask_owners = AskOwners(client)

    def __call__(self, key: Key, cached: Observed) -> Observed:
        """Return the live observation; raises ApiError if any part cannot be read.

        All pods of the namespace are read, completed ones too: one that started and ended
        unseen by the cache used the volume, and its end starts the grace period.
        """
        # The claim first: if the garbage collector orphaned it, its owner was deleted before,
        # and must not be seen alive and made owner again.
        claim = self._get(PVCS, _claim_key(key, cached))
        evc = self._get(CLAIMS, key)
        releasing = claim is not None and claim.metadata.deleting
        # Makers of pods first: a pod made after they were read has one that was seen to want it.
        workloads = () if evc is None or releasing else tuple(self._ask_owners.workloads(evc))
        jobs = self._client.list(JOBS, key.namespace)
        pods = self._client.list(PODS, key.namespace)
        observed = replace(surroundings(evc, claim, pods.items, jobs.items), live=True)
        if claim is None:
            return observed
        if releasing:
            return replace(observed, mounted_by=self._mounts(claim))
        others = tuple(self._ask_owners.others(evc, observed)) if evc is not None else ()
        return replace(observed, owners=workloads + others)

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
            found = self._get(VOLUMES, Key("", volume))
            source = found.spec.csi if found is not None else None
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


def _claim_key(key: Key, cached: Observed) -> Key:
    """Return the name of the volume's claim; an object's claim name never changes."""
    if cached.evc is not None:
        return Key(key.namespace, cached.evc.claim_name)
    assert cached.claim is not None  # without an object there is a claim it left
    return cached.claim.metadata.key
