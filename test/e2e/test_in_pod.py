"""What a pod has, an address in the environment and two files, is enough for the client."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import certifi
import pytest
import yaml

from cluster import ControlPlane
from e2e.conftest import NAMESPACE
from e2e.scenario import Scenario, eventually
from evc.kube.client import Client, ResourceWatcher
from evc.kube.config import load
from evc.kube.resources import CLAIMS, PODS
from evc.kube.transport import Transport
from evc.model.errors import Forbidden, Unauthorized, Unreachable


@pytest.fixture
def account(with_crd: ControlPlane, operator_kubeconfig: Path, tmp_path: Path) -> Path:
    """The folder that the kubelet mounts into the operator's pod."""
    (tmp_path / "token").write_text(token(with_crd))
    published = ("get", "configmap", "kube-root-ca.crt", "-n", NAMESPACE, "-o", "yaml")
    found = eventually(
        lambda: yaml.safe_load(with_crd.kubectl(*published, "--ignore-not-found")),
        "the cluster's CA is published",
    )
    (tmp_path / "ca.crt").write_text(found["data"]["ca.crt"])
    return tmp_path


def token(plane: ControlPlane) -> str:
    """Return a new bound token of the operator's ServiceAccount."""
    return plane.kubectl("create", "token", "evc-controller-manager", "-n", NAMESPACE)


def client(plane: ControlPlane, account: Path) -> Client:
    """Return a client as a pod makes it."""
    kubeconfig = yaml.safe_load(plane.kubeconfig.read_text())
    server = urlsplit(kubeconfig["clusters"][0]["cluster"]["server"])
    environ = {
        "KUBERNETES_SERVICE_HOST": str(server.hostname),
        "KUBERNETES_SERVICE_PORT": str(server.port),
    }
    transport = Transport(
        load(None, environ, account),
        user_agent="test",
        connections=2,
        on_request=lambda method, code: None,
        wait=lambda seconds: True,
    )
    return Client(transport)


def test_a_pods_token_and_ca_are_enough_and_rbac_holds(
    with_crd: ControlPlane, account: Path, scenario: Scenario
) -> None:
    made = client(with_crd, account)
    assert made.list(CLAIMS, scenario.namespace).items == ()
    with pytest.raises(Forbidden):
        made.create(PODS, scenario.namespace, {"metadata": {"name": "mine"}})


def test_a_streaming_list_comes_over_tls_and_ends_when_interrupted(
    with_crd: ControlPlane, account: Path, scenario: Scenario
) -> None:
    watcher = ResourceWatcher(client(with_crd, account), CLAIMS, scenario.namespace)
    with watcher.watch(resource_version="", send_initial_events=True) as events:
        assert next(events).initial_events_end, "there are no claims"
        watcher.interrupt()
        with pytest.raises(Unreachable):
            next(events)


def test_a_token_that_is_replaced_is_used_from_then_on(
    with_crd: ControlPlane, account: Path, scenario: Scenario
) -> None:
    made = client(with_crd, account)
    made.list(CLAIMS, scenario.namespace)
    (account / "token").write_text("revoked")
    with pytest.raises(Unauthorized):
        made.list(CLAIMS, scenario.namespace)
    (account / "token").write_text(token(with_crd))
    made.list(CLAIMS, scenario.namespace)


def test_another_clusters_ca_is_not_trusted(
    with_crd: ControlPlane, account: Path, scenario: Scenario
) -> None:
    (account / "ca.crt").write_text(Path(certifi.where()).read_text())
    with pytest.raises(Unreachable, match="certificate verify failed"):
        client(with_crd, account).list(CLAIMS, scenario.namespace)
