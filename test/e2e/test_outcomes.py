"""What becomes of the volume by outcome, and of one that was taken over."""

from __future__ import annotations

import pytest

from e2e import manifests
from e2e.scenario import Audit, Scenario, condition, phase

pytestmark = pytest.mark.usefixtures("operator")

RETAIN = {"action": "Retain"}
MARKS = ("evc.dev/owner-uid", "evc.dev/owner-name", "evc.dev/completed-pods", "evc.dev/adopt-by")


def assert_let_go(claim: dict[str, object]) -> None:
    """Nothing of ours is left on the PersistentVolumeClaim."""
    meta: dict[str, object] = claim["metadata"]  # type: ignore[assignment]
    annotations: dict[str, str] = meta.get("annotations", {})  # type: ignore[assignment]
    assert not set(MARKS) & set(annotations)
    assert not meta.get("ownerReferences")
    assert "deletionTimestamp" not in meta


def test_a_failed_jobs_volume_is_kept(scenario: Scenario, audit: Audit) -> None:
    scenario.create("evc", manifests.claim("scratch", onFailure=RETAIN, ttlSecondsAfterFinished=60))
    scenario.until_bound("scratch")
    scenario.create(
        "job", manifests.job("crunch", "scratch", spec={"backoffLimit": 0}, fail_after="200ms")
    )
    claim = scenario.until_reason("scratch", "Retained")
    assert claim["status"]["outcome"] == "Failed"
    assert condition(claim, "Finished")["status"] == "True"
    assert_let_go(scenario.get("pvc", "scratch"))
    scenario.delete("evc", "scratch")
    scenario.until_gone("evc", "scratch")
    scenario.stays("pvc", "scratch", seconds=2)
    assert not audit.writes(scenario.namespace, "persistentvolumeclaims", "delete")


def test_a_successful_jobs_volume_goes_although_failures_are_kept(scenario: Scenario) -> None:
    scenario.create("evc", manifests.claim("scratch", onFailure=RETAIN))
    scenario.until_bound("scratch")
    job = manifests.job("crunch", "scratch", complete_after="200ms")
    scenario.create("job", job)
    scenario.until_gone("evc", "scratch")
    assert not scenario.get("pvc", "scratch")


def test_a_retained_volume_outlives_its_claim_that_goes_at_once(scenario: Scenario) -> None:
    scenario.create("evc", manifests.claim("scratch", onSuccess=RETAIN))
    scenario.until_bound("scratch")
    scenario.create("pod", manifests.pod("quick", "scratch", complete_after="100ms"))
    scenario.until_gone("evc", "scratch")
    scenario.stays("pvc", "scratch", seconds=2)
    assert_let_go(scenario.get("pvc", "scratch"))


def test_an_expired_claim_can_be_kept(scenario: Scenario) -> None:
    scenario.create(
        "evc",
        manifests.claim("scratch", expirySeconds=5, onExpiry=RETAIN, ttlSecondsAfterFinished=60),
    )
    claim = scenario.until_reason("scratch", "Retained")
    assert claim["status"]["outcome"] == "Expired"
    assert_let_go(scenario.get("pvc", "scratch"))


def adopting(name: str, existing: str, **spec: object) -> dict[str, object]:
    manifest = manifests.claim(name, existingClaimName=existing, **spec)
    del manifest["spec"]["volumeClaimTemplate"]
    return manifest


def test_an_existing_claim_is_taken_over_and_deleted_when_its_job_is_over(
    scenario: Scenario,
) -> None:
    scenario.create("evc", adopting("cleanup", "data", ttlSecondsAfterFinished=60))
    scenario.until_reason("cleanup", "ClaimNotFound")
    scenario.create("pvc", manifests.pvc("data"))
    asked = scenario.until_reason("cleanup", "Conflict")
    assert (
        "kubectl annotate pvc data evc.dev/adopt-by=cleanup" in condition(asked, "Ready")["message"]
    )
    assert "evc.dev/owner-uid" not in scenario.get("pvc", "data")["metadata"].get("annotations", {})
    scenario.patch("pvc", "data", {"metadata": {"annotations": {"evc.dev/adopt-by": "cleanup"}}})
    scenario.until_reason("cleanup", "Waiting")
    job = manifests.job("crunch", "data", complete_after="200ms")
    job["spec"]["template"]["metadata"]["labels"] = {"app": "cleanup"}
    scenario.create("job", job)
    scenario.until_reason("cleanup", "Deleted")
    assert not scenario.get("pvc", "data")
    (pod,) = scenario.items("pod")
    assert phase(pod) == "Succeeded"


