"""The metrics page: names a dashboard may rely on, values from the start, and their meaning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

from evc import app
from evc.model.errors import Conflict
from evc.model.meta import Key
from evc.options import OFF, Options
from evc.policy.blocked import Blocker
from evc.policy.reasons import Reason
from evc.serving import catalogue
from evc.serving.http import Request
from evc.serving.metrics import Metrics
from evc.serving.observers import Broadcast
from unit.builders import NAMESPACE
from unit.controller.fakes import RecordingClient
from unit.runtime.fakes import FakeClock

NAME = "ephemeralvolumeclaim"
KEY = Key(NAMESPACE, "scratch")
QUEUE = {"name": NAME, "controller": NAME}
ME = {"controller": NAME}

SECONDS = [
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7),
    *(0.8, 0.9, 1, 1.25, 1.5, 1.75, 2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8, 9, 10, 15, 20, 25),
    *(30, 40, 50, 60),
]
EXPONENTIAL = [1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1, 10, 100, 1000]
PROMISED: dict[str, tuple[str, set[str], list[float]]] = {
    # controller-runtime, pkg/internal/controller/metrics
    "controller_runtime_reconcile_total": ("counter", {"controller", "result"}, []),
    "controller_runtime_reconcile_errors_total": ("counter", {"controller"}, []),
    "controller_runtime_terminal_reconcile_errors_total": ("counter", {"controller"}, []),
    "controller_runtime_reconcile_panics_total": ("counter", {"controller"}, []),
    "controller_runtime_reconcile_timeouts_total": ("counter", {"controller"}, []),
    "controller_runtime_reconcile_time_seconds": ("histogram", {"controller"}, SECONDS),
    "controller_runtime_max_concurrent_reconciles": ("gauge", {"controller"}, []),
    "controller_runtime_active_workers": ("gauge", {"controller"}, []),
    # controller-runtime, pkg/internal/metrics/workqueue.go
    "workqueue_depth": ("gauge", {"name", "controller", "priority"}, []),
    "workqueue_adds_total": ("counter", {"name", "controller"}, []),
    "workqueue_retries_total": ("counter", {"name", "controller"}, []),
    "workqueue_queue_duration_seconds": ("histogram", {"name", "controller"}, EXPONENTIAL),
    "workqueue_work_duration_seconds": ("histogram", {"name", "controller"}, EXPONENTIAL),
    "workqueue_unfinished_work_seconds": ("gauge", {"name", "controller"}, []),
    "workqueue_longest_running_processor_seconds": ("gauge", {"name", "controller"}, []),
    # controller-runtime, pkg/metrics and pkg/certwatcher/metrics
    "rest_client_requests_total": ("counter", {"code", "method", "host"}, []),
    "leader_election_master_status": ("gauge", {"name"}, []),
    "leader_election_slowpath_total": ("counter", {"name"}, []),
    "certwatcher_read_certificate_total": ("counter", set(), []),
    "certwatcher_read_certificate_errors_total": ("counter", set(), []),
    # kube-controller-manager's *_controller_stale_sync_skips_total (KEP-5647)
    "evc_controller_stale_sync_skips_total": ("counter", {"group", "resource"}, []),
}
"""Written down apart from the code: dashboards and alerts of others use these."""


def built(**changed: Any) -> tuple[Metrics, Broadcast]:
    """Return the metrics of an operator that was wired and not started."""
    fields: dict[str, Any] = {
        "kubeconfig": None,
        "namespaces": (),
        "metrics_bind_address": OFF,
        "health_probe_bind_address": OFF,
        "workers": 3,
        "max_deletions_per_minute": 7,
        "max_deletions_percent": 0,
        "dry_run": False,
        "leader_elect": False,
        "leader_election_namespace": "",
        "log_format": "plain",
    }
    metrics = Metrics({NAME: 3, app.READER: app.READERS})
    told = Broadcast(metrics)
    client: Any = RecordingClient()
    app.build(Options(**fields | changed), client, (app.ALL,), FakeClock(), metrics, told)
    return metrics, told


def families(registry: CollectorRegistry) -> dict[str, Metric]:
    """Return what a scrape returns, by served name."""
    return {
        family.name + ("_total" if family.type == "counter" else ""): family
        for family in registry.collect()
    }


def value(metrics: Metrics, name: str, /, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


class TestNames:
    @pytest.mark.parametrize("name", PROMISED)
    def test_promised_names_have_the_promised_type_labels_and_buckets(self, name: str) -> None:
        kind, labels, buckets = PROMISED[name]
        (spec,) = (spec for spec in catalogue.ALL if spec.name == name)
        assert (spec.type, set(spec.labels), list(spec.buckets)) == (kind, labels, buckets)

    @pytest.mark.parametrize("name", PROMISED)
    def test_they_are_served_as_promised(self, name: str) -> None:
        metrics, told = built()
        told.candidate(app.LEASE)
        metrics.requested("https://10.0.0.1:6443")("GET", 200)
        kind, labels, buckets = PROMISED[name]
        family = families(metrics.registry)[name]
        assert family.type == kind
        assert family.samples
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == labels
        found = {float(s.labels["le"]) for s in family.samples if s.name.endswith("_bucket")}
        bounds = sorted(found)
        assert bounds == ([*buckets, float("inf")] if buckets else [])

    def test_what_is_ours_begins_with_evc(self) -> None:
        others = {spec.name for spec in catalogue.ALL if not spec.name.startswith("evc_")}
        assert others == {name for name in PROMISED if not name.startswith("evc_")}

    def test_deletion_times_can_be_judged_at_one_and_at_five_seconds(self) -> None:
        for spec in (catalogue.DELETION_DELAY, catalogue.DELETION_SECONDS):
            assert {1, 5} <= set(spec.buckets)

    def test_no_label_is_an_objects_name(self) -> None:
        labels = {label for spec in catalogue.ALL for label in spec.labels}
        assert not labels & {"namespace", "claim", "pod", "persistentvolumeclaim", "uid"}

    def test_the_reference_has_all_that_is_served_and_nothing_else(self) -> None:
        metrics, _ = built()
        page = Path(__file__).parents[3] / "docs/reference/metrics.md"
        table = page.read_text().partition("## Buckets")[0]
        told = {line.split("`")[1] for line in table.splitlines() if line.startswith("| `")}
        assert told == set(families(metrics.registry))

    def test_no_created_series_double_the_page(self) -> None:
        metrics, _ = built()
        assert b"_created" not in metrics.page(Request("GET", "/metrics")).body

    @pytest.mark.parametrize("spec", catalogue.ALL, ids=lambda spec: spec.name)
    def test_help_is_a_sentence(self, spec: catalogue.Spec) -> None:
        assert spec.help.endswith(".")


class TestFromTheStart:
    """A rate over a series that does not exist yet says nothing, so all exist at zero."""

    @pytest.mark.parametrize("result", ["success", "error", "requeue", "requeue_after"])
    def test_every_result_of_a_reconcile(self, result: str) -> None:
        metrics, _ = built()
        name = "controller_runtime_reconcile_total"
        assert value(metrics, name, controller=NAME, result=result) == 0

    @pytest.mark.parametrize("priority", ["-100", "0"])
    def test_every_priority(self, priority: str) -> None:
        assert value(built()[0], "workqueue_depth", **QUEUE, priority=priority) == 0

    @pytest.mark.parametrize("reason", [*(r.value for r in Reason), "Unknown"])
    def test_every_reason(self, reason: str) -> None:
        assert value(built()[0], "evc_claims", reason=reason) == 0

    @pytest.mark.parametrize("by", [*Blocker])
    def test_every_blocker(self, by: str) -> None:
        assert value(built()[0], "evc_blocked_claims", by=by) == 0

    @pytest.mark.parametrize("outcome", ["Succeeded", "Failed", "Expired"])
    def test_every_outcome(self, outcome: str) -> None:
        assert value(built()[0], "evc_deletions_total", outcome=outcome) == 0

    @pytest.mark.parametrize("limit", ["rate", "breaker"])
    def test_every_limit(self, limit: str) -> None:
        assert value(built()[0], "evc_deletions_put_off_total", limit=limit) == 0

    def test_all_without_labels_and_all_with_those_of_the_controller(self) -> None:
        empty = {name for name, f in families(built()[0].registry).items() if not f.samples}
        # Whose labels nobody knows beforehand.
        assert empty == {
            "rest_client_requests_total",
            "leader_election_master_status",
            "leader_election_slowpath_total",
        }


class TestValues:
    def test_settings(self) -> None:
        metrics, _ = built()
        assert value(metrics, "controller_runtime_max_concurrent_reconciles", **ME) == 3
        assert value(metrics, "evc_deletions_per_minute_limit") == 7

    def test_reconciles(self) -> None:
        metrics, told = built()
        with told.reconciling(NAME, KEY):
            assert value(metrics, "controller_runtime_active_workers", **ME) == 1
        told.reconciled(NAME, KEY, "requeue_after", 0.2)
        assert value(metrics, "controller_runtime_active_workers", **ME) == 0
        total = "controller_runtime_reconcile_total"
        assert value(metrics, total, **ME, result="requeue_after") == 1
        seconds = "controller_runtime_reconcile_time_seconds"
        assert value(metrics, f"{seconds}_bucket", **ME, le="0.2") == 1
        assert value(metrics, f"{seconds}_bucket", **ME, le="0.15") == 0

    def test_a_refusal_is_an_error_and_a_bug_a_panic_too(self) -> None:
        metrics, told = built()
        told.reconcile_failed(NAME, KEY, Conflict("version"), 1.0)
        told.reconcile_failed(NAME, KEY, ValueError("bug"), 1.0)
        assert value(metrics, "controller_runtime_reconcile_errors_total", **ME) == 2
        assert value(metrics, "controller_runtime_reconcile_panics_total", **ME) == 1

    def test_a_reconcile_that_takes_too_long_is_a_timeout(self) -> None:
        metrics, _ = built()
        metrics.reconcile_timed_out(NAME, KEY)
        assert value(metrics, "controller_runtime_reconcile_timeouts_total", **ME) == 1

    def test_the_queue(self) -> None:
        metrics, told = built()
        told.enqueued(NAME)
        told.retried(NAME)
        told.dequeued(NAME, 0.5)
        told.worked(NAME, 5)
        assert value(metrics, "workqueue_adds_total", **QUEUE) == 1
        assert value(metrics, "workqueue_retries_total", **QUEUE) == 1
        assert value(metrics, "workqueue_queue_duration_seconds_sum", **QUEUE) == 0.5
        assert value(metrics, "workqueue_work_duration_seconds_sum", **QUEUE) == 5

    def test_requests_name_the_host_as_client_go_does(self) -> None:
        metrics, _ = built()
        count = metrics.requested("https://10.0.0.1:6443")
        count("GET", 200)
        count("PUT", 0)
        requests, host = "rest_client_requests_total", "10.0.0.1:6443"
        assert value(metrics, requests, code="200", method="GET", host=host) == 1
        assert value(metrics, requests, code="<error>", method="PUT", host=host) == 1

    def test_leadership(self) -> None:
        metrics, told = built()
        told.candidate("lease")
        assert value(metrics, "leader_election_master_status", name="lease") == 0
        for leads in (True, False):
            told.leading("lease", leads)
            assert value(metrics, "leader_election_master_status", name="lease") == leads
        assert value(metrics, "leader_election_slowpath_total", name="lease") == 0
        told.election_slowpath("lease")
        assert value(metrics, "leader_election_slowpath_total", name="lease") == 1

    def test_certificates(self) -> None:
        metrics, _ = built()
        metrics.certificate_read()
        metrics.certificate_failed()
        assert value(metrics, "certwatcher_read_certificate_total") == 1
        assert value(metrics, "certwatcher_read_certificate_errors_total") == 1

    def test_caches_that_never_heard_anything_are_infinitely_stale(self) -> None:
        for resource in ("ephemeralvolumeclaims", "persistentvolumeclaims", "pods", "jobs"):
            stale = value(built()[0], "evc_informer_stale_seconds", resource=resource)
            assert stale == float("inf")
