"""The judge: S1 to S8 of everything an operator wrote, from the API server's audit log alone.

The same invariants, in the same words, as the simulation's observer (`sim.observer`), on a
real API server: the revision of a DELETE is the one in its answer, and what the operator can
have known is what was stored before the API server received its last live read.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from faults.audit import AuditLog, Entry
from faults.history import History, Json, Thing, counts
from sim.cluster import claim_names
from sim.facts import ADOPT_BY, HOLD, OWNER_UID, designated, rule_of
from sim.history import condition, deleting, marks_of, meta, uid
from sim.jobs import unfinished
from sim.kinds import EVCS, EVENTS, JOBS, LEASES, PODS, PROTECTION, PVCS
from sim.node import terminal

MAY_WRITE = {
    (PVCS, "", "create"),
    (PVCS, "", "delete"),
    (PVCS, "", "patch"),
    (EVCS, "status", "update"),
    (EVCS, "", "delete"),
    (PODS, "", "delete"),
    (EVENTS, "", "create"),
    (LEASES, "", "create"),
    (LEASES, "", "update"),
}
READS = ((EVCS, "get"), (PVCS, "get"), (PODS, "list"), (JOBS, "list"))
FRESH = timedelta(seconds=15)
"""How old a live read may be when the DELETE is sent; an answer may be a few seconds late."""
SETTLE = timedelta(seconds=10)
"""README: completed pods are let go of no earlier than this after their last container."""
MOST_DELETIONS = 10
"""No scenario has more claims."""


class Judge:
    """Collects violations as sentences that begin with the invariant's name."""

    def __init__(self, log: AuditLog, namespace: str) -> None:
        self.violations: list[str] = []
        self._namespace = namespace
        entries = log.of(namespace)
        self.asked = [entry for entry in entries if log.by_operator(entry)]
        """What the operator asked."""
        self.history = History([e for e in entries if e.namespace == namespace])
        self._volumes_gone = log.volumes_gone
        self.writes = [e for e in self.asked if e.writes and e.granted]

    def __call__(self) -> list[str]:
        """All violations."""
        self._made = {uid(e.response) for e in self._granted(PVCS, "create")}
        for entry in self.writes:
            self._scope(entry)
        for entry in self._granted(PVCS, "patch"):
            self._patch(entry)
        deletions = list(self._granted(PVCS, "delete"))
        for entry in deletions:
            self._deletion(entry)
        for entry in self._granted(PODS, "delete"):
            self._pod_deletion(entry)
        for entry in self._granted(EVCS, "delete"):
            self._record(entry)
        self._one_claim_each()
        self._volumes()
        if len(deletions) > MOST_DELETIONS:
            self._violated("S8", f"{len(deletions)} volumes deleted")
        return self.violations

    @property
    def creates(self) -> dict[str, int]:
        """Claim -> how often the operator created it."""
        return counts(self.asked, PVCS, "create")

    @property
    def deletes(self) -> dict[str, int]:
        """Claim -> how often the operator deleted it."""
        return counts(self.asked, PVCS, "delete")

    def deleted_for(self) -> Iterator[Json]:
        """The objects for which the operator deleted a volume."""
        for entry in self._granted(PVCS, "delete"):
            thing = self.history.things.get(_uid_of(entry))
            owner = self._owner(thing.last) if thing is not None else None
            if owner is not None:
                yield owner.last

    # S3

    def _scope(self, entry: Entry) -> None:
        what = (entry.resource, entry.subresource, entry.verb)
        if what not in MAY_WRITE:
            self._violated("S3", f"{entry.verb} of {entry.resource}/{entry.name}")
        if entry.namespace != self._namespace:
            self._violated("S3", f"{what} in namespace {entry.namespace!r}")

    def _patch(self, entry: Entry) -> None:
        thing = self.history.things[uid(entry.response)]
        before, after = thing.before(entry), entry.response
        if before is None:
            return
        if PROTECTION in _finalizers(before) and PROTECTION not in _finalizers(after):
            self._release(entry, before)
        if {*_finalizers(before)} - {PROTECTION} != {*_finalizers(after)} - {PROTECTION}:
            self._violated("S3", f"foreign finalizers of {thing.name} changed")
        if OWNER_UID in marks_of(after) and OWNER_UID not in marks_of(before):
            self._taken(before, after)
        mine = self._owner(before) or self._owner(after)
        if mine is None and meta(before).get("labels") != meta(after).get("labels"):
            self._violated("S3", f"{thing.name}, which is not ours, was changed")

    def _taken(self, before: Json, after: Json) -> None:
        owner = self._owner(after)
        offered = marks_of(before).get(ADOPT_BY)
        if owner is None or owner.name != offered:
            self._violated("S2", f"{meta(before)['name']} taken over, and offered to {offered}")
            return
        self._made.add(uid(before))

    # S1, S2, S4, S7: the deletion

    def _deletion(self, entry: Entry) -> None:
        thing = self.history.things.get(_uid_of(entry))
        revision = _revision_of(entry, thing)
        claim = thing.at(revision) if thing is not None else None
        wanted = entry.request.get("preconditions", {})
        if thing is None or claim is None:
            self._violated("S2", f"{entry.name} deleted, and nobody knows it")
            return
        if wanted.get("uid") != uid(claim) or not wanted.get("resourceVersion"):
            self._violated("S2", f"{entry.name} deleted with preconditions {wanted}")
        owner = self._owner(claim)
        evc = owner.at(revision) if owner is not None else None
        if uid(claim) not in self._made or evc is None:
            self._violated("S2", f"{entry.name} ({uid(claim)}) deleted, and nobody asked for it")
            return
        self._read_before(entry, meta(evc)["name"])
        self._unused(entry, revision, evc)
        self._decided(entry, revision, claim, evc)
        self._not_held(entry, claim, evc)
        self._due(entry, revision, evc)

    def _read_before(self, entry: Entry, evc: str) -> None:
        named = {EVCS: evc, PVCS: entry.name}
        for resource, verb in READS:
            read = (
                self._list_behind(entry, resource)
                if verb == "list"
                else self._last_read(entry, resource, verb, named.get(resource, ""))
            )
            if read is None or entry.sent - read.received > FRESH:
                self._violated("S4", f"{entry.name} deleted without a live read of {resource}")
            elif not read.granted:
                self._violated("S4", f"{entry.name} deleted though a live read failed: {resource}")

    def _last_read(self, entry: Entry, resource: str, verb: str, name: str = "") -> Entry | None:
        """The process's last live read of a resource (one object if named) before a request."""
        reads = self._reads(entry, resource, verb, name)
        return next((read for read in reads if read.received <= entry.sent), None)

    def _list_behind(self, entry: Entry, resource: str) -> Entry | None:
        """The list that a deletion rests on: it was answered when the claim itself was read.

        A later one was made for another claim of the namespace, which was at another stage.
        """
        looked = self._last_read(entry, PVCS, "get", entry.name)
        if looked is None:
            return None
        reads = self._reads(entry, resource, "list")
        return next((read for read in reads if read.answered <= looked.sent), None)

    def _reads(self, entry: Entry, resource: str, verb: str, name: str = "") -> Iterator[Entry]:
        """Live reads by the process that made the request, the latest first."""
        for read in reversed(self.asked):
            asked = (read.resource, read.verb, read.name, read.process)
            # One object is looked for at the start.
            if asked == (resource, verb, name, entry.process) and read.query.get("limit") != "1":
                yield read

    def _known(self, entry: Entry, resource: str, revision: int) -> Iterator[Json]:
        """Objects there at that revision which the list behind a deletion must have shown."""
        read = self._list_behind(entry, resource)
        for thing in self.history.of(resource):
            item = thing.at(revision)
            if item is not None and (read is None or thing.first.answered < read.received):
                yield item

    def _unused(self, entry: Entry, revision: int, evc: Json) -> None:
        for pod in self._known(entry, PODS, revision):
            if not terminal(pod) and (entry.name in claim_names(pod) or designated(evc, pod)):
                self._violated("S1", f"{entry.name} deleted under pod {meta(pod)['name']}")
        for job in self._known(entry, JOBS, revision):
            template = job["spec"]["template"]
            ours = entry.name in claim_names(template) or designated(evc, template)
            if unfinished(job) and ours:
                self._violated("S1", f"{entry.name} deleted under Job {meta(job)['name']}")

    def _decided(self, entry: Entry, revision: int, claim: Json, evc: Json) -> None:
        reason = condition(evc, "Ready").get("reason")
        if reason != "Releasing":
            self._violated("S7", f"{entry.name} deleted while status said {reason}")
        outcome = evc["status"].get("outcome", "none")
        if rule_of(evc, outcome).get("action") == "Retain":
            self._violated("S7", f"{entry.name} deleted, and is to be retained: {outcome}")
        if marks_of(claim).get(OWNER_UID) != uid(evc):
            self._violated("S2", f"{entry.name} deleted though its mark is gone")

    def _not_held(self, entry: Entry, claim: Json, evc: Json) -> None:
        if marks_of(claim).get(HOLD, "false") != "false":
            self._violated("S7", f"{entry.name} deleted though held by its annotation")
        read = self._last_read(entry, EVCS, "get")
        known = self.history.things[uid(evc)].when(read.received) if read is not None else evc
        if known is not None and known["spec"].get("hold") and evc["spec"].get("hold"):
            self._violated("S7", f"{entry.name} deleted though spec.hold was set")

    def _due(self, entry: Entry, revision: int, evc: Json) -> None:
        spec, born = evc["spec"], _time(meta(evc)["creationTimestamp"])
        pods = [pod for pod in self._known(entry, PODS, revision) if designated(evc, pod)]
        ended = [end for pod in pods for end in _ends(pod)]
        due = born + timedelta(seconds=spec["expirySeconds"])
        if evc["status"].get("firstUsedTime"):
            due = born + timedelta(seconds=spec["minimumWaitSeconds"])
            grace = rule_of(evc, evc["status"].get("outcome", "")).get("gracePeriodSeconds")
            grace = spec["gracePeriodSeconds"] if grace is None else grace
            due = max([due, *(end + timedelta(seconds=grace) for end in ended)])
        if entry.sent < due:
            self._violated("S7", f"{entry.name} deleted at {entry.sent}, due at {due}")

    # S1: letting go

    def _release(self, entry: Entry, claim: Json) -> None:
        name = entry.name
        if not deleting(claim):
            self._violated("S3", f"protection of {name} taken off while it is alive")
        if marks_of(claim).get(HOLD, "false") != "false":
            self._violated("S1", f"{name} released though held by its annotation")
        for thing in self.history.of(PODS):
            # By time: the answer to the write that ends an object bears its old revision.
            pod = thing.when(entry.sent)
            if pod is None or name not in claim_names(pod) or not pod["spec"].get("nodeName"):
                continue
            if not terminal(pod):
                self._violated("S1", f"{name} released under pod {thing.name}")
            elif any(end + SETTLE > entry.received for end in _ends(pod)):
                self._violated("S1", f"{name} released a moment after {thing.name} ended")

    def _volumes(self) -> None:
        """When a volume vanished, no pod on a node may have gone on with its claim."""
        for claim in self.history.of(PVCS):
            gone = self._volumes_gone.get(claim.last["spec"].get("volumeName", ""))
            if gone is None:
                continue
            for thing in self.history.of(PODS):
                pod = thing.when(gone)
                on_node = pod is not None and pod["spec"].get("nodeName") and not terminal(pod)
                older = claim.first.answered <= thing.first.answered <= gone
                if pod is not None and on_node and older and claim.name in claim_names(pod):
                    self._violated("S1", f"volume of {claim.name} destroyed under {thing.name}")

    def _pod_deletion(self, entry: Entry) -> None:
        thing = self.history.things.get(_uid_of(entry))
        pod = thing.at(_revision_of(entry, thing)) if thing is not None else None
        asked = any(
            evc.last["spec"]["completedPods"] == "Delete" and pod and designated(evc.last, pod)
            for evc in self.history.of(EVCS)
        )
        if pod is None or not (terminal(pod) and asked):
            self._violated("S3", f"pod {entry.name} deleted: not completed, or nobody asked")

    def _record(self, entry: Entry) -> None:
        """The operator deleted a finished object: no volume may go with it."""
        for claim in self.history.of(PVCS):
            item = claim.when(entry.received)
            owners = meta(item).get("ownerReferences", ()) if item is not None else ()
            if _uid_of(entry) in {owner["uid"] for owner in owners}:
                self._violated("S1", f"{entry.name} deleted, and its claim with it")

    # S5

    def _one_claim_each(self) -> None:
        """For each object one claim, ever: no scenario deletes one before it was used."""
        owners = [marks_of(e.response).get(OWNER_UID) for e in self._granted(PVCS, "create")]
        for owner in {o for o in owners if owners.count(o) > 1}:
            self._violated("S5", f"{owners.count(owner)} claims made for {owner}")

    def _owner(self, claim: Json) -> Thing | None:
        """The EVC whose mark the claim bears."""
        return self.history.things.get(marks_of(claim).get(OWNER_UID, ""))

    def _granted(self, resource: str, verb: str) -> Iterator[Entry]:
        return (e for e in self.writes if (e.resource, e.verb) == (resource, verb))

    def _violated(self, invariant: str, text: str) -> None:
        self.violations.append(f"{invariant}: {text}")


def within(times: list[float], window: float) -> int:
    """The most of these that ever were within a window (L2)."""
    most, first = 0, 0
    for last, time in enumerate(times):
        while times[first] < time - window:
            first += 1
        most = max(most, last - first + 1)
    return most


def _uid_of(entry: Entry) -> str:
    """Whom a DELETE was about."""
    answer = entry.response
    return str(answer.get("details", {}).get("uid") or answer.get("metadata", {}).get("uid", ""))


def _revision_of(entry: Entry, thing: Thing | None) -> int:
    """The revision at which a DELETE was carried out."""
    told = entry.response.get("metadata", {}).get("resourceVersion")
    if told or thing is None:
        return int(told or 0)
    return thing.versions[-1].revision


def _finalizers(item: Json) -> list[str]:
    found: list[str] = meta(item).get("finalizers", [])
    return found


def _ends(pod: Json) -> Iterator[datetime]:
    for status in pod.get("status", {}).get("containerStatuses", ()):
        ended = status["state"].get("terminated")
        if ended:
            yield _time(ended["finishedAt"])


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
