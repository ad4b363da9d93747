"""A fake is allowed only with a conformance test: the model API server against a real one.

The same random requests go to both; codes, reasons, bodies and what happens to versions
must be the same.  Nothing else acts on these objects: the pods name a scheduler that does
not exist, the claims a StorageClass that does not, and pvc-protection is waited for.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol
from urllib.parse import urlencode

import pytest
from kubernetes.client import ApiClient, Configuration
from kubernetes.config import load_kube_config

from cluster import ControlPlane
from e2e import manifests
from e2e.scenario import Scenario, condition, eventually, phase
from evc.kube.client import _migration, _Ownership
from evc.model.evc import FIELD_MANAGER
from sim import fields
from sim.choices import Scripted
from sim.cluster import Protection
from sim.history import Json
from sim.kinds import EVCS, PODS, PROTECTION, PVCS
from sim.server import APPLY_PATCH, Refusal
from sim.world import World

JSON_PATCH = "application/json-patch+json"
MERGE = "application/merge-patch+json"
ROOTS = {PVCS: "/api/v1", PODS: "/api/v1", EVCS: "/apis/evc.dev/v1alpha1"}
ME = "operator"
MINE = "evc.dev/conformance"
"""A finalizer that keeps deleted claims there to be looked at."""


@dataclass(frozen=True)
class Answer:
    """What came back; ``body`` is {} for refusals."""

    code: int
    reason: str
    body: Json


class Api(Protocol):
    """One API server."""

    def call(self, verb: str, plural: str, name: str, body: Any = None, more: str = "") -> Answer:
        """Send one request; ``more`` is a subresource, content type or field selector."""

    def settle(self, name: str) -> None:
        """Let pvc-protection do its work on that claim."""


class Model:
    """The simulation's."""

    def __init__(self) -> None:
        self.world = World(Scripted({}))
        Protection(self.world)

    def call(self, verb: str, plural: str, name: str, body: Any = None, more: str = "") -> Answer:
        try:
            return Answer(
                201 if verb == "create" else 200, "", self._call(verb, plural, name, body, more)
            )
        except Refusal as refusal:
            return Answer(refusal.code, refusal.reason, {})

    def _call(self, verb: str, plural: str, name: str, body: Any, more: str) -> Json:
        server, where = self.world.server, (plural, "ns", name)
        self.world.timeline.now += 0.01
        match verb:
            case "create":
                return server.create(ME, plural, "ns", body)
            case "get":
                return server.get(*where)
            case "list":
                return {"items": server.list(plural, "ns", more)}
            case "replace":
                return server.replace(ME, *where, body, more)
            case "patch":
                return server.patch(ME, *where, body, more)
        return server.delete(ME, *where, body)

    def settle(self, name: str) -> None:
        self.world.timeline.run_for(1.0)


class Real:
    """The real one, by plain HTTP."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        config = Configuration()
        load_kube_config(config_file=str(plane.kubeconfig), client_configuration=config)
        self._pool = ApiClient(config).rest_client.pool_manager
        self._host = config.host
        self._namespace = namespace

    def call(self, verb: str, plural: str, name: str, body: Any = None, more: str = "") -> Answer:
        path = f"{ROOTS[plural]}/namespaces/{self._namespace}/{plural}"
        if verb not in ("create", "list"):
            path += f"/{name}"
        if verb == "replace" and more:
            path += f"/{more}"
        query = {"fieldManager": FIELD_MANAGER} if verb in ("create", "replace", "patch") else {}
        if verb == "list":
            query = {"fieldSelector": more}
        if more == APPLY_PATCH:
            query["force"] = "true"
        path += "?" + urlencode(query)
        methods = {"create": "POST", "replace": "PUT", "patch": "PATCH", "delete": "DELETE"}
        answer = self._pool.request(
            methods.get(verb, "GET"),
            self._host + path,
            headers={"Content-Type": more if verb == "patch" else "application/json"},
            body=None if body is None else json.dumps(body).encode(),
            retries=False,
        )
        found: Json = json.loads(answer.data)
        if answer.status >= 300:
            return Answer(answer.status, found.get("reason", ""), {})
        return Answer(answer.status, "", found)

    def settle(self, name: str) -> None:
        """Wait until Kubernetes' volume controllers have written what they will."""
        seen: list[str] = []

        def quiet() -> bool:
            claim = self.call("get", PVCS, name).body
            seen.append(claim.get("metadata", {}).get("resourceVersion", ""))
            return content_with(claim) and seen[-4:] == [seen[-1]] * 4

        eventually(quiet, f"nothing changes {name} any more")


