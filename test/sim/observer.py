"""The judge: S1 to S7 of every write of the operator, from the API server's history alone.

It never asks the operator anything and shares no code with its decisions.  To add an
invariant: a method that calls `_violated`, and a call of it in `committed`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sim.cluster import claim_names
from sim.faults import READS
from sim.history import (
    Commit,
    Json,
    Request,
    condition,
    deleting,
    marks_of,
    meta,
    uid,
)
from sim.jobs import unfinished
from sim.kinds import (
    EVCS,
    EVENTS,
    JOBS,
    LEASES,
    PODS,
    PROTECTION,
    PVCS,
    PVS,
    REPLICASETS,
    WORKFLOWS,
    size,
)
from sim.node import Node, finish, started, terminal
from sim.timeline import seconds
from sim.users import ADOPT_BY, HOLD, OWNER_NAME, OWNER_UID, REQUEST_ID
from sim.workloads import going_on
from sim.world import World

OPERATOR = "operator"
"""Prefix of the names of operator processes."""
MAY_WRITE = {
    (PVCS, "create"),
    (PVCS, "delete"),
    (PVCS, "patch"),
    (PVCS, "apply"),
    (EVCS, "status"),
    (EVCS, "delete"),
    (PODS, "delete"),
    (EVENTS, "create"),
    (LEASES, "create"),
    (LEASES, "update"),
}
GONE_UNSEEN = 0.2
"""Seconds for which a request may be under way to an object that went meanwhile."""
MARKS = {OWNER_UID, OWNER_NAME, REQUEST_ID, "evc.dev/completed-pods"}
MANAGED_BY = "app.kubernetes.io/managed-by"


@dataclass
class Visit:
    """What one reconcile has read live so far."""

    failed: bool = False
    seen: dict[str, int] = field(default_factory=dict)
    """Resource type -> revision of its last successful live request."""
    led: bool = True
    """Whether the process held the lease, if there is one, at the last of them."""


class Observer:
    """Collects violations as sentences that begin with the invariant's name."""

    def __init__(self, world: World, node: Node) -> None:
        self.violations: list[str] = []
        self.requests: list[Request] = []
        self.created: dict[str, list[str]] = {}
        """EVC uid -> uids of the claims the operator made for it."""
        self.adopted: dict[str, str] = {}
        """Claim uid -> uid of the EVC that took it over."""
        self.deleted: dict[str, str] = {}
        """Claim uid -> EVC uid, of the operator's DELETEs."""
        self.ambiguous: set[str] = set()
        """Uids of forged claims which may count as ours or not."""
        self.refused: set[tuple[str, str]] = set()
        """Claims whose last patch was refused: such a change of a template is not tried again."""
        self.lateness: list[tuple[float, str]] = []
        self._world = world
        self._server = world.server
        self._node = node
        self._visits: dict[tuple[str, int], Visit] = {}
        self._current: dict[str, int] = {}
        self._born: dict[str, int] = {}
        self._known_used: set[str] = set()
        self._last_change = 0.0
        self._undated: list[Json] = []
        """Pods or their templates whose end nobody could see, or not at once."""
        self._server.listeners.append(self.committed)

    # What it hears

    def requested(self, request: Request) -> None:
        """Hear of a request's end; requests of elections (visit 0) are of no interest."""
        self.requests.append(request)
        if request.verb == "patch":
            where = request.name.namespace, request.name.name
            forget = self.refused.add if request.fault == "forbidden" else self.refused.discard
            forget(where)
        if not request.visit or request.name.plural in (EVENTS, LEASES):
            return
        visit = self._visits.setdefault((request.actor, request.visit), Visit())
        visit.failed = visit.failed or request.failed
        if not request.failed:
            visit.seen[request.name.plural] = request.revision
            if request.verb in READS:
                visit.led = self._leads(request.actor)

    def _leads(self, actor: str) -> bool:
        leases = self._server.items(LEASES)
        return not leases or leases[0]["spec"].get("holderIdentity") == actor

    def visiting(self, actor: str, visit: int) -> None:
        """Hear which reconcile the next write of a process belongs to."""
        self._current[actor] = visit

    def started(self) -> None:
        """An operator process came up."""
        self._last_change = self._world.now

    def committed(self, commit: Commit) -> None:
        """Judge one write, the moment it is stored."""
        if commit.before is None:
            self._born[uid(commit.last)] = commit.revision
        if not commit.actor.startswith(OPERATOR):
            if commit.name.plural in (EVCS, PVCS, PODS, JOBS):
                self._last_change = commit.time
            if commit.name.plural in (PODS, JOBS) and commit.after is None:
                self._undated.append(_pod_of(commit.last))
            if commit.name.plural in (REPLICASETS, WORKFLOWS):
                # Nobody watches them: their ends are noticed late.
                self._undated.append(_pod_of(commit.last))
            if commit.name.plural == PVS and commit.after is None:
                self._mounted(commit)
            if commit.name.plural == PVCS and commit.before is None:
                self._forgery(commit)
            return
        self._scope(commit)
        match commit.name.plural, commit.verb:
            case _ if commit.name.plural == PVCS and commit.before is None:
                self._creation(commit)
            case _ if commit.name.plural == PVCS and commit.marks_deletion:
                self._deletion(commit)
            case _ if commit.name.plural == PVCS:
                self._change(commit)
                self._release(commit)
            case _ if commit.name.plural == EVCS and commit.verb == "delete":
                self._record(commit)
            case _ if commit.name.plural == PODS:
                self._pod_deletion(commit)
            case _ if commit.name.plural == EVCS and commit.verb == "status":
                if commit.last["status"].get("firstUsedTime"):
                    self._known_used.add(uid(commit.last))

    def bug(self, text: str) -> None:
        """An exception that is no API error came out of the product."""
        self._violated("bug", text)

    # S5

    def _creation(self, commit: Commit) -> None:
        claim = commit.last
        owner = marks_of(claim).get(OWNER_UID, "")
        evc = self._evc_of(commit)
        intent = (evc or {}).get("status", {}).get("claim", {})
        request = marks_of(claim).get(REQUEST_ID, "none")
        if "uid" in intent or intent.get("requestId") != request:
            self._violated("S7", f"{commit.name} made, but status says of it only {intent}")
        earlier = self.created.setdefault(owner, [])
        if owner in self._known_used:
            self._violated("S5", f"{commit.name} made again after it was used")
        living = {uid(item) for item in self._server.items(PVCS)} - {uid(claim)}
        if living & set(earlier):
            self._violated("S5", f"{commit.name} made though {living & set(earlier)} is there")
        if any(known in self.deleted for known in earlier):
            self._violated("S5", f"{commit.name} made again after the operator deleted it")
        earlier.append(uid(claim))

    def _forgery(self, commit: Commit) -> None:
        """Note a forged claim that nothing can tell from the operator's own.

        That is between the intent in status and the CREATE, with the right mark: whoever
        does this deliberately risks his own claim only.
        """
        marks = marks_of(commit.last)
        evc = self._server.find(EVCS, commit.name.namespace, commit.name.name)
        if evc is not None and uid(evc) == marks.get(OWNER_UID):
            intent = evc.get("status", {}).get("claim", {})
            request = intent.get("requestId")
            if request and request == marks.get(REQUEST_ID) and "uid" not in intent:
                self.ambiguous.add(uid(commit.last))

    # S1, S2, S4, S7: the deletion

    def _deletion(self, commit: Commit) -> None:
        claim = commit.before
        assert claim is not None
        visit = self._visits.get((commit.actor, self._current.get(commit.actor, 0)), Visit())
        evc = self._owner(claim, visit)
        if evc is None:
            self._violated("S2", f"{commit.name} ({uid(claim)}) deleted, and nobody asked for it")
            return
        self.deleted[uid(claim)] = uid(evc)
        self._ours(commit, claim, evc)
        self._read_before(commit, visit)
        self._unused(commit, evc, visit)
        self._owners_over(commit, evc, visit)
        self._not_retained(commit, evc)
        self._decided(commit, evc)
        self._not_held(commit, claim, evc)
        self._due(commit, claim, evc, visit)

    def _owner(self, claim: Json, visit: Visit) -> Json | None:
        """The EVC this claim belongs to, as the operator's last live request saw it."""
        seen = visit.seen.get(EVCS, self._server.revision)
        for evc in self._server.items_at(EVCS, seen):
            known = evc.get("status", {}).get("claim", {}).get("uid")
            made = uid(claim) in self.created.get(uid(evc), ())
            made = made or (uid(claim) in self.ambiguous and known == uid(claim))
            if made or self.adopted.get(uid(claim)) == uid(evc):
                return evc
        return None

    def _ours(self, commit: Commit, claim: Json, evc: Json) -> None:
        wanted = commit.options.get("preconditions", {})
        if wanted.get("uid") != uid(claim) or not wanted.get("resourceVersion"):
            self._violated("S2", f"{commit.name} deleted with preconditions {wanted}")
        if marks_of(claim).get(OWNER_UID) != uid(evc):
            self._violated("S2", f"{commit.name} deleted though its mark is gone")

    def _read_before(self, commit: Commit, visit: Visit) -> None:
        if visit.failed:
            self._violated("S4", f"{commit.name} deleted though a live read failed")
        if not visit.led:
            self._violated("lease", f"{commit.name} deleted by {commit.actor}, which does not lead")
        missing = {EVCS, PVCS, PODS, JOBS, REPLICASETS} - set(visit.seen)
        if missing:
            self._violated("S4", f"{commit.name} deleted without a live read of {missing}")

    def _unused(self, commit: Commit, evc: Json, visit: Visit) -> None:
        namespace, name = commit.name.namespace, commit.name.name
        for pod in self._visible(PODS, namespace, visit):
            if not terminal(pod) and (name in claim_names(pod) or designated(evc, pod)):
                self._violated("S1", f"{commit.name} deleted under pod {meta(pod)['name']}")
        for job in self._visible(JOBS, namespace, visit):
            template = job["spec"]["template"]
            if unfinished(job) and (name in claim_names(template) or designated(evc, template)):
                self._violated("S1", f"{commit.name} deleted under Job {meta(job)['name']}")

    def _owners_over(self, commit: Commit, evc: Json, visit: Visit) -> None:
        """No maker of designated pods goes on, of a known kind or not."""
        namespace, name = commit.name.namespace, commit.name.name
        makers = set()
        for pod in self._visible(PODS, namespace, visit):
            if designated(evc, pod) and (start(pod) or self._world.now) >= _born(evc):
                makers |= {owner["uid"] for owner in meta(pod).get("ownerReferences", ())}
        makers |= {owner["uid"] for owner in evc["status"].get("owners", ())}
        for workflow in self._server.items(WORKFLOWS, namespace):
            # Whoever sees one of its pods can know of it, whether he asked it or not.
            known = self._born[uid(workflow)] <= visit.seen.get(PODS, 0)
            if known and uid(workflow) in makers and going_on(workflow):
                self._violated("S1", f"{commit.name} deleted under {meta(workflow)['name']}")
        then = self._server.items_at(REPLICASETS, visit.seen.get(REPLICASETS, 0))
        wanted = {uid(item) for item in then if going_on(item)}
        for item in self._server.items(REPLICASETS, namespace):
            template = item["spec"]["template"]
            ours = name in claim_names(template) or designated(evc, template)
            if ours and uid(item) in wanted and going_on(item):
                self._violated("S1", f"{commit.name} deleted under {meta(item)['name']}")

    def _not_retained(self, commit: Commit, evc: Json) -> None:
        outcome = evc["status"].get("outcome", "none")
        if rule_of(evc, outcome).get("action") == "Retain":
            self._violated("S7", f"{commit.name} deleted, and is to be retained: {outcome}")

    def _visible(self, plural: str, namespace: str, visit: Visit) -> list[Json]:
        """Present objects that were there at the operator's last live LIST."""
        seen = visit.seen.get(plural, 0)
        items = self._server.items(plural, namespace)
        return [item for item in items if self._born[uid(item)] <= seen]

    def _decided(self, commit: Commit, evc: Json) -> None:
        reason = condition(evc, "Ready").get("reason")
        if reason != "Releasing":
            self._violated("S7", f"{commit.name} deleted while status said {reason}")

    def _not_held(self, commit: Commit, claim: Json, evc: Json) -> None:
        if marks_of(claim).get(HOLD, "false") != "false":
            self._violated("S7", f"{commit.name} deleted though held by its annotation")
        if evc["spec"].get("hold"):
            self._violated("S7", f"{commit.name} deleted though spec.hold was set")

    def _due(self, commit: Commit, claim: Json, evc: Json, visit: Visit) -> None:
        spec = evc["spec"]
        born = seconds(meta(evc)["creationTimestamp"])
        ends = self._ends(commit, evc, visit)
        if ends or evc["status"].get("firstUsedTime"):
            grace = rule_of(evc, evc["status"].get("outcome", "")).get("gracePeriodSeconds")
            grace = spec["gracePeriodSeconds"] if grace is None else grace
            due = max([born + spec["minimumWaitSeconds"], *(end + grace for end in ends)])
        else:
            due = born + spec["expirySeconds"]
            due += rule_of(evc, "Expired").get("gracePeriodSeconds") or 0
        if commit.time + self._world.most_skew < due:
            self._violated("S7", f"{commit.name} deleted at {commit.time:.1f}, due at {due:.0f}")
        rules = [rule_of(evc, outcome) for outcome in ("Succeeded", "Failed")]
        graces = [rule.get("gracePeriodSeconds") for rule in rules]
        most = max(spec["gracePeriodSeconds"], *(grace or 0 for grace in graces))
        for earlier in self._server.events(PODS):
            due = max(due, (finish(earlier.last) or 0.0) + most)
        concern = (
            meta(pod)["namespace"] == commit.name.namespace
            and (designated(evc, pod) or commit.name.name in claim_names(pod))
            for pod in self._undated
        )
        if not any(concern):
            # Work that vanished unseen ends when that is noticed, so its grace says nothing.
            late = commit.time - max(due, self._last_change)
            text = f"late: {commit.name} deleted {late:.1f} s after it was due"
            self.lateness.append((late, text))

    def _ends(self, commit: Commit, evc: Json, visit: Visit) -> list[float]:
        """When the work ended that used the volume, as far as it was there to be seen."""
        born = _born(evc)
        # Who ran before the volume was made used another one of the same name.
        made = max(born, seconds(meta(commit.last)["creationTimestamp"]))
        adopts = "existingClaimName" in evc["spec"]
        name, ends, used = commit.name.name, [], False
        for pod in self._visible(PODS, commit.name.namespace, visit):
            end = finish(pod)
            namesake = not adopts and (start(pod) or born) < born
            if designated(evc, pod) and end is not None and end >= born and not namesake:
                ends.append(end)
                used = used or (end >= made and started(pod) and name in claim_names(pod))
        for job in self._visible(JOBS, commit.name.namespace, visit):
            template = job["spec"]["template"]
            end = _job_end(job)
            if designated(evc, template) and end is not None and end >= born:
                ends.append(end)
                ran = job["status"].get("succeeded") or job["status"].get("failed")
                used = used or bool(end >= made and ran and name in claim_names(template))
        return ends if used or evc["status"].get("firstUsedTime") else []

    # S1: letting go

    def _release(self, commit: Commit) -> None:
        claim = commit.before
        assert claim is not None
        before = meta(claim).get("finalizers", [])
        after = meta(commit.after).get("finalizers", []) if commit.after else []
        if PROTECTION in after or PROTECTION not in before:
            return
        if not deleting(claim):
            self._violated("S3", f"protection of {commit.name} taken off while it is alive")
        evc = self._mine(claim)
        there = evc is not None and evc in self._server.items(EVCS) and not deleting(evc)
        held = there and evc is not None and evc["spec"].get("hold")
        if marks_of(claim).get(HOLD, "false") != "false":
            self._violated("S1", f"{commit.name} released though held by its annotation")
        if held and self._since(evc, "hold") <= self._seen(commit):
            self._violated("S1", f"{commit.name} released though spec.hold was set")
        volume = claim["spec"].get("volumeName")
        if any(volume in volumes for volumes in self._node.mounts.values()):
            self._violated("S1", f"{commit.name} released while {volume} is mounted")
        for pod in self._server.items(PODS, commit.name.namespace):
            seen = commit.name.name in claim_names(pod) and pod["spec"].get("nodeName")
            if seen and not terminal(pod):
                self._violated("S1", f"{commit.name} released under pod {meta(pod)['name']}")

    def _seen(self, commit: Commit) -> int:
        """The revision of the EVCs that this visit read live."""
        visit = self._visits.get((commit.actor, self._current.get(commit.actor, 0)), Visit())
        return visit.seen.get(EVCS, 0)

    def _since(self, evc: Json | None, field: str) -> int:
        """The revision from which on a field of a spec has the value it has."""
        assert evc is not None
        since = 0
        for earlier in self._server.events(EVCS):
            if uid(earlier.last) == uid(evc):
                if earlier.last["spec"].get(field) != evc["spec"].get(field):
                    since = 0
                since = since or earlier.revision
        return since

    def _mounted(self, commit: Commit) -> None:
        """A volume vanished: nobody may have had it mounted, if we let its claim go."""
        volume = commit.name.name
        if not any(volume in volumes for volumes in self._node.mounts.values()):
            return
        for earlier in reversed(self._server.events(PVCS)):
            if earlier.after is None and earlier.last["spec"].get("volumeName") == volume:
                if earlier.actor.startswith(OPERATOR):
                    self._violated("S1", f"{volume} destroyed while it was mounted")
                return

    # S3

    def _scope(self, commit: Commit) -> None:
        name = commit.name
        if (name.plural, commit.verb) not in MAY_WRITE:
            self._violated("S3", f"{commit.verb} of {name}")
        if name.plural == PVCS and commit.before is None and self._evc_of(commit) is None:
            self._violated("S3", f"{name} made outside of its owner's namespace or for nobody")

    def _change(self, commit: Commit) -> None:
        """A claim was patched: only marks, what the template says, our reference, and growth."""
        if commit.before is None or commit.after is None:
            return
        before, after, name = meta(commit.before), meta(commit.after), commit.name
        changed = {f for f in {*before, *after} if before.get(f) != after.get(f)}
        changed -= {"labels", "annotations", "ownerReferences", "finalizers", "managedFields"}
        if changed - {"resourceVersion"}:
            self._violated("S3", f"{changed} of {name} changed")
        foreign = set(before.get("finalizers", ())) - {PROTECTION}
        if set(after.get("finalizers", ())) - {PROTECTION} != foreign:
            self._violated("S3", f"foreign finalizers of {name} changed")
        owner = self._taken(commit) if self._claimed(commit) else self._mine(commit.before)
        if owner is None:
            if uid(commit.last) not in self.ambiguous and "finalizers" not in changed:
                self._gate5_only(commit)
            return
        self._fields(commit, owner)
        self._references(commit, uid(owner))

    def _claimed(self, commit: Commit) -> bool:
        """Whether this put the mark on a claim that did not bear it."""
        assert commit.before is not None
        mark = marks_of(commit.last).get(OWNER_UID)
        return mark is not None and marks_of(commit.before).get(OWNER_UID) != mark

    def _taken(self, commit: Commit) -> Json | None:
        """A claim was taken over: its owner must have offered it to this very EVC."""
        assert commit.before is not None
        evc = self._evc_of(commit)
        offered = marks_of(commit.before).get(ADOPT_BY)
        wanted = evc is not None and evc["spec"].get("existingClaimName") == commit.name.name
        if evc is None or not wanted or offered != meta(evc)["name"]:
            self._violated("S2", f"{commit.name} taken over, and was offered to {offered}")
            return None
        if OWNER_UID in marks_of(commit.before) or deleting(commit.before):
            self._violated("S2", f"{commit.name} taken over from another owner")
        ended = [e for e in self._server.events(EVCS) if uid(e.last) == uid(evc)]
        if deleting(evc) or ended[-1].after is None:
            since = next(e.time for e in ended if e.after is None or deleting(e.after))
            if commit.time - since > GONE_UNSEEN:
                self._violated("S3", f"{commit.name} taken over for an object that is gone")
        self.adopted[uid(commit.last)] = uid(evc)
        return evc

    def _mine(self, claim: Json) -> Json | None:
        """The EVC, there or gone, whose claim this is."""
        for earlier in reversed(self._server.events(EVCS)):
            owner = uid(earlier.last)
            if uid(claim) in self.created.get(owner, ()) or self.adopted.get(uid(claim)) == owner:
                return earlier.last
        return None

    def _gate5_only(self, commit: Commit) -> None:
        """Of a claim that nobody here owns nothing may change but its protection."""
        assert commit.before is not None
        before = {k: v for k, v in meta(commit.before).items() if k not in VERSIONED}
        after = {k: v for k, v in meta(commit.last).items() if k not in VERSIONED}
        if before != after or commit.before["spec"] != commit.last["spec"]:
            self._violated("S3", f"{commit.name}, which is not ours, was changed")

    def _fields(self, commit: Commit, owner: Json) -> None:
        assert commit.before is not None
        templates = [
            earlier.last["spec"].get("volumeClaimTemplate", {}).get("metadata", {})
            for earlier in self._server.events(EVCS)
            if uid(earlier.last) == uid(owner)
        ]
        for section, own in (("labels", {MANAGED_BY}), ("annotations", {*MARKS, ADOPT_BY})):
            allowed = own.union(*(template.get(section) or () for template in templates))
            before = meta(commit.before).get(section) or {}
            after = meta(commit.last).get(section) or {}
            changed = {k for k in {*before, *after} if before.get(k) != after.get(k)}
            if not changed <= allowed:
                self._violated("S3", f"{section} {changed - allowed} of {commit.name} changed")
        before, after = commit.before["spec"], commit.last["spec"]
        less = size(_storage(after)) < size(_storage(before))
        if less or {**before, "resources": 0} != {**after, "resources": 0}:
            self._violated("S3", f"the spec of {commit.name} changed")

    def _references(self, commit: Commit, owner: str) -> None:
        """Others' ownerReferences stay, and what was orphaned is not claimed again."""
        assert commit.before is not None
        before = {o["uid"] for o in meta(commit.before).get("ownerReferences", ())}
        after = {o["uid"] for o in meta(commit.last).get("ownerReferences", ())}
        if before ^ after and (before ^ after) != {owner}:
            self._violated("S3", f"foreign owners of {commit.name} changed")
        if owner in after - before:
            for earlier in self._server.events(PVCS):
                orphaned = earlier.actor == "garbage-collector" and earlier.after is not None
                if orphaned and uid(earlier.last) == uid(commit.last) and earlier.before:
                    refs = meta(earlier.before).get("ownerReferences", ())
                    kept = meta(earlier.last).get("ownerReferences", ())
                    if len(kept) < len(refs):
                        self._violated("S3", f"{commit.name} owned again after it was orphaned")

    def _record(self, commit: Commit) -> None:
        """The operator deleted a finished object: no volume may go with it."""
        for claim in self._server.items(PVCS, commit.name.namespace):
            if uid(commit.last) in {o["uid"] for o in meta(claim).get("ownerReferences", ())}:
                self._violated("S1", f"{commit.name} deleted, and its claim with it")

    def _evc_of(self, commit: Commit) -> Json | None:
        """The EVC a new claim is for: it may have gone a moment ago."""
        owner = marks_of(commit.last).get(OWNER_UID)
        for earlier in reversed(self._server.events(EVCS)):
            if earlier.name.namespace == commit.name.namespace and uid(earlier.last) == owner:
                return earlier.last
        return None

    def _pod_deletion(self, commit: Commit) -> None:
        pod = commit.before
        assert pod is not None
        selects = any(
            designated(earlier.last, pod) and claim_name(earlier.last) in claim_names(pod)
            for earlier in self._server.events(EVCS)
            if earlier.name.namespace == commit.name.namespace
            and earlier.last["spec"]["completedPods"] == "Delete"
        )
        if not (terminal(pod) and selects):
            self._violated("S3", f"pod {commit.name} deleted: not completed, or nobody asked")

    def _violated(self, invariant: str, text: str) -> None:
        sentence = f"{invariant}: {text} (at {self._world.now:.3f})"
        self._world.say(f"VIOLATION {sentence}")
        self.violations.append(sentence)


