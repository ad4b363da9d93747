"""Which of the keys that a change concerns come first."""

from __future__ import annotations

import pytest

from evc.controller.enqueue import Enqueue
from evc.model.evc import EphemeralVolumeClaim
from evc.model.meta import Key
from evc.policy.mapping import Designations
from evc.runtime.backoff import Exponential
from evc.runtime.queue import Priority, RateLimitingQueue
from unit.builders import NAMESPACE, Builder, claim, evc, pod, provided, volume
from unit.runtime.fakes import FakeClock, RecordingObserver

from .fakes import Cluster

KEY = Key(NAMESPACE, "scratch")


class Setup:
    """Caches with the queue that their changes fill."""

    def __init__(self, *, synced: bool = True) -> None:
        self.cluster = Cluster()
        if synced:
            for writer in self.cluster.writers.values():
                writer.mark_synced()
        self.queue = RateLimitingQueue(
            "evc", Exponential(base=1.0, cap=60.0), clock=FakeClock(), observer=RecordingObserver()
        )
        self.enqueue = Enqueue(self.cluster.caches, self.queue, Designations())

    def claim_changes(
        self, old: Builder[EphemeralVolumeClaim] | None, new: Builder[EphemeralVolumeClaim]
    ) -> None:
        """The informer's cache sees it, and then tells of it."""
        self.cluster.showing(new)
        self.enqueue.claim_changed(old.value if old else None, new.value)

    @property
    def waiting(self) -> dict[Priority, int]:
        """How many keys wait, by priority, where any do."""
        return {priority: count for priority, count in self.queue.depth().items() if count}


def test_a_new_object_comes_first_for_pods_wait_for_its_volume() -> None:
    setup = Setup()
    setup.claim_changes(None, evc())
    assert setup.waiting == {Priority.HIGH: 1}


def test_what_happens_to_it_later_waits_its_turn() -> None:
    setup = Setup()
    setup.claim_changes(evc(), evc().spec(hold=True))
    setup.enqueue.pvc_changed(None, claim().value)
    setup.enqueue.pod_changed(None, pod().using().value)
    assert setup.waiting == {Priority.NORMAL: 1}


def test_what_was_deleted_already_lets_those_pass_that_have_to_be() -> None:
    setup = Setup()
    setup.claim_changes(provided(), provided().releasing())
    setup.enqueue.pvc_changed(volume().value, volume().terminating().value)
    assert setup.waiting == {Priority.LOW: 1}


def test_a_claim_that_is_gone_waits_for_nobody() -> None:
    setup = Setup()
    setup.claim_changes(provided(), provided().releasing())
    setup.enqueue.pvc_changed(volume().terminating().value, None)
    assert setup.waiting == {Priority.NORMAL: 1}


def test_what_was_there_before_the_start_can_wait() -> None:
    setup = Setup(synced=False)
    setup.claim_changes(None, evc())
    assert setup.waiting == {Priority.LOW: 1}


@pytest.mark.parametrize("change", ["pod", "claim"])
def test_a_change_that_concerns_nobody_costs_no_reconcile(change: str) -> None:
    setup = Setup()
    if change == "pod":
        setup.enqueue.pod_changed(None, pod().using().value)
    else:
        setup.enqueue.pvc_changed(None, claim().value)
    assert setup.queue.poll() is None
