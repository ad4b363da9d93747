"""Verbs on API objects: one method per HTTP verb, values in, values out.

Promises (tests of these names in ``test/unit/kube/test_client.py``):

1. *A list is whole*, or an error: pages are read until there is no more, all of one revision.
2. *One page is held at a time*: its bytes are let go before the next is read.
3. *A decoded value keeps nothing of the answer alive* it was decoded from.
4. *A deletion names the object it means*, by uid and, if given, resourceVersion.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Generic

import msgspec

from evc.kube.resources import Resource
from evc.kube.transport import Request, Transport
from evc.kube.watch import Stream
from evc.model.errors import ApiError, Conflict, NotFound
from evc.model.evc import FIELD_MANAGER
from evc.model.meta import Key, Page, T, WatchEvent

PAGE_SIZE = 500
"""Objects; what client-go's informers ask for."""
WATCH_SILENCE = 120.0
"""Seconds: twice the interval of bookmarks."""

MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_API_VERSION = re.compile(rf"({_LABEL}([.]{_LABEL})*/)?{_LABEL}")
"""Of an ownerReference the API server checks only that there is at most one slash."""


class _ListMeta(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


class _ApiResource(msgspec.Struct):
    name: str
    kind: str


class _ApiResourceList(msgspec.Struct):
    resources: list[_ApiResource]


class _Ownership(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    managed_fields: list[dict[str, Any]] = []


class _Owned(msgspec.Struct):
    metadata: _Ownership


class _RawList(msgspec.Struct):
    metadata: _ListMeta
    items: list[msgspec.Raw]


class Client:
    """Speaks to one API server; safe for use by many threads.

    Every method raises a subclass of `evc.model.errors.ApiError`.
    """

    def __init__(self, transport: Transport, *, watch_silence: float = WATCH_SILENCE) -> None:
        """``watch_silence`` is after how many seconds without a byte a watch counts as dead."""
        self._transport = transport
        self.host = transport.host
        self._watch_silence = watch_silence

    def get(self, resource: Resource[T], key: Key) -> T:
        """Read one object from etcd's latest state."""
        return resource.decode(self._call("GET", resource.path(key.namespace, key.name)))

    def list(
        self,
        resource: Resource[T],
        namespace: str = "",
        *,
        field_selector: str = "",
        limit: int = 0,
        continue_token: str = "",
    ) -> Page[T]:
        """Read one page of ``limit`` objects, or with 0 everything, at the most recent revision.

        Everything is read in pages, too, so that the answer for a namespace with 10,000
        pods is never in memory as a whole.  Expired: the server forgot the revision half-way.
        """
        query = {"fieldSelector": field_selector, "limit": str(limit or PAGE_SIZE)}
        page = self._page(resource, namespace, query | {"continue": continue_token})
        if limit or not page.continue_token:
            return page
        items, time = [*page.items], page.time
        while page.continue_token:
            page = self._page(resource, namespace, query | {"continue": page.continue_token})
            items += page.items
        return Page(tuple(items), page.resource_version, time=time)

    def _page(self, resource: Resource[T], namespace: str, query: Mapping[str, str]) -> Page[T]:
        request = Request("GET", resource.path(namespace), query)
        body, time = self._transport.dated(request)
        try:
            raw = msgspec.json.decode(body, type=_RawList)
            items = tuple(resource.decode(item) for item in raw.items)
        except msgspec.DecodeError as error:
            raise ApiError(f"cannot decode a list of {resource.plural}: {error}") from error
        return Page(items, raw.metadata.resource_version, raw.metadata.continue_, time)

    def create(self, resource: Resource[T], namespace: str, body: Mapping[str, Any]) -> T:
        """Create an object; AlreadyExists if the name is taken."""
        path = resource.path(namespace)
        return resource.decode(self._call("POST", path, body=body))

    def post(self, path: str, body: Mapping[str, Any]) -> None:
        """Create an object whose answer nobody reads (Events)."""
        self._call("POST", path, body=body)

    def review(self, path: str, body: Mapping[str, Any], *, timeout: float) -> bytes:
        """Send a TokenReview or a SubjectAccessReview; return its answer undecoded."""
        return self._transport.call(Request("POST", path, body=body), silence=timeout)

    def replace(
        self, resource: Resource[T], key: Key, body: Mapping[str, Any], *, subresource: str = ""
    ) -> T:
        """Replace an object; Conflict unless its resourceVersion is the one in ``body``."""
        path = resource.path(key.namespace, key.name, subresource)
        return resource.decode(self._call("PUT", path, body=body))

    def patch(
        self, resource: Resource[T], key: Key, body: Any, *, content_type: str = MERGE_PATCH
    ) -> T:
        """Patch an object; put uid and resourceVersion into the patch to make it conditional."""
        path = resource.path(key.namespace, key.name)
        return resource.decode(self._call("PATCH", path, body=body, content_type=content_type))

    def apply(self, resource: Resource[T], key: Key, body: Mapping[str, Any]) -> T:
        """Server-side apply: own exactly the fields in ``body``, take off those owned before.

        ``body`` has the uid, so that nothing is created, and the resourceVersion that is
        meant: Conflict if the object is not that one any more.  What we set by an ordinary
        create is first turned into applied fields: a label would stay otherwise, owned
        by the create (what kubectl does when it migrates from client-side apply).
        """
        path = resource.path(key.namespace, key.name)
        present = msgspec.json.decode(self._call("GET", path), type=_Owned)
        meta = dict(body["metadata"])
        if meta["resourceVersion"] != present.metadata.resource_version:
            raise Conflict(f"{key} was changed since it was read", status=409)
        migration = _migration(present.metadata)
        if migration:
            moved = self._call("PATCH", path, body=migration, content_type=JSON_PATCH)
            owned = msgspec.json.decode(moved, type=_Owned)
            meta["resourceVersion"] = owned.metadata.resource_version
        body = {**body, "metadata": meta}
        answer = self._call(
            "PATCH", path, query={"force": "true"}, body=body, content_type=APPLY_PATCH
        )
        return resource.decode(answer)

    def plural(self, api_version: str, kind: str) -> str:
        """Return the resource name of a kind (discovery); NotFound if it is not served."""
        if not _API_VERSION.fullmatch(api_version):
            raise NotFound(f"{api_version!r} is no apiVersion", status=404)
        root = "/api" if "/" not in api_version else "/apis"
        body = self._call("GET", f"{root}/{api_version}")
        found = msgspec.json.decode(body, type=_ApiResourceList)
        for resource in found.resources:
            if resource.kind == kind and "/" not in resource.name:
                return resource.name
        raise NotFound(f"{api_version} serves no {kind}", status=404)

    def delete(
        self, resource: Resource[T], key: Key, *, uid: str, resource_version: str = ""
    ) -> None:
        """Delete exactly the object with this uid (and version): Conflict if it is another.

        Dependents go in the background, as with kubectl.
        """
        preconditions = {"uid": uid}
        if resource_version:
            preconditions["resourceVersion"] = resource_version
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": preconditions,
        }
        self._call("DELETE", resource.path(key.namespace, key.name), body=body)

    @contextmanager
    def watch(
        self,
        resource: Resource[T],
        namespace: str = "",
        *,
        resource_version: str,
        send_initial_events: bool,
    ) -> Iterator[Stream[T]]:
        """Stream changes; the server ends it after five to ten minutes, as for client-go."""
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(random.randint(300, 600)),
        }
        if send_initial_events:
            query |= {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
        request = Request("GET", resource.path(namespace), query)
        response = self._transport.send(request, silence=self._watch_silence)
        try:
            yield Stream(response, resource, self.host)
        finally:
            response.close()

    def close(self) -> None:
        """Close idle connections."""
        self._transport.close()

    def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
    ) -> bytes:
        return self._transport.call(Request(method, path, query or {}, body, content_type))


