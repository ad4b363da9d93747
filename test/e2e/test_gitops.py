"""What docs/gitops.md tells Flux to judge claims by is right: a real API server evaluates it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from cluster import ControlPlane
from e2e import manifests
from e2e.pages import told
from e2e.scenario import Json, Refused, Scenario, eventually

UNKNOWN = "an expression names what is not there"


def expressions() -> dict[str, str]:
    """The page's healthCheckExprs for our kind."""
    (check,) = (
        check
        for section in told()
        if section.name == "docs/gitops.md: Flux"
        for block in section.blocks
        if block.language == "yaml"
        for check in yaml.safe_load(block.text)["spec"].get("healthCheckExprs", ())
    )
    assert (check.pop("apiVersion"), check.pop("kind")) == (
        "evc.dev/v1alpha1",
        "EphemeralVolumeClaim",
    )
    return check


def judgement() -> str:
    """One expression of an admission policy that says what Flux would.

    Flux asks in this order, and what is none of them is in progress (its RFC 0009). There the
    fields of the object are variables; here, loops over one element make variables of them.
    """
    asked = expressions()
    words = {
        kind: f"[object.metadata].all(metadata, [object.status].all(status, {asked.pop(kind)}))"
        for kind in ("inProgress", "failed", "current")
    }
    assert not asked
    answers = "".join(f"{expression} ? '{kind}' : " for kind, expression in words.items())
    return f"{answers}'inProgress'"


class Flux:
    """Asks for the health of an object as a request would leave it, by one that is refused."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario

    def created(self, manifest: Json) -> str:
        """Of a new object, which has no status yet."""
        return self._ask("POST", self._scenario.path("evc"), manifest)

    def judges(self, name: str, **spec: Any) -> str:
        """Of one that is there; with a spec, just after that change."""
        return self._ask("PATCH", self._scenario.path("evc", name), {"spec": spec})

    def _ask(self, method: str, path: str, body: Json) -> str:
        kind = "application/merge-patch+json" if method == "PATCH" else ""
        try:
            self._scenario.call(method, f"{path}?dryRun=All", body, kind)
        except Refused as refused:
            return str(refused).rpartition("denied request: ")[2]
        return "not asked"


@pytest.fixture
def flux(with_crd: ControlPlane, scenario: Scenario) -> Iterator[Flux]:
    """A policy with the page's expressions, in force in the scenario's namespace."""
    name = f"flux-{scenario.namespace}"
    rule = {"apiGroups": ["evc.dev"], "apiVersions": ["*"], "resources": ["ephemeralvolumeclaims"]}
    here = {"matchLabels": {"kubernetes.io/metadata.name": scenario.namespace}}
    specs = {
        "ValidatingAdmissionPolicy": {
            "matchConstraints": {"resourceRules": [rule | {"operations": ["CREATE", "UPDATE"]}]},
            "matchConditions": [{"name": "asked", "expression": "request.dryRun"}],
            "validations": [
                {"expression": "false", "message": UNKNOWN, "messageExpression": judgement()}
            ],
        },
        "ValidatingAdmissionPolicyBinding": {
            "policyName": name,
            "validationActions": ["Deny"],
            "matchResources": {"namespaceSelector": here},
        },
    }
    for kind, spec in specs.items():
        item = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "spec": spec}
        text = json.dumps(item | {"metadata": {"name": name}})
        with_crd.kubectl("create", "-f", "-", input=text)
    asked = Flux(scenario)
    new = manifests.claim("new")
    eventually(lambda: asked.created(new) != "not asked", "the policy is in force")
    yield asked
    for kind in specs:
        with_crd.kubectl("delete", kind, name)


@pytest.mark.usefixtures("operator_process")
def test_flux_is_told_how_a_claim_is(flux: Flux, scenario: Scenario) -> None:
    assert flux.created(manifests.claim("new")) == UNKNOWN

    scenario.create("evc", manifests.claim("scratch"))
    scenario.until_reason("scratch", "Waiting")
    assert flux.judges("scratch") == "current"
    assert flux.judges("scratch", gracePeriodSeconds=7) == "inProgress"

    scenario.create("pvc", manifests.pvc("taken"))
    scenario.create("evc", manifests.claim("taken"))
    scenario.until_reason("taken", "Conflict")
    assert flux.judges("taken") == "failed"

    scenario.create("evc", manifests.claim("pinned", completedPods="Wait"))
    scenario.create("pod", manifests.pod("done", "pinned", complete_after="100ms"))
    scenario.until_reason("pinned", "Releasing")
    assert flux.judges("pinned") == "inProgress"

    scenario.create("evc", manifests.claim("over", ttlSecondsAfterFinished=600))
    scenario.create("pod", manifests.pod("worker", "over", complete_after="100ms"))
    scenario.until_reason("over", "Deleted")
    assert flux.judges("over") == "current"
