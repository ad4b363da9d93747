"""Metrics of a running operator: true after a claim's life, and closed to strangers."""

from __future__ import annotations

import http.client
import shutil
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cluster import ControlPlane
from cluster.pki import Authority
from e2e import manifests
from e2e.scenario import Operator, Scenario, evc_cli, eventually, free_port

REFERENCE = Path(__file__).parents[2] / "docs/reference/metrics.md"
RBAC = Path(__file__).parents[2] / "config/rbac"
SYSTEM = "evc-system"
GI = 2**30


class Page:
    """One scrape."""

    def __init__(self, text: str) -> None:
        self.families = {
            family.name + ("_total" if family.type == "counter" else ""): family
            for family in text_string_to_metric_families(text)
        }
        self._samples = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in self.families.values()
            for sample in family.samples
        }

    def __call__(self, name: str, /, **labels: str) -> float:
        return self._samples[name, frozenset(labels.items())]

    def find(self, name: str, /, **labels: str) -> float | None:
        return self._samples.get((name, frozenset(labels.items())))


def scraped(operator: Operator) -> Page:
    code, text = operator.fetch(operator.metrics, "/metrics")
    assert code == 200, text
    return Page(text)


def test_after_a_life_the_metrics_have_counted_it(operator: Operator, scenario: Scenario) -> None:
    scenario.create("evc", manifests.claim("scratch", gracePeriodSeconds=2))
    scenario.create("pod", manifests.pod("worker", "scratch"))
    # The operator counts what its own watch brings back, a moment after others read it.
    during = eventually(
        lambda: page if (page := scraped(operator))("evc_claims", reason="InUse") == 1 else None,
        "the claim is counted as in use",
    )
    assert during("evc_blocked_claims", by="pods") == 1
    assert during("evc_held_bytes") == GI
    assert during("evc_deletions_total", outcome="Succeeded") == 0
    scenario.patch(
        "pod", "worker", {"metadata": {"annotations": {manifests.COMPLETE_AFTER: "100ms"}}}
    )
    scenario.until_gone("evc", "scratch")
    seconds = "evc_deletion_duration_seconds_count"  # the last of them
    after = eventually(
        lambda: page if (page := scraped(operator))(seconds) == 1 else None,
        "the volume is no longer counted",
    )
    assert after("evc_held_bytes") == 0
    assert after("evc_claims", reason="InUse") == 0
    assert after("evc_blocked_claims", by="pods") == 0
    assert after("evc_deletions_total", outcome="Succeeded") == 1
    assert after("evc_deletions_total", outcome="Expired") == 0
    assert after("evc_reclaimed_bytes_total") == GI
    assert after("evc_deletion_delay_seconds_count") == 1
    assert 0 <= after("evc_deletion_delay_seconds_sum") < 20
    # The completed pod pins it for ten seconds, until it is let go of.
    assert 0 < after("evc_deletion_duration_seconds_sum") < 60
    assert after("evc_deletions_put_off_total", limit="rate") == 0
    assert after("evc_deletion_breaker_open") == 0
    assert 0 <= after("evc_informer_stale_seconds", resource="pods") < 90


def test_reconciles_and_requests_are_counted_as_controller_runtime_does(
    operator: Operator, scenario: Scenario, control_plane: ControlPlane
) -> None:
    scenario.create("evc", manifests.claim("scratch"))
    scenario.until_bound("scratch")
    scenario.until_reason("scratch", "Waiting")
    name = {"name": "ephemeralvolumeclaim", "controller": "ephemeralvolumeclaim"}
    me = {"controller": "ephemeralvolumeclaim"}
    page = eventually(
        lambda: (
            page
            if (page := scraped(operator))("workqueue_depth", **name, priority="0") == 0
            else None
        ),
        "the queue is empty",
    )
    assert page("controller_runtime_reconcile_total", **me, result="requeue_after") >= 1
    assert page("controller_runtime_reconcile_panics_total", **me) == 0
    assert page("controller_runtime_max_concurrent_reconciles", **me) == 10
    assert page("workqueue_adds_total", **name) >= 1
    host = urlsplit(control_plane.url).netloc
    assert page("rest_client_requests_total", code="201", method="POST", host=host) >= 1


