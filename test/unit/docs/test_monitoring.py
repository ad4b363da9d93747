"""Alerts and dashboard use what is served, and nothing else."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml

from evc.policy.blocked import Blocker
from evc.policy.reasons import Reason
from evc.serving import catalogue

ROOT = Path(__file__).parents[3]
GENERATOR = runpy.run_path(str(ROOT / "docs/dashboard.py"))
DASHBOARD = json.loads(GENERATOR["DASHBOARD"].read_text())
RULES = yaml.safe_load((ROOT / "config/prometheus/rules.yaml").read_text())
ALERTS: list[dict[str, Any]] = [
    rule for group in RULES["spec"]["groups"] for rule in group["rules"]
]
QUERIES = [alert["expr"] for alert in ALERTS] + [
    target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())
]
SERVED = {spec.name: spec for spec in catalogue.ALL}
OF_TARGETS = {"namespace", "job", "instance", "pod"}
"""Labels that Prometheus adds to what it scrapes."""


def test_the_dashboard_is_what_its_generator_writes() -> None:
    """If this fails, run `make docs`."""
    assert GENERATOR["dashboard"]() == DASHBOARD


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_names_metrics_and_labels_that_are_served(query: str) -> None:
    unquoted = re.sub(r'"[^"]*"', '""', query)
    named = re.findall(r"\b[a-z]+_[a-z_]+\b(?=\s*[{\[)]|\s*$| and| [><=])", unquoted)
    metrics = {re.sub(r"_bucket$", "", name) for name in named}
    own = {name for name in metrics if not name.startswith("process_")}
    assert own <= SERVED.keys()
    assert metrics or "up" in unquoted.split()
    known = OF_TARGETS | {"le"} | {label for name in own for label in SERVED[name].labels}
    grouped = re.findall(r"\b(?:by|on) \(([a-z, ]+)\)", unquoted)
    matched = re.findall(r"([a-z]+)(?:=~|!~|!=|=)\"", unquoted)
    assert {label for labels in grouped for label in labels.split(", ")} | {*matched} <= known


@pytest.mark.parametrize(
    ("label", "words"),
    [("by", {by.value for by in Blocker}), ("reason", {reason.value for reason in Reason})],
)
def test_the_values_of_labels_exist(label: str, words: set[str]) -> None:
    named = [re.findall(rf'\b{label}=~"([^"$]*)"', query) for query in QUERIES]
    used = {word for texts in named for text in texts for word in text.split("|")}
    assert used
    assert used <= words


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_says_how_bad_it_is_and_what_to_do(alert: dict[str, Any]) -> None:
    assert alert["alert"].startswith("EVC")
    assert alert["labels"].keys() == {"severity"}
    assert alert["labels"]["severity"] in {"critical", "warning"}
    assert alert["annotations"].keys() == {"summary", "description", "runbook_url"}
    for text in ("summary", "description"):
        assert alert["annotations"][text].endswith(".")


def test_names_of_alerts_are_unique() -> None:
    assert len({alert["alert"] for alert in ALERTS}) == len(ALERTS)
