"""Writes the Grafana dashboard: `make docs`. A unit test keeps the checked-in file equal.

Gauges of claims and volumes are taken as the largest of the replicas' and never as a sum, since
each replica serves what its own caches hold.  What belongs to a process is shown per instance.
Names are controller-runtime's where it has one: kubebuilder's dashboards show the same.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DASHBOARD = Path(__file__).parents[1] / "config/grafana/ephemeral-volume-claims.json"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
OURS = 'job=~"$job", namespace=~"$namespace"'
WIDTH, HEIGHT = 8, 8
"""Grafana's grid has 24 columns."""
PROCESS = "{{pod}} {{instance}}"

Json = dict[str, Any]


@dataclass(frozen=True)
class Panel:
    """One picture; ``queries`` by legend. ``SEL`` in a query stands for the chosen operator."""

    title: str
    queries: dict[str, str]
    unit: str = "short"
    about: str = ""
    type: str = "timeseries"
    stack: bool = False
    red_from: float | None = None
    """The value from which a stat is red."""

    def render(self, number: int, x: int, y: int) -> Json:
        """Return Grafana's JSON for it, at that place of the grid."""
        normal = {"color": "green", "value": None}
        alarm = [] if self.red_from is None else [{"color": "red", "value": self.red_from}]
        custom = {"fillOpacity": 25, "stacking": {"mode": "normal"}} if self.stack else {}
        calculated = {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "background"}
        legend = {"legend": {"displayMode": "table", "placement": "bottom", "calcs": ["last"]}}
        return {
            "id": number,
            "type": self.type,
            "title": self.title,
            "description": self.about,
            "datasource": SOURCE,
            "gridPos": {"x": x, "y": y, "w": WIDTH, "h": HEIGHT},
            "fieldConfig": {
                "defaults": {
                    "unit": self.unit,
                    "min": 0,
                    "custom": custom,
                    "thresholds": {"mode": "absolute", "steps": [normal, *alarm]},
                },
                "overrides": [],
            },
            "options": calculated if self.type == "stat" else legend,
            "targets": [
                {
                    "refId": chr(ord("A") + at),
                    "datasource": SOURCE,
                    "expr": query.replace("SEL", OURS),
                    "legendFormat": name,
                }
                for at, (name, query) in enumerate(self.queries.items())
            ],
        }


def quantiles(metric: str) -> dict[str, str]:
    """Return the queries of a histogram's median and tails."""
    rate = f"rate({metric}_bucket{{SEL}}[$__rate_interval])"
    return {
        f"p{share * 100:g}": f"histogram_quantile({share}, sum by (le) ({rate}))"
        for share in (0.5, 0.9, 0.99)
    }


def per_process(metric: str) -> dict[str, str]:
    """Return the query of a gauge that belongs to a process."""
    return {PROCESS: f"max by (instance, pod) ({metric}{{SEL}})"}


RATE = "[$__rate_interval]"
REQUESTS = f"rate(rest_client_requests_total{{SEL}}{RATE})"

