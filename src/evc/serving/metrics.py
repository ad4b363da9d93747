"""Prometheus metrics under controller-runtime's names, so that its dashboards work.

Every label value exists at zero before the first event, and none is an object's name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from evc.model.errors import ApiError
from evc.model.meta import Key
from evc.serving.http import Answer, Routes
from evc.serving.observers import Observing

RESULTS = ("success", "error", "requeue", "requeue_after")
# fmt: off
RECONCILE_BUCKETS = (
    .005, .01, .025, .05, .1, .15, .2, .25, .3, .35, .4, .45, .5, .6, .7, .8, .9, 1, 1.25, 1.5,
    1.75, 2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8, 9, 10, 15, 20, 25, 30, 40, 50, 60,
)
# fmt: on
QUEUE_BUCKETS = tuple(10.0**exponent for exponent in range(-8, 4))


class Metrics(Observing):
    """Counts what the runtime does; one registry per process."""

    def __init__(self, controller: str, workers: int) -> None:
        self.registry = CollectorRegistry()
        self._controller = controller
        counter, gauge, histogram = self._counter, self._gauge, self._histogram
        self._reconciles = counter(
            "controller_runtime_reconcile", "Reconciliations by result", "controller", "result"
        )
        self._errors = counter(
            "controller_runtime_reconcile_errors", "Reconciliations that failed", "controller"
        )
        self._panics = counter(
            "controller_runtime_reconcile_panics", "Reconciliations that hit a bug", "controller"
        )
        self._seconds = histogram(
            "controller_runtime_reconcile_time_seconds",
            "Time per reconciliation",
            RECONCILE_BUCKETS,
            "controller",
        )
        self._active = gauge(
            "controller_runtime_active_workers", "Workers that reconcile now", "controller"
        )
        maximum = gauge(
            "controller_runtime_max_concurrent_reconciles", "Number of workers", "controller"
        )
        queue = ("name", "controller")
        self._adds = counter("workqueue_adds", "Keys that entered the queue", *queue)
        self._retries = counter("workqueue_retries", "Keys put back with backoff", *queue)
        self._waited = histogram(
            "workqueue_queue_duration_seconds", "Time a key waited", QUEUE_BUCKETS, *queue
        )
        self._worked = histogram(
            "workqueue_work_duration_seconds", "Time a key took", QUEUE_BUCKETS, *queue
        )
        self._requests = counter(
            "rest_client_requests", "Requests to the API server", "code", "method", "host"
        )
        self._leader = gauge("leader_election_master_status", "1: leader, 0: backup", "name")
        maximum.labels(controller).set(workers)
        for result in RESULTS:
            self._reconciles.labels(controller, result)
        for metric in (self._errors, self._panics, self._seconds, self._active):
            metric.labels(controller)
        for metric in (self._adds, self._retries, self._waited, self._worked):
            metric.labels(controller, controller)

    def routes(self) -> Routes:
        """Return /metrics."""
        return {
            "/metrics": lambda: Answer(200, generate_latest(self.registry), CONTENT_TYPE_LATEST)
        }

    def measure_queue(
        self,
        depth: Callable[[], dict[str, int]],
        unfinished: Callable[[], float],
        longest: Callable[[], float],
    ) -> None:
        """Read the queue's state whenever somebody scrapes; ``depth`` is by priority."""
        name = self._controller
        gauge = self._gauge("workqueue_depth", "Keys waiting", "name", "controller", "priority")
        for priority in depth():
            gauge.labels(name, name, priority).set_function(partial(_depth, depth, priority))
        for metric, text, read in (
            ("workqueue_unfinished_work_seconds", "Sum of the ages of running work", unfinished),
            ("workqueue_longest_running_processor_seconds", "Age of the oldest work", longest),
        ):
            self._gauge(metric, text, "name", "controller").labels(name, name).set_function(read)

    def requested(self, host: str) -> Callable[[str, int], None]:
        """Return what the API client calls after each request (code 0: no answer)."""

        def count(method: str, code: int) -> None:
            self._requests.labels(str(code) if code else "<error>", method, host).inc()

        return count

    @contextmanager
    def reconciling(self, controller: str, key: Key) -> Iterator[None]:
        """Count busy workers."""
        with self._active.labels(controller).track_inprogress():
            yield

    def reconciled(self, controller: str, key: Key, result: str, seconds: float) -> None:
        """Count the result and its time."""
        self._reconciles.labels(controller, result).inc()
        self._seconds.labels(controller).observe(seconds)

    def reconcile_failed(
        self, controller: str, key: Key, error: Exception, retry_in: float
    ) -> None:
        """Tell refusals from bugs."""
        self._errors.labels(controller).inc()
        if not isinstance(error, ApiError):
            self._panics.labels(controller).inc()

    def enqueued(self, queue: str) -> None:
        """Count an add."""
        self._adds.labels(queue, queue).inc()

    def retried(self, queue: str) -> None:
        """Count a retry."""
        self._retries.labels(queue, queue).inc()

    def dequeued(self, queue: str, waited: float) -> None:
        """Measure the wait."""
        self._waited.labels(queue, queue).observe(waited)

    def worked(self, queue: str, seconds: float) -> None:
        """Measure the work."""
        self._worked.labels(queue, queue).observe(seconds)

    def leading(self, name: str, is_leader: bool) -> None:
        """Say who leads."""
        self._leader.labels(name).set(1 if is_leader else 0)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def _histogram(
        self, name: str, text: str, buckets: tuple[float, ...], *labels: str
    ) -> Histogram:
        return Histogram(name, text, labels, registry=self.registry, buckets=buckets)


def _depth(read: Callable[[], dict[str, int]], priority: str) -> float:
    return read()[priority]
