"""What of the caches a decision gets to see, and when it has to wait for them."""

from __future__ import annotations

from typing import Any

import pytest

from evc.controller.gather import LABELS, OwnWrites, gather
from evc.controller.observer import Unobserved
from evc.kube.resources import WORKLOADS
from evc.model.core import LabelSelector, LabelSelectorRequirement
from evc.model.meta import Key
from evc.policy.mapping import wanted_buckets
from unit.builders import (
    NAMESPACE,
    Builder,
    claim,
    evc,
    job,
    pod,
    provided,
    volume,
)

from .fakes import Cluster, workload

KEY = Key(NAMESPACE, "scratch")
RETAIN = provided().spec(when_deleted="Retain")
ELSEWHERE = {"namespace": "elsewhere"}


def test_nothing_is_seen_of_a_key_without_object_and_marked_claim() -> None:
    assert gather(Cluster().caches, KEY) is None
    assert gather(Cluster().showing(claim(), pod().worker()).caches, KEY) is None


def test_a_marked_claim_without_object_is_seen_once_it_is_deleted() -> None:
    leaving = volume().terminating()
    assert gather(Cluster().showing(volume(), pod().using()).caches, KEY) is None
    seen = gather(Cluster().showing(leaving, pod().using()).caches, KEY)
    assert seen is not None
    assert (seen.evc, seen.claim) == (None, leaving.value)
    assert [p.metadata.name for p in seen.pods] == ["worker"]


def test_caches_are_never_taken_for_a_live_read() -> None:
    seen = gather(Cluster().showing(provided(), volume()).caches, KEY)
    assert seen is not None
    assert not seen.live
    assert seen.mounted_by is None


def test_another_namespaces_objects_are_not_seen() -> None:
    things: list[Builder] = [volume(), pod().worker(), job()]
    cluster = Cluster().showing(evc(), *(thing.meta(**ELSEWHERE) for thing in things))
    seen = gather(cluster.caches, KEY)
    assert seen is not None
    assert (seen.claim, seen.pods, seen.jobs) == (None, (), ())


@pytest.mark.parametrize(
    ("left", "found"),
    [
        pytest.param(volume(RETAIN).by_us(), True, id="it is kept, and still bears our mark"),
        pytest.param(volume().terminating(), True, id="it is on its way out"),
        pytest.param(volume().by_us(), False, id="the garbage collector will delete it"),
        pytest.param(volume(RETAIN), False, id="the mark is by somebody else's hand"),
    ],
)
def test_what_a_deleted_object_left_is_looked_at_if_it_needs_help(
    left: Builder, found: bool
) -> None:
    seen = gather(Cluster().showing(volume(RETAIN).meta(name="a"), left).caches, KEY)
    assert (seen is not None and seen.claim == left.value) is found


@pytest.mark.parametrize(
    ("thing", "near"),
    [
        pytest.param(pod().worker(), True, id="a designated pod with the claim"),
        pytest.param(pod().designated(), True, id="a designated pod without it"),
        pytest.param(pod().using(), True, id="a guest"),
        pytest.param(pod().worker().succeeded(at=9), True, id="a completed pod"),
        pytest.param(pod().using("other"), False, id="a pod with another claim"),
        pytest.param(job(), True, id="a Job that makes workers"),
        pytest.param(job().making({"app": "train"}), True, id="a Job that makes designated pods"),
        pytest.param(job().making({}, claim="scratch"), True, id="a Job that makes guests"),
        pytest.param(job().making({"app": "web"}, claim="other"), False, id="a Job of others"),
    ],
)
def test_what_is_near(thing: Builder, near: bool) -> None:
    seen = gather(Cluster().showing(evc(), thing).caches, KEY)
    assert seen is not None
    assert bool(seen.pods or seen.jobs) is near


def test_a_job_is_near_through_its_pod_alone() -> None:
    """A webhook may have labelled the pods; the Job's template does not say so."""
    owner = job().making({})
    cluster = Cluster().showing(evc(), pod().worker().of(owner), owner)
    seen = gather(cluster.caches, KEY)
    assert seen is not None
    assert seen.jobs == (owner.value,)


@pytest.mark.parametrize("kind", WORKLOADS)
@pytest.mark.parametrize(
    ("made", "near"),
    [
        pytest.param({"replicas": 2}, True, id="wants pods"),
        pytest.param({"replicas": 0}, True, id="wants none"),
        pytest.param({"replicas": 2, "labels": {"app": "web"}}, False, id="others' pods"),
        pytest.param({"replicas": 2, "namespace": "elsewhere"}, False, id="elsewhere"),
    ],
)
def test_workloads_of_designated_pods_are_near(kind: str, made: dict[str, Any], near: bool) -> None:
    cluster = Cluster().showing(evc(), claim(), workload(kind, **made))
    seen = gather(cluster.caches, KEY)
    assert seen is not None
    expected = [(f"{kind}/web", made["replicas"] > 0, True)] if near else []
    assert [(o.name, o.ending is None, o.watched) for o in seen.owners] == expected