def content_with(claim: Json) -> bool:
    """Whether Kubernetes' pvc-protection controller has nothing to write to it (any more).

    It puts the protection on and takes it off, and says of a bound one who uses it (KEP-5541).
    """
    if not claim:
        return True
    protected = PROTECTION in claim["metadata"].get("finalizers", ())
    if "deletionTimestamp" in claim["metadata"]:
        return not protected
    judged = phase(claim) != "Bound" or bool(condition(claim, "Unused"))
    return protected and judged


def manifest(plural: str, name: str) -> Json:
    """An object that nobody else touches."""
    if plural == EVCS:
        return manifests.claim(name)
    if plural == PVCS:
        claim = manifests.pvc(name)
        claim["metadata"]["finalizers"] = [MINE]
        claim["spec"]["storageClassName"] = "no-such-class"
        return claim
    pod: Json = {"apiVersion": "v1", "kind": "Pod"} | manifests.pod_template(name, app=name)
    pod["metadata"]["name"] = name
    pod["spec"]["schedulerName"] = "nobody"
    return pod


class Sequence:
    """Random requests about one object, sent to both servers in lockstep."""

    def __init__(self, seed: int, plural: str, model: Model, real: Real) -> None:
        self.random = Random(seed)
        self.plural = plural
        self.name = f"c{seed}-{plural[:3]}"
        self.servers: tuple[Api, Api] = (model, real)
        self.log: list[str] = []

    def run(self, length: int) -> int:
        """Send so many requests; fails at the first difference, returns how many were sent."""
        self.step("create")
        for _ in range(length):
            self.step(self.random.choice((
                "create", "get", "list", "put", "put stale", "put blind", "put alien", "noop",
                "status", "label", "unlabel", "spec", "json", "json fails", "json no path",
                "patch stale", "patch alien", "delete", "delete stale", "delete alien",
                "finalizer", "free", "apply", "apply", "apply stale", "apply alien",
            )))  # fmt: skip
        return len(self.log)

    def step(self, what: str) -> None:
        """One request to each, and the comparison."""
        self.log.append(what)
        value = str(self.random.randrange(3))
        seen = []
        for server in self.servers:
            before = server.call("get", self.plural, self.name).body
            answer = self.send(server, what, before, value)
            if what not in ("get", "list") and self.plural == PVCS:
                server.settle(self.name)
            after = server.call("get", self.plural, self.name)
            seen.append((answer.code, answer.reason, versions(before, after.body), plain(after)))
            if what == "list":
                names = [i["metadata"]["name"] for i in answer.body["items"]]
                seen[-1] = (*seen[-1], self.name in names)  # type: ignore[assignment]
        assert seen[0] == seen[1], (
            f"{self.plural} after {self.log}:\nmodel {seen[0]}\nreal  {seen[1]}"
        )

    def send(self, server: Api, what: str, before: Json, value: str) -> Answer:
        """What a word means as a request."""
        plural, name = self.plural, self.name
        meta = before.get("metadata", {"name": name})
        base = before or manifest(plural, name)
        alien = {"uid": "11111111-1111-1111-1111-111111111111"}
        labelled = base | {"metadata": meta | {"labels": {"n": value}}}

        if what.startswith("put"):
            odd = {"stale": {"resourceVersion": "1"}, "blind": {"resourceVersion": ""}}
            odd |= {"alien": alien, "put": {}}
            changed = labelled["metadata"] | odd[what.split()[-1]]
            return server.call("replace", plural, name, labelled | {"metadata": changed})
        if what.startswith("delete"):
            return server.call("delete", plural, name, self.options(what, meta, alien))
        if what.startswith("apply") and plural == PVCS and before:
            return server.call("patch", plural, name, self.applied(what, meta, value), APPLY_PATCH)
        match what:
            case "create":
                return server.call("create", plural, name, manifest(plural, name))
            case "list":
                return server.call("list", plural, "", None, self.selector(value))
            case "noop":
                return server.call("replace", plural, name, base)
            case "status":
                body = labelled | {"status": self.status(value)}
                return server.call("replace", plural, name, body, "status")
        change = self.change(what, meta, value, alien)
        if change is None:
            return server.call("get", plural, name)
        kind = JSON_PATCH if isinstance(change, list) else MERGE
        return server.call("patch", plural, name, change, kind)

    def change(self, what: str, meta: Json, value: str, alien: Json) -> Any:
        """The patch a word means (a list: JSON patch), None for none."""
        match what:
            case "label":
                return {"metadata": {"labels": {"n": value}}}
            case "unlabel":
                return {"metadata": {"labels": None}}
            case "spec" if self.plural == EVCS:
                # Claims and pods: their specs are immutable, near enough.
                return {"spec": {"gracePeriodSeconds": int(value)}}
            case "json":
                test = {"op": "test", "path": "/metadata/uid", "value": meta.get("uid")}
                return [test, {"op": "add", "path": "/metadata/labels", "value": {"j": value}}]
            case "migrate" if self.plural == PVCS and meta.get("managedFields"):
                owned = _Ownership(meta["resourceVersion"], meta["managedFields"])
                return _migration(owned) or None
            case "json fails":
                return [{"op": "test", "path": "/metadata/name", "value": "x"}]
            case "json no path":
                return [{"op": "remove", "path": "/metadata/finalizers/7"}]
            case "patch stale":
                return {"metadata": {"resourceVersion": "1", "labels": {"n": value}}}
            case "patch alien":
                return {"metadata": alien | {"labels": {"n": value}}}
            case "finalizer":
                return {"metadata": {"finalizers": [MINE, "evc.dev/another"]}}
            case "free":
                return {"metadata": {"finalizers": None}}
        return None

    def applied(self, what: str, meta: Json, value: str) -> Json:
        """What we declare: a label that comes, changes and goes, and an annotation."""
        wanted = {"name": self.name, "uid": meta["uid"], "resourceVersion": meta["resourceVersion"]}
        wanted |= {"uid": "11111111-1111-1111-1111-111111111111"} if "alien" in what else {}
        wanted |= {"resourceVersion": "1"} if "stale" in what else {}
        labels = {"0": {}, "1": {"n": "0"}, "2": {"n": "2", "m": "1"}}[value]
        more = {"labels": labels, "annotations": {f"example.com/{value}": "x"}}
        return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": wanted | more}

    def options(self, what: str, meta: Json, alien: Json) -> Json:
        """The preconditions of a DELETE."""
        wanted = {"uid": meta.get("uid", "x"), "resourceVersion": meta.get("resourceVersion", "1")}
        wanted |= alien if what == "delete alien" else {}
        wanted |= {"resourceVersion": "1"} if what == "delete stale" else {}
        return {"propagationPolicy": "Background", "preconditions": wanted}

    def selector(self, value: str) -> str:
        """A field selector the type has."""
        phase = ("status.phase!=Pending", "status.phase!=Failed,status.phase!=Succeeded", "")
        return phase[int(value)] if self.plural == PODS else ""

    def status(self, value: str) -> Json:
        """A status the type accepts."""
        if self.plural == EVCS:
            return {"observedGeneration": int(value)}
        if self.plural == PODS:
            return {"phase": ("Pending", "Running", "Succeeded")[int(value)]}
        return {"phase": ("Pending", "Bound", "Lost")[int(value)]}


