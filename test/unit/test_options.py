"""Flags that cannot work together are refused with what to write instead."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from click.testing import CliRunner

from evc import app
from evc.__main__ import main
from evc.options import OFF, OptionError, Options
from evc.preflight import StartError

GOOD: dict[str, Any] = {
    "kubeconfig": None,
    "namespaces": (),
    "metrics_bind_address": OFF,
    "health_probe_bind_address": ":8081",
    "workers": 10,
    "max_deletions_per_minute": 1000,
    "max_deletions_percent": 0,
    "dry_run": False,
    "leader_elect": True,
    "leader_election_namespace": "evc-system",
    "log_format": "plain",
}


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"workers": 0}, "--workers must be between 1 and 100"),
        ({"workers": 101}, "--workers must be between 1 and 100"),
        ({"max_deletions_per_minute": -1}, "--max-deletions-per-minute"),
        ({"max_deletions_percent": 101}, "--max-deletions-percent"),
        ({"metrics_bind_address": "8080"}, "--metrics-bind-address must look like"),
        ({"health_probe_bind_address": ":99999"}, "--health-probe-bind-address must look like"),
        ({"leader_election_namespace": ""}, "needs --leader-election-namespace"),
        ({"leader_elect_lease_duration": 10.0}, "two replicas could lead at once"),
        ({"leader_elect_lease_duration": 10.9}, "two replicas could lead at once"),
        ({"leader_elect_renew_deadline": 2.4}, "one attempt that fails"),
        ({"leader_elect_retry_period": 0.0}, "--leader-elect-retry-period must be positive"),
        ({"kube_api_qps": 5.0, "kube_api_burst": 0}, "--kube-api-burst must be at least 1"),
        ({"reconcile_timeout": -1.0}, "--reconcile-timeout must not be negative"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_what_cannot_work_is_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(OptionError, match=says):
        Options(**(GOOD | wrong))


def test_who_does_not_elect_may_have_any_times() -> None:
    Options(**(GOOD | {"leader_elect": False, "leader_elect_retry_period": 0.0}))


def test_the_defaults_are_those_of_client_go_and_controller_runtime() -> None:
    options = Options(**GOOD)
    assert (
        options.leader_elect_lease_duration,
        options.leader_elect_renew_deadline,
        options.leader_elect_retry_period,
    ) == (15.0, 10.0, 2.0)
    assert options.kube_api_qps == -1.0, "no limit but the API server's"
    assert options.reconcile_timeout == 0.0, "none"


def given_to_the_app(monkeypatch: pytest.MonkeyPatch, *args: str) -> Options:
    """Return what the command line made of its arguments."""
    given: list[Options] = []

    def run(options: Options, *_: Any) -> None:
        given.append(options)
        raise StartError("far enough")

    monkeypatch.setattr(app, "run", run)
    monkeypatch.setattr("evc.serving.logs.configure", lambda log_format: None)
    monkeypatch.setattr("evc.__main__.stop_signal", threading.Event)
    done = CliRunner().invoke(main, ["run", *args])
    assert "far enough" in done.output, done.output
    return given[0]


def test_the_command_lines_defaults_are_the_options_defaults(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert given_to_the_app(monkeypatch) == Options(
        **(GOOD | {"leader_elect": False, "leader_election_namespace": ""})
    )


def test_durations_are_written_as_in_go(monkeypatch: pytest.MonkeyPatch) -> None:
    options = given_to_the_app(
        monkeypatch, "--reconcile-timeout=1m30s", "--kube-api-qps=20", "--kube-api-burst=40", "-na"
    )
    assert options.reconcile_timeout == 90.0
    assert (options.kube_api_qps, options.kube_api_burst) == (20.0, 40)
    assert options.namespaces == ("a",)


def test_a_duration_that_is_none_is_one_clear_line() -> None:
    done = CliRunner().invoke(main, ["run", "--reconcile-timeout=soon"])
    assert done.exit_code == 2
    assert "'soon' is no duration such as 15s or 1m30s" in done.output
