"""What keeps a volume, read off the status that the rules themselves have written."""

from __future__ import annotations

import pytest

from evc.model.errors import Forbidden
from evc.model.evc import EphemeralVolumeClaimStatus
from evc.policy.blocked import NOT_LISTABLE, NOT_READABLE, Blocker, blocker
from evc.policy.decide import decide
from evc.policy.dispose import delayed
from evc.policy.observed import Observed
from evc.policy.owners import Owner
from evc.policy.reasons import READY, Reason
from evc.policy.world import World
from unit.builders import (
    EvcBuilder,
    at,
    evc,
    job,
    observed,
    pod,
    provided,
    still,
    volume,
    workflow,
)

ENDED = pod().worker().succeeded(at=100)
RELEASING = provided().used(2).finished(100).releasing()
REFUSED = Forbidden("User evc cannot read it", status=403)


def after(seen: Observed, now: float) -> Blocker | None:
    """Return what keeps the volume, by the status that is decided then."""
    assert seen.evc is not None
    return keeps(decide(seen, at(now)).status or seen.evc.status)


def keeps(status: EphemeralVolumeClaimStatus) -> Blocker | None:
    return blocker(status.condition(READY), status.held_by)


def live(
    who: EvcBuilder, *pods: object, mounted_by: tuple[str, ...] | None = (), **more: object
) -> Observed:
    return observed(who, *pods, live=True, mounted_by=mounted_by, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seen", "now", "by"),
    [
        pytest.param(observed(evc()), 5, None, id="nothing: it is being made"),
        pytest.param(observed(provided(), volume()), 5, None, id="nothing: there is time left"),
        pytest.param(
            observed(provided(), volume(), pod().worker()), 5, Blocker.PODS, id="a pending pod"
        ),
        pytest.param(
            observed(provided(), volume(), pod().worker().running(2)), 5, Blocker.PODS, id="a pod"
        ),
        pytest.param(observed(provided(), volume(), job()), 5, Blocker.OWNER, id="a Job"),
        pytest.param(
            live(provided().used(2), volume(), ENDED, owners=(still(seen=workflow()),)),
            200,
            Blocker.OWNER,
            id="a Workflow",
        ),
        pytest.param(
            live(
                provided().used(2),
                volume(),
                ENDED,
                owners=(Owner("Workflow/dag", None, f"{NOT_READABLE}: {REFUSED}", workflow()),),
            ),
            200,
            Blocker.RIGHTS,
            id="an owner that may not be read",
        ),
        pytest.param(
            live(
                provided().used(2),
                volume(),
                ENDED,
                owners=(Owner("Deployment/*", None, f"{NOT_LISTABLE}: {REFUSED}"),),
            ),
            200,
            Blocker.RIGHTS,
            id="workloads that may not be listed",
        ),
        pytest.param(
            observed(provided().used(2), volume(), ENDED), 110, None, id="nothing: grace period"
        ),
        pytest.param(
            observed(provided().used(2).on_hold(), volume(), ENDED), 200, Blocker.HOLD, id="hold"
        ),
        pytest.param(
            observed(provided().used(2), volume().annotated(hold="true"), ENDED),
            200,
            Blocker.HOLD,
            id="hold on the claim",
        ),
        pytest.param(
            observed(RELEASING.on_hold(), volume().terminating(at=130), ENDED),
            200,
            Blocker.HOLD,
            id="hold on a claim that is being deleted",
        ),
        pytest.param(
            live(RELEASING, volume().terminating(at=130), ENDED, mounted_by=None),
            200,
            Blocker.RIGHTS,
            id="attachments that may not be read",
        ),
        pytest.param(
            live(
                RELEASING,
                volume().terminating(at=130),
                ENDED,
                mounted_by=("VolumeAttachment/csi-1",),
            ),
            200,
            Blocker.ATTACHMENT,
            id="an attachment",
        ),
        pytest.param(
            live(RELEASING.spec(completed_pods="Wait"), volume().terminating(at=130), ENDED),
            200,
            Blocker.PODS,
            id="completed pods that are not released",
        ),
        pytest.param(
            live(RELEASING, volume().terminating("example.org/backup", at=130), ENDED),
            200,
            Blocker.FINALIZER,
            id="somebody's finalizer",
        ),
        pytest.param(
            live(provided().used(2), volume(), ENDED), 200, None, id="nothing: it is deleted"
        ),
    ],
)
def test_what_keeps_the_volume_is_told_by_status(
    seen: Observed, now: float, by: Blocker | None
) -> None:
    assert after(seen, now) == by


def test_a_deletion_that_is_not_admitted_waits_for_the_limit() -> None:
    seen = observed(provided().used(2), volume(), ENDED)
    assert seen.evc is not None
    plan = delayed(World(seen, seen.evc, at(200)))
    assert plan.status is not None
    assert keeps(plan.status) == Blocker.LIMIT


@pytest.mark.parametrize("reason", [Reason.PROVISIONING, Reason.CONFLICT, Reason.INVALID])
def test_without_a_volume_of_ours_nothing_is_kept(reason: Reason) -> None:
    assert keeps(evc().ready(reason).held_by("Pod/a").value.status) is None


def test_before_the_first_visit_nothing_is_known() -> None:
    assert keeps(evc().value.status) is None
