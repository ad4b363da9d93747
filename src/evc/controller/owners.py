"""Asks the owners of designated pods, live, whether they will make more of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from evc.kube.client import Client
from evc.kube.resources import WORKLOADS, Resource
from evc.model.core import Unstructured, Workload
from evc.model.errors import Forbidden, NotFound
from evc.model.evc import EphemeralVolumeClaim, OwnerSeen
from evc.model.meta import Key
from evc.policy.blocked import NOT_LISTABLE, NOT_READABLE
from evc.policy.observed import Observed
from evc.policy.owners import Ending, Owner, judged, unknown_controllers, wants_pods
from evc.policy.usage import designated, makes_users, owners_seen

Workloads = dict[str, tuple[Workload, ...] | Forbidden]
"""By kind, every workload of a namespace, or why they may not be listed."""


def list_workloads(client: Client, namespace: str, kind: str) -> tuple[Workload, ...] | Forbidden:
    """Read all built-in workloads of one kind; raises any ApiError but Forbidden."""
    try:
        return client.list(WORKLOADS[kind], namespace).items
    except Forbidden as error:
        return error


def wanting(evc: EphemeralVolumeClaim, workloads: Workloads) -> Iterator[Owner]:
    """Yield the built-in workloads whose pods are designated, found by their template.

    A Deployment is asked besides its ReplicaSets: with strategy Recreate there is a
    moment in which it wants pods and none of its ReplicaSets does.
    """
    for kind, found in workloads.items():
        if isinstance(found, Forbidden):
            yield Owner(f"{kind}/*", None, f"{NOT_LISTABLE}: {found}")
            continue
        for workload in found:
            template = workload.spec.template
            if template is not None and makes_users(template, evc.claim_name, evc):
                over = None if wants_pods(workload) else Ending(None, failed=False)
                yield Owner(f"{kind}/{workload.metadata.name}", over, "wants pods")


def behind(evc: EphemeralVolumeClaim, observed: Observed, found: Workloads) -> Iterator[OwnerSeen]:
    """Yield the controllers of unknown kinds of the built-in workloads of designated pods.

    A Rollout makes ReplicaSets, a LeaderWorkerSet makes StatefulSets: the pods name only these.
    A workload counts by its template, or because a pod names it: others may have changed the
    labels of either since.
    """
    pods = (pod for pod in observed.pods if designated(pod, evc))
    makers = {owner.uid for pod in pods for owner in pod.metadata.owner_references}
    for workloads in found.values():
        for workload in () if isinstance(workloads, Forbidden) else workloads:
            template = workload.spec.template
            makes = template is not None and makes_users(template, evc.claim_name, evc)
            if makes or workload.metadata.uid in makers:
                yield from unknown_controllers(workload.metadata.owner_references)


class AskOwners:
    """Asks the owners of other kinds, one by one.

    What may not be read is not over; any other error is raised as ApiError.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    def __call__(
        self, evc: EphemeralVolumeClaim, observed: Observed, workloads: Workloads
    ) -> Iterator[Owner]:
        """Yield the owners of other kinds that were ever seen, and the owners of those."""
        first = (*owners_seen(observed, evc), *behind(evc, observed, workloads))
        asking = list(dict.fromkeys(first))
        for seen in asking:  # grows while it is walked: owners have owners
            try:
                found = self._read(seen, evc.metadata.namespace)
            except Forbidden as error:
                yield Owner(f"{seen.kind}/{seen.name}", None, f"{NOT_READABLE}: {error}", seen)
                continue
            yield replace(judged(seen, found), seen=seen)
            if found is not None:
                above = unknown_controllers(found.metadata.owner_references)
                asking += [owner for owner in above if owner not in asking]

    def _read(self, seen: OwnerSeen, namespace: str) -> Unstructured | None:
        """Return the owner; None if it, or its whole kind with its CRD, is gone."""
        try:
            plural = self._client.plural(seen.api_version, seen.kind)
            resource = Resource(seen.api_version, plural, Unstructured)
            return self._client.get(resource, Key(namespace, seen.name))
        except NotFound:
            return None
