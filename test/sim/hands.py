"""How users do things: each is drawn before a life begins and put on the timeline."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from e2e import manifests
from sim.history import Json
from sim.world import World

ACTOR = "user"
MERGE = "application/merge-patch+json"
CHAOS = 120.0
"""Seconds during which users do things."""
LONG = 1_000_000


class Hands:
    """Draws from the users' own stream of choices, and plans."""

    def __init__(self, world: World, patient: bool = False) -> None:
        self.world = world
        self.server = world.server
        self.patient = patient
        self.volumes: dict[tuple[str, str], str] = {}
        """Names of the claims that are taken over, by namespace and EVC."""

    def claim(self, name: str, namespace: str) -> Json:
        minimum = self.one((0, 5, 30))
        spec: Json = {
            "minimumWaitSeconds": minimum,
            "expirySeconds": LONG if self.patient else minimum + self.one((30, 60, 5, LONG)),
            "gracePeriodSeconds": self.one((1, 0, 5, 20)),
            "completedPods": self.one(("Release", "Delete", "Wait", "Release")),
            "ttlSecondsAfterFinished": self.one((0, 5, LONG)),
        }
        policy = self.one((None, None, None, "Delete", "Retain"))
        if policy is not None:
            spec["whenDeleted"] = policy
        if not self.patient:
            for outcome in ("onSuccess", "onFailure", "onExpiry"):
                rule = {"action": self.one(("Delete", "Retain"))}
                grace = self.one((None, 0, 10))
                if grace is not None:
                    rule["gracePeriodSeconds"] = grace
                if self.one((False, False, True)):
                    spec[outcome] = rule
        manifest = manifests.claim(name, **spec)
        volume = self.volumes.get((namespace, name))
        if volume is not None:
            del manifest["spec"]["volumeClaimTemplate"]
            manifest["spec"]["existingClaimName"] = volume
        return manifest

    def user(
        self, namespace: str, claim: str, name: str, does: dict[str, str], app: str = ""
    ) -> Json:
        """A designated pod (or another, by ``app``) with the volume of that EVC."""
        return pod(name, self.volumes.get((namespace, claim), claim), app or claim, does)

    def one(self, options: Any) -> Any:
        return self.world.choices.among("users", options)

    def when(self, low: float, high: float) -> float:
        return max(0.0, self.world.choices.seconds("users", low, max(low, high)))

    def do(self, time: float, text: str, action: Callable[[], object]) -> None:
        def act() -> None:
            self.world.say(f"user: {text}")
            self.world.attempt(action)

        self.world.timeline.after(time, act)

    def at(self, time: float, verb: str, plural: str, namespace: str, body: Json) -> None:
        name = body["metadata"]["name"]
        self.do(
            time,
            f"{verb} {plural}/{namespace}/{name}",
            lambda: self.server.create(ACTOR, plural, namespace, body),
        )

    def change(self, time: float, plural: str, namespace: str, name: str, patch: Json) -> None:
        self.do(
            time,
            f"changes {plural}/{namespace}/{name}: {patch}",
            lambda: self.server.patch(ACTOR, plural, namespace, name, patch, MERGE),
        )

    def remove(
        self, time: float, plural: str, namespace: str, name: str, policy: str = "Background"
    ) -> None:
        self.do(
            time,
            f"deletes {plural}/{namespace}/{name} ({policy})",
            lambda: self.server.delete(
                ACTOR, plural, namespace, name, {"propagationPolicy": policy}
            ),
        )


def pod(name: str, claim: str, app: str, does: dict[str, str]) -> Json:
    """A pod with the volume; ``does`` says what it does (`sim.node`)."""
    manifest = manifests.pod_template(claim, app=app)
    manifest["metadata"] |= {"name": name, "annotations": does}
    return manifest
