"""What must be true when faults and users have stopped: S6 (no leak) and L1, L2."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from sim.cluster import claim_names
from sim.facts import ADOPT_BY, HOLD, OWNER_UID, claim_name, designated, template_of
from sim.faults import READS
from sim.foreign import goes_on
from sim.history import Json, Request, condition, deleting, marks_of, meta, uid
from sim.jobs import unfinished
from sim.kinds import EVCS, EVENTS, FOREIGN, JOBS, LEASES, PODS, PVCS, WORKLOADS
from sim.ledger import OPERATOR, Ledger
from sim.node import terminal
from sim.rates import most
from sim.server import Server
from sim.timeline import seconds
from sim.workloads import wants_pods

WINDOW = 10.0
MOST_REQUESTS = 150
"""About one object in any ten seconds, by all operators together.

A visit that destroys something costs 15 requests: 9 to confirm (the claim, the object, five
kinds of workloads, Jobs, pods), two for each unknown owner, the status, the DELETE and its
Event.  One that fails is repeated after 5 ms, then twice as long each time, so that at most
twelve begin within ten seconds; and all but the last are cut short where they fail.  News
about an object count as attempts, too.  The reads of a namespace are counted apart.
"""
MOST_FAILURES = 12
"""Of one write by one process in any ten seconds, by its backoff; and one more for each piece
of news that came meanwhile, because news does not wait for a backoff."""
HEARD = 5.0
"""Seconds besides the lag of a watch after which every process has heard of a change."""


def unsettled(server: Server, ledger: Ledger, now: float) -> Iterator[str]:
    """Yield a sentence for each claim that is not where it must end."""
    for evc in server.items(EVCS):
        problem = _unfinished(server, ledger, evc, now)
        if problem:
            name = f"{meta(evc)['namespace']}/{meta(evc)['name']}"
            reason = str(condition(evc, "Ready").get("reason", ""))
            yield f"L1: {name} ({reason}) has not settled: {problem}"
    living = {uid(evc) for evc in server.items(EVCS)}
    for claim in server.items(PVCS):
        owners = {owner["uid"] for owner in meta(claim).get("ownerReferences", ())}
        made = any(uid(claim) in claims for claims in ledger.created.values())
        if made and owners and not owners & living:
            pinned = _pinned(server, claim) and deleting(claim)
            if not pinned:
                yield f"S6: claim {meta(claim)['name']} ({uid(claim)}) is left without owner"
        ours = marks_of(claim).get(OWNER_UID) in ledger.created or uid(claim) in ledger.adopted
        if ours and not owners and not deleting(claim) and _bears_ours(claim) - living:
            yield f"S6: claim {meta(claim)['name']} bears the mark of an object that is gone"


def _bears_ours(claim: Json) -> set[str]:
    """Whose mark of the operator's own making a claim bears."""
    made = any(
        entry["manager"] == "evc" and f"f:{OWNER_UID}" in annotations
        for entry in meta(claim).get("managedFields", ())
        for annotations in [entry["fieldsV1"]["f:metadata"].get("f:annotations", ())]
    )
    return {marks_of(claim)[OWNER_UID]} if made and OWNER_UID in marks_of(claim) else set()


def _unfinished(server: Server, ledger: Ledger, evc: Json, now: float) -> str:
    if deleting(evc):
        return "it is still being deleted"
    if not condition(evc, "Ready"):
        return "it has no status"
    finished = condition(evc, "Finished").get("status") == "True"
    claim = server.find(PVCS, meta(evc)["namespace"], claim_name(evc))
    if claim is not None and uid(claim) in ledger.ambiguous:
        return ""
    reason = str(condition(evc, "Ready").get("reason", ""))
    made = claim is not None and uid(claim) in ledger.created.get(uid(evc), ())
    ours = made or (claim is not None and ledger.adopted.get(uid(claim)) == uid(evc))
    if claim is not None and ours and deleting(claim) and reason == "Releasing":
        pods = server.items(PODS, meta(evc)["namespace"])
        pinned = any(claim_name(evc) in claim_names(pod) for pod in pods)
        if marks_of(claim).get(OWNER_UID) != uid(evc) and pinned:
            return ""  # sent away, and then its mark was taken off: waited for
    if (
        condition(evc, "Ready").get("observedGeneration") != meta(evc)["generation"]
        and not finished
    ):
        return "its status is of an older generation"
    if finished:
        return _left_behind(claim, evc, reason) if claim is not None and ours else ""
    if claim is None:
        held = _held(server, evc, {"metadata": {}})
        return "" if held and reason == "ClaimNotFound" else _absent(evc, reason, now)
    if not ours:
        offered = marks_of(claim).get(ADOPT_BY) == meta(evc)["name"] and OWNER_UID not in (
            marks_of(claim)
        )
        if "existingClaimName" in evc["spec"] and offered and not deleting(claim):
            return "" if reason == "Lost" else "its claim is offered, and not taken over"
        return "" if reason in ("Conflict", "Lost") else "a foreign claim has its name"
    if marks_of(claim).get(OWNER_UID) != uid(evc):
        owned = uid(evc) in {o["uid"] for o in meta(claim).get("ownerReferences", ())}
        if reason == "Retaining" and owned:
            return ""  # its record stays: it would take the volume, which is to be kept, along
        return "" if reason in ("Conflict", "Lost") else "its mark is gone"
    if made and not (deleting(claim) or _follows(claim, evc)):
        return f"labels {meta(claim).get('labels')} do not follow the template"
    if deleting(claim):
        # Somebody deleted it; a hold keeps the operator from letting go of it, too.
        waits = _pinned(server, claim) or _held(server, evc, claim)
        return "" if waits else "its claim is not let go"
    if _held(server, evc, claim):
        return ""
    born = meta(evc)["creationTimestamp"]
    if reason == "Waiting" and evc["spec"]["expirySeconds"] > now:
        return ""
    return f"nothing holds it, since {born}"


