"""What the metrics say of claims and volumes, from their changes and their statuses."""

from __future__ import annotations

import contextlib

import pytest
from prometheus_client import CollectorRegistry

from evc.model.errors import Conflict
from evc.policy.blocked import Blocker
from evc.policy.reasons import Reason
from evc.serving.volumes import UNDER_WAY, Claims, Volumes
from unit.builders import ClaimBuilder, EvcBuilder, at, claim, evc, volume
from unit.runtime.fakes import FakeClock

GI = 2**30
VOLUME = volume().value
STATUS = evc().status(outcome="Succeeded", deletion_time=at(100)).value.status


class Page:
    """A registry with the metrics of volumes, on a clock set by hand."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.registry = CollectorRegistry()
        self.volumes = Volumes(self.registry, self.clock.monotonic)

    def __call__(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)

    def change(self, old: ClaimBuilder | None, new: ClaimBuilder | None) -> None:
        self.volumes.changed(old and old.value, new and new.value)


class TestBytes:
    def test_what_bears_our_mark_is_held_and_reclaimed_when_it_goes(self) -> None:
        page = Page()
        page.change(None, volume())
        assert page("evc_held_bytes") == 500 * GI
        page.change(volume(), volume().terminating())
        assert page("evc_held_bytes") == 500 * GI
        page.change(volume().terminating(), None)
        assert page("evc_held_bytes") == 0
        assert page("evc_reclaimed_bytes_total") == 500 * GI

    def test_others_volumes_are_not_ours(self) -> None:
        page = Page()
        page.change(None, claim().bound())
        page.change(claim().bound(), None)
        assert page("evc_held_bytes") == 0
        assert page("evc_reclaimed_bytes_total") == 0

    def test_a_volume_counts_from_when_it_is_taken_over_until_it_is_let_go(self) -> None:
        page = Page()
        page.change(None, claim().bound())
        page.change(claim().bound(), volume())
        assert page("evc_held_bytes") == 500 * GI
        page.change(volume(), claim().bound())
        assert page("evc_held_bytes") == 0
        assert page("evc_reclaimed_bytes_total") == 0

    def test_until_it_is_bound_the_request_counts(self) -> None:
        page = Page()
        page.change(None, claim().marked_for(evc()).sized("2Gi"))
        assert page("evc_held_bytes") == 2 * GI

    def test_a_grown_volume_counts_as_it_is(self) -> None:
        page = Page()
        small = claim().marked_for(evc()).sized("2Gi")
        page.change(None, small)
        page.change(small, small.sized("3Gi"))
        assert page("evc_held_bytes") == 3 * GI

    def test_a_volume_replaced_unseen_was_reclaimed(self) -> None:
        page = Page()
        page.change(None, volume())
        page.change(volume(), volume().meta(uid="another"))
        assert page("evc_held_bytes") == 500 * GI
        assert page("evc_reclaimed_bytes_total") == 500 * GI

    @pytest.mark.parametrize("size", ["", "garbage"])
    def test_an_odd_size_is_nothing(self, size: str) -> None:
        page = Page()
        page.change(None, claim().marked_for(evc()).sized(size))
        assert page("evc_held_bytes") == 0


class TestDeletions:
    def test_a_delete_is_counted_and_both_its_times_are_measured(self) -> None:
        page = Page()
        with page.volumes.deleting(VOLUME, STATUS, at(102)):
            pass
        page.clock.advance(3)
        page.change(volume(), None)
        assert page("evc_deletions_total", outcome="Succeeded") == 1
        assert page("evc_deletion_delay_seconds_sum") == 2
        assert page("evc_deletion_duration_seconds_sum") == 3
        assert page("evc_deletion_duration_seconds_bucket", le="5.0") == 1
        assert page("evc_deletion_duration_seconds_bucket", le="1.0") == 0

    def test_a_refused_delete_is_none(self) -> None:
        page = Page()
        with (
            contextlib.suppress(Conflict),
            page.volumes.deleting(VOLUME, STATUS, at(102)),
        ):
            raise Conflict("version")
        page.change(volume(), None)
        assert page("evc_deletions_total", outcome="Succeeded") == 0
        assert page("evc_deletion_delay_seconds_count") == 0
        assert page("evc_deletion_duration_seconds_count") == 0

    def test_a_claim_may_be_seen_gone_before_the_answer_arrives(self) -> None:
        page = Page()
        with page.volumes.deleting(VOLUME, STATUS, at(100)):
            page.clock.advance(0.5)
            page.change(volume(), None)
        assert page("evc_deletion_duration_seconds_sum") == 0.5

    def test_somebody_elses_delete_is_not_measured(self) -> None:
        page = Page()
        page.change(volume(), None)
        assert page("evc_deletion_duration_seconds_count") == 0

    def test_a_clock_that_was_set_back_measures_nothing_negative(self) -> None:
        page = Page()
        with page.volumes.deleting(VOLUME, STATUS, at(90)):
            pass
        assert page("evc_deletion_delay_seconds_sum") == 0

    def test_claims_that_never_go_fill_no_memory(self) -> None:
        page = Page()
        for number in range(UNDER_WAY + 5):
            doomed = volume().meta(uid=str(number)).value
            with page.volumes.deleting(doomed, STATUS, at(100)):
                pass
        assert len(page.volumes._sent) == UNDER_WAY

    def test_a_reconcile_put_off_is_counted(self) -> None:
        page = Page()
        page.volumes.stale("", "persistentvolumeclaims")
        skips, ours = "evc_controller_stale_sync_skips_total", "ephemeralvolumeclaims"
        assert page(skips, group="", resource="persistentvolumeclaims") == 1
        assert page(skips, group="evc.dev", resource=ours) == 0


class TestClaims:
    @staticmethod
    def page(*claims: EvcBuilder) -> CollectorRegistry:
        registry = CollectorRegistry()
        registry.register(Claims(lambda: [claim.value for claim in claims]))
        return registry

    def test_claims_are_counted_by_reason(self) -> None:
        page = self.page(
            evc().ready(Reason.IN_USE), evc().ready(Reason.IN_USE), evc().ready(Reason.HELD), evc()
        )
        for reason, count in (("InUse", 2), ("Held", 1), ("Unknown", 1), ("Waiting", 0)):
            assert page.get_sample_value("evc_claims", {"reason": reason}) == count

    def test_a_word_of_another_version_is_unknown(self) -> None:
        page = self.page(evc().ready("Hibernating"))
        assert page.get_sample_value("evc_claims", {"reason": "Unknown"}) == 1
        assert page.get_sample_value("evc_claims", {"reason": "Hibernating"}) is None

    def test_blocked_claims_are_counted_by_what_keeps_them(self) -> None:
        held = evc().ready(Reason.IN_USE)
        page = self.page(held.held_by("Pod/a"), held.held_by("Job/b"), held.held_by("Job/c"))
        for by, count in ((Blocker.PODS, 1), (Blocker.OWNER, 2), (Blocker.HOLD, 0)):
            assert page.get_sample_value("evc_blocked_claims", {"by": by}) == count

    def test_registering_reads_nothing(self) -> None:
        def unreadable() -> list[object]:
            raise AssertionError("read before anybody scraped")

        CollectorRegistry().register(Claims(unreadable))  # type: ignore[arg-type]
