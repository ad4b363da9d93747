"""Arbitrary worlds: few names and few times, so that coincidences are common."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from hypothesis import strategies as st
from msgspec.structs import replace

from evc.model.core import (
    PVC_PROTECTION,
    ContainerRunning,
    ContainerState,
    ContainerStatus,
    ContainerTerminated,
    Job,
    JobCondition,
    JobStatus,
    LabelSelector,
    LabelSelectorRequirement,
    PersistentVolumeClaim,
    Pod,
    PodStatus,
)
from evc.model.evc import (
    ADOPT_BY,
    ClaimReference,
    EphemeralVolumeClaim,
    EphemeralVolumeClaimStatus,
    HeldBy,
    OutcomeRule,
)
from evc.model.meta import Condition
from evc.policy.observed import Observed
from evc.policy.owners import Ending, Owner
from evc.policy.reasons import FINISHED, READY, RECONCILING, STALLED, USED, Reason
from unit.builders import (
    EVC_UID,
    LABELS,
    REQUEST,
    EvcBuilder,
    at,
    claim,
    evc,
    job,
    pod,
    still,
    workflow,
)

KINDS = (READY, USED, FINISHED, RECONCILING, STALLED)
PHASES = ("Pending", "Running", "Succeeded", "Failed", "Unknown")

times: st.SearchStrategy[datetime] = st.sampled_from(
    (-100, -1, 0, 1, 2, 29, 30, 59, 60, 61, 100, 130, 1_000, 86_399, 86_400, 90_000)
).map(at)
maybe_times = st.none() | times
periods = st.sampled_from((0, 1, 30, 60, 600, 86_400, 315_360_000))


def _selectors() -> st.SearchStrategy[LabelSelector]:
    needs = LabelSelectorRequirement("app", "Exists")
    usual = LabelSelector(LABELS)
    return st.sampled_from((usual, usual, LabelSelector({}, (needs,)), LabelSelector()))


@st.composite
def statuses(draw: st.DrawFn, *, sound: bool = False) -> EphemeralVolumeClaimStatus:
    """Return what an earlier look may have written, however stale; sound: not finished."""
    kinds = draw(st.sets(st.sampled_from(KINDS)))
    reasons = st.sampled_from([*(str(reason.value) for reason in Reason), "SomethingElse"])
    conditions = tuple(
        Condition(
            kind,
            "False" if sound and kind == FINISHED else draw(st.sampled_from(("True", "False"))),
            draw(reasons),
            "",
            draw(times),
        )
        for kind in sorted(kinds)
    )
    return EphemeralVolumeClaimStatus(
        observed_generation=draw(st.integers(0, 2)),
        conditions=conditions,
        claim=draw(
            st.sampled_from(
                (
                    None,
                    ClaimReference("scratch"),
                    ClaimReference("scratch", request_id=REQUEST),
                    ClaimReference("scratch", "claim-1"),
                    ClaimReference("scratch", "claim-2"),
                )
            )
        ),
        first_used_time=draw(maybe_times),
        finished_time=draw(maybe_times),
        deletion_time=draw(maybe_times),
        outcome=draw(st.sampled_from((None, "Succeeded", "Failed", "Expired"))),
        held_by=draw(
            st.sampled_from(
                (
                    None,
                    HeldBy(1, ("Pod/a",)),
                    HeldBy(9, ("Job/x", "Pod/b")),
                    HeldBy(1, ("Workflow/u",)),
                )
            )
        ),
        owners=draw(st.sampled_from(((), (), (workflow("u"),), (workflow("u"), workflow("v"))))),
    )


rules = st.none() | st.builds(
    OutcomeRule, st.sampled_from(("Delete", "Delete", "Retain")), st.none() | periods
)


@st.composite
def templates(draw: st.DrawFn) -> EvcBuilder:
    """Return an object that makes its claim, with a template that may have been changed."""
    labels = draw(st.sampled_from(({}, {}, {"team": "a"})))
    value = evc().template_labels(labels, draw(st.sampled_from(({}, {"note": "a"}))))
    size = draw(st.sampled_from(("500Gi", "500Gi", "512000Mi", "1Ti", "1Gi", "?")))
    volume_class = draw(st.sampled_from((None, None, "gold")))
    return value.sized(size).template_spec(volume_attributes_class_name=volume_class)


@st.composite
def evcs(draw: st.DrawFn, *, sound: bool = False) -> EphemeralVolumeClaim:
    """Return any object the API server may hold; sound: nothing a person must mend."""
    shortest = draw(periods)
    start = draw(templates())
    if draw(st.integers(0, 3)) == 0:
        # Of the same name: so that one claim fits all worlds.
        start = evc().adopting("scratch")
    value = start.spec(
        minimum_wait_seconds=shortest,
        expiry_seconds=draw(periods.filter(lambda m: m >= shortest)),
        grace_period_seconds=draw(periods),
        completed_pods=draw(st.sampled_from(("Release", "Delete", "Wait"))),
        when_deleted=draw(st.sampled_from((None, "Delete", "Retain"))),
        hold=draw(st.booleans()),
        on_success=draw(rules),
        on_failure=draw(rules),
        on_expiry=draw(rules),
        ttl_seconds_after_finished=draw(periods),
    )
    if not sound:
        value = value.selecting(draw(_selectors())).malformed(draw(st.sampled_from(("", "", "x"))))
        if draw(st.integers(0, 9)) == 0:
            value = value.spec(existing_claim_name="scratch")
        if draw(st.integers(0, 9)) == 0:
            value = value.being_deleted(at=5)
    return replace(value.value, status=draw(statuses(sound=sound)))


@st.composite
def claims(draw: st.DrawFn) -> PersistentVolumeClaim:
    """Return a claim of the name: ours, a namesake's, a stranger's."""
    value = claim(uid=draw(st.sampled_from(("claim-1", "claim-2"))))
    if owner := draw(st.sampled_from((EVC_UID, EVC_UID, "evc-0", ""))):
        policy = draw(st.sampled_from(("Release", "Delete", "Wait", "?")))
        value = value.annotated(owner_uid=owner, completed_pods=policy)
        if request := draw(st.sampled_from((REQUEST, REQUEST, "9", ""))):
            value = value.annotated(request_id=request)
    if taker := draw(st.sampled_from(("", "", "scratch", "other"))):
        value = value.meta(annotations=value.value.metadata.annotations | {ADOPT_BY: taker})
    if draw(st.booleans()):
        value = value.owned_by(evc(uid=owner or "evc-0").value)
    if draw(st.booleans()):
        value = value.labelled(team=draw(st.sampled_from("ab")))
        value = value.whose_keys(draw(st.sampled_from(("evc", "kubectl"))), labels=("team",))
    value = value.sized(draw(st.sampled_from(("500Gi", "500Gi", "2Ti", ""))))
    if hold := draw(st.sampled_from(("", "", "true", "false"))):
        value = value.annotated(hold=hold)
    finalizers: tuple[str, ...] = draw(
        st.sampled_from(((), (PVC_PROTECTION,), ("x/y", PVC_PROTECTION), ("x/y",)))
    )
    if draw(st.integers(0, 2)) == 0:
        unused = draw(st.sampled_from((-5, 0, 29, 60, 1_000)))
        value = value.unused(unused, draw(st.sampled_from(("True", "False"))))
    value = value.meta(finalizers=finalizers).created(draw(st.sampled_from((-5, 0, 1))))
    leaves = draw(st.booleans())
    if finalizers and leaves:
        value = value.being_deleted(at=50)
    return value.value


def _states() -> st.SearchStrategy[ContainerState]:
    running = st.builds(ContainerRunning, maybe_times)
    terminated = st.builds(ContainerTerminated, maybe_times, maybe_times)
    return st.one_of(
        st.just(ContainerState()),
        running.map(lambda r: ContainerState(running=r)),
        terminated.map(lambda t: ContainerState(terminated=t)),
    )


@st.composite
def pods(draw: st.DrawFn) -> Pod:
    """Return a pod that matches, references the claim, or both."""
    name = draw(st.sampled_from("abc"))
    value = pod(name)
    shape = draw(st.sampled_from(("worker", "designated", "using")))
    value = getattr(value, shape)()
    owner = draw(st.sampled_from((None, None, "x", "y", "u", "v", "set")))
    if owner in ("x", "y"):
        value = value.of(job(owner))
    elif owner == "set":
        value = value.of(job(owner), kind="ReplicaSet")
    elif owner is not None:
        value = value.owned_by(workflow(owner))
    if draw(st.integers(0, 5)) == 0:
        value = value.being_deleted(at=5)
    containers = st.lists(st.builds(ContainerStatus, _states(), _states()), max_size=2).map(tuple)
    if draw(st.booleans()):
        value = value.scheduled()
    status = PodStatus(draw(st.sampled_from(PHASES)), draw(containers), draw(containers))
    return replace(value.value, status=status)


@st.composite
def jobs(draw: st.DrawFn) -> Job:
    """Return a designated Job at any moment of its life."""
    value = job(draw(st.sampled_from("xyz"))).being_deleted(at=5)
    if draw(st.integers(0, 4)):
        value = value.meta(deletion_timestamp=None)
    if draw(st.booleans()):
        value = value.suspended()
    if draw(st.integers(0, 4)) == 0:
        value = value.owned_by(workflow("v"))
    kinds = st.sampled_from(("Complete", "Failed", "Suspended", "FailureTarget"))
    condition = st.builds(
        JobCondition, kinds, st.sampled_from(("True", "False")), st.just(""), maybe_times
    )
    status = JobStatus(
        succeeded=draw(st.integers(0, 1)),
        failed=draw(st.integers(0, 1)),
        start_time=draw(maybe_times),
        completion_time=draw(maybe_times),
        conditions=tuple(draw(st.lists(condition, max_size=2))),
    )
    return replace(value.value, status=status)


def _some(things: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    by_name = {"max_size": 3, "unique_by": lambda thing: thing.metadata.name}
    return st.lists(things, **by_name).map(tuple)  # type: ignore[arg-type]


@st.composite
def owners(draw: st.DrawFn) -> tuple[Owner, ...]:
    """Return what a live read may say of owners; those not named are gone."""
    found = []
    for name in ("Workflow/u", "Workflow/v", "ReplicaSet/set", "StatefulSet/*"):
        verdict = draw(st.sampled_from(("gone", "gone", "still", "over", "failed")))
        kind, _, short = name.partition("/")
        seen = workflow(short) if kind == "Workflow" else None
        if verdict == "still":
            found.append(still(name, seen=seen))
        elif verdict != "gone":
            ending = Ending(draw(maybe_times), verdict == "failed")
            found.append(Owner(name, ending, seen=seen))
    return tuple(found)


def worlds(*, sound: bool = False) -> st.SearchStrategy[Observed]:
    """Return any observation; sound: of an unfinished object that asks for something sensible."""
    return st.builds(
        Observed,
        evc=evcs(sound=True) if sound else st.none() | evcs() | evcs(),
        claim=st.none() | claims() | claims(),
        pods=_some(pods()),
        jobs=_some(jobs()),
        live=st.booleans(),
        mounted_by=st.sampled_from((None, (), ("Node/n1",))),
        owners=owners(),
    )


@st.composite
def nearly_over(draw: st.DrawFn) -> Observed:
    """Return a world in which about one thing, if any, stands between a claim and its deletion."""
    seen = draw(worlds(sound=True))
    assert seen.evc is not None
    mended = st.integers(0, 5).map(bool)
    spec, status = seen.evc.spec, seen.evc.status
    if draw(mended):
        spec = replace(spec, hold=False)
    if draw(mended):
        status = replace(status, claim=ClaimReference("scratch", "claim-1"))
    owner = replace(seen.evc, spec=spec, status=status)
    return Observed(
        evc=owner,
        claim=claim().marked_for(owner).value if draw(mended) else seen.claim,
        pods=tuple(p for p in seen.pods if p.terminal) if draw(mended) else seen.pods,
        jobs=() if draw(mended) else seen.jobs,
        owners=() if draw(mended) else seen.owners,
        live=draw(st.booleans()),
    )