def _left_behind(claim: Json, evc: Json, reason: str) -> str:
    """What is wrong with the claim of a finished object."""
    if reason != "Retained":
        return "it is finished and its claim is still there"
    if marks_of(claim).get(OWNER_UID) == uid(evc):
        return "it is retained and bears our marks"
    owners = {owner["uid"] for owner in meta(claim).get("ownerReferences", ())}
    if OWNER_UID not in marks_of(claim) and uid(evc) not in owners:
        return ""
    # With our mark rewritten by somebody else it is not ours to change any more.
    ours = "evc.dev/owner-name" not in marks_of(claim)
    return "it is retained and still owned" if ours and uid(evc) in owners else ""


def _absent(evc: Json, reason: str, now: float) -> str:
    """What is wrong if there is no claim."""
    expired = seconds(meta(evc)["creationTimestamp"]) + evc["spec"]["expirySeconds"] <= now
    waits = reason == "ClaimNotFound" and not expired
    return "" if waits or reason in ("Lost", "Conflict") else "its claim does not exist"


def _follows(claim: Json, evc: Json) -> bool:
    wanted = evc["spec"]["volumeClaimTemplate"].get("metadata", {}).get("labels", {})
    labels = meta(claim).get("labels", {})
    return {k: labels.get(k) for k in ("team", "tier")} == {
        k: wanted.get(k) for k in ("team", "tier")
    }


def _held(server: Server, evc: Json, claim: Json) -> bool:
    if evc["spec"].get("hold") or marks_of(claim).get(HOLD, "false") != "false":
        return True
    namespace, name = meta(evc)["namespace"], claim_name(evc)

    def ours(template: Json) -> bool:
        return name in claim_names(template) or designated(evc, template)

    pods = any(not terminal(pod) and ours(pod) for pod in server.items(PODS, namespace))
    if pods or any(
        unfinished(job) and ours(template_of(job)) for job in server.items(JOBS, namespace)
    ):
        return True
    workloads = (item for plural in WORKLOADS for item in server.items(plural, namespace))
    if any(wants_pods(item) and ours(template_of(item)) for item in workloads):
        return True
    owners = {owner["uid"] for owner in evc.get("status", {}).get("owners", ())}
    foreign = (item for plural in FOREIGN for item in server.items(plural, namespace))
    return any(goes_on(item) and uid(item) in owners for item in foreign)


def _pinned(server: Server, claim: Json) -> bool:
    """Whether pods that may not be let go of keep a deleted claim."""
    name = meta(claim)["name"]
    space = meta(claim)["namespace"]
    pods = [pod for pod in server.items(PODS, space) if name in claim_names(pod)]
    held = marks_of(claim).get(HOLD, "false") != "false"
    # The hold of a namesake that waits for the name counts, too.
    held = held or any(
        claim_name(e) == name and e["spec"]["hold"] for e in server.items(EVCS, space)
    )
    if any(not terminal(pod) for pod in pods) or (pods and held):
        return True
    policy = marks_of(claim).get("evc.dev/completed-pods", "Wait")
    known = [e for e in server.items(EVCS) if marks_of(claim).get(OWNER_UID) == uid(e)]
    evc = known[0] if known else None
    if OWNER_UID not in marks_of(claim):
        return bool(pods)
    if evc is not None:
        policy = evc["spec"]["completedPods"]
    if policy == "Delete":
        # Of an object that is gone nobody knows the selector, but for a namesake of it.
        evc = evc or next((e for e in server.items(EVCS, space) if claim_name(e) == name), None)
        return any(evc is None or not designated(evc, pod) for pod in pods)
    return bool(pods) and policy == "Wait"


