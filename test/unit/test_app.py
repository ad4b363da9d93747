"""The composition root: what it gives to the parts it builds."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import urllib3

from evc import app
from evc.kube import config
from evc.model.meta import Key
from evc.options import OFF, Options
from evc.runtime.backoff import Exponential
from evc.runtime.deadline import Deadline
from evc.runtime.ports import Clock
from evc.runtime.queue import RateLimitingQueue
from evc.serving.metrics import Metrics
from evc.serving.observers import Broadcast, Observing
from unit.builders import NAMESPACE, at, pod, provided, volume
from unit.controller.fakes import Cluster, RecordingClient, unlimited

KEY = Key(NAMESPACE, "scratch")


def flags(**changes: Any) -> Options:
    """Return the quietest options, changed."""
    quiet: dict[str, Any] = {
        "kubeconfig": None,
        "namespaces": (),
        "metrics_bind_address": OFF,
        "health_probe_bind_address": OFF,
        "workers": 1,
        "max_deletions_per_minute": 0,
        "max_deletions_percent": 0,
        "dry_run": False,
        "leader_elect": False,
        "leader_election_namespace": "evc-system",
        "log_format": "plain",
    }
    return Options(**(quiet | changes))


class Noon:
    """Some time after everything in the builders."""

    def now(self) -> Any:
        return at(5_000)

    def monotonic(self) -> float:
        return 0.0


def test_a_reconciler_reads_confirms_and_writes_with_the_one_client_and_clock() -> None:
    world = (provided().used(at=2), volume(), pod().worker().succeeded(at=100))
    client: Any = RecordingClient().holding(*world)
    clock: Any = Noon()
    caches = Cluster().showing(*world).caches
    queue, reads = (
        RateLimitingQueue(name, Exponential(cap=1), clock=clock, observer=Observing())
        for name in (app.CONTROLLER, app.READER)
    )
    reconcile = app.reconciler(
        client, caches, queue, reads, clock, "me", lambda: True, unlimited(), dry_run=False
    )
    reconcile(KEY)  # it asks,
    here = reads.poll()
    assert here == Key("", NAMESPACE)
    reconcile.reads.read(here)  # its namespace is read,
    assert queue.poll() == KEY  # it is called,
    reconcile(KEY)  # deletes,
    reconcile(KEY)  # and tells of it
    assert client.asked[-3:] == [
        ("replace", "ephemeralvolumeclaims/status"),
        ("delete", "persistentvolumeclaims"),
        ("post", "events"),
    ]
    assert client.calls[-1][2]["reportingInstance"] == "me"


def test_nobody_waits_longer_than_a_minute_for_a_right_that_came_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limiters = []
    queue = app.RateLimitingQueue

    def spied(name: str, limiter: Any, **parts: Any) -> Any:
        limiters.append(limiter)
        return queue(name, limiter, **parts)

    monkeypatch.setattr(app, "RateLimitingQueue", spied)
    client: Any = RecordingClient()
    clock: Clock = Noon()  # type: ignore[assignment]
    options = flags()
    metrics = Metrics({"test": 1})
    app.build(options, client, (app.ALL,), clock, metrics, Broadcast(metrics))
    assert len(limiters) == 2, "of claims, and of namespaces"
    for limiter in limiters:
        waits = [limiter.when(KEY, 0.0) for _ in range(40)]
        assert waits[0] < 1
        assert max(waits) == 60


CLUSTER = config.Cluster(
    "https://example", lambda connections: urllib3.PoolManager(), config.TokenFile(Path())
)


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What each client is made with."""
    made: list[dict[str, Any]] = []
    transport = app.Transport

    def spied(cluster: config.Cluster, **settings: Any) -> Any:
        made.append(settings)
        return transport(cluster, **settings)

    monkeypatch.setattr(app, "Transport", spied)
    return made


def test_the_elector_has_a_client_of_its_own_that_waits_for_nothing(
    clients: list[dict[str, Any]],
) -> None:
    """A throttle or a slow answer that held up its renewals would end the leadership."""
    metrics, clock = Metrics({"test": 1}), Noon()
    options = flags(leader_elect=True, kube_api_qps=1.0, leader_elect_renew_deadline=8.0)
    elector = app.election(options, CLUSTER, clock, metrics, Broadcast(metrics))  # type: ignore[arg-type]
    assert elector is not None
    (settings,) = clients
    assert settings["timeout"] == 4.0, "two attempts fit into the renew deadline"
    assert "throttle" not in settings
    assert "time_left" not in settings
    assert settings["wait"](1.0), "no retry but its own"
    assert app.election(flags(), CLUSTER, clock, metrics, Broadcast(metrics)) is None  # type: ignore[arg-type]


def test_the_workers_client_has_the_limits_of_the_flags(clients: list[dict[str, Any]]) -> None:
    clock: Clock = Noon()  # type: ignore[assignment]
    metrics, stop, deadline = Metrics({"test": 1}), threading.Event(), Deadline(clock)
    for options in (flags(), flags(kube_api_qps=20.0, kube_api_burst=2, workers=7)):
        app.work_client(options, CLUSTER, clock, stop, metrics, deadline)
    free, limited = clients
    assert free["throttle"] is None
    assert limited["throttle"] is not None
    assert limited["connections"] == 7 + 10 * 2 + 9, "workers, readers' LISTs, watches"
    assert limited["time_left"] == deadline.left
    stop.set()
    assert limited["wait"](3600.0), "a stop ends every pause"


def test_a_reconcile_has_the_time_of_the_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []
    controller = app.Controller

    def spied(*args: Any, **settings: Any) -> Any:
        given.append(settings["timeout"])
        return controller(*args, **settings)

    monkeypatch.setattr(app, "Controller", spied)
    metrics, clock = Metrics({"test": 1}), Noon()
    for options in (flags(), flags(reconcile_timeout=30.0)):
        client: Any = RecordingClient()
        app.build(options, client, (app.ALL,), clock, metrics, Broadcast(metrics))  # type: ignore[arg-type]
        metrics = Metrics({"test": 1})
    assert given == [None, None, 30.0, 30.0], "of claims, and of namespaces"
