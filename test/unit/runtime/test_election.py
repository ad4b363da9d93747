"""At most one leader, whatever the clocks, the network and the scheduler do."""

from __future__ import annotations

import dataclasses

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evc.model.core import LeaseSpec
from evc.runtime.election import (
    Create,
    Decision,
    Elector,
    Follow,
    Replace,
    Seen,
    Timing,
    observe,
    step,
)

from .fakes import EPOCH, FakeClock, FakeLease, FakeLock, NotRandom, RecordingObserver, VirtualStop


def held(by: str, transitions: int = 3, duration: int = 15) -> LeaseSpec:
    return LeaseSpec(by, duration, EPOCH, EPOCH, transitions)


@pytest.mark.parametrize(
    ("timing", "wrong"),
    [
        ((10.0, 10.0, 2.0), "lease duration"),
        ((15.9, 15.5, 2.0), "lease duration"),
        ((15.0, 2.4, 2.0), "renew deadline"),
        ((15.0, 10.0, 0.0), "retry period"),
    ],
    ids=["lease = renew", "lease = renew in whole seconds", "renew = 1.2 retry", "no retry"],
)
def test_figures_that_allow_two_leaders_or_none_are_refused(
    timing: tuple[float, float, float], wrong: str
) -> None:
    with pytest.raises(ValueError, match=wrong):
        Timing(*timing)


def test_the_default_figures_are_client_gos() -> None:
    assert dataclasses.astuple(Timing()) == (15.0, 10.0, 2.0)


@pytest.mark.parametrize(
    ("seen", "decision"),
    [
        pytest.param(None, Create(held("me", 0)), id="no lease: make one"),
        pytest.param(Seen(held("me"), "7", 0.0), Replace(held("me"), "7"), id="ours: renew"),
        pytest.param(Seen(held("it"), "7", 85.1), Follow("it", 100.1), id="held: follow"),
        pytest.param(
            Seen(held("it"), "7", 85.0), Replace(held("me", 4), "7"), id="not renewed: take it"
        ),
        pytest.param(Seen(held(""), "7", 99.9), Replace(held("me", 4), "7"), id="free: take it"),
        pytest.param(
            Seen(held("it", duration=60), "7", 85.0), Follow("it", 145.0), id="as long as it says"
        ),
        pytest.param(
            Seen(held("it", duration=0), "7", 99.0), Follow("it", 114.0), id="edited: not early"
        ),
        pytest.param(Seen(held("it"), "", 99.0), Follow("it", 114.0), id="deleted: not early"),
        pytest.param(
            Seen(held("it"), "", 85.0), Create(held("me", 4)), id="deleted long ago: make one"
        ),
        pytest.param(Seen(held("me"), "", 99.0), Create(held("me")), id="ours, deleted: again"),
    ],
)
def test_what_to_do_about_the_record(seen: Seen | None, decision: Decision) -> None:
    assert step(seen, "me", 15.0, 100.0, EPOCH) == decision


def test_only_local_time_counts_and_it_moves_only_when_the_record_does() -> None:
    """Otherwise reading a dead leader's record again and again would keep it alive."""
    seen = observe(None, (held("it"), "7"), 100.0)
    assert seen == Seen(held("it"), "7", 100.0)
    assert observe(seen, (held("it"), "8"), 114.0) == Seen(held("it"), "8", 100.0)
    assert observe(seen, (held("it", 4), "8"), 114.0) == Seen(held("it", 4), "8", 114.0)
    assert observe(seen, None, 114.0) == Seen(held("it"), "", 100.0)
    assert observe(None, None, 114.0) is None


class Candidate:
    """One replica: its own clock (arbitrary origin) and its connection to the lease."""

    def __init__(
        self, lease: FakeLease, name: str = "me", origin: float = 0.0, wall: float = 0.0
    ) -> None:
        """``wall`` is by how many seconds its wall clock is wrong."""
        self.clock = FakeClock(origin, wall)
        self.lock = FakeLock(lease, name)
        self.observer = RecordingObserver()
        self.stop = VirtualStop(self.clock)
        self.told: list[str] = []
        self.elector = Elector(
            "evc", self.lock, Timing(), clock=self.clock, observer=self.observer,
            random=NotRandom(0.999),  # type: ignore[arg-type]
        )  # fmt: skip

    def run(self) -> None:
        self.elector.run(
            self.stop,
            on_started_leading=lambda: self.told.append("started"),
            on_stopped_leading=lambda: self.told.append("stopped"),
        )