def _migration(present: _Ownership) -> list[dict[str, Any]]:
    """Return the JSON patch that makes metadata we set by Update count as applied; [] if none.

    It joins what we applied before: of two entries for one manager and operation the API
    server keeps none, and silently ignores the change.
    """
    entries = present.managed_fields
    index = _ours(entries, "Update")
    if index is None:
        return []
    left = dict(entries[index].get("fieldsV1", {}).get("f:metadata", {}))
    moved = {name: left.pop(name) for name in ("f:labels", "f:annotations") if name in left}
    if not moved:
        return []
    path = f"/metadata/managedFields/{index}"
    return [
        # Conflict, not Invalid, if it is not that version any more.
        {"op": "replace", "path": "/metadata/resourceVersion", "value": present.resource_version},
        {"op": "test", "path": f"{path}/manager", "value": FIELD_MANAGER},
        {"op": "test", "path": f"{path}/operation", "value": "Update"},
        {"op": "replace", "path": f"{path}/fieldsV1/f:metadata", "value": left},
        _applied(entries, entries[index], moved),
    ]


def _applied(
    entries: list[dict[str, Any]], update: dict[str, Any], moved: dict[str, Any]
) -> dict[str, Any]:
    """Return the operation that adds ``moved`` to what we have applied, or starts that."""
    index = _ours(entries, "Apply")
    if index is None:
        entry = update | {"operation": "Apply", "fieldsV1": {"f:metadata": moved}}
        return {"op": "add", "path": "/metadata/managedFields/-", "value": entry}
    fields = entries[index].get("fieldsV1", {})
    metadata = dict(fields.get("f:metadata", {}))
    metadata |= {name: metadata.get(name, {}) | keys for name, keys in moved.items()}
    path = f"/metadata/managedFields/{index}/fieldsV1"
    return {"op": "replace", "path": path, "value": fields | {"f:metadata": metadata}}


def _ours(entries: list[dict[str, Any]], operation: str) -> int | None:
    """Return where our entry for the object itself (no subresource) is; None if nowhere."""
    ours = (FIELD_MANAGER, operation, None)
    for index, entry in enumerate(entries):
        found = entry.get("manager"), entry.get("operation"), entry.get("subresource") or None
        if found == ours:
            return index
    return None


class ResourceWatcher(Generic[T]):
    """Lists and watches one resource type in one namespace ("" for all): an informer's source.

    See `evc.runtime.ports.ListerWatcher`.
    """

    def __init__(self, client: Client, resource: Resource[T], namespace: str = "") -> None:
        self._client = client
        self._resource = resource
        self._namespace = namespace
        self._stream: Stream[T] | None = None
        self._interrupted = False

    def list(self, *, limit: int, continue_token: str = "") -> Page[T]:
        """Return one page."""
        return self._client.list(
            self._resource, self._namespace, limit=limit, continue_token=continue_token
        )

    @contextmanager
    def watch(
        self, *, resource_version: str, send_initial_events: bool
    ) -> Iterator[Iterator[WatchEvent[T]]]:
        """Stream changes."""
        with self._client.watch(
            self._resource,
            self._namespace,
            resource_version=resource_version,
            send_initial_events=send_initial_events,
        ) as stream:
            # In this order: `interrupt` sets first and then looks for a stream, so that one
            # of the two notices the other.
            self._stream = stream
            try:
                if not self._interrupted:
                    yield iter(stream)
                else:
                    yield iter(())
            finally:
                self._stream = None

    def interrupt(self) -> None:
        """End the watch that is open, and any later one, from another thread."""
        self._interrupted = True
        stream = self._stream
        if stream is not None:
            stream.shut_down()