def busy(server: Server, since: int) -> Iterator[str]:
    """Yield each write of the operator after that revision: a settled world needs none."""
    for commit in server.history:
        ours = commit.actor.startswith(OPERATOR) and commit.name.plural != LEASES
        if ours and commit.revision > since:
            yield f"L1: settled, and yet {commit.actor} did {commit.verb} {commit.name}"


def restless(server: Server, since: int) -> Iterator[str]:
    """Yield each new reason that a dry run gives after that revision.

    Its words may follow what they tell of: nothing stops a volume's owners from going.
    """
    for commit in server.events(EVCS):
        if commit.revision > since and commit.verb == "status" and commit.before is not None:
            old, new = condition(commit.before, "Ready"), condition(commit.last, "Ready")
            if old.get("reason") != new.get("reason"):
                yield f"at rest, {commit.name} became {new.get('reason')} by a restart"


def stopped(server: Server, ledger: Ledger) -> Iterator[str]:
    """Yield what is wrong with a herd at rest: the breaker stops, says so, and not too early."""
    present = {uid(claim) for claim in server.items(PVCS)}
    waiting = [evc for evc in server.items(EVCS) if evc["status"]["claim"]["uid"] in present]
    for evc in waiting:
        if "deletions are limited" not in condition(evc, "Ready").get("message", ""):
            yield f"{meta(evc)['name']} is due, and status does not say that deletions are limited"
    actor, limits = [*ledger.limits.items()][-1]
    bound = most(limits.percent, len(server.items(EVCS)))
    sent = sum(
        commit.actor == actor and commit.marks_deletion and commit.name.plural == PVCS
        for commit in server.history
    )
    # The breaker also counts what is under way, and may be refused after all.
    refused = sum(r.actor == actor and r.verb == "delete" and r.failed for r in ledger.requests)
    if waiting and sent + refused < bound:
        yield f"{len(waiting)} of a herd wait, and {actor} deleted only {sent} of {bound}"


def storms(server: Server, requests: list[Request], lag: float) -> Iterator[str]:
    """Yield a sentence for each object about which requests ever came too fast (L2).

    ``lag``: the seconds by which a watch may be late.
    """
    times, failures, runs = defaultdict(list), defaultdict(list), Counter[Any]()
    for request in requests:
        if request.name.plural != LEASES:
            times[request.about].append(request.time)
        if request.verb not in READS and request.name.plural != EVENTS:
            write = request.actor, request.verb, request.name
            if not request.failed or request.fault == "lost reply":
                runs[write] += 1  # done: what fails from now on is something new
            failures[(*write, runs[write])].append(request.time)
    for about, asked in times.items():
        # A namespace, which itself is in none, is read for every claim in it, and its read has
        # a backoff of its own.
        within, _, itself = about.partition("/")
        most = 1 if within else 1 + sum(other.startswith(f"{itself}/") for other in times)
        for first, number in _bursts(asked, MOST_REQUESTS * most):
            yield f"L2: {number} requests about {about} within {WINDOW:.0f} s of {first:.1f}"
            break
    for (actor, verb, name, _), failed in failures.items():
        for first, number in _bursts(failed, MOST_FAILURES):
            news = _news(server, name.namespace, first - lag - HEARD, first + WINDOW)
            # News may leave nothing to write for a moment, which ends a backoff.
            if number > MOST_FAILURES * (2 if news else 1) + news:
                text = f"{number} attempts of {actor} at {verb} {name} within {WINDOW:.0f} s"
                yield f"L2: {text} of {first:.1f}, with {news} pieces of news"
                break


def _bursts(times: list[float], most: int) -> Iterator[tuple[float, int]]:
    """Yield the beginning and the size of each window that has more than so many."""
    for index, first in enumerate(times[:-most]):
        number = bisect_left(times, first + WINDOW) - index
        if number > most:
            yield first, number


def _news(server: Server, namespace: str, since: float, until: float) -> int:
    """How many changes by others the operator may have heard of."""
    return sum(
        commit.name.namespace == namespace and not commit.actor.startswith(OPERATOR)
        for plural in (EVCS, PVCS, PODS, JOBS)
        for commit in server.events(plural)
        if since <= commit.time < until
    )


def unexplained(server: Server, ledger: Ledger) -> Iterator[str]:
    """Yield each deletion without an Event (S7); only for lives in which no answer got lost.

    If whoever sent the DELETE died, a record that users took away tells nobody of it.
    """
    told = {
        commit.last["regarding"]["uid"]
        for commit in server.events(EVENTS)
        if commit.last["reason"] in ("Deleting", "Expiring")
    }
    taken = {
        uid(commit.last)
        for commit in server.events(EVCS)
        if commit.marks_deletion and not commit.actor.startswith(OPERATOR)
    }
    for claim, evc in ledger.deleted.items():
        if evc not in told | taken:
            yield f"S7: no Event tells of the deletion of {claim}"