def test_it_wins_a_free_lease_renews_it_and_releases_it_at_the_end() -> None:
    lease = FakeLease()
    me = Candidate(lease)
    me.stop.end = me.clock.time + 21
    me.run()
    assert me.told == ["started", "stopped"]
    assert me.observer.heard("leading") == [("evc", True), ("evc", False)]
    assert lease.version == 1 + 10 + 1, "created, renewed every 2 s, released"
    assert lease.stored is not None
    record = lease.stored[0]
    assert (record.holder_identity, record.lease_duration_seconds) == ("", 1)
    assert not me.elector.is_leader()


def test_a_successor_takes_a_released_lease_at_its_next_attempt() -> None:
    lease = FakeLease()
    first, second = Candidate(lease, "first"), Candidate(lease, "second")
    first.stop.end = first.clock.time + 5
    first.run()
    second.elector.attempt()
    assert second.elector.is_leader()
    assert second.elector.holder == "second"


@pytest.mark.parametrize("wall", [-600.0, 0.0, 600.0], ids="wrong by {} s".format)
@pytest.mark.parametrize(
    ("left", "limit"), [("released", 3.0), ("died", 19.8)], ids=["released", "died"]
)
def test_a_released_lease_has_a_new_leader_in_3_s_and_a_dead_leaders_in_20(
    left: str, limit: float, wall: float
) -> None:
    """With the longest jitter, and with a follower's clock ten minutes off."""
    lease = FakeLease()
    first, second = Candidate(lease, "first"), Candidate(lease, "second", wall=wall)
    first.elector.attempt()
    over: list[float] = []

    def read() -> tuple[LeaseSpec, str] | None:
        record = lease.stored
        if len(over) < 4:
            # The leader renews as it should; the last time right after the follower looked.
            over.append(second.clock.time)
            first.clock.time = second.clock.time
            first.elector.attempt()
            if left == "released" and len(over) == 4:
                first.elector._step_down(release=True)
        return record

    def started() -> None:
        second.told.append(str(second.clock.time))
        second.stop.set()

    second.lock.read = read  # type: ignore[method-assign]
    second.elector.run(
        second.stop,
        on_started_leading=started,
        on_stopped_leading=lambda: None,
    )
    waited = float(second.told[0]) - over[-1]
    assert 0.0 < waited <= limit
    if left == "died":
        assert float(second.told[0]) > first.clock.time + 15.0, "not early"


def test_a_leader_that_cannot_renew_gives_up_in_time_and_does_not_release() -> None:
    lease = FakeLease()
    me = Candidate(lease)

    def cut() -> None:
        me.lock.fault = "cut"

    start = me.clock.time
    me.elector.run(me.stop, on_started_leading=cut, on_stopped_leading=lambda: None)
    assert 10.0 <= me.clock.time - start <= 12.0
    assert lease.version == 1, "its work may still be in flight: the lease must expire"
    assert len(me.observer.heard("election_failed")) == 4, "at 2, 4, 6, 8 s"


def test_a_paused_leader_knows_on_waking_before_its_thread_does_anything() -> None:
    me = Candidate(FakeLease())
    me.elector.attempt()
    me.clock.advance(9.9)
    assert me.elector.is_leader()
    me.clock.advance(0.1)
    assert not me.elector.is_leader()


def test_a_leader_that_slept_past_its_deadline_does_not_come_back() -> None:
    """Not even when nobody took the lease: others may have acted on seeing it expire."""
    lease = FakeLease()
    me = Candidate(lease)
    me.elector.run(
        me.stop,
        on_started_leading=lambda: me.clock.advance(9.0),
        on_stopped_leading=lambda: me.told.append("stopped"),
    )
    assert me.told == ["stopped"]
    assert lease.version == 1, "woke at 11 s and did not try again"


def test_a_slow_answer_counts_from_when_the_request_was_sent() -> None:
    me = Candidate(FakeLease())
    create = me.lock.create

    def slow(record: LeaseSpec) -> str:
        me.clock.advance(9.0)
        return create(record)

    me.lock.create = slow  # type: ignore[method-assign]
    me.elector.attempt()
    assert me.elector.is_leader()
    me.clock.advance(1.0)
    assert not me.elector.is_leader()


