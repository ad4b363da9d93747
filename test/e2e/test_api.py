"""What the API server refuses, with the words a user sees (OpenAPI and CEL in the CRD)."""

from __future__ import annotations

from typing import Any

import pytest

from e2e import manifests
from e2e.scenario import Refused, Scenario


def template(**changes: Any) -> dict[str, Any]:
    return {"spec": manifests.pvc_spec() | changes}


RESERVED = "keys under kubernetes.io, k8s.io, evc.dev and argoproj.io are reserved"

REFUSED_AT_CREATION = {
    "an empty selector": (
        {"podSelector": {}},
        "an empty podSelector would designate every pod: name at least one label",
    ),
    "a selector with empty labels": (
        {"podSelector": {"matchLabels": {}}},
        "an empty podSelector would designate every pod",
    ),
    "an unknown selector operator": (
        {"podSelector": {"matchExpressions": [{"key": "app", "operator": "Like"}]}},
        'Unsupported value: "Like"',
    ),
    "an In without values": (
        {"podSelector": {"matchExpressions": [{"key": "app", "operator": "In"}]}},
        "operators In and NotIn need values, Exists and DoesNotExist take none",
    ),
    "M less than N": (
        {"minimumWaitSeconds": 100, "expirySeconds": 99},
        "expirySeconds must be at least minimumWaitSeconds: raise expirySeconds",
    ),
    "a negative duration": ({"gracePeriodSeconds": -1}, "should be greater than or equal to 0"),
    "neither template nor existing claim": (
        {"volumeClaimTemplate": None},
        "give either volumeClaimTemplate or existingClaimName, and not both",
    ),
    "both template and existing claim": (
        {"existingClaimName": "data"},
        "give either volumeClaimTemplate or existingClaimName, and not both",
    ),
    "a reserved label": (
        {"volumeClaimTemplate": template() | {"metadata": {"labels": {"a.kubernetes.io/b": "x"}}}},
        RESERVED,
    ),
    "our own mark": (
        {
            "volumeClaimTemplate": template()
            | {"metadata": {"annotations": {"evc.dev/owner-uid": "x"}}}
        },
        RESERVED,
    ),
    "Argo CD's tracking key": (
        {
            "volumeClaimTemplate": template()
            | {"metadata": {"annotations": {"argocd.argoproj.io/tracking-id": "x"}}}
        },
        RESERVED,
    ),
    "a size that is none": (
        {"volumeClaimTemplate": template(resources={"requests": {"storage": "much"}})},
        "must be a quantity above zero, such as 500Gi",
    ),
    "a size of zero": (
        {"volumeClaimTemplate": template(resources={"requests": {"storage": "0"}})},
        "must be a quantity above zero, such as 500Gi",
    ),
    "no access mode": (
        {"volumeClaimTemplate": template(accessModes=[])},
        "should have at least 1 items",
    ),
    "an unknown access mode": (
        {"volumeClaimTemplate": template(accessModes=["ReadWriteTwice"])},
        'Unsupported value: "ReadWriteTwice"',
    ),
    "an unknown action": ({"onFailure": {"action": "Keep"}}, 'Unsupported value: "Keep"'),
    "an unknown policy for completed pods": (
        {"completedPods": "Strip"},
        'Unsupported value: "Strip"',
    ),
}


@pytest.mark.parametrize(
    ("spec", "says"), REFUSED_AT_CREATION.values(), ids=REFUSED_AT_CREATION.keys()
)
def test_refused_at_creation(scenario: Scenario, spec: dict[str, Any], says: str) -> None:
    manifest = manifests.claim("bad", **spec)
    manifest["spec"] = {
        name: value for name, value in manifest["spec"].items() if value is not None
    }
    with pytest.raises(Refused) as refusal:
        scenario.create("evc", manifest)
    assert says in str(refusal.value)


PINNING = {
    "a volume by name": {"volumeName": "somebody-elses"},
    "a volume by selector": {"selector": {"matchLabels": {"team": "other"}}},
    "a source in another namespace": {
        "dataSourceRef": {"kind": "PersistentVolumeClaim", "name": "x", "namespace": "other"}
    },
}


