"""The same lifecycle on kopf, as fast as kopf lets it be: the peer of B2 to B6.

What is the same as ours: intent, create with mark and ownerReference, use written down, due
time, a live look before anything is destroyed, the decision in status under the
resourceVersion that was seen, the five conditions, DELETE with preconditions and its event,
release of pvc-protection ten seconds after the end, the record deleted last.  It does less than
ours: no workloads but Jobs, no template changes, no limits, no metrics, no election.

Choices in kopf's favour, and why:

- `on.event` handlers only: the others keep their progress in annotations and a finalizer on
  every object, which is two or three more writes a life.
- What is known of pods, claims and EphemeralVolumeClaims is kept in indexed dicts, trimmed to
  what is used: nothing is listed to find out.  Not `kopf.index`: while it fills, each object
  wakes the workers of all others (`ToggleSet`), which is quadratic; 1,500 pods took over half
  a minute.  What that gives up, complete caches before the first decision, the live look
  makes good.
- The live look lists only unfinished pods; ours lists the finished ones, too, since one that ran
  and ended unseen starts the grace period.  It makes all its reads at the same time; ours reads
  the namespace once for all claims that wait, and then each claim.
- `posting.enabled = False`: log lines would become Kubernetes events.
- `peering.standalone` and `scanning.disabled`: no watches of namespaces, CRDs and peers.
- `watching.initial_streaming`: lists are streamed, as ours are, and never whole in memory.
- No batching delay: kopf took its 0.1 s window out before this version.
- uvloop, which kopf takes if it is installed; orjson and one aiohttp session for our own calls.
- Log level ERROR.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import ssl
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import kopf
import orjson
import yaml

GROUP, VERSION, PLURAL = "evc.dev", "v1alpha1", "ephemeralvolumeclaims"
MARK = "bench.dev/owner-uid"
PROTECTION = "kubernetes.io/pvc-protection"
SETTLE = 10.0
AT_ONCE = 20
"""Reconciles at a time; more only wait for the API server."""
MERGE, JSON_PATCH = "application/merge-patch+json", "application/json-patch+json"
UNFINISHED = "fieldSelector=status.phase%21%3DSucceeded%2Cstatus.phase%21%3DFailed"

Key = tuple[str, str]
Json = dict[str, Any]
EXPECTED = int(sys.argv[1]) if len(sys.argv) > 1 else 0
"""How many pods to have indexed before READY is printed."""


class Refused(Exception):
    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status} {text[:200]}")
        self.status = status


class Api:
    """JSON over one aiohttp session."""

    async def open(self) -> None:
        config = yaml.safe_load(Path(os.environ["KUBECONFIG"]).read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        context = ssl.create_default_context(cadata=authority)
        with tempfile.TemporaryDirectory() as folder:
            pair = []
            for name in ("client-certificate-data", "client-key-data"):
                pair.append(Path(folder, name))
                pair[-1].touch(mode=0o600)
                pair[-1].write_bytes(base64.b64decode(user[name]))
            context.load_cert_chain(*pair)
        connector = aiohttp.TCPConnector(ssl=context, limit=0)
        self._session = aiohttp.ClientSession(cluster["server"], connector=connector)

    async def __call__(
        self, method: str, path: str, body: Any = None, kind: str = "application/json"
    ) -> Json:
        data = None if body is None else orjson.dumps(body)
        async with self._session.request(
            method, path, data=data, headers={"Content-Type": kind}
        ) as response:
            answer = await response.read()
            if response.status >= 300:
                raise Refused(response.status, answer.decode(errors="replace"))
            found: Json = orjson.loads(answer)
            return found


api = Api()


class Memory:
    """The last trimmed state of each object of a kind, found under any of its keys."""

    def __init__(self) -> None:
        self._items: dict[Any, dict[str, Any]] = {}
        self._keys: dict[str, list[Any]] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def put(self, uid: str, found: dict[Any, Any]) -> None:
        self.drop(uid)
        self._keys[uid] = [*found]
        for key, value in found.items():
            self._items.setdefault(key, {})[uid] = value

    def drop(self, uid: str) -> None:
        for key in self._keys.pop(uid, ()):
            bucket = self._items[key]
            del bucket[uid]
            if not bucket:
                del self._items[key]

    def get(self, key: Any) -> list[Any]:
        return [*self._items.get(key, {}).values()]

    def follow(self, kind: str | None, uid: str, found: dict[Any, Any]) -> None:
        if kind == "DELETED":
            self.drop(uid)
        else:
            self.put(uid, found)


indices = {name: Memory() for name in ("pods", "claims", "evcs", "jobs")}
written: dict[Key, int] = {}
"""Versions that our own writes returned: what is older in the indices decides nothing."""
written_claims: dict[Key, int] = {}
telling: set[asyncio.Task[None]] = set()
running: set[Key] = set()
dirty: set[Key] = set()
gate = asyncio.Semaphore(AT_ONCE)


def seconds(text: str | None) -> float | None:
    return datetime.fromisoformat(text).timestamp() if text else None


def stamp(when: float) -> str:
    return datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def path(key: Key, plural: str, name: str | None = None) -> str:
    root = f"/apis/{GROUP}/{VERSION}" if plural == PLURAL else "/api/v1"
    return f"{root}/namespaces/{key[0]}/{plural}/{key[1] if name is None else name}".rstrip("/")


def trim_pod(body: Any) -> Json:
    """What a decision needs of a pod, from a body that may be live or watched."""
    meta, spec, status = body["metadata"], body.get("spec", {}), body.get("status", {})
    statuses = [*status.get("containerStatuses", ()), *status.get("initContainerStatuses", ())]
    states = [s["state"] for s in statuses if "state" in s]
    ends = [seconds(s["terminated"].get("finishedAt")) for s in states if "terminated" in s]
    starts = [
        seconds((s.get("running") or s.get("terminated") or {}).get("startedAt")) for s in states
    ]
    return {
        "name": meta["name"],
        "labels": dict(meta.get("labels", {})),
        "claims": [
            v["persistentVolumeClaim"]["claimName"]
            for v in spec.get("volumes", ())
            if "persistentVolumeClaim" in v
        ],
        "jobs": [o["uid"] for o in meta.get("ownerReferences", ()) if o["kind"] == "Job"],
        "over": status.get("phase") in ("Succeeded", "Failed"),
        "failed": status.get("phase") == "Failed",
        "started": min((t for t in starts if t), default=None),
        "ended": max((t for t in ends if t), default=None),
    }


@kopf.on.startup()
async def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.watching.initial_streaming = True
    settings.networking.error_backoffs = (0.2, 0.5, 1, 2)
    logging.getLogger().setLevel(logging.ERROR)
    await api.open()
    asyncio.get_running_loop().create_task(announce())


async def announce() -> None:
    await asyncio.sleep(0.0 if EXPECTED else 1.0)
    while len(indices["pods"]) < EXPECTED:
        await asyncio.sleep(0.02)
    print("READY", flush=True)


@kopf.on.event(GROUP, VERSION, PLURAL)
async def evc_event(
    type: str | None, body: kopf.Body, namespace: str, name: str, uid: str, **_: Any
) -> None:
    evc = {key: body[key] for key in ("metadata", "spec", "status") if key in body}
    evc["metadata"] = {k: v for k, v in evc["metadata"].items() if k != "managedFields"}
    pair = next(iter(evc["spec"]["podSelector"]["matchLabels"].items()))
    key = (namespace, name)
    indices["evcs"].follow(type, uid, {key: evc, (namespace, *pair): evc, namespace: key})
    wake(key)


@kopf.on.event("", "v1", "persistentvolumeclaims")
async def claim_event(
    type: str | None, body: kopf.Body, namespace: str, name: str, uid: str, **_: Any
) -> None:
    meta = body["metadata"]
    claim = {
        "uid": uid,
        "version": int(meta["resourceVersion"]),
        "owner": meta.get("annotations", {}).get(MARK),
        "deleted": seconds(meta.get("deletionTimestamp")),
        "finalizers": list(meta.get("finalizers", ())),
    }
    indices["claims"].follow(type, uid, {(namespace, name): claim})
    wake((namespace, name))


@kopf.on.event("", "v1", "pods")
async def pod_event(type: str | None, body: kopf.Body, namespace: str, uid: str, **_: Any) -> None:
    pod = trim_pod(body)
    pairs = [(namespace, *pair) for pair in pod["labels"].items()]
    keys = [(namespace, "claim", claim) for claim in pod["claims"]]
    indices["pods"].follow(type, uid, dict.fromkeys(pairs + keys, pod))
    for pair in pairs:
        for evc in indices["evcs"].get(pair):
            wake((namespace, evc["metadata"]["name"]))
    for claim in pod["claims"]:
        wake((namespace, claim))


@kopf.on.event("batch", "v1", "jobs")
async def job_event(type: str | None, body: kopf.Body, namespace: str, uid: str, **_: Any) -> None:
    indices["jobs"].follow(type, uid, {uid: ended(body)})
    for key in indices["evcs"].get(namespace):
        wake(key)


def ended(job: Any) -> bool:
    conditions = job.get("status", {}).get("conditions", ())
    return any(c["status"] == "True" and c["type"] in ("Complete", "Failed") for c in conditions)


def one(index: str, key: Key) -> Json | None:
    return next(iter(indices[index].get(key)), None)


def wake(key: Key) -> None:
    """Reconcile soon; one at a time for each key."""
    if key in running:
        dirty.add(key)
    elif one("evcs", key) is not None:
        running.add(key)
        asyncio.get_running_loop().create_task(work(key))


async def work(key: Key) -> None:
    again: float | None = None
    try:
        async with gate:
            again = await reconcile(key)
    except Refused as error:
        again = time.time() + (0.2 if error.status in (404, 409) else 1.0)
    except Exception as error:
        logging.exception("bug: %r", error)
        again = time.time() + 5.0
    finally:
        running.discard(key)
    if key in dirty:
        dirty.discard(key)
        wake(key)
    elif again is not None:
        asyncio.get_running_loop().call_later(max(0.0, again - time.time()), wake, key)


async def reconcile(key: Key) -> float | None:
    """Do the next step; returns when to come again."""
    evc, claim = one("evcs", key), one("claims", key)
    if evc is None or "deletionTimestamp" in evc["metadata"]:
        return None
    if int(evc["metadata"]["resourceVersion"]) < written.get(key, 0):
        return None  # the watch brings what we wrote ourselves
    if claim is not None and claim["version"] < written_claims.get(key, 0):
        return None
    status = evc.get("status", {})
    reason = ready(status)
    known = status.get("claim")
    if reason == "Releasing" and (claim is None or claim["uid"] != known.get("uid")):
        return await farewell(key, evc)
    if reason == "Releasing" and claim["deleted"] is not None:
        return await release(key, evc, claim)
    if known is None:
        intent = {"name": key[1], "requestId": evc["metadata"]["resourceVersion"]}
        await tell(key, evc, "Provisioning", claim=intent)
        return await provision(key, evc)
    if claim is None:
        waiting = key in written_claims or status.get("firstUsedTime")
        return None if waiting else await provision(key, evc)
    if claim["owner"] != evc["metadata"]["uid"]:
        return None
    return await follow(key, evc, claim)


def ready(status: Json) -> str:
    return next((c["reason"] for c in status.get("conditions", ()) if c["type"] == "Ready"), "")


async def provision(key: Key, evc: Json) -> None:
    meta = evc["metadata"]
    owner = {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "EphemeralVolumeClaim",
        "name": meta["name"],
        "uid": meta["uid"],
        "controller": True,
    }
    manifest = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": key[1],
            "annotations": {MARK: meta["uid"]},
            "ownerReferences": [owner],
        },
        "spec": evc["spec"]["volumeClaimTemplate"]["spec"],
    }
    made = await api("POST", path(key, "persistentvolumeclaims", ""), manifest)
    written_claims[key] = int(made["metadata"]["resourceVersion"])


def near(key: Key, evc: Json) -> list[Json]:
    labels = evc["spec"]["podSelector"]["matchLabels"]
    found = {
        pod["name"]: pod
        for value in (("claim", key[1]), next(iter(labels.items())))
        for pod in indices["pods"].get((key[0], *value))
    }
    return [p for p in found.values() if key[1] in p["claims"] or designated(p, labels)]


def designated(pod: Json, labels: dict[str, str]) -> bool:
    return labels.items() <= pod["labels"].items()


def holds(pod: Json) -> bool:
    return not pod["over"] or any(
        not over for job in pod["jobs"] for over in indices["jobs"].get(job)
    )


async def follow(key: Key, evc: Json, claim: Json) -> float | None:
    """The claim is there: is it used, held, over?"""
    spec, status, around = evc["spec"], evc["status"], near(key, evc)
    labels = spec["podSelector"]["matchLabels"]
    mine = [pod for pod in around if designated(pod, labels)]
    starts = [p["started"] for p in mine if p["started"] and key[1] in p["claims"]]
    used = seconds(status.get("firstUsedTime")) or min(starts, default=None)
    facts: Json = {"claim": {"name": key[1], "uid": claim["uid"]}}
    if used:
        facts["firstUsedTime"] = stamp(used)
    created = seconds(evc["metadata"]["creationTimestamp"]) or 0.0
    if any(holds(pod) for pod in around):
        await tell(key, evc, "InUse" if used else "Waiting", deletionTime=None, **facts)
        return None
    due = created + spec["expirySeconds"]
    if used:
        ends = [pod["ended"] for pod in mine if pod["ended"]]
        known = seconds(status.get("finishedTime"))
        finished = max([*ends, *([known] if known else [])], default=time.time())
        facts["finishedTime"] = stamp(finished)
        due = max(created + spec["minimumWaitSeconds"], finished + spec["gracePeriodSeconds"])
    if time.time() < due:
        reason = "Draining" if used else "Waiting"
        await tell(key, evc, reason, deletionTime=stamp(due), **facts)
        return due
    return await delete(key, facts, due)


async def delete(key: Key, facts: Json, due: float) -> float | None:
    """Look live, decide durably, delete exactly that."""
    claim, evc, _ = await asyncio.gather(
        api("GET", path(key, "persistentvolumeclaims")),
        api("GET", path(key, PLURAL)),
        unheld(key),
    )
    if claim["metadata"]["annotations"].get(MARK) != evc["metadata"]["uid"]:
        return None
    if evc["spec"].get("hold") or "evc.dev/hold" in claim["metadata"]["annotations"]:
        return None
    await tell(key, evc, "Releasing", deletionTime=stamp(due), outcome="Succeeded", **facts)
    left = await remove(key, "persistentvolumeclaims", claim["metadata"])
    written_claims[key] = int(left["metadata"]["resourceVersion"])
    # Nobody waits for it.
    telling.add(task := asyncio.get_running_loop().create_task(record(key, evc)))
    task.add_done_callback(telling.discard)
    return time.time() + SETTLE


async def record(key: Key, evc: Json) -> None:
    """Tell of the deletion."""
    meta = evc["metadata"]
    event = {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": f"{key[1]}.{time.time_ns():x}", "namespace": key[0]},
        "eventTime": datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "reportingController": "bench.dev/kopf",
        "reportingInstance": "kopf",
        "type": "Normal",
        "reason": "Deleting",
        "action": "Delete",
        "note": f"deleting PersistentVolumeClaim {key[1]}",
        "regarding": {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": "EphemeralVolumeClaim",
            "namespace": key[0],
            "name": key[1],
            "uid": meta["uid"],
        },
    }
    await api("POST", f"/apis/events.k8s.io/v1/namespaces/{key[0]}/events", event)


async def unheld(key: Key) -> None:
    """Raise if a pod or Job that is not over needs the claim, by the API server's word."""
    evc = one("evcs", key)
    labels = evc["spec"]["podSelector"]["matchLabels"] if evc else {}
    found, work = await asyncio.gather(
        api("GET", path(key, "pods", "") + "?" + UNFINISHED),
        api("GET", f"/apis/batch/v1/namespaces/{key[0]}/jobs"),
    )
    pods = [trim_pod(pod) for pod in found["items"]]
    for job in work["items"]:
        template = trim_pod(
            job["spec"]["template"]
            | {"metadata": {"name": ""} | job["spec"]["template"].get("metadata", {})}
        )
        if not ended(job):
            pods.append(template)
    if any(key[1] in pod["claims"] or designated(pod, labels) for pod in pods):
        raise Refused(409, "held")