def test_deleting_an_adopting_claim_keeps_the_volume(scenario: Scenario) -> None:
    pvc = manifests.pvc("data")
    pvc["metadata"]["annotations"] = {"evc.dev/adopt-by": "cleanup"}
    scenario.create("pvc", pvc)
    scenario.create("evc", adopting("cleanup", "data"))
    scenario.until_reason("cleanup", "Waiting")
    scenario.delete("evc", "cleanup")
    scenario.until_gone("evc", "cleanup")
    scenario.stays("pvc", "data", seconds=2)


def test_an_adopting_claim_can_take_the_volume_along(scenario: Scenario) -> None:
    pvc = manifests.pvc("data")
    pvc["metadata"]["annotations"] = {"evc.dev/adopt-by": "cleanup"}
    scenario.create("pvc", pvc)
    scenario.create("evc", adopting("cleanup", "data", whenDeleted="Delete"))
    scenario.until_reason("cleanup", "Waiting")
    scenario.delete("evc", "cleanup")
    scenario.until_gone("pvc", "data")


def test_a_changed_template_is_followed_also_in_what_it_no_longer_says(
    scenario: Scenario,
) -> None:
    manifest = manifests.claim("scratch")
    manifest["spec"]["volumeClaimTemplate"]["metadata"] = {
        "labels": {"team": "blue", "cost": "42"},
        "annotations": {"example.com/note": "first"},
    }
    scenario.create("evc", manifest)
    scenario.until_bound("scratch")
    scenario.patch("pvc", "scratch", {"metadata": {"labels": {"theirs": "yes"}}})

    def change(metadata: dict[str, object]) -> None:
        scenario.patch("evc", "scratch", {"spec": {"volumeClaimTemplate": {"metadata": metadata}}})

    def labels() -> dict[str, str]:
        found: dict[str, str] = scenario.get("pvc", "scratch")["metadata"]["labels"]
        return found

    ours = {"app.kubernetes.io/managed-by": "evc", "theirs": "yes"}
    assert labels() == ours | {"team": "blue", "cost": "42"}
    change({"labels": {"team": "red", "cost": None}})
    scenario.eventually(lambda: labels() == ours | {"team": "red"}, "cost is taken off")
    change({"labels": None, "annotations": None})
    scenario.eventually(lambda: labels() == ours, "team is taken off")
    annotations = scenario.get("pvc", "scratch")["metadata"]["annotations"]
    assert "example.com/note" not in annotations
    assert annotations["evc.dev/owner-name"] == "scratch"


def test_a_volume_whose_class_cannot_grow_lives_on(scenario: Scenario) -> None:
    scenario.create("evc", manifests.claim("scratch"))
    scenario.until_bound("scratch")
    grown = {"spec": {"resources": {"requests": {"storage": "2Gi"}}}}
    scenario.patch("evc", "scratch", {"spec": {"volumeClaimTemplate": grown}})
    note = scenario.eventually(
        lambda: scenario.notes("scratch").get("UpdateRefused"), "the refusal is told"
    )
    assert "could not update PersistentVolumeClaim scratch" in note
    conditions = {
        kind: condition(scenario.get("evc", "scratch"), kind) for kind in ("Ready", "Stalled")
    }
    assert (conditions["Ready"]["status"], conditions["Ready"]["reason"]) == ("True", "Waiting")
    assert (conditions["Stalled"]["status"], conditions["Stalled"]["reason"]) == (
        "True",
        "UpdateRefused",
    )
    scenario.create("pod", manifests.pod("quick", "scratch", complete_after="100ms"))
    scenario.until_gone("evc", "scratch")
