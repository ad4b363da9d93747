"""Verbs on API objects: one method per HTTP verb, values in, values out."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Generic
from urllib.parse import quote, urlencode

import msgspec
import urllib3
from kubernetes.client.configuration import Configuration

from evc.kube.config import pool
from evc.kube.errors import from_response, from_transport
from evc.kube.resources import Resource
from evc.kube.watch import events
from evc.model.errors import ApiError, Conflict, NotFound
from evc.model.meta import Key, Page, T, WatchEvent

REQUEST_TIMEOUT = urllib3.Timeout(connect=10, read=35)
"""Longer than the API's SLO for a LIST (p99 <= 30 s), so a slow answer is not taken for none."""
WATCH_SILENCE = 120
"""Seconds without a byte after which a watch counts as dead: twice the bookmark interval."""
FIELD_MANAGER = "evc"

MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

OnRequest = Callable[[str, int], None]


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

    ``on_request(method, code)`` is told of every request's end (code 0: no answer).
    Every method raises a subclass of `evc.model.errors.ApiError`.
    """

    def __init__(
        self, config: Configuration, *, user_agent: str, connections: int, on_request: OnRequest
    ) -> None:
        self.host: str = config.host
        self._config = config
        self._pool = pool(config, connections)
        self._headers = {"User-Agent": user_agent, "Accept": "application/json"}
        self._on_request = on_request

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
        """Read one page (``limit`` 0: everything), at the most recent revision."""
        query = {
            "fieldSelector": field_selector,
            "limit": str(limit) if limit else "",
            "continue": continue_token,
        }
        body = self._call("GET", resource.path(namespace), query=query)
        try:
            raw = msgspec.json.decode(body, type=_RawList)
            items = tuple(resource.decode(item) for item in raw.items)
        except msgspec.DecodeError as error:
            raise ApiError(f"cannot decode a list of {resource.plural}: {error}") from error
        return Page(items, raw.metadata.resource_version, raw.metadata.continue_)

    def create(self, resource: Resource[T], namespace: str, body: Mapping[str, Any]) -> T:
        """Create an object; AlreadyExists if the name is taken."""
        path = resource.path(namespace)
        return resource.decode(self._call("POST", path, body=body))

    def post(self, path: str, body: Mapping[str, Any]) -> None:
        """Create an object whose answer nobody reads (Events)."""
        self._call("POST", path, body=body)

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
        root = "/api" if "/" not in api_version else "/apis"
        body = self._call("GET", f"{root}/{quote(api_version)}")
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
    ) -> Iterator[Iterator[WatchEvent[T]]]:
        """Stream changes; the server ends it after five to ten minutes, as for client-go."""
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(random.randint(300, 600)),
        }
        if send_initial_events:
            query |= {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
        response = self._send(
            "GET",
            resource.path(namespace),
            query=query,
            timeout=urllib3.Timeout(connect=10, read=WATCH_SILENCE),
        )
        try:
            yield events(self._chunks(response), resource)
        finally:
            response.close()

    def close(self) -> None:
        """Close idle connections."""
        self._pool.clear()

    def _chunks(self, response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
        try:
            yield from response.stream(1 << 16, decode_content=True)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise from_transport(error, self.host) from error

    def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
    ) -> bytes:
        response = self._send(
            method,
            path,
            query=query or {},
            body=None if body is None else msgspec.json.encode(body),
            content_type=content_type,
            timeout=REQUEST_TIMEOUT,
        )
        try:
            return response.data
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise from_transport(error, self.host) from error
        finally:
            response.release_conn()

    def _send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str],
        timeout: urllib3.Timeout,
        body: bytes | None = None,
        content_type: str = "application/json",
    ) -> urllib3.BaseHTTPResponse:
        """Send and return a 2xx response whose body is not read yet; raise for all else."""
        parameters = {name: value for name, value in query.items() if value}
        if method in ("POST", "PUT", "PATCH"):
            parameters["fieldManager"] = FIELD_MANAGER
        url = f"{self.host}{path}" + (f"?{urlencode(parameters)}" if parameters else "")
        code = 0
        try:
            response = self._pool.request(
                method,
                url,
                body=body,
                headers={**self._headers, **self._credentials(), "Content-Type": content_type},
                timeout=timeout,
                retries=False,
                preload_content=False,
            )
            code = response.status
            if code >= 300:
                retry_after = response.headers.get("Retry-After")
                answer = response.data
                response.release_conn()
                raise from_response(code, answer, retry_after)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise from_transport(error, self.host) from error
        finally:
            self._on_request(method, code)
        return response

    def _credentials(self) -> dict[str, str]:
        """Return the Authorization header, read anew each time because tokens rotate."""
        settings: dict[str, Any] = self._config.auth_settings()  # type: ignore[assignment]
        return {s["key"]: s["value"] for s in settings.values() if s["value"]}


def _migration(present: _Ownership) -> list[dict[str, Any]]:
    """Return the JSON patch that makes metadata we set by Update count as applied; [] if none."""
    for index, entry in enumerate(present.managed_fields):
        if entry.get("manager") != FIELD_MANAGER or entry.get("operation") != "Update":
            continue
        metadata = dict(entry.get("fieldsV1", {}).get("f:metadata", {}))
        moved = {
            name: metadata.pop(name) for name in ("f:labels", "f:annotations") if name in metadata
        }
        if not moved:
            continue
        path = f"/metadata/managedFields/{index}"
        applied = entry | {"operation": "Apply", "fieldsV1": {"f:metadata": moved}}
        return [
            # Conflict, not Invalid, if it is not that version any more.
            {
                "op": "replace",
                "path": "/metadata/resourceVersion",
                "value": present.resource_version,
            },
            {"op": "test", "path": f"{path}/manager", "value": FIELD_MANAGER},
            {"op": "test", "path": f"{path}/operation", "value": "Update"},
            {"op": "replace", "path": f"{path}/fieldsV1/f:metadata", "value": metadata},
            {"op": "add", "path": "/metadata/managedFields/-", "value": applied},
        ]
    return []


class ResourceWatcher(Generic[T]):
    """Lists and watches one resource type in one namespace ("" for all): an informer's source."""

    def __init__(self, client: Client, resource: Resource[T], namespace: str = "") -> None:
        self._client = client
        self._resource = resource
        self._namespace = namespace

    def list(self, *, limit: int, continue_token: str = "") -> Page[T]:
        """See `evc.runtime.ports.ListerWatcher.list`."""
        return self._client.list(
            self._resource, self._namespace, limit=limit, continue_token=continue_token
        )

    def watch(self, *, resource_version: str, send_initial_events: bool) -> Any:
        """See `evc.runtime.ports.ListerWatcher.watch`."""
        return self._client.watch(
            self._resource,
            self._namespace,
            resource_version=resource_version,
            send_initial_events=send_initial_events,
        )
