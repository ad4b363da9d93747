"""What is done to claims and volumes: edited, held, deleted, offered, squatted and forged.

To add something: a method, and its name in `MISCHIEF`.
"""

from __future__ import annotations

from collections.abc import Callable

from e2e import manifests
from sim.facts import ADOPT_BY, HOLD, OWNER_NAME, OWNER_UID, REQUEST_ID
from sim.hands import ACTOR, CHAOS, Hands
from sim.history import Json, Name, uid
from sim.kinds import EVCS, PVCS
from sim.server import Refusal
from sim.world import World


class Mischief(Hands):
    """Each method plans one thing that happens to a claim at that time."""

    def __init__(self, world: World, patient: bool = False) -> None:
        super().__init__(world, patient)
        self._quota: set[str] = set()
        world.server.admission.append(self._admit)

    def _delete_claim(self, namespace: str, name: str, time: float, manifest: Json) -> None:
        policy = self.one(("Background", "Foreground", "Orphan", "Background"))
        self.remove(time, EVCS, namespace, name, policy)

    def _recreate_claim(self, namespace: str, name: str, time: float, manifest: Json) -> None:
        self.remove(time, EVCS, namespace, name)
        again = self.claim(name, namespace)
        self.at(time + self.one((0.1, 3.0, 20.0)), "creates", EVCS, namespace, again)

    def _hold_claim(self, namespace: str, name: str, time: float, manifest: Json) -> None:
        self.change(time, EVCS, namespace, name, {"spec": {"hold": True}})
        if self.one((True, False)):
            end = self.when(time, CHAOS)
            self.change(end, EVCS, namespace, name, {"spec": {"hold": False}})

    def _hold_volume(self, namespace: str, name: str, time: float, manifest: Json) -> None:
        volume = self.volumes.get((namespace, name), name)
        self.change(time, PVCS, namespace, volume, {"metadata": {"annotations": {HOLD: "please"}}})
        if self.one((True, False)):
            change = {"metadata": {"annotations": {HOLD: self.one((None, "false"))}}}
            self.change(self.when(time, CHAOS), PVCS, namespace, volume, change)

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
        self.change(time, EVCS, namespace, name, {"spec": self.one(edits)})

    def _delete_volume(self, namespace: str, name: str, time: float, manifest: Json) -> None:
        volume = self.volumes.get((namespace, name), name)
        self.remove(time, PVCS, namespace, volume)

    def _edit_template(self, namespace: str, name: str, time: float, manifest: Json) -> None:
        """Labels come, change and go, and the volume is to grow."""
        if "volumeClaimTemplate" not in manifest["spec"]:
            return
        for _ in range(self.one((1, 2, 3))):
            labels = {
                "team": self.one(("x", "y", None)),
                "tier": self.one(("x", "y", None)),
            }
            template: Json = {"metadata": {"labels": labels}}
            if self.one((False, False, True)):
                template["spec"] = {"resources": {"requests": {"storage": "2Gi"}}}
            self.change(time, EVCS, namespace, name, {"spec": {"volumeClaimTemplate": template}})
            time = self.when(time, CHAOS)

    def _offer(self, namespace: str, name: str, time: float, manifest: Json) -> None:
        """The owner of a claim changes his mind about giving it away, or about whom to."""
        volume = self.volumes.get((namespace, name), name)
        change = {"metadata": {"annotations": {ADOPT_BY: self.one((None, name, "somebody"))}}}
        self.change(time, PVCS, namespace, volume, change)

    def _no_quota(self, namespace: str, name: str, time: float, manifest: Json) -> None:
        """For a while no claim more is allowed in the namespace."""
        self.do(time, f"quota of {namespace} is used up", lambda: self._quota.add(namespace))
        end = self.when(time, CHAOS)
        self.do(end, f"quota of {namespace} is raised", lambda: self._quota.discard(namespace))

    def _admit(self, actor: str, name: Name, before: Json | None, after: Json) -> None:
        if name.plural == PVCS and before is None and name.namespace in self._quota:
            raise Refusal(403, "Forbidden", "exceeded quota: scratch")

    def _squat(self, namespace: str, name: str, time: float, manifest: Json) -> None:
        """Somebody's own claim has our name, perhaps from before we wanted it."""
        start = self.one((0.0, time))
        foreign = manifests.pvc(name)
        if self.one((True, False)):
            # Copied from one of ours, labels and all.
            foreign["metadata"]["labels"] = {"app.kubernetes.io/managed-by": "evc"}
        self.at(start, "squats", PVCS, namespace, foreign)
        if self.one((True, False)):
            self.remove(self.when(start, CHAOS), PVCS, namespace, name)

    def _forge(self, namespace: str, name: str, time: float, manifest: Json) -> None:
        """Our mark, or what status says (with or without uid), on somebody's own claim."""
        volume = self.volumes.get((namespace, name), name)
        mark, status = self.one(((True, False), (False, True)))
        with_uid = self.one((True, False))

        def act() -> None:
            evc = self.server.find(EVCS, namespace, name)
            foreign = manifests.pvc(volume)
            if evc is None or self.server.find(PVCS, namespace, volume) is not None:
                return
            if mark:
                marks = {OWNER_UID: uid(evc), OWNER_NAME: name, REQUEST_ID: str(with_uid)}
                foreign["metadata"]["annotations"] = marks
            made = self.server.create(ACTOR, PVCS, namespace, foreign)
            if status:
                # Never with the mark: all together are the very evidence the operator
                # goes by, and need rights on the status subresource: not a user's.
                claim = {"name": volume} | ({"uid": uid(made)} if with_uid else {})
                forged = evc | {"status": evc.get("status", {}) | {"claim": claim}}
                self.server.replace(ACTOR, EVCS, namespace, name, forged, "status")

        self.do(time, f"forges the marks of {name}: {mark=} {status=} {with_uid=}", act)

    def _rewrite_mark(self, namespace: str, name: str, time: float, manifest: Json) -> None:
        volume = self.volumes.get((namespace, name), name)
        value = self.one((None, "somebody-else"))
        change = {"metadata": {"annotations": {OWNER_UID: value}}}
        self.change(time, PVCS, namespace, volume, change)

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
