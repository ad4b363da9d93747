"""The witness: what the API server was asked, by whom, and what it stored.

The audit log of one control plane is read once, as it grows, and sorted by namespace; what
operators asked is sorted by the namespace they were told to look after, which their user
agent names, wherever the request went.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec

Json = dict[str, Any]
_decode = msgspec.json.Decoder().decode


@dataclass(frozen=True)
class Entry:
    """One request that the API server answered."""

    raw: Json

    @cached_property
    def received(self) -> datetime:
        return datetime.fromisoformat(self.raw["requestReceivedTimestamp"])

    @cached_property
    def answered(self) -> datetime:
        return datetime.fromisoformat(self.raw["stageTimestamp"])

    @property
    def user(self) -> str:
        return str(self.raw["user"]["username"])

    @property
    def process(self) -> str:
        """Which operator process asked, as its proxy noted in the user agent."""
        return self._agent.rpartition(" ")[0]

    @cached_property
    def sent(self) -> datetime:
        """When that process sent it: a fault may have held it back."""
        return datetime.fromtimestamp(float(self._agent.rpartition(" ")[2]), UTC)

    @property
    def looks_after(self) -> str:
        """The namespace that process was told to look after; "" for others."""
        if not self._agent.startswith("evc "):
            return ""
        return self._agent.split()[1].rpartition("-")[0]

    @property
    def _agent(self) -> str:
        return str(self.raw.get("userAgent", ""))

    @property
    def verb(self) -> str:
        return str(self.raw["verb"])

    @property
    def resource(self) -> str:
        return str(self._object.get("resource", ""))

    @property
    def subresource(self) -> str:
        return str(self._object.get("subresource", ""))

    @property
    def namespace(self) -> str:
        return str(self._object.get("namespace", ""))

    @property
    def name(self) -> str:
        return str(self._object.get("name") or self.response.get("metadata", {}).get("name", ""))

    @property
    def code(self) -> int:
        return int(self.raw.get("responseStatus", {}).get("code", 0))

    @property
    def granted(self) -> bool:
        return 200 <= self.code < 300

    @property
    def request(self) -> Any:
        return self.raw.get("requestObject") or {}

    @property
    def response(self) -> Json:
        found: Json = self.raw.get("responseObject") or {}
        return found

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.raw["requestURI"]).query))

    @property
    def writes(self) -> bool:
        return self.verb not in ("get", "list", "watch")

    @property
    def _object(self) -> Json:
        found: Json = self.raw.get("objectRef") or {}
        return found


class AuditLog:
    """The log of one control plane; safe for many threads."""

    def __init__(self, path: Path, operator: str) -> None:
        self._path = path
        self._operator = operator
        self._read = 0
        self._rest = b""
        self._lock = threading.Lock()
        self._entries: dict[str, list[Entry]] = defaultdict(list)
        self.volumes_gone: dict[str, datetime] = {}
        """PersistentVolume -> when it was deleted for good."""

    def of(self, namespace: str) -> list[Entry]:
        """What happened in a namespace, and what its operators did elsewhere."""
        with self._lock:
            self._catch_up()
            return list(self._entries[namespace])

    def forget(self, namespace: str) -> None:
        """Free the memory."""
        with self._lock:
            self._entries.pop(namespace, None)

    def by_operator(self, entry: Entry) -> bool:
        """Whether the operator asked this."""
        return entry.user == self._operator

    def _catch_up(self) -> None:
        with self._path.open("rb") as log:
            log.seek(self._read)
            text = log.read()
        self._read += len(text)
        *lines, self._rest = (self._rest + text).split(b"\n")
        for line in lines:
            self._sort(Entry(_decode(line)))

    def _sort(self, entry: Entry) -> None:
        if entry.resource == "persistentvolumes" and entry.verb == "delete" and entry.granted:
            self.volumes_gone[entry.name] = entry.answered
        where = (entry.looks_after if self.by_operator(entry) else "") or entry.namespace
        if where:
            self._entries[where].append(entry)