def test_the_reference_names_all_metrics_and_no_other(
    scenario: Scenario, operator_kubeconfig: Path, tmp_path: Path
) -> None:
    args = ("-n", scenario.namespace, "--leader-elect", f"--leader-election-namespace={SYSTEM}")
    operator = Operator(operator_kubeconfig, tmp_path / "log", *args)
    operator.start()
    lease = "ephemeralvolumeclaim.evc.dev"
    eventually(
        lambda: scraped(operator).find("leader_election_master_status", name=lease) == 1,
        "it leads",
    )
    page = scraped(operator)
    operator.close()
    assert page("leader_election_slowpath_total", name=lease) == 0
    table = REFERENCE.read_text().partition("## Buckets")[0]
    told = {line.split("`")[1] for line in table.splitlines() if line.startswith("| `")}
    assert set(page.families) == told


class Answer(NamedTuple):
    """What a scraper got, and the certificate it was shown."""

    code: int
    body: str
    certificate: bytes


def scrape(port: int, token: str = "", *, authority: Path | None = None) -> Answer:
    """GET /metrics over TLS; with an authority, only from a server that it certified."""
    context = ssl.create_default_context(cafile=str(authority) if authority else None)
    if authority is None:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=20, context=context)
    try:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        connection.request("GET", "/metrics", headers=headers)
        shown = connection.sock.getpeercert(binary_form=True)
        response = connection.getresponse()
        return Answer(response.status, response.read().decode(), shown)
    finally:
        connection.close()


