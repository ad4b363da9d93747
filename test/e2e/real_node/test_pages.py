"""What the pages tell that needs a registry or a kubelet works where there is one."""

from __future__ import annotations

from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest

from e2e.conftest import ACCOUNT, NAMESPACE
from e2e.deployment import Deployment
from e2e.pages import KUBELET, REGISTRY, Reader, Section, told_with
from e2e.scenario import Json, Scenario

pytestmark = pytest.mark.disruptive

HOST, REPOSITORY, TAG = "registry.example.com", "evc", "v0.1.0"
"""As in the pages."""
OPERATOR = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{ACCOUNT}"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"


def ask_registry(method: str, reference: str) -> HTTPResponse:
    """Send one request about a manifest, by its tag or digest (OCI distribution specification)."""
    connection = HTTPConnection(HOST, timeout=10.0)
    kind = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
    connection.request(method, f"/v2/{REPOSITORY}/manifests/{reference}", headers=kind)
    response = connection.getresponse()
    response.read()
    connection.close()
    return response


def digest() -> str:
    """Of the image with the pages' tag; empty if there is none."""
    return ask_registry("HEAD", TAG).headers.get("Docker-Content-Digest", "")


@pytest.fixture
def nothing_deployed(operator: Deployment, scenario: Scenario) -> None:
    """No operator, and no image of it in the registry."""
    operator.stop()
    scenario.call("DELETE", OPERATOR)
    if found := digest():
        assert ask_registry("DELETE", found).status == 202
    assert not digest()


@pytest.mark.timeout(400)
@pytest.mark.usefixtures("nothing_deployed")
@pytest.mark.parametrize("section", told_with(REGISTRY), ids=lambda section: section.name)
def test_an_image_is_built_pushed_and_deployed(
    section: Section, operator: Deployment, scenario: Scenario
) -> None:
    Reader({}, has=REGISTRY).follow(section)
    operator.start()
    pods: list[Json] = scenario.call("GET", PODS)["items"]
    assert {
        (pod["spec"]["containers"][0]["image"], pod["status"]["containerStatuses"][0]["imageID"])
        for pod in pods
    } == {(f"{HOST}/{REPOSITORY}:{TAG}", f"{HOST}/{REPOSITORY}@{digest()}")}


@pytest.mark.usefixtures("operator")
@pytest.mark.parametrize("section", told_with(KUBELET), ids=lambda section: section.name)
def test_what_is_asked_of_pods_is_answered(section: Section, kubeconfig: Path) -> None:
    Reader({"KUBECONFIG": str(kubeconfig)}, has=KUBELET).follow(section)
