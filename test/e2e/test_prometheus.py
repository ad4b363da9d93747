"""A real Prometheus reads a running operator, and its alerts and dashboard have what they need."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from cluster import ControlPlane
from cluster.pki import Authority
from e2e import manifests
from e2e.conftest import NAMESPACE
from e2e.kustomize import CONFIG
from e2e.prometheus import Prometheus, promtool
from e2e.scenario import Json, Operator, Scenario, eventually

DASHBOARD = CONFIG / "grafana/ephemeral-volume-claims.json"
JOB = "evc-controller-manager-metrics-service"
"""What the Prometheus Operator calls it: the Service's name."""
SERVER = "evc-controller-manager-metrics-service.evc-system.svc"
NOTHING_WHEN_WELL = {"absent(evc_deletion_breaker_open)": "there is an operator"}
"""Queries that must be empty, and why."""
KUBEBUILDER = [
    f'{query}{{job="{JOB}", namespace="{NAMESPACE}"}}{rest}'
    for query, rest in (
        ("controller_runtime_active_workers", ""),
        ("sum by (instance, pod) (rate(controller_runtime_reconcile_total", "[5m]))"),
        ("sum by (instance, pod) (rate(controller_runtime_reconcile_errors_total", "[5m]))"),
        ("workqueue_depth", ""),
        ("sum by (instance, name) (rate(workqueue_adds_total", "[5m]))"),
        ("sum by (instance, name) (rate(workqueue_retries_total", "[5m]))"),
        ("rate(workqueue_unfinished_work_seconds", "[5m])"),
        ("sum by (instance, name, le) (rate(workqueue_queue_duration_seconds_bucket", "[5m]))"),
        ("sum by (instance, name, le) (rate(workqueue_work_duration_seconds_bucket", "[5m]))"),
        ("rate(process_cpu_seconds_total", "[5m])"),
        ("process_resident_memory_bytes", ""),
    )
]
"""What the dashboards that kubebuilder scaffolds ask for, with its labels."""


def rules() -> Json:
    """The alerts as a plain rule file."""
    spec: Json = yaml.safe_load((CONFIG / "prometheus/rules.yaml").read_text())["spec"]
    return spec


def at_once(alert: str) -> Json:
    """The same, but what that alert is about need not last."""
    found = rules()
    (rule,) = (r for group in found["groups"] for r in group["rules"] if r["alert"] == alert)
    del rule["for"]
    return found


def queries() -> Iterator[str]:
    """All that alerts and dashboard ask for; comparisons as 0 or 1, which is data, too."""
    for group in rules()["groups"]:
        for rule in group["rules"]:
            yield re.sub(r" (==|>|<) (?=[\d.]+\b)", r" \1 bool ", rule["expr"])
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", ()):
            chosen = target["expr"].replace("$namespace", NAMESPACE).replace("$job", JOB)
            yield chosen.replace("$__rate_interval", "1m")


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A folder as cert-manager's Secret: tls.crt, tls.key and ca.crt."""
    folder = tmp_path / "certificate"
    folder.mkdir()
    authority = Authority()
    authority.server([SERVER], ["127.0.0.1"]).write(folder, "tls")
    (folder / "ca.crt").write_bytes(authority.certificate)
    return folder


@pytest.fixture
def token(deployed: ControlPlane, scenario: Scenario, tmp_path: Path) -> Path:
    """A file with the token of a ServiceAccount that may read metrics."""
    here = scenario.namespace
    deployed.kubectl("create", "serviceaccount", "prometheus", "-n", here)
    deployed.kubectl(
        *("create", "clusterrolebinding", f"{here}-prometheus"),
        *("--clusterrole=evc-metrics-reader", f"--serviceaccount={here}:prometheus"),
    )
    file = tmp_path / "token"
    file.write_text(deployed.kubectl("create", "token", "prometheus", "-n", here).strip())
    return file


@pytest.fixture
def watch(
    certificate: Path, token: Path, tmp_path: Path
) -> Iterator[Callable[[Operator, Json], Prometheus]]:
    """Starts an operator, and a Prometheus that scrapes it as monitor.yaml says."""
    started: list[Prometheus | Operator] = []

    def start(operator: Operator, alerts: Json) -> Prometheus:
        monitor = yaml.safe_load((CONFIG / "prometheus/monitor.yaml").read_text())
        (endpoint,) = monitor["spec"]["endpoints"]
        target = {
            "targets": [f"127.0.0.1:{operator.metrics}"],
            "labels": {"namespace": NAMESPACE, "pod": "evc-controller-manager-0"},
        }
        scrape = {
            "job_name": JOB,
            "scheme": endpoint["scheme"],
            "metrics_path": endpoint["path"],
            "authorization": {"type": "Bearer", "credentials_file": str(token)},
            "tls_config": {"ca_file": str(certificate / "ca.crt"), "server_name": SERVER},
            "static_configs": [target],
        }
        started.append(operator)
        operator.start()
        prometheus = Prometheus(tmp_path / "prometheus", scrape, alerts)
        started.append(prometheus)
        eventually(
            lambda: [target["health"] for target in prometheus.targets()] == ["up"],
            f"Prometheus reads the metrics: {prometheus.targets()}",
        )
        return prometheus

    yield start
    for process in reversed(started):
        process.close()