@pytest.fixture(scope="module")
def metrics_roles(
    control_plane: ControlPlane, operator_kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The roles of config/rbac for secure metrics, with the names a deployment gives them."""
    folder = tmp_path_factory.mktemp("rbac")
    files = (
        "service_account.yaml",
        "metrics_auth_role.yaml",
        "metrics_auth_role_binding.yaml",
        "metrics_reader_role.yaml",
    )
    for file in files:
        shutil.copy(RBAC / file, folder / file)
    listed = "".join(f"  - {file}\n" for file in files)
    kustomization = f"namespace: {SYSTEM}\nnamePrefix: evc-\nresources:\n{listed}"
    (folder / "kustomization.yaml").write_text(kustomization)
    control_plane.kubectl("apply", "-k", str(folder))


@pytest.fixture
def secure(
    metrics_roles: None, scenario: Scenario, operator_kubeconfig: Path, tmp_path: Path
) -> Iterator[Operator]:
    """An operator whose metrics are closed, with a certificate of its own making."""
    args = ("-n", scenario.namespace, "--metrics-secure")
    process = Operator(operator_kubeconfig, tmp_path / "operator.log", *args)
    process.start()
    yield process
    process.close()


def token_of(control_plane: ControlPlane, namespace: str, name: str) -> str:
    """A ServiceAccount's own token, made by the API server."""
    control_plane.kubectl("create", "serviceaccount", name, "-n", namespace)
    return control_plane.kubectl("create", "token", name, "-n", namespace).strip()


def allow(control_plane: ControlPlane, namespace: str, name: str) -> None:
    """Let it read metrics."""
    control_plane.kubectl(
        "create",
        "clusterrolebinding",
        f"{namespace}-{name}",
        "--clusterrole=evc-metrics-reader",
        f"--serviceaccount={namespace}:{name}",
    )


def test_only_who_may_get_metrics_reads_them(
    secure: Operator, control_plane: ControlPlane, scenario: Scenario
) -> None:
    stranger = token_of(control_plane, scenario.namespace, "stranger")
    reader = token_of(control_plane, scenario.namespace, "reader")
    allow(control_plane, scenario.namespace, "reader")
    assert scrape(secure.metrics)[:2] == (401, "Unauthorized\n")
    assert scrape(secure.metrics, "made.up.token")[:2] == (401, "Unauthorized\n")
    name = f"system:serviceaccount:{scenario.namespace}:stranger"
    denied = f"Authorization denied for user {name}\n"
    assert scrape(secure.metrics, stranger)[:2] == (403, denied)
    # RBAC may take a moment to reach the authorizer.
    found = eventually(
        lambda: answer if (answer := scrape(secure.metrics, reader)).code == 200 else None,
        "the reader may read",
    )
    assert Page(found.body)("evc_held_bytes") == 0
    assert Page(found.body)("certwatcher_read_certificate_total") == 0


def test_who_speaks_no_tls_is_told_nothing_and_keeps_nobody_waiting(secure: Operator) -> None:
    with pytest.raises((http.client.HTTPException, OSError)):
        secure.fetch(secure.metrics, "/metrics")
    with socket.create_connection(("127.0.0.1", secure.metrics)):
        assert scrape(secure.metrics).code == 401


def test_without_the_right_to_ask_nobody_reads(
    scenario: Scenario, control_plane: ControlPlane, with_crd: ControlPlane, tmp_path: Path
) -> None:
    """An operator that may not create TokenReviews: an error, not an open door."""
    namespace = scenario.namespace
    user = f"operator-{namespace}"
    control_plane.kubectl(
        "create", "clusterrolebinding", user, "--clusterrole=view", f"--user={user}"
    )
    control_plane.kubectl(
        "create", "clusterrole", user, "--verb=list,watch", "--resource=ephemeralvolumeclaims"
    )
    control_plane.kubectl(
        "create", "clusterrolebinding", f"{user}-evc", f"--clusterrole={user}", f"--user={user}"
    )
    kubeconfig = control_plane.kubeconfig_for(user)
    somebody = scenario.seen_by(kubeconfig)
    somebody.until_may("list", "ephemeralvolumeclaims", "evc.dev")
    somebody.until_may("list", "pods")
    process = Operator(kubeconfig, tmp_path / "log", "-n", namespace, "--metrics-secure")
    process.start()
    assert scrape(process.metrics, token_of(control_plane, namespace, "reader")).code == 500
    assert "Could not check who reads the metrics" in process.log.read_text()
    process.close()


def test_a_rotated_certificate_is_served_without_a_restart(
    metrics_roles: None,
    control_plane: ControlPlane,
    scenario: Scenario,
    operator_kubeconfig: Path,
    tmp_path: Path,
) -> None:
    authority, folder = Authority(), tmp_path / "certificate"
    ca = tmp_path / "ca.crt"
    ca.write_bytes(authority.certificate)
    folder.mkdir()
    authority.server(["metrics"], ["127.0.0.1"]).write(folder, "tls")
    args = ("-n", scenario.namespace, "--metrics-secure", f"--metrics-cert-path={folder}")
    process = Operator(operator_kubeconfig, tmp_path / "log", *args)
    process.start()
    reader = token_of(control_plane, scenario.namespace, "reader")
    allow(control_plane, scenario.namespace, "reader")
    eventually(lambda: scrape(process.metrics, reader, authority=ca).code == 200, "it reads")
    before = scrape(process.metrics, reader, authority=ca)
    authority.server(["metrics"], ["127.0.0.1"]).write(folder, "tls")
    after = scrape(process.metrics, reader, authority=ca)
    process.close()
    assert (before.code, after.code) == (200, 200)
    assert before.certificate != after.certificate
    assert Page(before.body)("certwatcher_read_certificate_total") == 1
    assert Page(after.body)("certwatcher_read_certificate_total") == 2
    assert Page(after.body)("certwatcher_read_certificate_errors_total") == 0


def test_a_certificate_of_no_use_is_one_clear_line(
    operator_kubeconfig: Path, scenario: Scenario, tmp_path: Path
) -> None:
    result = evc_cli(
        "run",
        *("--kubeconfig", str(operator_kubeconfig), "-n", scenario.namespace),
        *("--health-probe-bind-address", "0", "--metrics-bind-address", f":{free_port()}"),
        *("--metrics-cert-path", str(tmp_path)),
    )
    assert result.returncode == 1
    (line,) = (line for line in result.stderr.splitlines() if line.startswith("Error"))
    assert f"cannot use the certificate in --metrics-cert-path {tmp_path}" in line
    assert "Traceback" not in result.stderr
