"""Judges each DELETE of a PersistentVolumeClaim: S1, S2, S4 and S7."""

from __future__ import annotations

from sim.cluster import claim_names
from sim.facts import (
    HOLD,
    OWNER_UID,
    born,
    claim_name,
    designated,
    job_end,
    offered_to,
    rule_of,
    start,
    template_of,
)
from sim.foreign import goes_on
from sim.history import Commit, Json, condition, marks_of, meta, uid
from sim.jobs import unfinished
from sim.kinds import EVCS, FOREIGN, JOBS, PODS, PVCS, WORKLOADS
from sim.ledger import Judge, Visit
from sim.node import finish, started, terminal
from sim.timeline import seconds
from sim.workloads import wants_pods


class Deletions(Judge):
    """Was it ours, over, due, decided, and read live before?"""

    def judge(self, commit: Commit) -> None:
        """Judge a DELETE, the moment it is accepted."""
        claim = commit.before
        assert claim is not None
        visit = self._ledger.visit(commit)
        evc = self._owner(claim, visit)
        if evc is None:
            self._violated("S2", f"{commit.name} ({uid(claim)}) deleted, and nobody asked for it")
            return
        self._ledger.deleted[uid(claim)] = uid(evc)
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
            made = uid(claim) in self._ledger.created.get(uid(evc), ())
            made = made or (uid(claim) in self._ledger.ambiguous and known == uid(claim))
            if known == uid(claim) and offered_to(evc, claim):
                made = True  # it bore our marks already, forged: taking it over was no write
            if made or self._ledger.adopted.get(uid(claim)) == uid(evc):
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
        missing = {EVCS, PVCS, PODS, JOBS} - set(visit.seen)
        if missing:
            self._violated("S4", f"{commit.name} deleted without a live read of {missing}")
        for plural in WORKLOADS:
            if self._ledger.deaf.get((commit.actor, plural), self._world.now) < visit.asked:
                self._violated("S4", f"{commit.name} deleted while nothing is heard of {plural}")

    def _unused(self, commit: Commit, evc: Json, visit: Visit) -> None:
        namespace, name = commit.name.namespace, commit.name.name
        for pod in self._ledger.visible(PODS, namespace, visit):
            if not terminal(pod) and (name in claim_names(pod) or designated(evc, pod)):
                self._violated("S1", f"{commit.name} deleted under pod {meta(pod)['name']}")
        for job in self._ledger.visible(JOBS, namespace, visit):
            template = job["spec"]["template"]
            if unfinished(job) and (name in claim_names(template) or designated(evc, template)):
                self._violated("S1", f"{commit.name} deleted under Job {meta(job)['name']}")

    def _owners_over(self, commit: Commit, evc: Json, visit: Visit) -> None:
        """No maker of designated pods goes on, of a known kind or not."""
        namespace = commit.name.namespace
        makers = self._makers(commit, evc, visit)
        for plural in WORKLOADS:
            read = {visit.seen.get(PODS, 0), visit.seen.get(plural, visit.seen.get(PODS, 0))}
            then = [self._server.items_at(plural, revision) for revision in read]
            wanted = [{uid(item) for item in items if wants_pods(item)} for items in then]
            for item in self._server.items(plural, namespace):
                always = wants_pods(item) and all(uid(item) in some for some in wanted)
                if always and uid(item) in makers and self._makes(evc, item):
                    self._violated("S1", f"{commit.name} deleted under {_title(item)}")
        present = {uid(m): m for p in FOREIGN for m in self._server.items(p, namespace)}
        for maker in makers:
            # Whoever sees one of its pods can know of it, whether he asked it or not.
            known = maker in present and self._ledger.born[maker] <= visit.seen.get(PODS, 0)
            if known and goes_on(present[maker]):
                self._violated("S1", f"{commit.name} deleted under {_title(present[maker])}")

    def _makers(self, commit: Commit, evc: Json, visit: Visit) -> set[str]:
        """Uids of all whose work the operator can know this to be: the workloads that its caches
        show, the makers of pods and Jobs that are there, and those it has noted; and the makers
        of all these.
        """
        namespace, name = commit.name.namespace, commit.name.name
        near, makers = [], set[str]()
        for pod in self._ledger.visible(PODS, namespace, visit):
            if designated(evc, pod) and (start(pod) or self._world.now) >= born(evc):
                near += [owner["uid"] for owner in meta(pod).get("ownerReferences", ())]
        for job in self._ledger.visible(JOBS, namespace, visit):
            template, end = job["spec"]["template"], job_end(job)
            ours = uid(job) in near or designated(evc, template) or name in claim_names(template)
            if ours and (end is None or end >= born(evc)):
                near += [owner["uid"] for owner in meta(job).get("ownerReferences", ())]
        for plural in WORKLOADS:
            for item in self._server.items_at(plural, visit.told.get(plural, 0)):
                if meta(item)["namespace"] == namespace and self._makes(evc, item):
                    near.append(uid(item))
        near += [owner["uid"] for owner in evc["status"].get("owners", ())]
        while near:
            maker = near.pop()
            makers.add(maker)
            known = self._ledger.makers.get(maker)
            # A Job that is gone says nothing more of who made it, to those who never saw it.
            if known is not None and known["kind"] != "Job":
                near += [owner["uid"] for owner in meta(known).get("ownerReferences", ())]
        return makers

    def _makes(self, evc: Json, maker: Json) -> bool:
        """Whether its pods would be designated or reference the claim."""
        template = template_of(maker)
        return designated(evc, template) or claim_name(evc) in claim_names(template)

    def _not_retained(self, commit: Commit, evc: Json) -> None:
        outcome = evc["status"].get("outcome", "none")
        if rule_of(evc, outcome).get("action") == "Retain":
            self._violated("S7", f"{commit.name} deleted, and is to be retained: {outcome}")

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
        # A clock that is ahead brings nothing forward but by the second to which the API
        # server's own is cut.
        if commit.time + min(self._world.most_skew, 1.0) < due:
            self._violated("S7", f"{commit.name} deleted at {commit.time:.1f}, due at {due:.0f}")
        rules = [rule_of(evc, outcome) for outcome in ("Succeeded", "Failed")]
        graces = [rule.get("gracePeriodSeconds") for rule in rules]
        most = max(spec["gracePeriodSeconds"], *(grace or 0 for grace in graces))
        for earlier in self._server.events(PODS):
            due = max(due, (finish(earlier.last) or 0.0) + most)
        concern = (
            meta(pod)["namespace"] == commit.name.namespace
            and (designated(evc, pod) or commit.name.name in claim_names(pod))
            for pod in self._ledger.undated
        )
        if not any(concern):
            # Work that vanished unseen ends when that is noticed, so its grace says nothing.
            late = commit.time - max(due, self._ledger.last_change)
            text = f"late: {commit.name} deleted {late:.1f} s after it was due"
            self._ledger.lateness.append((late, text))

    def _ends(self, commit: Commit, evc: Json, visit: Visit) -> list[float]:
        """When the work ended that used the volume, as far as it was there to be seen."""
        since = born(evc)
        # Who ran before the volume was made used another one of the same name.
        made = max(since, seconds(meta(commit.last)["creationTimestamp"]))
        adopts = "existingClaimName" in evc["spec"]
        name, ends, used = commit.name.name, [], False
        for pod in self._ledger.visible(PODS, commit.name.namespace, visit):
            end = finish(pod)
            namesake = not adopts and (start(pod) or since) < since
            if designated(evc, pod) and end is not None and end >= since and not namesake:
                ends.append(end)
                used = used or (end >= made and started(pod) and name in claim_names(pod))
        for job in self._ledger.visible(JOBS, commit.name.namespace, visit):
            template = job["spec"]["template"]
            end = job_end(job)
            if designated(evc, template) and end is not None and end >= since:
                ends.append(end)
                ran = job["status"].get("succeeded") or job["status"].get("failed")
                used = used or bool(end >= made and ran and name in claim_names(template))
        return ends if used or evc["status"].get("firstUsedTime") else []


def _title(item: Json) -> str:
    return f"{item['kind']} {meta(item)['name']}"