async def release(key: Key, evc: Json, claim: Json) -> float | None:
    """Take pvc-protection off once nothing can have it mounted."""
    if PROTECTION not in claim["finalizers"]:
        return None
    ends = [pod["ended"] for pod in near(key, evc) if pod["ended"]]
    settled = max([claim["deleted"], *ends]) + SETTLE
    if time.time() < settled:
        return settled
    live, _, _ = await asyncio.gather(
        api("GET", path(key, "persistentvolumeclaims")),
        api("GET", path(key, PLURAL)),
        unheld(key),
    )
    if volume := live["spec"].get("volumeName"):
        found = await api("GET", "/apis/storage.k8s.io/v1/volumeattachments")
        if any(a["spec"]["source"].get("persistentVolumeName") == volume for a in found["items"]):
            return time.time() + 5.0
    meta = live["metadata"]
    at = f"/metadata/finalizers/{meta['finalizers'].index(PROTECTION)}"
    patch = [
        {"op": "test", "path": "/metadata/uid", "value": meta["uid"]},
        {"op": "test", "path": "/metadata/resourceVersion", "value": meta["resourceVersion"]},
        {"op": "test", "path": at, "value": PROTECTION},
        {"op": "remove", "path": at},
    ]
    left = await api("PATCH", path(key, "persistentvolumeclaims"), patch, JSON_PATCH)
    written_claims[key] = int(left["metadata"]["resourceVersion"])
    return None