@pytest.mark.parametrize("change", PINNING.values(), ids=PINNING.keys())
def test_what_could_pin_or_steal_is_not_in_the_api(
    scenario: Scenario, change: dict[str, Any]
) -> None:
    """Strict clients (kubectl) are refused; for lenient ones the field is dropped."""
    manifest = manifests.claim("pin", volumeClaimTemplate=template(**change))
    with pytest.raises(Refused) as refusal:
        scenario.call("POST", scenario.path("evc") + "?fieldValidation=Strict", manifest)
    assert "unknown field" in str(refusal.value)
    stored = scenario.create("evc", manifest)["spec"]["volumeClaimTemplate"]["spec"]
    assert "volumeName" not in stored
    assert "selector" not in stored
    assert "namespace" not in stored.get("dataSourceRef", {})


REFUSED_CHANGES = {
    "another selector": (
        {"podSelector": {"matchLabels": {"app": "other"}}},
        "podSelector cannot be changed: delete this EphemeralVolumeClaim and create another",
    ),
    "another access mode": (
        {"volumeClaimTemplate": template(accessModes=["ReadWriteMany"])},
        "accessModes cannot be changed",
    ),
    "another class": (
        {"volumeClaimTemplate": template(storageClassName="other")},
        "storageClassName cannot be changed",
    ),
    "another volume mode": (
        {"volumeClaimTemplate": template(volumeMode="Block")},
        "volumeMode cannot be changed",
    ),
    "a source": (
        {"volumeClaimTemplate": template(dataSource={"kind": "VolumeSnapshot", "name": "x"})},
        "dataSource cannot be changed",
    ),
    "a populator": (
        {"volumeClaimTemplate": template(dataSourceRef={"kind": "Populator", "name": "x"})},
        "dataSourceRef cannot be changed",
    ),
    "a smaller size": (
        {"volumeClaimTemplate": template(resources={"requests": {"storage": "500Mi"}})},
        "a volume can grow but not shrink",
    ),
    "an existing claim instead": (
        {"volumeClaimTemplate": None, "existingClaimName": "data"},
        "existingClaimName cannot be changed",
    ),
}


@pytest.mark.parametrize(("change", "says"), REFUSED_CHANGES.values(), ids=REFUSED_CHANGES.keys())
def test_refused_as_a_change(scenario: Scenario, change: dict[str, Any], says: str) -> None:
    scenario.create("evc", manifests.claim("good"))
    with pytest.raises(Refused) as refusal:
        scenario.patch("evc", "good", {"spec": change})
    assert says in str(refusal.value)


def test_what_may_change_does(scenario: Scenario) -> None:
    scenario.create("evc", manifests.claim("good"))
    grown = template(resources={"requests": {"storage": "2048Mi"}})
    grown["metadata"] = {"labels": {"team": "blue"}}
    change = {
        "minimumWaitSeconds": 1,
        "expirySeconds": 2,
        "gracePeriodSeconds": 3,
        "hold": True,
        "onFailure": {"action": "Retain"},
        "ttlSecondsAfterFinished": 4,
        "volumeClaimTemplate": grown,
    }
    spec = scenario.patch("evc", "good", {"spec": change})["spec"]
    assert spec["volumeClaimTemplate"]["spec"]["resources"]["requests"]["storage"] == "2048Mi"


def test_defaults_are_those_of_the_documentation(scenario: Scenario) -> None:
    manifest = manifests.claim("plain")
    manifest["spec"] = {
        name: manifest["spec"][name] for name in ("podSelector", "volumeClaimTemplate")
    }
    spec = scenario.create("evc", manifest)["spec"]
    assert (spec["minimumWaitSeconds"], spec["expirySeconds"], spec["gracePeriodSeconds"]) == (
        60,
        86400,
        30,
    )
    assert spec["completedPods"] == "Release"
    assert spec["ttlSecondsAfterFinished"] == 0
    assert "whenDeleted" not in spec
