"""What the runtime does, counted under controller-runtime's names.

Every label value exists at zero before the first event, and none is an object's name.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

from prometheus_client import (
    CollectorRegistry,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from evc.model.errors import ApiError
from evc.model.meta import Key
from evc.runtime.queue import RateLimitingQueue
from evc.serving import catalogue
from evc.serving.catalogue import Spec
from evc.serving.http import Answer, Request
from evc.serving.observers import Observing

PATH = "/metrics"
RESULTS = ("success", "error", "requeue", "requeue_after")
Values = Mapping[tuple[str, ...], float]
"""What a metric is at the moment, by its label values; {(): value} if it has no labels."""


class Metrics(Observing):
    """Counts what the runtime does; one registry per process."""

    def __init__(self, controllers: Mapping[str, int]) -> None:
        """``controllers``: how many workers each has; its queue has its name."""
        # controller-runtime has no _created series, and they double the page.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        registry = self.registry = CollectorRegistry()
        self._reconciles = catalogue.RECONCILES.counter(registry)
        self._errors = catalogue.RECONCILE_ERRORS.counter(registry)
        self._panics = catalogue.RECONCILE_PANICS.counter(registry)
        self._timeouts = catalogue.RECONCILE_TIMEOUTS.counter(registry)
        self._seconds = catalogue.RECONCILE_SECONDS.histogram(registry)
        self._active = catalogue.ACTIVE_WORKERS.gauge(registry)
        self._adds = catalogue.QUEUE_ADDS.counter(registry)
        self._retries = catalogue.QUEUE_RETRIES.counter(registry)
        self._waited = catalogue.QUEUE_WAIT.histogram(registry)
        self._worked = catalogue.QUEUE_WORK.histogram(registry)
        self._requests = catalogue.REQUESTS.counter(registry)
        self._leader = catalogue.LEADER.gauge(registry)
        self._slowpath = catalogue.LEADER_SLOWPATH.counter(registry)
        self._certificate_reads = catalogue.CERTIFICATE_READS.counter(registry)
        self._certificate_errors = catalogue.CERTIFICATE_ERRORS.counter(registry)
        maximum = catalogue.MAX_WORKERS.gauge(registry)
        terminal = catalogue.TERMINAL_ERRORS.counter(registry)
        for controller, workers in controllers.items():
            maximum.labels(controller).set(workers)
            terminal.labels(controller)
            for result in RESULTS:
                self._reconciles.labels(controller, result)
            for metric in (self._errors, self._panics, self._timeouts, self._seconds, self._active):
                metric.labels(controller)
            for metric in (self._adds, self._retries, self._waited, self._worked):
                metric.labels(controller, controller)
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)

    def page(self, _: Request) -> Answer:
        """Answer /metrics."""
        return Answer(200, generate_latest(self.registry), CONTENT_TYPE_LATEST)

    def read(self, spec: Spec, values: Callable[[], Values]) -> None:
        """Serve a metric that somebody else keeps: it is read when somebody scrapes."""
        self.registry.register(_Reading(spec, values))

    def measure_queues(self, queues: Collection[RateLimitingQueue]) -> None:
        """Serve the queues' state."""
        self.read(
            catalogue.QUEUE_DEPTH,
            lambda: {
                (queue.name, queue.name, str(priority.value)): keys
                for queue in queues
                for priority, keys in queue.depth().items()
            },
        )
        self.read(
            catalogue.QUEUE_UNFINISHED,
            lambda: {(queue.name, queue.name): queue.unfinished_seconds() for queue in queues},
        )
        self.read(
            catalogue.QUEUE_LONGEST,
            lambda: {(queue.name, queue.name): queue.longest_running_seconds() for queue in queues},
        )

    def requested(self, host: str) -> Callable[[str, int], None]:
        """Return what the API client calls after each request (code 0: no answer)."""
        where = urlsplit(host).netloc

        def count(method: str, code: int) -> None:
            self._requests.labels(str(code) if code else "<error>", method, where).inc()

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

    def reconcile_timed_out(self, controller: str, key: Key) -> None:
        """Count a reconcile that took longer than it may."""
        self._timeouts.labels(controller).inc()

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

    def candidate(self, name: str) -> None:
        """Be there, at zero."""
        self.leading(name, False)
        self._slowpath.labels(name)

    def leading(self, name: str, is_leader: bool) -> None:
        """Say who leads."""
        self._leader.labels(name).set(1 if is_leader else 0)

    def election_slowpath(self, name: str) -> None:
        """Count a renewal that had to read first."""
        self._slowpath.labels(name).inc()

    def certificate_read(self) -> None:
        """Count a read."""
        self._certificate_reads.inc()

    def certificate_failed(self) -> None:
        """Count a read that was of no use."""
        self._certificate_errors.inc()


class _Reading(Collector):
    def __init__(self, spec: Spec, read: Callable[[], Values]) -> None:
        self._spec = spec
        self._read = read

    def describe(self) -> Iterable[Metric]:
        """Name it without reading it, which may not be possible yet."""
        return [self._spec.family({})]

    def collect(self) -> Iterable[Metric]:
        return [self._spec.family(self._read())]
