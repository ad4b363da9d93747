"""Gate 2: read live what a destructive decision rests on.

A cache may keep a volume, only etcd may destroy it (as in Kubernetes' own
pvc-protection controller).  Any error here, a 403 or a timeout included, means keep.
"""

from __future__ import annotations

from dataclasses import replace

from evc.controller.gather import Caches, surroundings, workloads_near
from evc.controller.owners import AskOwners, unlisted
from evc.controller.shared import SharedReads, stage
from evc.kube.client import Client
from evc.kube.resources import CLAIMS, PVCS, Resource
from evc.model.errors import NotFound
from evc.model.meta import Key, T
from evc.policy.decide import closed
from evc.policy.mapping import marked_for
from evc.policy.observed import Observed


class Confirm:
    """Observes one key again, from etcd."""

    def __init__(self, client: Client, caches: Caches, reads: SharedReads) -> None:
        """``caches`` only name the workloads that are to be read."""
        self._client = client
        self._caches = caches
        self._reads = reads
        self._ask_owners = AskOwners(client)

    def __call__(self, key: Key, cached: Observed) -> Observed | None:
        """Return the live observation; raises ApiError if any part cannot be read.

        None: the namespace has to be read first; the key is enqueued when that is done.
        """
        shared = self._reads.take(key)
        if shared is None and not closed(cached.evc, cached.claim):
            self._reads.ask(key, stage(cached.evc, cached.claim))
            return None
        # The claim first: if the garbage collector orphaned it, its owner was deleted before,
        # and must not be seen alive and made owner again.
        claim = self._get(PVCS, _claim_key(key, cached))
        if claim is None and closed(cached.evc, claim):
            # No volume is let go of, and whatever is still written to the object names the
            # version that the cache has.
            return replace(cached, claim=claim, live=True)
        evc = self._get(CLAIMS, key)
        if evc is None and claim is not None and marked_for(claim) != key:
            claim = None  # its mark was rewritten since: it is not what this object left
        if closed(evc, claim):
            return replace(cached, evc=evc, claim=claim, live=True)
        # A read from another stage of the claim's life says too little about this one: a pod
        # may have started after that read and before the claim was deleted.
        reached = stage(evc, claim)
        if shared is None or shared.stage != reached:
            self._reads.ask(key, reached)
            return None
        near = shared.surroundings
        seen = surroundings(evc, claim, near.pods, near.jobs)
        observed = replace(seen, live=True, time=near.time)
        if claim is not None and claim.metadata.deleting:
            return replace(observed, mounted_by=near.mounts(claim))
        if claim is None or evc is None:
            return observed
        unknown = tuple(unlisted(self._caches.workloads))
        asked = self._ask_owners(evc, observed, workloads_near(evc, self._caches))
        return replace(observed, owners=(*unknown, *asked))

    def _get(self, resource: Resource[T], key: Key) -> T | None:
        try:
            return self._client.get(resource, key)
        except NotFound:
            return None


def _claim_key(key: Key, cached: Observed) -> Key:
    """Return the name of the volume's claim; an object's claim name never changes."""
    if cached.evc is not None:
        return Key(key.namespace, cached.evc.claim_name)
    assert cached.claim is not None  # without an object there is a claim it left
    return cached.claim.metadata.key