ROWS: dict[str, list[Panel]] = {
    "Claims": [
        Panel(
            "Claims by state",
            {"{{reason}}": "max by (reason) (evc_claims{SEL})"},
            about="EphemeralVolumeClaims by the reason of their Ready condition.",
            stack=True,
        ),
        Panel(
            "What keeps volumes",
            {"{{by}}": "max by (by) (evc_blocked_claims{SEL})"},
            about="pods, owner and hold are work and wishes; the others are somebody's task.",
            stack=True,
        ),
        Panel("Bytes held", {"held": "max(evc_held_bytes{SEL})"}, "bytes"),
        Panel(
            "Bytes reclaimed",
            {"reclaimed": f"max(rate(evc_reclaimed_bytes_total{{SEL}}{RATE}))"},
            "Bps",
        ),
        Panel(
            "Claims that are stalled",
            {
                "claims": "sum(max by (reason)"
                ' (evc_claims{SEL, reason=~"Conflict|Invalid|Lost|ProvisioningFailed"}))'
            },
            about="They wait for somebody to change something.",
            type="stat",
            red_from=1,
        ),
        Panel(
            "Leader",
            {
                "leaders": "sum(leader_election_master_status"
                '{SEL, name="ephemeralvolumeclaim.evc.dev"})'
            },
            about="1 is as it should be. Nothing: the operator runs without --leader-elect.",
            type="stat",
        ),
    ],
    "Deletions": [
        Panel(
            "Deletions by outcome",
            {"{{outcome}}": f"sum by (outcome) (rate(evc_deletions_total{{SEL}}{RATE}))"},
            "ops",
        ),
        Panel(
            "From due to DELETE",
            quantiles("evc_deletion_delay_seconds"),
            "s",
            "A hold, a limit on deletions and the operator's own absence count.",
        ),
        Panel("From DELETE to gone", quantiles("evc_deletion_duration_seconds"), "s"),
        Panel(
            "Deletion breaker",
            {"open": "max(evc_deletion_breaker_open{SEL})"},
            about="1: too many claims ended at once; nothing is deleted until a restart.",
            type="stat",
            red_from=1,
        ),
        Panel(
            "Limit of deletions",
            {
                "limit per minute (0: none)": "max(evc_deletions_per_minute_limit{SEL})",
                "deletions per minute": f"60 * sum(rate(evc_deletions_total{{SEL}}{RATE}))",
            },
        ),
        Panel(
            "Deletions put off",
            {"{{limit}}": f"sum by (limit) (rate(evc_deletions_put_off_total{{SEL}}{RATE}))"},
            "ops",
        ),
    ],
    "Reconciliation": [
        Panel(
            "Reconciliations by result",
            {
                "{{result}}": "sum by (result)"
                f" (rate(controller_runtime_reconcile_total{{SEL}}{RATE}))"
            },
            "ops",
        ),
        Panel(
            "Errors",
            {
                "errors": f"sum(rate(controller_runtime_reconcile_errors_total{{SEL}}{RATE}))",
                "panics": f"sum(rate(controller_runtime_reconcile_panics_total{{SEL}}{RATE}))",
                "timeouts": f"sum(rate(controller_runtime_reconcile_timeouts_total{{SEL}}{RATE}))",
            },
            "ops",
        ),
        Panel(
            "Time per reconciliation", quantiles("controller_runtime_reconcile_time_seconds"), "s"
        ),
        Panel(
            "Queue depth",
            {
                f"{PROCESS} {{{{priority}}}}": "sum by (instance, pod, priority)"
                " (workqueue_depth{SEL})"
            },
            about="The replica that stands by keeps its keys until it leads.",
        ),
        Panel("Wait in the queue", quantiles("workqueue_queue_duration_seconds"), "s"),
        Panel(
            "Workers",
            {
                "busy": "sum(controller_runtime_active_workers{SEL})",
                "of": "max(controller_runtime_max_concurrent_reconciles{SEL})",
                "oldest work in s": "max(workqueue_longest_running_processor_seconds{SEL})",
            },
        ),
    ],
    "API server": [
        Panel("Requests by code", {"{{code}}": f"sum by (code) ({REQUESTS})"}, "reqps"),
        Panel("Requests by method", {"{{method}}": f"sum by (method) ({REQUESTS})"}, "reqps"),
        Panel(
            "Silence of the API server",
            {"{{resource}}": "max by (resource) (evc_informer_stale_seconds{SEL})"},
            "s",
            "It sends a bookmark every minute; from 150 s on a replica is not ready.",
        ),
        Panel(
            "Waits for our own writes",
            {
                "{{resource}}": "sum by (resource)"
                f" (rate(evc_controller_stale_sync_skips_total{{SEL}}{RATE}))"
            },
            "ops",
            "Reconciliations put off because a cache had not seen the last write (KEP-5647).",
        ),
    ],
    "Process": [
        Panel(
            "CPU",
            {PROCESS: f"sum by (instance, pod) (rate(process_cpu_seconds_total{{SEL}}{RATE}))"},
            "percentunit",
        ),
        Panel("Memory", per_process("process_resident_memory_bytes"), "bytes"),
        Panel("Open files", per_process("process_open_fds")),
        Panel(
            "Certificate of the metrics",
            {
                "reads": f"sum(increase(certwatcher_read_certificate_total{{SEL}}{RATE}))",
                "errors": f"sum(increase(certwatcher_read_certificate_errors_total{{SEL}}{RATE}))",
            },
        ),
    ],
}


def dashboard() -> Json:
    """Return the whole dashboard as Grafana imports it."""
    panels: list[Json] = []
    y = 0
    for title, row in ROWS.items():
        place = {"x": 0, "y": y, "w": 24, "h": 1}
        panels.append({"id": len(panels) + 1, "type": "row", "title": title, "gridPos": place})
        for at, panel in enumerate(row):
            down, right = divmod(at, 24 // WIDTH)
            panels.append(panel.render(len(panels) + 1, right * WIDTH, y + 1 + down * HEIGHT))
        y += 1 + HEIGHT * -(-len(row) * WIDTH // 24)
    return {
        "uid": "evc",
        "title": "EphemeralVolumeClaims",
        "tags": ["kubernetes", "storage"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [_datasource(), _variable("namespace"), _variable("job")]},
        "panels": panels,
    }


def _datasource() -> Json:
    return {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
    }


def _variable(label: str) -> Json:
    """Return what selects operators by a label; it may be missing outside of Kubernetes."""
    return {
        "name": label,
        "type": "query",
        "datasource": SOURCE,
        "query": f"label_values(evc_deletion_breaker_open, {label})",
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def main() -> None:
    """Write it."""
    DASHBOARD.write_text(json.dumps(dashboard(), indent=2) + "\n")


if __name__ == "__main__":
    main()
