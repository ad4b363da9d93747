"""The operator's client: `evc.kube.client.Client`'s methods on the model server.

Time passes in every request, and with it everything else: this is where another
operator, a user or a kubelet comes in between two calls of one reconcile.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Protocol

import msgspec

from evc.kube.client import APPLY_PATCH, JSON_PATCH, _migration, _Ownership
from evc.kube.errors import Status, from_status
from evc.kube.resources import Resource
from evc.model.errors import Conflict, NotFound, Unreachable
from evc.model.meta import Key, Page
from sim.faults import CRASHES, REFUSALS, Faults
from sim.history import Json, Name, Request
from sim.kinds import EVENTS, KINDS
from sim.observer import Observer
from sim.server import Refusal
from sim.world import World

MERGE_PATCH = "application/merge-patch+json"
DISCOVERY = "discovery"


class Crashed(BaseException):
    """The process died here; its state is gone, what it wrote is not."""


class Owner(Protocol):
    """The process a client belongs to."""

    name: str
    alive: bool
    visit: int
    key: str

    def die(self, why: str) -> None:
        """Lose everything but what the server stored."""


class SimClient:
    """Same methods, same exceptions, same decoding; the observer hears of every request."""

    host = "sim"

    def __init__(
        self,
        world: World,
        owner: Owner,
        faults: Faults,
        observer: Observer,
    ) -> None:
        self._world = world
        self._server = world.server
        self._owner = owner
        self._faults = faults
        self._observer = observer

    def get(self, resource: Resource[Any], key: Key) -> Any:
        name = Name(resource.plural, key.namespace, key.name)
        return self._decoded(resource, "get", name, lambda: self._server.get(*name))

    def list(
        self,
        resource: Resource[Any],
        namespace: str = "",
        *,
        field_selector: str = "",
        limit: int = 0,
        continue_token: str = "",
    ) -> Page[Any]:
        name = Name(resource.plural, namespace, "")

        def execute() -> tuple[builtins.list[Json], int, str]:
            found = self._server.list(resource.plural, namespace, field_selector)
            return found, self._server.revision, self._world.timeline.stamp()

        items, revision, date = self._call("list", name, execute, field_selector)
        decoded = tuple(self._world.decoded(resource, item) for item in items)
        return Page(decoded, str(revision), time=datetime.fromisoformat(date))

    def create(self, resource: Resource[Any], namespace: str, body: Mapping[str, Any]) -> Any:
        plain = _plain(body)
        name = Name(resource.plural, namespace, plain["metadata"].get("name", ""))
        actor = self._owner.name

        def execute() -> Json:
            return self._server.create(actor, resource.plural, namespace, plain)

        return self._decoded(resource, "create", name, execute)

    def post(self, path: str, body: Mapping[str, Any]) -> None:
        plain = _plain(body)
        namespace = plain["metadata"]["namespace"]
        name = Name(EVENTS, namespace, plain["metadata"]["name"])
        actor = self._owner.name
        self._call("create", name, lambda: self._server.create(actor, EVENTS, namespace, plain))

    def replace(
        self, resource: Resource[Any], key: Key, body: Mapping[str, Any], *, subresource: str = ""
    ) -> Any:
        plain = _plain(body)
        name = Name(resource.plural, key.namespace, key.name)
        actor = self._owner.name

        def execute() -> Json:
            return self._server.replace(actor, *name, plain, subresource)

        return self._decoded(resource, "status" if subresource else "update", name, execute)

    def patch(
        self,
        resource: Resource[Any],
        key: Key,
        body: Any,
        *,
        content_type: str = MERGE_PATCH,
        **_: Any,
    ) -> Any:
        plain = _plain(body)
        name = Name(resource.plural, key.namespace, key.name)
        actor = self._owner.name

        def execute() -> Json:
            return self._server.patch(actor, *name, plain, content_type)

        return self._decoded(resource, "patch", name, execute)

    def apply(self, resource: Resource[Any], key: Key, body: Mapping[str, Any]) -> Any:
        """The requests of `evc.kube.client.Client.apply`, with its own migration."""
        name = Name(resource.plural, key.namespace, key.name)
        present = self._call("get", name, lambda: self._server.get(*name))["metadata"]
        wanted = dict(body["metadata"])
        if wanted["resourceVersion"] != present["resourceVersion"]:
            raise Conflict("changed since it was read", status=409)
        owned = _Ownership(present["resourceVersion"], present.get("managedFields", []))
        migration = _migration(owned)
        if migration:
            moved = self.patch(resource, key, migration, content_type=JSON_PATCH)
            wanted["resourceVersion"] = moved.metadata.resource_version
        body = {**body, "metadata": wanted}
        return self.patch(resource, key, body, content_type=APPLY_PATCH)

    def plural(self, api_version: str, kind: str) -> str:
        """Discovery: the kinds of this world are all served."""
        name = Name(DISCOVERY, "", api_version)
        served = self._call("get", name, lambda: [*KINDS.values()])
        for known in served:
            if (known.api_version, known.kind) == (api_version, kind):
                return str(known.plural)
        raise NotFound(f"{api_version} serves no {kind}", status=404)

    def delete(
        self, resource: Resource[Any], key: Key, *, uid: str = "", resource_version: str = ""
    ) -> None:
        wanted = {"uid": uid, "resourceVersion": resource_version}
        preconditions = {field: value for field, value in wanted.items() if value}
        options = {"propagationPolicy": "Background", "preconditions": preconditions}
        name = Name(resource.plural, key.namespace, key.name)
        actor = self._owner.name
        self._call("delete", name, lambda: self._server.delete(actor, *name, options))

    def _decoded(
        self, resource: Resource[Any], verb: str, name: Name, execute: Callable[[], Json]
    ) -> Any:
        return self._world.decoded(resource, self._call(verb, name, execute))

    def _call(self, verb: str, name: Name, execute: Callable[[], Any], selector: str = "") -> Any:
        """Travel there, be executed or not, and travel back."""
        self._travel("latency there")
        fault = self._faults.strike(verb)
        if fault:
            self._world.say(f"{self._owner.name}: {verb} {name} meets a fault: {fault}")
        if fault == CRASHES[0]:
            self._die(fault)
        refused: Refusal | None = None
        answer: Any = None
        if fault in REFUSALS:
            refused = Refusal(*REFUSALS[fault], f"simulated: {fault}")
        elif fault != "lost request":
            self._observer.visiting(self._owner.name, self._owner.visit)
            try:
                answer = execute()
            except Refusal as refusal:
                refused = refusal
        self._report(verb, name, fault, refused, selector)
        if fault == CRASHES[1]:
            self._die(fault)
        self._travel("latency back")
        if fault in ("lost request", "lost reply"):
            raise Unreachable(f"simulated: {fault}")
        if refused is not None:
            self._refuse(refused)
        return answer

    def _report(
        self, verb: str, name: Name, fault: str, refused: Refusal | None, selector: str
    ) -> None:
        """Tell the observer; "there is none" is an answer, not a failure."""
        failed = bool(fault) or (refused is not None and refused.code != 404)
        self._observer.requested(
            Request(
                self._world.now,
                self._server.revision,
                self._owner.name,
                self._owner.visit,
                verb,
                name,
                failed,
                fault,
                selector,
                self._owner.key,
            )
        )

    def _refuse(self, refused: Refusal) -> None:
        if refused.code != 404:
            self._world.say(f"{self._owner.name}: refused {refused.code}: {refused}")
        status = Status(str(refused), refused.reason, refused.code)
        raise from_status(status, "3" if refused.code == 429 else None)

    def _travel(self, topic: str) -> None:
        choices = self._world.choices
        seconds = choices.seconds(topic, 0.001, 0.05)
        if self._faults.on and choices.chance("fault pause", self._faults.likely.get("pause", 0.0)):
            # A frozen process or a slow network: everyone else goes on for a while.
            seconds = choices.seconds("pause length", 1.0, 40.0)
            self._world.say(f"{self._owner.name}: pauses for {seconds:.1f} s")
            self._faults.counts["pause"] = self._faults.counts.get("pause", 0) + 1
        self._world.timeline.run_for(seconds)
        if not self._owner.alive:
            raise Crashed

    def _die(self, why: str) -> None:
        self._owner.die(why)
        raise Crashed


def _plain(body: Any) -> Any:
    """The body as the real client would send it, decoded again."""
    return msgspec.json.decode(msgspec.json.encode(body))
