"""Judges what status and Events say of the work (S7) against what the model knows happened.

The outcome, when it was decided to delete or to keep: that of the last designated work to
end.  Work that vanished may count as failed, because nothing proves that it did not.
``firstUsedTime`` is not before the first designated container (or its Job) started, and
``finishedTime`` not before the last of them ended.  An Event that tells of a deletion names
ends that happened, when they happened.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sim.cluster import claim_names
from sim.facts import born, claim_name, designated, job_end, pod_of, start
from sim.foreign import end_of
from sim.history import Commit, Json, condition, meta, uid
from sim.kinds import FOREIGN, JOBS, PODS, PVCS, Kind
from sim.ledger import Judge, Visit
from sim.makers import controller_of
from sim.node import finish, terminal
from sim.timeline import seconds
from sim.workloads import wants_pods

GONE = ("Deleted", "Expired", "Lost")
DECIDED = ("Releasing", "Retaining")
TOLD = re.compile(r"(\w+)/([\w.-]+) (finished|failed)(?: at (\S+?Z))?(?=;|$)")


@dataclass(frozen=True)
class End:
    """The end of one piece of designated work, as the model has it."""

    name: str
    time: float
    failed: bool


class Outcomes(Judge):
    """Reads every status and every Event of the operator."""

    def status(self, commit: Commit) -> None:
        """Judge a status, the moment it is written."""
        evc, before = commit.last, commit.before
        reason = condition(evc, "Ready").get("reason")
        assert before is not None
        if reason in DECIDED and condition(before, "Ready").get("reason") != reason:
            self._decision(evc, self._ledger.visit(commit))
        known = [status.get("claim") for status in (before.get("status", {}), evc["status"])]
        record = condition(before, "Finished").get("status") == "True" and known[0] == known[1]
        # A record goes on saying what it said, also of a claim that somebody forged into it.
        if condition(evc, "Finished").get("status") == "True" and reason in GONE and not record:
            self._gone(evc)
        self._first_use(evc)

    def _gone(self, evc: Json) -> None:
        """What is called gone must be gone, that very volume."""
        claim = self._server.find(PVCS, meta(evc)["namespace"], claim_name(evc))
        if claim is not None and uid(claim) == evc["status"].get("claim", {}).get("uid"):
            self._violated("S7", f"{meta(evc)['name']} is finished, and its claim is there")

    def _decision(self, evc: Json, visit: Visit) -> None:
        outcome, name = evc["status"].get("outcome"), meta(evc)["name"]
        ends = self._ends(evc, visit)
        if outcome == "Expired":
            if any(end.time >= born(evc) for end in ends) and self._used(evc, visit):
                self._violated("S7", f"{name} expired, and {ends} used it")
            return
        if not ends or self._vanished(evc):
            return
        last = max(end.time for end in ends)
        allowed = {"Failed" if end.failed else "Succeeded" for end in ends if end.time == last}
        if outcome not in allowed:
            self._violated("S7", f"{name} ended as {outcome}, and the last end was {allowed}")
        told = evc["status"].get("finishedTime")
        if told is None or seconds(told) < last:
            self._violated("S7", f"{name} finished at {told}, and work ended at {last:.0f}")

    def _ends(self, evc: Json, visit: Visit) -> list[End]:
        """The ends of designated work that is there to be seen."""
        namespace, over, found = meta(evc)["namespace"], set(), []
        for job in self._ledger.visible(JOBS, namespace, visit):
            end = job_end(job)
            if end is not None and end >= born(evc):
                over.add(uid(job))
                if designated(evc, job["spec"]["template"]):
                    failed = end_of(job) == "Failed"
                    found.append(End(f"Job/{meta(job)['name']}", end, failed))
        for pod in self._ledger.visible(PODS, namespace, visit):
            end = finish(pod)
            if end is None or end < born(evc) or not designated(evc, pod):
                continue
            if not self._namesake(evc, pod):
                maker = controller_of(pod)
                spoken_for = maker is not None and maker["uid"] in over
                failed = pod["status"]["phase"] == "Failed" and not spoken_for
                found.append(End(f"Pod/{meta(pod)['name']}", end, failed))
        return found

    def _used(self, evc: Json, visit: Visit) -> bool:
        """Whether a designated pod that is there ran with this object's volume."""
        name = claim_name(evc)
        claim = self._server.find(PVCS, meta(evc)["namespace"], name)
        since = max(born(evc), born(claim) if claim is not None else 0.0)
        return any(
            designated(evc, pod) and name in claim_names(pod) and (start(pod) or 0.0) >= since
            for pod in self._ledger.visible(PODS, meta(evc)["namespace"], visit)
        )

    @staticmethod
    def _namesake(evc: Json, pod: Json) -> bool:
        """Whether it ran with the volume of an earlier object of this name."""
        adopts = "existingClaimName" in evc["spec"]
        return not adopts and (start(pod) or born(evc)) < born(evc)

    def _vanished(self, evc: Json) -> bool:
        """Whether work that concerns it is gone, or was ever somebody's who is not watched."""
        namespace, name = meta(evc)["namespace"], claim_name(evc)
        return any(
            meta(pod)["namespace"] == namespace
            and (designated(evc, pod) or name in claim_names(pod))
            for pod in self._ledger.undated
        )

    def _first_use(self, evc: Json) -> None:
        told = evc["status"].get("firstUsedTime")
        if told is None or uid(evc) in self._ledger.known_used:
            return
        self._ledger.known_used.add(uid(evc))
        namespace, starts = meta(evc)["namespace"], []
        for commit in (*self._server.events(PODS), *self._server.events(JOBS)):
            if commit.name.namespace == namespace and designated(evc, pod_of(commit.last)):
                began = commit.last["status"].get("startTime")
                starts.append(seconds(began) if began else start(commit.last))
        if not any(at is not None and at <= seconds(told) for at in starts):
            self._violated("S7", f"{meta(evc)['name']} used at {told}, when nobody had started")

    # Events

    def event(self, commit: Commit) -> None:
        """Judge an Event that explains a deletion: its evidence must be true."""
        body = commit.last
        if body["reason"] not in ("Deleting", "Retaining"):
            return
        namespace, note = meta(body)["namespace"], body["note"]
        told = TOLD.findall(note)
        vague = ("the pods that used it are gone", "no designated pod ever used it")
        if not told and not any(text in note for text in vague):
            self._violated("S7", f"no evidence in {note!r}")
        for kind, name, how, when in told:
            if not self._happened(namespace, kind, name, how, when):
                self._violated("S7", f"{kind}/{name} never {how} at {when or 'any time'}: {note}")

    def _happened(self, namespace: str, kind: str, name: str, how: str, when: str) -> bool:
        """Whether an object of that name ever ended like that, or was gone."""
        plural = Kind.by_kind[kind]
        for commit in self._server.events(plural):
            if (commit.name.namespace, commit.name.name) != (namespace, name):
                continue
            for time, failed in _endings(plural, commit):
                if failed in (None, how == "failed") and (not when or time == seconds(when)):
                    return True
        return False


def _endings(plural: str, commit: Commit) -> list[tuple[float | None, bool | None]]:
    """When, and whether failed (None: either may be said), an object ended by this commit."""
    item = commit.last
    if plural == PODS:
        # A pod that a finished Job speaks for is told as finished.
        return [(finish(item), None if item["status"]["phase"] == "Failed" else False)] * terminal(
            item
        )
    if plural == JOBS:
        return [(job_end(item), end_of(item) == "Failed")] * (job_end(item) is not None)
    if commit.after is None:
        return [(None, False)]
    if plural in FOREIGN:
        phase = item["status"].get("phase")
        over = condition(item, "Completed") or condition(item, "Failed")
        at = item["status"].get("finishedAt") or over.get("lastTransitionTime")
        failed = "Failed" in (phase, end_of(item))
        return [] if at is None else [(seconds(at), failed)]
    return [] if wants_pods(item) else [(None, False)]
