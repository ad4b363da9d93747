"""Looks at the API server again and again, and keeps each look as one value."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import urllib3

from .errors import DemoError

Item = dict[str, Any]

# Claims before pods: a pod seen together with a missing claim has outlived that claim.
COLLECTIONS = {
    "evcs": "/apis/evc.dev/v1alpha1/namespaces/default/ephemeralvolumeclaims",
    "pvcs": "/api/v1/namespaces/default/persistentvolumeclaims",
    "pods": "/api/v1/namespaces/default/pods",
    "jobs": "/apis/batch/v1/namespaces/default/jobs",
    "volumes": "/api/v1/persistentvolumes",
}


@dataclass(frozen=True)
class Snapshot:
    """What the API server said, the collections in this order, each by name."""

    time: datetime
    evcs: Mapping[str, Item]
    pvcs: Mapping[str, Item]
    pods: Mapping[str, Item]
    jobs: Mapping[str, Item]
    volumes: Mapping[str, Item]


class Eye:
    """Reads over one kept-alive connection, as the administrator."""

    def __init__(self, url: str, pki: Path) -> None:
        self._url = url
        self._pool = urllib3.PoolManager(
            cert_file=str(pki / "admin.crt"),
            key_file=str(pki / "admin.key"),
            ca_certs=str(pki / "ca.crt"),
            timeout=urllib3.Timeout(5),
            retries=urllib3.Retry(1, backoff_factor=0.1),
        )

    def look(self) -> Snapshot:
        """Read everything once."""
        found = {name: self._list(path) for name, path in COLLECTIONS.items()}
        return Snapshot(datetime.now(UTC), **found)

    def _list(self, path: str) -> dict[str, Item]:
        try:
            response = self._pool.request("GET", self._url + path)
        except urllib3.exceptions.HTTPError as error:
            cause = getattr(error, "reason", None) or error
            raise DemoError(f"the API server does not answer any more: {cause}") from error
        if response.status != 200:
            raise DemoError(f"the API server refused GET {path}: {response.data.decode()}")
        return {item["metadata"]["name"]: item for item in json.loads(response.data)["items"]}


def moment(text: str) -> datetime:
    """A time of the API (RFC 3339)."""
    return datetime.fromisoformat(text)