VERSIONED = ("resourceVersion", "finalizers", "managedFields")


def _pod_of(item: Json) -> Json:
    """The pod itself, or what the pods of a workload look like, in its namespace."""
    pod: Json = item["spec"].get("template", item)
    made: Json = pod | {"metadata": meta(pod) | {"namespace": meta(item)["namespace"]}}
    return made


def claim_name(evc: Json) -> str:
    """Name of the claim it makes or takes over."""
    return str(evc["spec"].get("existingClaimName") or meta(evc)["name"])


def rule_of(evc: Json, outcome: str) -> Json:
    """What its spec says of an outcome."""
    field = {"Succeeded": "onSuccess", "Failed": "onFailure", "Expired": "onExpiry"}.get(outcome)
    found: Json = evc["spec"].get(field, {})
    return found


def start(pod: Json) -> float | None:
    """When its container started."""
    for status in pod["status"].get("containerStatuses", ()):
        ran = status["state"].get("running") or status["state"].get("terminated")
        return seconds(ran["startedAt"])
    return None


def _born(evc: Json) -> float:
    return seconds(meta(evc)["creationTimestamp"])


def _storage(spec: Json) -> str:
    return str(spec["resources"]["requests"]["storage"])


def designated(evc: Json, pod: Json) -> bool:
    wanted = evc["spec"]["podSelector"].get("matchLabels", {})
    labels = meta(pod).get("labels") or {}
    return bool(wanted) and all(labels.get(key) == value for key, value in wanted.items())


def _job_end(job: Json) -> float | None:
    for kind in ("Complete", "Failed"):
        over = condition(job, kind)
        if over:
            return seconds(job["status"].get("completionTime") or over["lastTransitionTime"])
    return None