def test_a_renewal_whose_answer_was_lost_is_found_by_reading() -> None:
    me = Candidate(FakeLease())
    me.elector.attempt()
    me.clock.advance(2.0)
    me.lock.fault = "lost answer"
    me.elector.attempt()
    me.lock.fault = ""
    me.clock.advance(2.0)
    me.elector.attempt()
    assert me.observer.heard("election_slowpath") == [("evc",)]
    me.clock.advance(9.0)
    assert me.elector.is_leader(), "renewed 9 s ago"


def test_a_leader_that_reads_another_holder_stops_at_once() -> None:
    lease = FakeLease()
    me = Candidate(lease)
    me.elector.attempt()
    lease.stored = (held("thief"), "99")
    me.elector.attempt()
    assert not me.elector.is_leader()
    assert me.elector.holder == "thief"


def test_a_deleted_lease_is_made_again_by_its_holder() -> None:
    lease = FakeLease()
    me = Candidate(lease)
    me.elector.attempt()
    lease.stored = None
    me.elector.attempt()
    assert me.elector.is_leader()
    assert lease.stored is not None


@pytest.mark.parametrize("hand", ["deleted", "edited"])
def test_a_deleted_or_edited_lease_lets_nobody_in_early(hand: str) -> None:
    lease = FakeLease()
    first, second = Candidate(lease, "first"), Candidate(lease, "second")
    first.elector.attempt()
    second.elector.attempt()
    assert lease.stored is not None
    edited = msgspec.structs.replace(lease.stored[0], lease_duration_seconds=0)
    lease.stored = None if hand == "deleted" else (edited, "99")
    second.elector.attempt()
    assert not second.elector.is_leader()
    first.elector.attempt()
    assert first.elector.is_leader(), "it mends the record"
    assert lease.stored is not None
    assert lease.stored[0].lease_duration_seconds == 15


def test_a_failed_release_is_reported_and_leaves_no_leader() -> None:
    me = Candidate(FakeLease())

    def stop_while_cut() -> None:
        me.lock.fault = "cut"
        me.stop.set()

    me.elector.run(me.stop, on_started_leading=stop_while_cut, on_stopped_leading=lambda: None)
    assert len(me.observer.heard("election_failed")) == 1
    assert not me.elector.is_leader()


def test_a_failing_start_steps_down_without_release() -> None:
    lease = FakeLease()
    me = Candidate(lease)

    def broken() -> None:
        raise RuntimeError("cannot start workers")

    with pytest.raises(RuntimeError):
        me.elector.run(me.stop, on_started_leading=broken, on_stopped_leading=me.stop.set)
    assert not me.elector.is_leader()
    assert lease.version == 1


def test_stopped_before_it_won_it_tells_nobody() -> None:
    lease = FakeLease()
    lease.stored = (held("it"), "1")
    me = Candidate(lease)
    me.stop.end = me.clock.time + 8
    me.run()
    assert me.told == []
    assert lease.stored == (held("it"), "1")


MOVES = st.tuples(
    st.integers(0, 2),
    st.sampled_from(["", "", "", "cut", "lost answer", "edit"]),
    st.sampled_from([0.0, 0.1, 1.0, 2.0, 5.0, 5.1, 9.9, 10.0, 15.0]),
)


@settings(max_examples=500, deadline=None)
@given(st.lists(MOVES, max_size=60))
def test_there_is_never_more_than_one_leader(moves: list[tuple[int, str, float]]) -> None:
    """Any replica tries at any time; clocks of different origin, wrong by ten minutes, lost
    answers, and somebody who edits the duration to nothing.
    """
    lease = FakeLease()
    replicas = [
        Candidate(lease, f"r{n}", origin=n * 12345.6, wall=600.0 * (n - 1)) for n in range(3)
    ]
    for number, fault, pause in moves:
        if fault == "edit" and lease.stored is not None:
            record, version = lease.stored
            edited = msgspec.structs.replace(record, lease_duration_seconds=0)
            lease.stored = (edited, version + "0")
        replicas[number].lock.fault = fault
        replicas[number].elector.attempt()
        leaders = [r for r in replicas if r.elector.is_leader()]
        assert len(leaders) <= 1
        for replica in replicas:
            replica.clock.advance(pause)
