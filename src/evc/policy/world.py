"""One observation with everything derived from it once, and how it becomes a plan."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

import msgspec

from evc.model.core import PersistentVolumeClaim
from evc.model.evc import EphemeralVolumeClaim, EphemeralVolumeClaimStatus
from evc.policy import deadline, template
from evc.policy.observed import Observed
from evc.policy.owners import watched
from evc.policy.plan import Action, Note, Plan
from evc.policy.reasons import READY, STALLED, EventReason, Reason
from evc.policy.status import (
    Summary,
    claim_reference,
    conditions,
    decided,
    held_by,
    ready_reason,
)
from evc.policy.usage import NAMES_SHOWN, Usage, held_since, usage

SOON = timedelta(seconds=10)
"""How long a new volume, or the first who waits for a volume, is given to be used before
status tells of it: in the ordinary case one write then says it all."""


@dataclass(frozen=True)
class World:
    """What a rule sees."""

    observed: Observed
    evc: EphemeralVolumeClaim
    now: datetime

    @cached_property
    def usage(self) -> Usage:
        """Who uses and holds the volume."""
        return usage(self.observed, self.evc, self.now, since=self._since)

    @property
    def _since(self) -> datetime | None:
        """From when on a start of a container is a use of *our* volume; None: there is none."""
        if self.mine is not None and not self.evc.adopts:
            return self.mine.metadata.creation_timestamp
        if self.mine is not None:
            return datetime.min.replace(tzinfo=UTC)
        gone = self.vanished and self.observed.claim is None
        return self.evc.metadata.creation_timestamp if gone else None

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
    def claim_name(self) -> str:
        """Name of the PersistentVolumeClaim."""
        return self.evc.claim_name

    @property
    def due_time(self) -> datetime:
        """When to delete, for the rules after `in_use`, which took every world with holds."""
        assert self.due is not None
        return self.due

    @property
    def evidence(self) -> str:
        """Who was seen finished, in words."""
        seen = self.usage.evidence
        more = len(seen) - NAMES_SHOWN
        shown = "; ".join(seen[:NAMES_SHOWN]) or "the pods that used it are gone"
        return f"{shown}; and {more} more" if more > 0 else shown

    @property
    def used(self) -> bool:
        """Whether a container of a designated pod ever started with the volume."""
        return self.usage.first_used is not None

    @cached_property
    def reason(self) -> str:
        """The reason status gives at the moment."""
        return ready_reason(self.evc)

    @property
    def decided(self) -> bool:
        """Whether the deletion is durably decided (gate 3)."""
        return decided(self.evc)

    @property
    def terminating(self) -> bool:
        """Whether our claim was deleted and is still there."""
        return self.mine is not None and self.mine.metadata.deleting

    @property
    def unseen_owners(self) -> bool:
        """Whether something that only a live read can judge may still hold the volume."""
        if self.observed.live:
            return False
        held = self.evc.status.held_by
        names = held.names if held is not None else ()
        return bool(self.usage.owners) or not all(map(watched, names))

    @property
    def _met_owner(self) -> bool:
        """Whether an owner of an unknown kind shows up that nobody asked yet.

        It is asked at once, not only when the work seems over: it may be gone by then, and
        its own owner, which nothing but it points to, be about to make another.  Owners
        are asked (`evc.controller.confirm`) as soon as there is a claim.
        """
        known = self.evc.status.owners
        asked = self.observed.live and self.observed.claim is not None
        return not asked and any(owner not in known for owner in self.usage.owners)

    @property
    def _missed_an_end(self) -> bool:
        """Whether work seems to have vanished: a cache may only not have heard of it yet.

        A live read may have seen who holds before the cache does; then the cache without
        it must neither date an end nor call it failed.  Of a claim that is not ours no end counts.
        """
        return self.mine is not None and not self.observed.live and self.usage.untraced

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

    @property
    def retains(self) -> bool:
        """Whether the volume is to stay, by the rule for this outcome."""
        return deadline.outcome_rule(self.evc, self.usage).action == "Retain"

    def _refusal(self, summary: Summary) -> str:
        """Why the claim does not follow its template, as was said when that was tried.

        It is tried again, and its words stay as long as the difference does.
        """
        stalled, claim = self.evc.status.condition(STALLED), self.mine
        if stalled is None or stalled.reason != EventReason.UPDATE_REFUSED.value:
            return ""
        over = summary.stalled or summary.reconciling or summary.finished
        if over or claim is None or template.update(claim, self.evc) is None:
            return ""
        return stalled.message

    def status(self, summary: Summary, **overrides: Any) -> EphemeralVolumeClaimStatus:
        """Return the status that tells this world; ``overrides`` replace single fields."""
        seen = self.usage
        outcome = None
        if seen.finished is not None:
            outcome = "Failed" if seen.failed else "Succeeded"
        fields: dict[str, Any] = {
            "observed_generation": self.evc.metadata.generation,
            "conditions": conditions(
                self.evc,
                summary,
                self.used,
                self.now.replace(microsecond=0),
                self._refusal(summary),
            ),
            "claim": claim_reference(self.mine, self.evc.status.claim),
            "first_used_time": seen.first_used,
            "finished_time": seen.finished,
            "deletion_time": None if self.on_hold or self.retains else self.due,
            "outcome": outcome,
            "held_by": held_by(hold.name for hold in seen.holds),
            # Status knows only who was asked, so that nobody is forgotten to be.
            "owners": self.evc.status.owners if self._met_owner else seen.owners,
        }
        return EphemeralVolumeClaimStatus(**fields | overrides)

    def _can_wait(self, status: EphemeralVolumeClaimStatus) -> float:
        """Return the seconds for which this status may wait for one that says more; 0: none.

        Kept back are the volume's name and size, and that designated pods wait for it,
        until one of them has started.  Use, an end, a guest, an owner to remember, a changed
        spec and a volume that is ready before anybody waits for it are told at once.
        """
        old, claim = self.evc.status, self.mine
        if status == old or claim is None or self.decided:
            return 0.0
        if not (self._details_only(status) or self._use_is_near(status)):
            return 0.0
        times = (claim.metadata.creation_timestamp, held_since(self.observed))
        left = max(time for time in times if time is not None) + SOON - self.now
        return left.total_seconds() if left <= SOON else 0.0  # more: our clock is behind

    def _details_only(self, status: EphemeralVolumeClaimStatus) -> bool:
        known, now = self.evc.status.claim, status.claim
        if known is None or now is None or known.uid != now.uid:
            return False
        return msgspec.structs.replace(status, claim=known) == self.evc.status

    def _use_is_near(self, status: EphemeralVolumeClaimStatus) -> bool:
        old, ready = self.evc.status, status.condition(READY)
        if self.used or ready is None or ready.reason != Reason.WAITING.value:
            return False
        if self.usage.strangers:
            return False
        before, after = old.condition(STALLED), status.condition(STALLED)
        if before is None or after is None or before.status != after.status:
            return False
        if (status.observed_generation, status.owners) != (old.observed_generation, old.owners):
            return False
        awaited = status.held_by is not None and self.reason == Reason.PROVISIONING.value
        return awaited or self.reason == Reason.WAITING.value

    def plan(
        self,
        status: EphemeralVolumeClaimStatus,
        *actions: Action,
        note: Note | None = None,
        also: tuple[Note, ...] = (),
        requeue_after: float | None = None,
        irreversible: bool = False,
    ) -> Plan:
        """Return the plan; a status that says nothing new is not written.

        ``note`` is told once: when the reason in status changes to the new one; those in
        ``also`` are told whenever the plan is carried out.  Details of a volume that was
        made a moment ago wait for the next news (`SOON`), and so do their events.
        """
        wait = self._can_wait(status)
        if wait > 0 and not (actions or irreversible):
            return Plan(requeue_after=wait if requeue_after is None else min(wait, requeue_after))
        ready = status.condition(READY)
        news = ready is None or ready.reason != self.reason
        # The DELETE may be sent and the cache not know it yet: only a live read may take
        # back what was decided.
        irreversible = irreversible or (self.decided and news) or self._missed_an_end
        irreversible = irreversible or (self._met_owner and self.observed.claim is not None)
        return Plan(
            status=None if status == self.evc.status else status,
            actions=actions,
            notes=((note,) if note is not None and news else ()) + also,
            requeue_after=requeue_after,
            irreversible=irreversible,
        )
