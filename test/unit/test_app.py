"""The composition root: what it gives to the parts it builds."""

from __future__ import annotations

from typing import Any

import pytest

from evc import app
from evc.model.meta import Key
from evc.options import OFF, Options
from evc.runtime.ports import Clock
from evc.serving.metrics import Metrics
from evc.serving.observers import Broadcast
from unit.builders import NAMESPACE, at, pod, provided, volume
from unit.controller.fakes import Cluster, RecordingClient, unlimited

KEY = Key(NAMESPACE, "scratch")


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
    asked: list[Key] = []
    reconcile = app.reconciler(
        client, caches, asked.append, clock, "me", lambda: True, unlimited(), dry_run=False
    )
    for key in (KEY, Key(NAMESPACE, ""), KEY):  # it asks, the namespace is read, it deletes
        reconcile(key)
    assert asked == [Key(NAMESPACE, ""), KEY]
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
    options = Options(
        kubeconfig=None,
        namespaces=(),
        metrics_bind_address=OFF,
        health_probe_bind_address=OFF,
        workers=1,
        max_deletions_per_minute=0,
        max_deletions_percent=0,
        dry_run=False,
        leader_elect=False,
        leader_election_namespace="",
        log_format="plain",
    )
    metrics = Metrics("test", 1)
    app.build(options, client, (app.ALL,), clock, metrics, Broadcast(metrics))
    (limiter,) = limiters
    waits = [limiter.when(KEY, 0.0) for _ in range(40)]
    assert waits[0] < 1
    assert max(waits) == 60
