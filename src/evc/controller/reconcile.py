"""The whole way: gather -> decide -> confirm -> decide again -> apply -> requeue."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from evc.controller.apply import Apply
from evc.controller.confirm import Confirm
from evc.controller.events import Recorder
from evc.controller.gather import Caches, OwnWrites, gather
from evc.controller.shared import SharedReads
from evc.model.meta import Key
from evc.policy.decide import decide
from evc.runtime.ports import UNFINISHED

DISAGREEMENT_SECONDS = 30.0
"""When to look again if a live read found nothing to do where the cache had: what was read may
be older than the cache's last event, and then no other event comes."""
CATCH_UP_SECONDS = 1.0
"""When to look again if the cache lags; the awaited event normally comes first."""


@dataclass(frozen=True)
class Reconcile:
    """Makes one EphemeralVolumeClaim's world match it; see `evc.runtime.ports.Reconciler`."""

    caches: Caches
    writes: OwnWrites
    reads: SharedReads
    confirm: Confirm
    apply: Apply
    events: Recorder
    now: Callable[[], datetime]

    def __call__(self, key: Key) -> float | None:
        """Return the seconds to the next deadline, None, or UNFINISHED."""
        self.events.tell(key)
        if not self.writes.visible(key):
            return CATCH_UP_SECONDS
        observed = gather(self.caches, key)
        if observed is None:
            return None
        plan = decide(observed, self.now())
        if plan.irreversible:
            observed = self.confirm(key, observed)
            if observed is None:
                return UNFINISHED
            plan = decide(observed, self.now())
            again = self.apply(observed, plan)
            return DISAGREEMENT_SECONDS if again is None and not plan.irreversible else again
        # What is read for an earlier plan would contradict a later one that knows more.
        self.reads.drop(key)
        return self.apply(observed, plan)
