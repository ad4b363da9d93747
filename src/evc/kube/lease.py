"""A Lease as the record of leader election; see `evc.runtime.ports.LeaseLock`."""

from __future__ import annotations

from typing import Any

from evc.kube.client import Client
from evc.kube.resources import LEASES
from evc.model.core import Lease, LeaseSpec
from evc.model.errors import NotFound
from evc.model.meta import Key


class Lock:
    """One Lease, written with optimistic locking."""

    def __init__(self, client: Client, key: Key, identity: str) -> None:
        self._client = client
        self._key = key
        self.identity = identity

    def read(self) -> tuple[LeaseSpec, str] | None:
        """Return the record and its resourceVersion; None if there is no Lease yet."""
        try:
            return _record(self._client.get(LEASES, self._key))
        except NotFound:
            return None

    def create(self, record: LeaseSpec) -> str:
        """Write the first record and return its resourceVersion."""
        body = self._body(record, "")
        return _record(self._client.create(LEASES, self._key.namespace, body))[1]

    def update(self, record: LeaseSpec, resource_version: str) -> str:
        """Replace the record of exactly that version; raise Conflict if it changed."""
        body = self._body(record, resource_version)
        return _record(self._client.replace(LEASES, self._key, body))[1]

    def _body(self, record: LeaseSpec, resource_version: str) -> dict[str, Any]:
        metadata = {"name": self._key.name, "namespace": self._key.namespace}
        if resource_version:
            metadata["resourceVersion"] = resource_version
        return {
            "apiVersion": LEASES.api_version,
            "kind": "Lease",
            "metadata": metadata,
            "spec": record,
        }


def _record(lease: Lease) -> tuple[LeaseSpec, str]:
    return lease.spec, lease.metadata.resource_version
