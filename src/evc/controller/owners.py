"""Asks the owners of designated pods, live, whether they will make more of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from evc.kube.client import Client
from evc.kube.resources import WORKLOADS, Resource
from evc.model.core import Unstructured, Workload
from evc.model.errors import ApiError, Forbidden, NotFound, Unreachable
from evc.model.evc import EphemeralVolumeClaim, OwnerSeen
from evc.model.meta import Key, OwnerReference
from evc.policy.blocked import NOT_LISTABLE, NOT_READABLE
from evc.policy.observed import Observed
from evc.policy.owners import OWNERS_KEPT, Owner, as_owner, built_in, controllers, judged
from evc.policy.usage import designated, makes_users, owners_seen
from evc.runtime.store import Store


def unlisted(workloads: Mapping[str, Store[Workload]]) -> Iterator[Owner]:
    """Yield the kinds that may not be listed at present: any of them may want pods.

    Raises the error of a cache that is not kept up for another reason, as ApiError: it finds
    the workloads to ask, and one that hears nothing may miss some.
    """
    for kind, store in workloads.items():
        error = store.error
        if isinstance(error, Forbidden):
            yield Owner(f"{kind}/*", None, f"{NOT_LISTABLE}: {error}")
        elif isinstance(error, ApiError):
            raise error
        elif error is not None:
            raise Unreachable(f"the cache of {kind}s is not kept up: {error}") from error


class AskOwners:
    """Asks them one by one, and their owners.

    What may not be read is not over; any other error is raised as ApiError.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    def __call__(
        self, evc: EphemeralVolumeClaim, observed: Observed, workloads: Iterable[Workload]
    ) -> Iterator[Owner]:
        """Yield the verdict on each.

        Asked are ``workloads``, who made the pods, and those of other kinds that were ever seen.
        A Rollout makes ReplicaSets, a LeaderWorkerSet makes StatefulSets, and the pods name
        only these.  A workload counts by its template; one that only a pod names leads to its
        owner, because others may have changed the labels of either since.  Of owners that only
        pods name there may be any number, so that too many are not asked, and hold.
        """
        cached = dict.fromkeys(map(_seen, workloads))
        pods = (pod.metadata for pod in observed.pods if designated(pod, evc))
        named = dict.fromkeys(maker for meta in pods for maker in _askable(meta.owner_references))
        asking = list(cached | named | dict.fromkeys(owners_seen(observed, evc)))
        if len(asking) - len(cached) > OWNERS_KEPT:
            yield Owner("Owner/*", None, f"more than {OWNERS_KEPT} owners are too many to ask")
            return
        for seen in asking:  # grows while it is walked: owners have owners
            try:
                found = self._read(seen, evc.metadata.namespace)
            except Forbidden as error:
                again = None if built_in(seen) else seen
                why = f"{NOT_READABLE}: {error}"
                yield Owner(f"{seen.kind}/{seen.name}", None, why, again)
                continue
            if isinstance(found, Workload):
                makes = makes_users(found.template, evc.claim_name, evc)
                if makes:
                    yield as_owner(found)
                elif seen not in named:
                    continue
            elif not built_in(seen):
                yield replace(judged(seen, found), seen=seen)
            if found is not None:
                above = _askable(found.metadata.owner_references)
                asking += [owner for owner in above if owner not in asking]

    def _read(self, seen: OwnerSeen, namespace: str) -> Workload | Unstructured | None:
        """Return the owner; None if it, or its whole kind with its CRD, is gone."""
        try:
            found: Workload | Unstructured = self._client.get(
                self._resource(seen), Key(namespace, seen.name)
            )
        except NotFound:
            return None
        return found

    def _resource(self, seen: OwnerSeen) -> Resource[Any]:
        if built_in(seen):
            return WORKLOADS[seen.kind]
        plural = self._client.plural(seen.api_version, seen.kind)
        return Resource(seen.api_version, plural, Unstructured)


def _seen(workload: Workload) -> OwnerSeen:
    meta, kind = workload.metadata, workload.kind
    return OwnerSeen(WORKLOADS[kind].api_version, kind, meta.name, meta.uid)


def _askable(references: Iterable[OwnerReference]) -> Iterator[OwnerSeen]:
    """Yield the controller, unless Jobs, which are read with the pods, say all about it."""
    for owner in controllers(references):
        if not built_in(owner) or owner.kind in WORKLOADS:
            yield owner
