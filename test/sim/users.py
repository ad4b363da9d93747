"""Users: who creates, deletes, recreates, holds, suspends, squats and forges, and when.

A life's users are drawn before it begins, from a stream of choices of their own: with or
without faults they do the same things at the same times.  To add something users do: a
method, and its name in `MISCHIEF` (things done to a claim) or `WORK` (things that use it).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from e2e import manifests
from sim.history import Json, Name, condition, marks_of, meta, uid
from sim.kinds import EVCS, JOBS, PODS, PVCS, REPLICASETS, WORKFLOWS
from sim.node import terminal
from sim.server import Refusal
from sim.world import World

ACTOR = "user"
MERGE = "application/merge-patch+json"
CHAOS = 120.0
"""Seconds during which users do things."""
LONG = 1_000_000


class Users:
    """Plans everything on the timeline."""

    def __init__(self, world: World, mischief: int, patient: bool = False) -> None:
        self._world = world
        self._server = world.server
        self._choices = world.choices
        self._mischief = mischief
        self._patient = patient
        self._volumes: dict[tuple[str, str], str] = {}
        """Names of the claims that are taken over, by namespace and EVC."""
        self._quota: set[str] = set()
        world.server.admission.append(self._admit)

    def plan(self, claims: int) -> None:
        """Draw the stories of so many claims."""
        spaces = self._one((("lab", "lab"), ("lab", "other")))
        for index in range(claims):
            self._story(spaces[index % 2], "ab"[index % 2] if spaces[0] == spaces[1] else "a")
        self._world.timeline.after(CHAOS, self._go_home)

    def _story(self, namespace: str, name: str) -> None:
        start = self._when(0.0, 20.0)
        if self._one((False, False, False, True)):
            self._offer_volume(namespace, name, start)
        manifest = self._claim(name, namespace)
        self._at(start, "creates", EVCS, namespace, manifest)
        for number in range(self._one((1, 0, 1, 2, 3))):
            work = self._one(self.WORK)
            work(self, namespace, name, f"{name}{number}", self._when(start - 2, start + 40))
        for _ in range(self._mischief):
            act = self._one(self.MISCHIEF)
            act(self, namespace, name, self._when(start, CHAOS), manifest)

    def _offer_volume(self, namespace: str, name: str, start: float) -> None:
        """Somebody's own claim, in use perhaps, that is to be taken over now or later."""
        volume = f"{name}-data"
        self._volumes[namespace, name] = volume
        own = manifests.pvc(volume)
        offer = {"metadata": {"annotations": {ADOPT_BY: name}}}
        at_once = self._one((True, False))
        if at_once:
            own["metadata"] |= offer["metadata"]
        born = self._when(start - 10, start + 10)
        self._at(born, "offers", PVCS, namespace, own)
        if not at_once:
            time = start + 5.0 if self._patient else self._when(start, start + 30)
            self._change(max(time, born), PVCS, namespace, volume, offer)
        if self._one((False, True)):
            before = {"sim/seconds": str(self._one((5, 20)))}
            user = self._user(namespace, name, f"{name}-before", before)
            self._at(born, "runs", PODS, namespace, user)

    def _user(
        self, namespace: str, claim: str, name: str, does: dict[str, str], app: str = ""
    ) -> Json:
        """A designated pod (or another, by ``app``) with the volume of that EVC."""
        return pod(name, self._volumes.get((namespace, claim), claim), app or claim, does)

    def _claim(self, name: str, namespace: str) -> Json:
        minimum = self._one((0, 5, 30))
        spec: Json = {
            "minimumWaitSeconds": minimum,
            "expirySeconds": LONG if self._patient else minimum + self._one((30, 60, 5, LONG)),
            "gracePeriodSeconds": self._one((1, 0, 5, 20)),
            "completedPods": self._one(("Release", "Delete", "Wait", "Release")),
            "ttlSecondsAfterFinished": self._one((0, 5, LONG)),
        }
        policy = self._one((None, None, None, "Delete", "Retain"))
        if policy is not None:
            spec["whenDeleted"] = policy
        if not self._patient:
            for outcome in ("onSuccess", "onFailure", "onExpiry"):
                rule = {"action": self._one(("Delete", "Retain"))}
                grace = self._one((None, 0, 10))
                if grace is not None:
                    rule["gracePeriodSeconds"] = grace
                if self._one((False, False, True)):
                    spec[outcome] = rule
        manifest = manifests.claim(name, **spec)
        volume = self._volumes.get((namespace, name))
        if volume is not None:
            del manifest["spec"]["volumeClaimTemplate"]
            manifest["spec"]["existingClaimName"] = volume
        return manifest

    # Work

    def _pod(self, namespace: str, claim: str, name: str, start: float) -> None:
        does = {"sim/exit": self._one(("0", "0", "1"))}
        length = self._one((3, 0, 15, 40, None))
        if length is not None:
            does["sim/seconds"] = str(length)
        self._at(start, "runs", PODS, namespace, self._user(namespace, claim, name, does))
        if self._one((False, True)):
            self._remove(self._when(start, CHAOS), PODS, namespace, name)

    def _late_pod(self, namespace: str, claim: str, name: str, start: float) -> None:
        does = {"sim/seconds": "5", "sim/schedule-after": str(self._one((20, 60, LONG)))}
        self._at(start, "runs", PODS, namespace, self._user(namespace, claim, name, does))

    def _stranger(self, namespace: str, claim: str, name: str, start: float) -> None:
        """References the volume without matching the selector."""
        does = {"sim/seconds": str(self._one((5, 50)))}
        self._at(
            start, "runs", PODS, namespace, self._user(namespace, claim, name, does, "stranger")
        )

    def _bystander(self, namespace: str, claim: str, name: str, start: float) -> None:
        """Matches the selector without referencing the volume."""
        manifest = self._user(namespace, claim, name, {"sim/seconds": str(self._one((5, 50)))})
        manifest["spec"]["volumes"] = []
        self._at(start, "runs", PODS, namespace, manifest)

    def _job(self, namespace: str, claim: str, name: str, start: float) -> None:
        does = {"sim/seconds": str(self._one((3, 10, 30)))}
        does["sim/fail-first"] = str(self._one((0, 0, 1, 3)))
        one = self._user(namespace, claim, name, does)
        spec = {
            "template": {"metadata": one["metadata"], "spec": one["spec"]},
            "completions": self._one((1, 2)),
            "parallelism": self._one((1, 2)),
            "backoffLimit": self._one((0, 1, 2)),
            "suspend": self._one((False, False, True)),
        }
        ttl = self._one((None, None, 0, 10))
        if ttl is not None:
            spec["ttlSecondsAfterFinished"] = ttl
        job = {"metadata": {"name": name}, "spec": spec}
        self._at(start, "runs", JOBS, namespace, job)
        for _ in range(self._one((0, 0, 1, 2))):
            change = {"spec": {"suspend": self._one((True, False))}}
            self._change(self._when(start, CHAOS), JOBS, namespace, name, change)

    def _rerun(self, namespace: str, claim: str, name: str, start: float) -> None:
        """The same name again and again: Kubernetes tells them apart by uid only."""
        for _ in range(2):
            manifest = self._user(namespace, claim, name, {"sim/seconds": "4"})
            self._at(start, "runs", PODS, namespace, manifest)
            start = self._when(start + 4, start + 25)
            self._remove(start, PODS, namespace, name)
            start += 0.5

    def _replicas(self, namespace: str, claim: str, name: str, start: float) -> None:
        """Pods that are evicted, one after the other, and replaced until nobody wants them."""
        does = {"sim/exit": "1", "sim/seconds": str(self._one((6, 20)))}
        one = self._user(namespace, claim, name, does)
        template = {"metadata": one["metadata"], "spec": one["spec"]}
        spec = {"replicas": self._one((1, 2)), "template": template}
        self._at(start, "runs", REPLICASETS, namespace, {"metadata": {"name": name}, "spec": spec})
        end = self._when(start, CHAOS)
        if self._one((True, False)):
            self._change(end, REPLICASETS, namespace, name, {"spec": {"replicas": 0}})
            if self._one((False, False, True)):
                again = self._when(end, CHAOS)
                self._change(again, REPLICASETS, namespace, name, {"spec": {"replicas": 1}})
        self._remove(CHAOS - 1.0, REPLICASETS, namespace, name)

    def _workflow(self, namespace: str, claim: str, name: str, start: float) -> None:
        """Of a kind the operator does not know; between its steps there is no pod at all."""
        does = {"sim/seconds": str(self._one((3, 10))), "sim/exit": self._one(("0", "0", "1"))}
        one = self._user(namespace, claim, name, does)
        spec = {
            "steps": self._one((1, 2, 3)),
            "pause": self._one((0.5, 5.0, 25.0)),
            "podGC": self._one((True, False)),
            "template": {"metadata": one["metadata"], "spec": one["spec"]},
        }
        self._at(start, "runs", WORKFLOWS, namespace, {"metadata": {"name": name}, "spec": spec})
        if self._one((False, False, True)):
            self._remove(self._when(start, CHAOS), WORKFLOWS, namespace, name)
        elif not self._patient:
            self._remove(CHAOS + 5.0, WORKFLOWS, namespace, name)

    WORK: tuple[Callable[..., None], ...] = (
        _job,
        _pod,
        _pod,
        _late_pod,
        _stranger,
        _bystander,
        _rerun,
        _replicas,
        _workflow,
    )

    # Mischief

    def _delete_claim(self, namespace: str, name: str, time: float, manifest: Json) -> None:
        policy = self._one(("Background", "Foreground", "Orphan", "Background"))
        self._remove(time, EVCS, namespace, name, policy)

    def _recreate_claim(self, namespace: str, name: str, time: float, manifest: Json) -> None:
        self._remove(time, EVCS, namespace, name)
        again = self._claim(name, namespace)
        self._at(time + self._one((0.1, 3.0, 20.0)), "creates", EVCS, namespace, again)

    def _hold_claim(self, namespace: str, name: str, time: float, manifest: Json) -> None:
        self._change(time, EVCS, namespace, name, {"spec": {"hold": True}})
        if self._one((True, False)):
            end = self._when(time, CHAOS)
            self._change(end, EVCS, namespace, name, {"spec": {"hold": False}})

    def _hold_volume(self, namespace: str, name: str, time: float, manifest: Json) -> None:
        volume = self._volumes.get((namespace, name), name)
        self._change(time, PVCS, namespace, volume, {"metadata": {"annotations": {HOLD: "please"}}})
        if self._one((True, False)):
            change = {"metadata": {"annotations": {HOLD: self._one((None, "false"))}}}
            self._change(self._when(time, CHAOS), PVCS, namespace, volume, change)

    def _edit(self, namespace: str, name: str, time: float, manifest: Json) -> None:
        edits: list[Json] = [
            {"gracePeriodSeconds": 40},
            {"gracePeriodSeconds": 0},
            {"expirySeconds": 90},
            {"minimumWaitSeconds": 0},
            {"completedPods": "Wait"},
            {"completedPods": "Release"},
            {"ttlSecondsAfterFinished": 0},
            {"whenDeleted": "Retain"},
            {"whenDeleted": "Delete"},
            {"onSuccess": {"action": "Retain"}},
            {"onSuccess": {"action": "Delete", "gracePeriodSeconds": 0}},
            {"onFailure": {"action": "Retain"}},
            {"onExpiry": {"action": "Retain"}},
        ]
        self._change(time, EVCS, namespace, name, {"spec": self._one(edits)})

    def _delete_volume(self, namespace: str, name: str, time: float, manifest: Json) -> None:
        volume = self._volumes.get((namespace, name), name)
        self._remove(time, PVCS, namespace, volume)

    def _edit_template(self, namespace: str, name: str, time: float, manifest: Json) -> None:
        """Labels come, change and go, and the volume is to grow."""
        if "volumeClaimTemplate" not in manifest["spec"]:
            return
        for _ in range(self._one((1, 2, 3))):
            labels = {"team": self._one(("x", "y", None)), "tier": self._one(("x", "y", None))}
            template: Json = {"metadata": {"labels": labels}}
            if self._one((False, False, True)):
                template["spec"] = {"resources": {"requests": {"storage": "2Gi"}}}
            self._change(time, EVCS, namespace, name, {"spec": {"volumeClaimTemplate": template}})
            time = self._when(time, CHAOS)

    def _offer(self, namespace: str, name: str, time: float, manifest: Json) -> None:
        """The owner of a claim changes his mind about giving it away, or about whom to."""
        volume = self._volumes.get((namespace, name), name)
        change = {"metadata": {"annotations": {ADOPT_BY: self._one((None, name, "somebody"))}}}
        self._change(time, PVCS, namespace, volume, change)

    def _no_quota(self, namespace: str, name: str, time: float, manifest: Json) -> None:
        """For a while no claim more is allowed in the namespace."""
        self._do(time, f"quota of {namespace} is used up", lambda: self._quota.add(namespace))
        end = self._when(time, CHAOS)
        self._do(end, f"quota of {namespace} is raised", lambda: self._quota.discard(namespace))

    def _admit(self, actor: str, name: Name, before: Json | None, after: Json) -> None:
        if name.plural == PVCS and before is None and name.namespace in self._quota:
            raise Refusal(403, "Forbidden", "exceeded quota: scratch")

    def _squat(self, namespace: str, name: str, time: float, manifest: Json) -> None:
        """Somebody's own claim has our name, perhaps from before we wanted it."""
        start = self._one((0.0, time))
        foreign = manifests.pvc(name)
        if self._one((True, False)):
            # Copied from one of ours, labels and all.
            foreign["metadata"]["labels"] = {"app.kubernetes.io/managed-by": "evc"}
        self._at(start, "squats", PVCS, namespace, foreign)
        if self._one((True, False)):
            self._remove(self._when(start, CHAOS), PVCS, namespace, name)

    def _forge(self, namespace: str, name: str, time: float, manifest: Json) -> None:
        """Our mark, or what status says (with or without uid), on somebody's own claim."""
        volume = self._volumes.get((namespace, name), name)
        mark, status = self._one(((True, False), (False, True)))
        with_uid = self._one((True, False))

        def act() -> None:
            evc = self._server.find(EVCS, namespace, name)
            foreign = manifests.pvc(volume)
            if evc is None or self._server.find(PVCS, namespace, volume) is not None:
                return
            if mark:
                marks = {OWNER_UID: uid(evc), OWNER_NAME: name, REQUEST_ID: str(with_uid)}
                foreign["metadata"]["annotations"] = marks
            made = self._server.create(ACTOR, PVCS, namespace, foreign)
            if status:
                # Never with the mark: all together are the very evidence the operator
                # goes by, and need rights on the status subresource: not a user's.
                claim = {"name": volume} | ({"uid": uid(made)} if with_uid else {})
                forged = evc | {"status": evc.get("status", {}) | {"claim": claim}}
                self._server.replace(ACTOR, EVCS, namespace, name, forged, "status")

        self._do(time, f"forges the marks of {name}: {mark=} {status=} {with_uid=}", act)

    def _rewrite_mark(self, namespace: str, name: str, time: float, manifest: Json) -> None:
        volume = self._volumes.get((namespace, name), name)
        value = self._one((None, "somebody-else"))
        change = {"metadata": {"annotations": {OWNER_UID: value}}}
        self._change(time, PVCS, namespace, volume, change)

    MISCHIEF: tuple[Callable[..., None], ...] = (
        _edit,
        _delete_claim,
        _recreate_claim,
        _hold_claim,
        _hold_volume,
        _delete_volume,
        _edit_template,
        _offer,
        _no_quota,
        _squat,
        _forge,
        _rewrite_mark,
    )

    # The end

    def _go_home(self) -> None:
        """What would run or hold for ever is ended, or is not: both must settle."""
        for item in self._server.items(PODS):
            does = marks_of(item)
            endless = "sim/seconds" not in does or does.get("sim/schedule-after") == str(LONG)
            ends = self._patient or self._one((True, False))
            if endless and not terminal(item) and ends:
                self._remove(0.0, PODS, meta(item)["namespace"], meta(item)["name"])
        for job in self._server.items(JOBS):
            if job["spec"]["suspend"] and (self._patient or self._one((True, False))):
                change = {"spec": {"suspend": False}}
                where = meta(job)["namespace"], meta(job)["name"]
                self._change(0.0, JOBS, *where, change)
            elif not (self._patient or condition(job, "Complete") or self._one((True, False))):
                self._remove(5.0, JOBS, meta(job)["namespace"], meta(job)["name"])

    # How it is done

    def _one(self, options: Any) -> Any:
        return self._choices.among("users", options)

    def _when(self, low: float, high: float) -> float:
        return max(0.0, self._choices.seconds("users", low, max(low, high)))

    def _do(self, time: float, text: str, action: Callable[[], object]) -> None:
        def act() -> None:
            self._world.say(f"user: {text}")
            self._world.attempt(action)

        self._world.timeline.after(time, act)

    def _at(self, time: float, verb: str, plural: str, namespace: str, body: Json) -> None:
        name = body["metadata"]["name"]
        self._do(
            time,
            f"{verb} {plural}/{namespace}/{name}",
            lambda: self._server.create(ACTOR, plural, namespace, body),
        )

    def _change(self, time: float, plural: str, namespace: str, name: str, patch: Json) -> None:
        self._do(
            time,
            f"changes {plural}/{namespace}/{name}: {patch}",
            lambda: self._server.patch(ACTOR, plural, namespace, name, patch, MERGE),
        )

    def _remove(
        self, time: float, plural: str, namespace: str, name: str, policy: str = "Background"
    ) -> None:
        self._do(
            time,
            f"deletes {plural}/{namespace}/{name} ({policy})",
            lambda: self._server.delete(
                ACTOR, plural, namespace, name, {"propagationPolicy": policy}
            ),
        )


HOLD = "evc.dev/hold"
OWNER_UID = "evc.dev/owner-uid"
OWNER_NAME = "evc.dev/owner-name"
REQUEST_ID = "evc.dev/request-id"
ADOPT_BY = "evc.dev/adopt-by"


def pod(name: str, claim: str, app: str, does: dict[str, str]) -> Json:
    """A pod with the volume; ``does`` says what it does (`sim.node`)."""
    manifest = manifests.pod_template(claim, app=app)
    manifest["metadata"] |= {"name": name, "annotations": does}
    return manifest
