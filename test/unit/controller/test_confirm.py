"""Gate 2: what is read live, and that any doubt keeps the volume."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import convert

from evc.controller.apply import Apply
from evc.controller.confirm import Confirm
from evc.controller.events import Recorder
from evc.controller.gather import Caches, OwnWrites
from evc.controller.reconcile import CATCH_UP_SECONDS, DISAGREEMENT_SECONDS, Reconcile
from evc.controller.shared import SharedReads, namespace_key, stage
from evc.model.core import (
    AttachmentSource,
    AttachmentSpec,
    CSISource,
    Node,
    NodeStatus,
    PersistentVolume,
    Unstructured,
    VolumeAttachment,
    VolumeSpec,
)
from evc.model.errors import Forbidden, Unreachable
from evc.model.evc import EphemeralVolumeClaimStatus
from evc.model.meta import Key, ObjectMeta
from evc.policy.decide import OWNER_RECHECK_SECONDS
from evc.policy.observed import Observed
from evc.policy.plan import Note
from evc.policy.reasons import EventReason
from unit.builders import (
    NAMESPACE,
    Builder,
    at,
    evc,
    job,
    observed,
    offered,
    pod,
    provided,
    volume,
    workflow,
)

from .fakes import Cluster, RecordingClient, unlimited, workload

HERE = namespace_key(NAMESPACE)
KEY = Key(NAMESPACE, "scratch")
LEAVING = volume().terminating()
PV = PersistentVolume(ObjectMeta(name="pv-1"), VolumeSpec(CSISource("csi.example.com", "vol-7")))
OTHER_NODE = Node(ObjectMeta(name="n0"), NodeStatus(("kubernetes.io/csi/csi.example.com^vol-8",)))
DELETE = ("delete", "persistentvolumeclaims")


def confirm(client: RecordingClient, cached: Observed) -> Observed:
    """Ask, have the namespace read, and come again, as the queue would have it."""
    fake: Any = client
    reads = SharedReads(fake, lambda key: None, lambda key: None, lambda: 0.0)
    confirming = Confirm(fake, Caches(), reads)
    assert confirming(KEY, cached) is None
    reads.read(HERE)
    seen = confirming(KEY, cached)
    assert seen is not None
    return seen


def test_everything_a_deletion_rests_on_is_read_again() -> None:
    client = RecordingClient().holding(provided(), volume())
    seen = confirm(client, observed(provided(), volume()))
    assert seen.live
    assert set(client.asked) == {
        ("get", "ephemeralvolumeclaims"),
        ("get", "persistentvolumeclaims"),
        ("list", "pods"),
        ("list", "jobs"),
    }
    # No field selector: what started and ended unseen is evidence of use and of an end.
    assert ("list", "pods", NAMESPACE, "") in client.calls


def test_a_claim_whose_mark_was_rewritten_is_not_what_the_object_left() -> None:
    left = volume(provided().spec(when_deleted="Retain")).by_us()
    rewritten = left.annotated(owner_name="another", owner_uid="evc-9")
    assert confirm(RecordingClient().holding(left), observed(None, left)).claim == left.value
    assert confirm(RecordingClient().holding(rewritten), observed(None, left)).claim is None


def test_the_api_servers_clock_is_read_with_the_pods() -> None:
    client = RecordingClient(time=at(99)).holding(provided(), volume())
    assert confirm(client, observed(provided(), volume())).time == at(99)


def test_the_claim_is_read_before_its_object() -> None:
    """One the collector orphaned had lost its object before, which must not be seen alive."""
    client = RecordingClient().holding(provided(), volume())
    confirm(client, observed(provided(), volume()))
    claim, owner = ("get", "persistentvolumeclaims"), ("get", "ephemeralvolumeclaims")
    assert client.asked.index(claim) < client.asked.index(owner)


def test_a_pod_the_cache_does_not_know_is_seen() -> None:
    client = RecordingClient().holding(provided(), volume(), pod("late").worker())
    cached = observed(provided(), volume(), pod("early").worker().succeeded(at=9))
    seen = confirm(client, cached)
    assert [p.metadata.name for p in seen.pods] == ["late"]  # nor is a cached one believed


def test_a_pod_that_started_and_ended_unseen_is_evidence() -> None:
    unseen = pod("unseen").worker().succeeded(at=9)
    client = RecordingClient().holding(provided(), volume(), unseen)
    assert confirm(client, observed(provided(), volume())).pods == (unseen.value,)


def test_a_live_pod_wins_over_the_cached_one() -> None:
    client = RecordingClient().holding(provided(), volume(), pod().worker().running(since=2))
    seen = confirm(client, observed(provided(), volume(), pod().worker().succeeded(at=9)))
    assert [p.status.phase for p in seen.pods] == ["Running"]


def test_a_job_is_only_what_etcd_says() -> None:
    client = RecordingClient().holding(provided(), volume(), job().between_retries())
    seen = confirm(client, observed(provided(), volume(), job().complete(at=9)))
    assert seen.jobs == (job().between_retries().value,)


@pytest.mark.parametrize(
    ("verb", "plural"),
    [
        ("get", "ephemeralvolumeclaims"),
        ("get", "persistentvolumeclaims"),
        ("list", "pods"),
        ("list", "jobs"),
    ],
)
@pytest.mark.parametrize("error", [Forbidden("RBAC"), Unreachable("timeout")])
def test_what_cannot_be_read_keeps_the_volume(verb: str, plural: str, error: Exception) -> None:
    client = RecordingClient().holding(provided(), volume()).refuse(verb, plural, error)
    with pytest.raises(type(error)):
        confirm(client, observed(provided(), volume()))


@pytest.mark.parametrize(
    ("things", "mounts"),
    [
        pytest.param((PV, OTHER_NODE), (), id="nothing"),
        pytest.param(
            (
                PV,
                VolumeAttachment(
                    ObjectMeta(name="csi-1"), AttachmentSpec("n1", AttachmentSource("pv-1"))
                ),
            ),
            ("VolumeAttachment/csi-1",),
            id="an attachment of its volume",
        ),
        pytest.param(
            (
                PV,
                VolumeAttachment(
                    ObjectMeta(name="csi-1"), AttachmentSpec("n1", AttachmentSource("pv-2"))
                ),
            ),
            (),
            id="an attachment of another volume",
        ),
        pytest.param(
            (
                PV,
                Node(
                    ObjectMeta(name="n1"),
                    NodeStatus(("kubernetes.io/csi/csi.example.com^vol-7",)),
                ),
            ),
            ("Node/n1",),
            id="a node that has it in use",
        ),
    ],
)
def test_who_may_have_it_mounted(things: tuple[Any, ...], mounts: tuple[str, ...]) -> None:
    client = RecordingClient().holding(provided(), LEAVING, *things)
    assert confirm(client, observed(provided(), LEAVING)).mounted_by == mounts


@pytest.mark.parametrize("plural", ["volumeattachments", "persistentvolumes", "nodes"])
def test_mounts_that_may_not_be_read_are_unknown(plural: str) -> None:
    client = RecordingClient().holding(provided(), LEAVING, PV)
    for verb in ("get", "list"):
        client.refuse(verb, plural, Forbidden("namespaced install"))
    assert confirm(client, observed(provided(), LEAVING)).mounted_by is None


def test_a_volume_that_is_gone_is_not_mounted() -> None:
    client = RecordingClient().holding(provided(), LEAVING)
    assert confirm(client, observed(provided(), LEAVING)).mounted_by == ()


def test_an_unbound_claim_is_not_mounted() -> None:
    unbound = volume()._with(spec=type(volume().value.spec)()).terminating()
    client = RecordingClient().holding(provided(), unbound)
    assert confirm(client, observed(provided(), unbound)).mounted_by == ()
    assert ("list", "volumeattachments") not in client.asked


class TestReconcile:
    """The whole way, with a cache and an API server that may disagree."""

    DONE = provided().used(at=2)
    ENDED = pod().worker().succeeded(at=100)

    def reconcile(
        self, cluster: Cluster, client: RecordingClient, now: float = 500
    ) -> float | None:
        """Visit the key, read its namespace if it asks; return the last answer for the key."""
        queue = [KEY]
        visit = self.visits(cluster, client, queue, now)
        answers: dict[Key, float | None] = {}
        for key in queue:  # grows while it is walked
            answers[key] = visit.reads.read(key) if key == HERE else visit(key)
        return answers[KEY]

    def visits(
        self, cluster: Cluster, client: RecordingClient, queue: list[Key], now: float = 500
    ) -> Reconcile:
        fake: Any = client
        writes, recorder = OwnWrites(cluster.caches), Recorder(fake, "test", lambda: at(now))
        apply = Apply(
            fake,
            writes,
            recorder,
            lambda: True,
            lambda: at(now),
            unlimited(),
            dry_run=False,
        )
        reads = SharedReads(fake, queue.append, queue.append, lambda: now)
        return Reconcile(
            cluster.caches,
            writes,
            reads,
            Confirm(fake, cluster.caches, reads),
            apply,
            recorder,
            lambda: at(now),
        )

    def test_what_was_done_is_told_at_the_next_visit_although_nothing_is_left(self) -> None:
        client = RecordingClient()
        visit = self.visits(Cluster(), client, [])
        note = Note("Normal", EventReason.DELETING, "Delete", "deleting it")
        visit.events.keep(note, self.DONE.value, volume().value)
        assert visit(KEY) is None
        assert client.asked == [("post", "events")]

    def test_a_cache_that_agrees_with_etcd_deletes(self) -> None:
        world: tuple[Builder, ...] = (self.DONE, volume(), self.ENDED)
        client = RecordingClient().holding(*world)
        self.reconcile(Cluster().showing(*world), client)
        assert DELETE in client.asked

    @pytest.mark.parametrize(
        "live",
        [
            pytest.param((DONE.on_hold(), volume(), ENDED), id="hold was set"),
            pytest.param((DONE, volume().annotated(hold="true"), ENDED), id="hold on the volume"),
            pytest.param((DONE, volume(), pod("late").worker()), id="a pod came"),
            pytest.param((DONE, volume(), job().suspended()), id="a Job came"),
            pytest.param((evc(uid="evc-2"), volume(), ENDED), id="the object is another one"),
            pytest.param((DONE, volume().meta(uid="claim-2"), ENDED), id="the claim is another"),
            pytest.param((DONE.spec(grace_period_seconds=9_999), volume(), ENDED), id="grace grew"),
            pytest.param((volume(), ENDED), id="the object is gone"),
        ],
    )
    def test_what_etcd_knows_better_keeps_the_volume(self, live: tuple[Builder, ...]) -> None:
        client = RecordingClient().holding(*live)
        self.reconcile(Cluster().showing(self.DONE, volume(), self.ENDED), client)
        assert DELETE not in client.asked

    def test_a_read_that_finds_nothing_to_do_is_not_the_last_look(self) -> None:
        """It may be older than the cache's last event, after which no other comes."""
        client = RecordingClient().holding(volume(), self.ENDED)
        cluster = Cluster().showing(self.DONE, volume(), self.ENDED)
        assert self.reconcile(cluster, client) == DISAGREEMENT_SECONDS

    def test_what_was_read_for_an_earlier_plan_does_not_contradict_a_later_one(self) -> None:
        """A pod came and went within the two seconds for which a read is good."""
        running = (self.DONE, volume(), pod().worker().running(since=90))
        client = RecordingClient().holding(*running)
        visit = self.visits(Cluster().showing(*running), client, [])
        visit.reads.ask(KEY, stage(self.DONE.value, volume().value))
        visit.reads.read(HERE)
        visit(KEY)
        assert visit.reads.take(KEY) is None

    @pytest.mark.parametrize("cached", [0, 1])
    def test_a_workload_that_wants_pods_keeps_the_volume(self, cached: int) -> None:
        world: tuple[Builder, ...] = (self.DONE, volume(), self.ENDED)
        client = RecordingClient().holding(*world, workload("ReplicaSet", 1))
        cluster = Cluster().showing(*world, workload("ReplicaSet", cached))
        again = self.reconcile(cluster, client)
        assert DELETE not in client.asked
        # Its end wakes the claim, but not if the cache knows less than etcd said.
        assert again == (None if cached else DISAGREEMENT_SECONDS)
        assert (("get", "replicasets") in client.asked) == (not cached)

    def test_workloads_that_may_not_be_listed_keep_the_volume_and_status_says_so(self) -> None:
        world: tuple[Builder, ...] = (self.DONE, volume(), self.ENDED)
        client, cluster = RecordingClient().holding(*world), Cluster().showing(*world)
        cluster.caches.workloads["ReplicaSet"].error = Forbidden("RBAC")
        assert self.reconcile(cluster, client) == OWNER_RECHECK_SECONDS
        assert DELETE not in client.asked
        (status,) = (call[3]["status"] for call in client.calls if call[0] == "replace")
        assert status["heldBy"]["names"] == ("ReplicaSet/*",)

    def test_a_remembered_owner_keeps_the_volume_when_all_its_pods_are_gone(self) -> None:
        world: tuple[Builder, ...] = (self.DONE.remembering(workflow()), volume())
        client = RecordingClient().holding(*world)
        meta = ObjectMeta(name="dag", namespace=NAMESPACE, uid="Workflow-dag")
        client.running("Workflow", Unstructured(meta, {"phase": "Running"}))
        self.reconcile(Cluster().showing(*world), client)
        assert DELETE not in client.asked

    def test_nothing_is_read_live_for_what_destroys_nothing(self) -> None:
        client = RecordingClient()
        wait = self.reconcile(Cluster().showing(provided(), volume()), client, now=400)
        assert wait == 86_000
        assert {verb for verb, _ in client.asked} == {"replace"}

    def test_a_claim_the_cache_has_not_heard_of_is_not_said_to_be_missing(self) -> None:
        """An object may overtake the news of the claim it names, which was there first."""
        naming, client = evc().adopting("data"), RecordingClient()
        client.holding(naming, offered())
        self.reconcile(Cluster().showing(naming), client, now=1)
        assert ("post", "events") not in client.asked
        (status,) = (call[3]["status"] for call in client.calls if call[0] == "replace")
        assert {told["reason"] for told in status["conditions"]} >= {"Provisioning"}
        assert ("patch", "persistentvolumeclaims") in client.asked

    def test_a_missing_claim_is_looked_for_once(self) -> None:
        cluster, client = Cluster(), RecordingClient().holding(evc().adopting("data"))
        self.reconcile(cluster.showing(evc().adopting("data")), client, now=1)
        (status,) = (call[3]["status"] for call in client.calls if call[0] == "replace")
        status = convert(status, EphemeralVolumeClaimStatus)
        said = evc().adopting("data")._with(status=status).meta(resource_version="50")
        client.calls.clear()
        self.reconcile(cluster.showing(said), client, now=2)
        assert client.calls == []

    def test_a_settled_object_costs_no_request(self) -> None:
        cluster, client = Cluster(), RecordingClient()
        self.reconcile(cluster.showing(provided(), volume()), client, now=400)
        status = client.calls[0][3]["status"]
        settled = provided()._with(status=convert(status, EphemeralVolumeClaimStatus))
        client.calls.clear()
        self.reconcile(cluster.showing(settled.meta(resource_version="50")), client, now=401)
        assert client.calls == []

    def test_a_cache_behind_our_own_write_is_waited_for(self) -> None:
        cluster = Cluster().showing(self.DONE, volume(), self.ENDED)
        writes = OwnWrites(cluster.caches)
        writes.wrote_claim(self.DONE.meta(resource_version="999").value)
        unused: Any = None
        recorder = Recorder(unused, "test", lambda: at(500))
        reconcile = Reconcile(
            cluster.caches, writes, unused, unused, unused, recorder, lambda: at(500)
        )
        assert reconcile(KEY) == CATCH_UP_SECONDS
