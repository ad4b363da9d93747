"""From template to claim: what is made, marked, updated and let go of."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from evc.model.core import PersistentVolumeClaim
from evc.model.evc import REQUEST_ID, ClaimReference
from evc.policy import template
from unit.builders import (
    REQUEST,
    ClaimBuilder,
    EvcBuilder,
    adopting,
    claim,
    evc,
    offered,
    provided,
    volume,
)

from .tiny import merged

OURS = {
    "apiVersion": "evc.dev/v1alpha1",
    "kind": "EphemeralVolumeClaim",
    "name": "scratch",
    "uid": "evc-1",
    "controller": True,
}
OTHER = evc("other", uid="evc-2").value


def patched(before: ClaimBuilder, patch: dict[str, Any] | None) -> PersistentVolumeClaim:
    assert patch is not None
    assert patch["metadata"]["uid"] == before.value.metadata.uid
    assert patch["metadata"]["resourceVersion"] == before.value.metadata.resource_version
    return msgspec.convert(merged(msgspec.to_builtins(before.value), patch), PersistentVolumeClaim)


@pytest.mark.parametrize(
    ("owner", "owns"),
    [
        pytest.param(evc(), True, id="made from the template: Delete"),
        pytest.param(evc().adopting("data"), False, id="taken over: Retain"),
        pytest.param(evc().spec(when_deleted="Retain"), False, id="Retain said"),
        pytest.param(evc().adopting("data").spec(when_deleted="Delete"), True, id="Delete said"),
        pytest.param(evc().spec(when_deleted="Delete"), True, id="the default said"),
    ],
)
def test_when_deleted_defaults_to_what_nobody_regrets(owner: EvcBuilder, owns: bool) -> None:
    assert owner.value.owns is owns
    if not owner.value.adopts:
        intent = ClaimReference("scratch", request_id="7")
        metadata = template.manifest(owner.value, intent)["metadata"]
        assert metadata["annotations"] == template.mark(owner.value) | {REQUEST_ID: "7"}
        assert metadata.get("ownerReferences", []) == ([OURS] if owns else [])


@pytest.mark.parametrize(
    "owner",
    [adopting(), adopting().spec(when_deleted="Delete"), adopting().spec(completed_pods="Wait")],
    ids=["default", "whenDeleted Delete", "completedPods Wait"],
)
def test_taking_over_puts_the_whole_mark_on_this_very_version(owner: EvcBuilder) -> None:
    before = offered().labelled(team="a").owned_by(OTHER)
    after = patched(before, template.remark(before.value, owner.value))
    wanted = template.mark(owner.value)
    assert after.metadata.annotations == before.value.metadata.annotations | wanted
    assert after.metadata.labels == {"team": "a"}
    uids = [o.uid for o in after.metadata.owner_references]
    assert uids == (["evc-2", "evc-1"] if owner.value.owns else ["evc-2"])
    assert template.remark(after, owner.value) is None
    assert template.ours(after, owner.status(claim=owner.claiming(None).value.status.claim).value)


def test_retain_said_later_takes_only_our_ownership_off() -> None:
    owner = provided().spec(when_deleted="Retain")
    before = volume().owned_by(OTHER)
    after = patched(before, template.remark(before.value, owner.value))
    assert [o.uid for o in after.metadata.owner_references] == ["evc-2"]
    assert after.metadata.annotations == before.value.metadata.annotations
    assert template.remark(after, owner.value) is None


def test_completed_pods_said_later_is_in_the_mark() -> None:
    owner = provided().spec(completed_pods="Wait")
    after = patched(volume(), template.remark(volume().value, owner.value))
    assert after.metadata.annotations["evc.dev/completed-pods"] == "Wait"


@pytest.mark.parametrize(
    ("owner", "before"),
    [(provided(), volume()), (adopting(), offered().marked_for(adopting()))],
)
def test_letting_go_leaves_nothing_of_ours(owner: EvcBuilder, before: ClaimBuilder) -> None:
    before = before.labelled(team="a").owned_by(OTHER).annotated(hold="false")
    after = patched(before, template.letting_go(before.value, owner.value))
    assert after.metadata.annotations == {"evc.dev/hold": "false"}
    assert after.metadata.labels == {"team": "a"}
    assert [o.uid for o in after.metadata.owner_references] == ["evc-2"]
    assert after.spec == before.value.spec


def test_letting_go_keeps_a_managed_by_that_is_not_ours() -> None:
    before = offered().marked_for(adopting()).labelled(**{"app.kubernetes.io/managed-by": "Helm"})
    after = patched(before, template.letting_go(before.value, adopting().value))
    assert after.metadata.labels == {"app.kubernetes.io/managed-by": "Helm"}


def test_letting_go_of_a_claim_whose_mark_was_rewritten_takes_only_our_ownership_off() -> None:
    before = volume().annotated(owner_uid="somebody").owned_by(OTHER)
    after = patched(before, template.letting_go(before.value, provided().value))
    assert after.metadata.annotations["evc.dev/owner-uid"] == "somebody"
    assert [o.uid for o in after.metadata.owner_references] == ["evc-2"]


def test_an_update_says_all_that_is_ours_and_nothing_that_cannot_change() -> None:
    owner = provided().template_labels({"team": "a"}, {"note": "b"}).sized("1Ti")
    assert template.update(volume().value, owner.value) == {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": "scratch",
            "namespace": "lab",
            "uid": "claim-1",
            "resourceVersion": "20",
            "labels": {"team": "a", "app.kubernetes.io/managed-by": "evc"},
            "annotations": {"note": "b", REQUEST_ID: REQUEST} | template.mark(owner.value),
        },
        "spec": {"resources": {"requests": {"storage": "1Ti"}}},
    }


@pytest.mark.parametrize(
    ("wanted", "present", "asked"),
    [
        ("1Ti", "500Gi", "1Ti"),
        ("1Gi", "500Gi", None),
        ("1Gi", "1024Mi", None),
        ("1025Mi", "1Gi", "1025Mi"),
        ("1G", "1Gi", None),
        ("2e9", "1Gi", "2e9"),
        ("odd", "1Gi", None),
        ("2Gi", "", None),
    ],
)
def test_a_size_only_grows_and_is_compared_by_value(
    wanted: str, present: str, asked: str | None
) -> None:
    update = template.update(volume().sized(present).value, provided().sized(wanted).value)
    got = update["spec"]["resources"]["requests"]["storage"] if update is not None else None
    assert got == asked


def test_a_label_update_never_shrinks_a_claim_that_somebody_grew() -> None:
    owner = provided().template_labels({"team": "a"})
    update = template.update(volume().sized("2Ti").value, owner.value)
    assert update is not None
    assert update["spec"] == {"resources": {"requests": {"storage": "2Ti"}}}


def test_a_taken_over_claim_has_no_template_to_follow() -> None:
    before = offered().marked_for(adopting()).whose_keys("evc", labels=("team",))
    assert template.update(before.value, adopting().value) is None


@pytest.mark.parametrize(
    "key",
    ["kubernetes.io/x", "a.kubernetes.io/x", "k8s.io/x", "volume.k8s.io/x", "evc.dev/hold",
     "x.evc.dev/y", "argocd.argoproj.io/instance"],
)  # fmt: skip
@pytest.mark.parametrize("where", ["labels", "annotations"])
def test_reserved_keys_are_refused(key: str, where: str) -> None:
    keys: tuple[dict[str, str], dict[str, str]] = ({key: ""}, {})
    owner = evc().template_labels(*(keys if where == "labels" else keys[::-1]))
    assert key in template.problem(owner.value)


@pytest.mark.parametrize("key", ["team", "example.com/x", "notkubernetes.io/x", "kubernetes.io"])
def test_other_keys_are_not(key: str) -> None:
    assert template.problem(evc().template_labels({key: ""}).value) == ""


def test_a_foreign_claim_bears_no_mark_for_anybody() -> None:
    assert not template.ours(claim().bound().value, provided().value)