async def farewell(key: Key, evc: Json) -> None:
    try:
        await api("GET", path(key, "persistentvolumeclaims"))
    except Refused as error:
        if error.status != 404:
            raise
        await remove(key, PLURAL, evc["metadata"])
        written.pop(key, None)
        written_claims.pop(key, None)


async def remove(key: Key, plural: str, meta: Json) -> Json:
    conditions = {"uid": meta["uid"], "resourceVersion": meta["resourceVersion"]}
    body = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": conditions}
    return await api("DELETE", path(key, plural), body)


async def tell(key: Key, evc: Json, reason: str, **facts: Any) -> None:
    """Write the status, if it says anything new, under the version that was read."""
    status, now = evc.get("status", {}), stamp(time.time())
    if "uid" in facts.get("claim", {}) and "requestId" in status.get("claim", {}):
        facts["claim"]["requestId"] = None
    same = ready(status) == reason and all(status.get(k) == v for k, v in facts.items())
    if same:
        return
    change = {
        "metadata": {"resourceVersion": evc["metadata"]["resourceVersion"]},
        "status": {"conditions": conditions(evc, reason, now), **facts},
    }
    answer = await api("PATCH", path(key, PLURAL) + "/status", change, MERGE)
    written[key] = int(answer["metadata"]["resourceVersion"])


def conditions(evc: Json, reason: str, now: str) -> list[Json]:
    """All five, as kstatus wants them from the first write on."""
    generation = evc["metadata"]["generation"]
    used = reason in ("InUse", "Draining", "Releasing")
    told = {
        "Ready": (reason in ("Waiting", "InUse", "Draining"), reason, f"{reason} since {now}"),
        "Used": (used, "PodStarted" if used else "NoPodStarted", ""),
        "Finished": (False, "NotFinished", ""),
        "Reconciling": (reason in ("Provisioning", "Releasing"), reason, ""),
        "Stalled": (False, reason, ""),
    }
    before = {c["type"]: c for c in evc.get("status", {}).get("conditions", ())}
    return [
        {
            "type": kind,
            "status": str(status),
            "reason": why,
            "message": message,
            "observedGeneration": generation,
            "lastTransitionTime": before[kind]["lastTransitionTime"]
            if before.get(kind, {}).get("status") == str(status)
            else now,
        }
        for kind, (status, why, message) in told.items()
    ]


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    kopf.run(clusterwide=True)