def test_without_a_claim_no_owner_matters() -> None:
    seen = gather(Cluster().showing(evc(), workload("Deployment", 2)).caches, KEY)
    assert seen is not None
    assert seen.owners == ()


def test_an_empty_selector_designates_nobody() -> None:
    empty = evc().selecting(type(evc().value.spec.pod_selector)())
    seen = gather(
        Cluster().showing(empty, pod().designated(), job().making({"app": "train"})).caches, KEY
    )
    assert seen is not None
    assert (seen.pods, seen.jobs) == ((), ())


def test_a_selector_of_expressions_alone_is_followed() -> None:
    """It has no label pair to look up: everything of the namespace is tried."""
    exists = LabelSelector({}, (LabelSelectorRequirement("app", "Exists"),))
    cluster = Cluster().showing(evc().selecting(exists), pod().designated(), pod("bare"))
    seen = gather(cluster.caches, KEY)
    assert seen is not None
    assert [p.metadata.name for p in seen.pods] == ["worker"]


def test_of_two_labels_the_rarer_one_is_looked_up() -> None:
    both = LabelSelector({"app": "train", "run": "7"})
    crowd = [pod(f"other-{number}").designated() for number in range(9)]
    mine = pod("mine").designated().meta(labels={"app": "train", "run": "7"})
    cluster = Cluster().showing(evc().selecting(both), *crowd, mine)
    assert cluster.caches.pods.by_rarest(LABELS, wanted_buckets(evc().selecting(both).value)) == [
        mine.value
    ]
    seen = gather(cluster.caches, KEY)
    assert seen is not None
    assert [p.metadata.name for p in seen.pods] == ["mine"]


class TestOwnWrites:
    """KEP-5647: no decision on a cache that does not know what we did a moment ago."""

    def test_a_key_nobody_wrote_is_visible(self) -> None:
        assert OwnWrites(Cluster().caches).visible(KEY)

    @pytest.mark.parametrize("what", ["claim", "pvc"])
    def test_a_key_is_visible_once_the_cache_has_seen_the_write(self, what: str) -> None:
        cluster = Cluster().showing(evc(), volume())
        writes = OwnWrites(cluster.caches)
        if what == "claim":
            newer: Builder = evc().meta(resource_version="50")
            writes.wrote_claim(newer.value)
        else:
            newer = volume().meta(resource_version="50")
            writes.wrote_pvc(newer.value)
        assert not writes.visible(KEY)
        assert writes.visible(Key(NAMESPACE, "other"))
        cluster.showing(newer)
        assert writes.visible(KEY)

    def test_a_bookmark_is_enough(self) -> None:
        cluster = Cluster()
        writes = OwnWrites(cluster.caches)
        writes.wrote_claim(evc().value)
        cluster.writers[type(evc().value)].bookmark("10")
        assert writes.visible(KEY)

    def test_both_writes_have_to_be_seen(self) -> None:
        cluster = Cluster().showing(evc())
        writes = OwnWrites(cluster.caches)
        writes.wrote_claim(evc().value)
        writes.wrote_pvc(volume().value)
        assert not writes.visible(KEY)
        cluster.showing(volume())
        assert writes.visible(KEY)

    def test_what_was_seen_is_forgotten(self) -> None:
        cluster = Cluster().showing(evc())
        writes = OwnWrites(cluster.caches)
        writes.wrote_claim(evc().value)
        assert writes.visible(KEY)
        assert not writes._claims

    @pytest.mark.parametrize("resource", ["ephemeralvolumeclaims", "persistentvolumeclaims"])
    def test_which_cache_lags_is_told_each_time(self, resource: str) -> None:
        told: list[tuple[str, str]] = []

        class Told(Unobserved):
            def stale(self, group: str, resource: str) -> None:
                told.append((group, resource))

        writes = OwnWrites(Cluster().showing(evc().meta(resource_version="10")).caches, Told())
        if resource == "ephemeralvolumeclaims":
            writes.wrote_claim(evc().meta(resource_version="50").value)
        else:
            writes.wrote_pvc(volume().value)
        assert not writes.visible(KEY)
        assert not writes.visible(KEY)
        assert told == [("evc.dev" if resource.startswith("e") else "", resource)] * 2