def versions(before: Json, after: Json) -> tuple[bool, ...]:
    """What happened to identity and version."""
    old, new = before.get("metadata", {}), after.get("metadata", {})
    return tuple(old.get(field) == new.get(field) for field in ("uid", "resourceVersion"))


def plain(answer: Answer) -> Any:
    """An object without what two servers must differ in."""
    if answer.code >= 300:
        return answer.code, answer.reason
    meta = answer.body["metadata"]
    kept = {
        "labels": meta.get("labels") or {},
        "annotations": meta.get("annotations") or {},
        "finalizers": sorted(meta.get("finalizers") or ()),
        "generation": meta.get("generation"),
        "deleting": "deletionTimestamp" in meta,
        "grace": meta.get("deletionGracePeriodSeconds"),
    }
    status = answer.body.get("status", {})
    if answer.body["kind"] == "PersistentVolumeClaim":
        ours = {
            k: v for k, v in fields.read(meta).items() if k[0] == FIELD_MANAGER and any(v.values())
        }
        return kept, status.get("phase"), ours
    if answer.body["kind"] == "EphemeralVolumeClaim":
        return kept, answer.body["spec"], status
    return kept, status.get("phase")


@pytest.mark.parametrize("plural", [EVCS, PVCS, PODS])
def test_model_answers_as_the_real_server(
    plural: str, with_crd: ControlPlane, scenario: Scenario
) -> None:
    model, real = Model(), Real(with_crd, scenario.namespace)
    seeds = 8 if plural == PVCS else 20
    sent = sum(Sequence(seed, plural, model, real).run(24) for seed in range(seeds))
    print(f"{sent} requests on {plural} answered alike")


def test_what_we_created_comes_off_by_apply(with_crd: ControlPlane, scenario: Scenario) -> None:
    """The way of `Client.apply`: what a create set is first turned into applied fields."""
    one = Sequence(2, PVCS, Model(), Real(with_crd, scenario.namespace))
    for what in ("create", "label", "migrate", "apply", "apply", "apply", "unlabel", "apply"):
        one.step(what)
    # What we patch after an apply joins what was applied.
    for what in ("label", "migrate", "apply", "apply"):
        one.step(what)
