"""Switches about how much falls and how much is asked, and about dry runs."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any
from unittest.mock import patch

from evc.controller import apply, limits, reconcile
from evc.model.errors import Unreachable
from evc.policy import plan


def limit_ignored() -> AbstractContextManager[Any]:
    return patch.object(limits.DeletionLimit, "delay", lambda self, volume: 0.0)


def limit_per_worker() -> AbstractContextManager[Any]:
    """Four workers with a limit each: what one process of four threads would do."""
    real = limits.DeletionLimit.__init__

    def init(self: Any, *, per_minute: int, **more: Any) -> None:
        real(self, per_minute=4 * per_minute, **more)

    return patch.object(limits.DeletionLimit, "__init__", init)


def limit_forgets_lost_answers() -> AbstractContextManager[Any]:
    """The defect of life 335: whoever got no answer gives his place back."""
    real = apply.Apply._delete_claim

    def delete(self: Any, claim: Any, evc: Any) -> None:
        try:
            real(self, claim, evc)
        except Unreachable:
            self._limit._deleted.pop(claim.metadata.uid, None)
            raise

    return patch.object(apply.Apply, "_delete_claim", delete)


def limit_counts_decisions() -> AbstractContextManager[Any]:
    """The defect of life 335: a minute from the admission, not from the DELETE."""
    real = limits.DeletionLimit.delay

    def delay(self: Any, volume: str) -> float:
        found = real(self, volume)
        if not found:
            self.deleted(volume)
        return found

    return patch.object(limits.DeletionLimit, "delay", delay)


def breaker_closes_by_itself() -> AbstractContextManager[Any]:
    real = limits.DeletionLimit.delay

    def delay(self: Any, volume: str) -> float:
        if not self._deleted or next(iter(self._deleted.values()))[0] <= self._monotonic() - 60:
            self.open = False
        return real(self, volume)

    return patch.object(limits.DeletionLimit, "delay", delay)


def dry_run_deletes() -> AbstractContextManager[Any]:
    real = apply.Apply._carry_out

    def carry_out(self: Any, observed: Any, made: Any) -> None:
        deletes = any(isinstance(action, plan.DeleteClaim) for action in made.actions)
        dry, self._dry_run = self._dry_run, self._dry_run and not deletes
        try:
            real(self, observed, made)
        finally:
            self._dry_run = dry

    return patch.object(apply.Apply, "_carry_out", carry_out)


def asking_counts_as_success() -> AbstractContextManager[Any]:
    """A visit that only asked for a live read makes the failures before it forgotten."""
    return patch.object(reconcile, "UNFINISHED", None)