def secured(kubeconfig: Path, tmp_path: Path, certificate: Path, *args: str) -> Operator:
    """A leader whose metrics are closed, with that certificate."""
    return Operator(
        *(kubeconfig, tmp_path / "operator.log", *args),
        *("--leader-elect", f"--leader-election-namespace={NAMESPACE}"),
        *("--metrics-secure", f"--metrics-cert-path={certificate}"),
    )


def test_the_alerts_pass_promtool(tmp_path: Path) -> None:
    tests_of_rules = (CONFIG / "prometheus/tests/alerts.yaml").read_text()
    (tmp_path / "dist").mkdir()
    tests = tmp_path / "config/prometheus/tests"
    tests.mkdir(parents=True)
    (tests / "alerts.yaml").write_text(tests_of_rules)
    (tmp_path / "dist/alerts.yaml").write_text(yaml.safe_dump(rules(), sort_keys=False))
    assert "SUCCESS" in promtool("check", "rules", "--lint-fatal", "dist/alerts.yaml", cwd=tmp_path)
    assert "SUCCESS" in promtool("test", "rules", "alerts.yaml", cwd=tests)


def test_every_query_has_data_and_no_alert_fires_when_claims_have_lived(
    scenario: Scenario,
    operator_kubeconfig: Path,
    certificate: Path,
    watch: Callable[[Operator, Json], Prometheus],
    tmp_path: Path,
) -> None:
    here = ("-n", scenario.namespace)
    operator = secured(operator_kubeconfig, tmp_path, certificate, *here)
    prometheus = watch(operator, rules())
    eventually(
        lambda: prometheus.query("leader_election_master_status == 1"), "Prometheus sees a leader"
    )
    scenario.create("evc", manifests.claim("scratch"))
    scenario.until_bound("scratch")
    scenario.create("pod", manifests.pod("worker", "scratch", complete_after="1s"))
    scenario.until_gone("evc", "scratch")
    eventually(
        lambda: prometheus.query("evc_deletion_duration_seconds_count == 1"),
        "Prometheus has seen the end",
    )
    empty, unclear = [], []
    for query in [*queries(), *KUBEBUILDER]:
        result = prometheus.query(query)
        if bool(result) == (query in NOTHING_WHEN_WELL):
            empty.append(query)
        if any(math.isnan(float(sample["value"][1])) for sample in result):
            unclear.append(query)
    assert not empty
    assert not unclear
    assert prometheus.firing() == []


def test_the_breaker_is_told_at_once(
    scenario: Scenario,
    operator_kubeconfig: Path,
    certificate: Path,
    watch: Callable[[Operator, Json], Prometheus],
    tmp_path: Path,
) -> None:
    share = ("-n", scenario.namespace, "--max-deletions-percent=50")
    operator = secured(operator_kubeconfig, tmp_path, certificate, *share)
    prometheus = watch(operator, rules())
    names = [f"scratch-{number}" for number in range(24)]
    for name in names:
        scenario.create("evc", manifests.claim(name))
    for name in names:
        scenario.until_reason(name, "Waiting")
    for name in names:
        scenario.patch("evc", name, {"spec": {"expirySeconds": 1}})
    (alert,) = eventually(prometheus.firing, "an alert fires")
    assert alert == {
        "alertname": "EVCDeletionBreakerOpen",
        "severity": "critical",
        "namespace": NAMESPACE,
        "job": JOB,
    }
    assert len(scenario.items("pvc")) >= 4


def test_rights_that_are_taken_away_are_told(
    scenario: Scenario,
    deployed: ControlPlane,
    certificate: Path,
    watch: Callable[[Operator, Json], Prometheus],
    tmp_path: Path,
) -> None:
    """An operator of its own, so that the real one keeps its rights."""
    user = f"operator-{scenario.namespace}"
    for role in ("manager-role", "metrics-auth-role"):
        deployed.kubectl(
            *("create", "clusterrolebinding", f"{user}-{role}"),
            *(f"--clusterrole=evc-{role}", f"--user={user}"),
        )
    kubeconfig = deployed.kubeconfig_for(user)
    somebody = scenario.seen_by(kubeconfig)
    somebody.until_may("create", "persistentvolumeclaims")
    operator = Operator(
        *(kubeconfig, tmp_path / "operator.log", "-n", scenario.namespace),
        *("--metrics-secure", f"--metrics-cert-path={certificate}"),
    )
    prometheus = watch(operator, at_once("EVCReconcileErrors"))
    deployed.kubectl("delete", "clusterrolebinding", f"{user}-manager-role")
    somebody.until_may("create", "persistentvolumeclaims", may=False)
    scenario.create("evc", manifests.claim("scratch"))
    names = eventually(
        lambda: {alert["alertname"] for alert in prometheus.firing()}, "an alert fires"
    )
    assert names == {"EVCReconcileErrors"}
    assert not scenario.get("pvc", "scratch")
