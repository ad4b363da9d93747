"""One observation with everything derived from it once, and how it becomes a plan."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from evc.model.core import PersistentVolumeClaim
from evc.model.evc import EphemeralVolumeClaim, EphemeralVolumeClaimStatus
from evc.policy import deadline, template
from evc.policy.observed import Observed
from evc.policy.plan import Action, Note, Plan
from evc.policy.reasons import READY, Reason
from evc.policy.status import Summary, claim_reference, conditions, held_by
from evc.policy.usage import Usage, usage


@dataclass(frozen=True)
class World:
    """What a rule sees."""

    observed: Observed
    evc: EphemeralVolumeClaim
    now: datetime

    @cached_property
    def usage(self) -> Usage:
        """Who uses and holds the volume."""
        return usage(self.observed, self.evc, self.now)

    @cached_property
    def due(self) -> datetime | None:
        """When to delete; None while something holds the volume."""
        return deadline.due(self.evc, self.usage)

    @cached_property
    def mine(self) -> PersistentVolumeClaim | None:
        """The claim, if it is provably ours."""
        claim = self.observed.claim
        return claim if claim is not None and template.ours(claim, self.evc) else None

    @property
    def used(self) -> bool:
        """Whether a container of a designated pod ever started with the volume."""
        return self.usage.first_used is not None

    @property
    def reason(self) -> str:
        """The reason status gives at the moment."""
        ready = self.evc.status.condition(READY)
        return ready.reason if ready is not None else ""

    @property
    def decided(self) -> bool:
        """Whether the deletion is durably decided (gate 3)."""
        return self.reason == Reason.RELEASING.value

    @property
    def vanished(self) -> bool:
        """Whether the very claim that status knows is no longer there."""
        known, claim = self.evc.status.claim, self.observed.claim
        if known is None or known.uid is None:
            return False
        return claim is None or claim.metadata.uid != known.uid

    @property
    def on_hold(self) -> bool:
        """Whether a person asked to keep the volume."""
        return self.evc.spec.hold or template.held_by_annotation(self.mine)

    def status(self, summary: Summary, **overrides: Any) -> EphemeralVolumeClaimStatus:
        """Return the status that tells this world; ``overrides`` replace single fields."""
        seen = self.usage
        outcome = None
        if seen.finished is not None:
            outcome = "Failed" if seen.failed else "Succeeded"
        fields: dict[str, Any] = {
            "observed_generation": self.evc.metadata.generation,
            "conditions": conditions(self.evc, summary, self.used, self.now.replace(microsecond=0)),
            "claim": claim_reference(self.mine, self.evc.status.claim),
            "first_used_time": seen.first_used,
            "finished_time": seen.finished,
            "deletion_time": None if self.on_hold else self.due,
            "outcome": outcome,
            "held_by": held_by(seen.holds),
        }
        return EphemeralVolumeClaimStatus(**fields | overrides)

    def plan(
        self,
        status: EphemeralVolumeClaimStatus,
        *actions: Action,
        note: Note | None = None,
        requeue_after: float | None = None,
        irreversible: bool = False,
    ) -> Plan:
        """Return the plan; a status that says nothing new is not written.

        ``note`` is told once: when the reason in status changes to the new one.
        """
        ready = status.condition(READY)
        news = ready is None or ready.reason != self.reason
        return Plan(
            status=None if status == self.evc.status else status,
            actions=actions,
            notes=(note,) if note is not None and news else (),
            requeue_after=requeue_after,
            irreversible=irreversible,
        )
