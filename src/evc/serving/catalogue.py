"""Every metric the operator serves: its name, type, labels, buckets and what it says.

The single source: `Metrics` and the collectors build what they serve from these values,
and docs/reference/metrics.md is printed from them.  Names, labels and buckets of the first
part are controller-runtime's and client-go's, so that their dashboards and alerts work.
Those under `evc_` are about claims and volumes; no object's name is ever a label.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric


@dataclass(frozen=True)
class Spec:
    """One metric; ``help`` is its HELP line."""

    name: str
    type: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    def counter(self, registry: CollectorRegistry) -> Counter:
        """Return the metric, counted by events."""
        return Counter(self.name, self.help, self.labels, registry=registry)

    def gauge(self, registry: CollectorRegistry) -> Gauge:
        """Return the metric, set by events."""
        return Gauge(self.name, self.help, self.labels, registry=registry)

    def histogram(self, registry: CollectorRegistry) -> Histogram:
        """Return the metric, observed by events."""
        return Histogram(self.name, self.help, self.labels, registry=registry, buckets=self.buckets)

    def family(self, values: Mapping[tuple[str, ...], float]) -> Metric:
        """Return the metric as read at this moment; ``values`` by label values."""
        kind = CounterMetricFamily if self.type == "counter" else GaugeMetricFamily
        family = kind(self.name, self.help, labels=self.labels)
        for labels, value in values.items():
            family.add_metric(labels, value)
        return family


# fmt: off
RECONCILE_BUCKETS = (
    .005, .01, .025, .05, .1, .15, .2, .25, .3, .35, .4, .45, .5, .6, .7, .8, .9, 1, 1.25, 1.5,
    1.75, 2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8, 9, 10, 15, 20, 25, 30, 40, 50, 60,
)
DELAY_BUCKETS = (.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600)
# fmt: on
QUEUE_BUCKETS = tuple(10.0**exponent for exponent in range(-8, 4))

RECONCILES = Spec(
    "controller_runtime_reconcile_total",
    "counter",
    "Reconciliations by result: success, error, requeue or requeue_after.",
    ("controller", "result"),
)
RECONCILE_ERRORS = Spec(
    "controller_runtime_reconcile_errors_total",
    "counter",
    "Reconciliations that failed and are tried again.",
    ("controller",),
)
TERMINAL_ERRORS = Spec(
    "controller_runtime_terminal_reconcile_errors_total",
    "counter",
    "Reconciliations that failed and are not tried again; always 0, for all are.",
    ("controller",),
)
RECONCILE_PANICS = Spec(
    "controller_runtime_reconcile_panics_total",
    "counter",
    "Reconciliations that hit a bug: an exception that is not the API server's word.",
    ("controller",),
)
RECONCILE_TIMEOUTS = Spec(
    "controller_runtime_reconcile_timeouts_total",
    "counter",
    "Reconciliations that were given up for taking too long.",
    ("controller",),
)
RECONCILE_SECONDS = Spec(
    "controller_runtime_reconcile_time_seconds",
    "histogram",
    "Time per reconciliation.",
    ("controller",),
    RECONCILE_BUCKETS,
)
MAX_WORKERS = Spec(
    "controller_runtime_max_concurrent_reconciles",
    "gauge",
    "Number of workers.",
    ("controller",),
)
ACTIVE_WORKERS = Spec(
    "controller_runtime_active_workers", "gauge", "Workers that are busy now.", ("controller",)
)
QUEUE_DEPTH = Spec(
    "workqueue_depth",
    "gauge",
    "Keys that wait for a worker; priority -100 was there at the start or has only to be seen out,"
    " 0 happened since, 100 is a new object, or was read for and goes on.",
    ("name", "controller", "priority"),
)
QUEUE_ADDS = Spec(
    "workqueue_adds_total", "counter", "Keys that entered the queue.", ("name", "controller")
)
QUEUE_RETRIES = Spec(
    "workqueue_retries_total", "counter", "Keys put back with backoff.", ("name", "controller")
)
QUEUE_WAIT = Spec(
    "workqueue_queue_duration_seconds",
    "histogram",
    "Time a key waited for a worker.",
    ("name", "controller"),
    QUEUE_BUCKETS,
)
QUEUE_WORK = Spec(
    "workqueue_work_duration_seconds",
    "histogram",
    "Time a worker took for a key.",
    ("name", "controller"),
    QUEUE_BUCKETS,
)
QUEUE_UNFINISHED = Spec(
    "workqueue_unfinished_work_seconds",
    "gauge",
    "Sum of the ages of the work in progress; it grows while workers are stuck.",
    ("name", "controller"),
)
QUEUE_LONGEST = Spec(
    "workqueue_longest_running_processor_seconds",
    "gauge",
    "Age of the oldest work in progress.",
    ("name", "controller"),
)
REQUESTS = Spec(
    "rest_client_requests_total",
    "counter",
    "Requests to the API server; code <error> means that no answer came.",
    ("code", "method", "host"),
)
LEADER = Spec(
    "leader_election_master_status",
    "gauge",
    "1: this process leads, 0: it stands by; nothing without --leader-elect.",
    ("name",),
)
LEADER_SLOWPATH = Spec(
    "leader_election_slowpath_total",
    "counter",
    "Renewals for which the leader had to read the lease first.",
    ("name",),
)
CERTIFICATE_READS = Spec(
    "certwatcher_read_certificate_total",
    "counter",
    "Reads of the serving certificate's files, one per change.",
)
CERTIFICATE_ERRORS = Spec(
    "certwatcher_read_certificate_errors_total",
    "counter",
    "Reads that failed; the certificate before goes on being served.",
)
STALE_SKIPS = Spec(
    "evc_controller_stale_sync_skips_total",
    "counter",
    "Reconciliations put off because the caches had not seen our own last write (KEP-5647).",
    ("group", "resource"),
)

CLAIMS = Spec(
    "evc_claims",
    "gauge",
    "EphemeralVolumeClaims by the reason of their Ready condition (the STATUS column);"
    " Unknown has no status yet.",
    ("reason",),
)
BLOCKED = Spec(
    "evc_blocked_claims",
    "gauge",
    "EphemeralVolumeClaims whose volume cannot go now, by what keeps it: pods, owner (a Job or"
    " another maker of pods), hold, limit (of deletions), attachment (it may be mounted),"
    " finalizer (somebody else's), rights (the operator may not look).",
    ("by",),
)
HELD_BYTES = Spec(
    "evc_held_bytes",
    "gauge",
    "Capacity of the PersistentVolumeClaims that bear the operator's mark.",
)
RECLAIMED_BYTES = Spec(
    "evc_reclaimed_bytes_total",
    "counter",
    "Capacity of the PersistentVolumeClaims that bore the operator's mark when they went.",
)
DELETIONS = Spec(
    "evc_deletions_total",
    "counter",
    "DELETEs of PersistentVolumeClaims that the API server accepted, by the outcome of the work.",
    ("outcome",),
)
DELETION_DELAY = Spec(
    "evc_deletion_delay_seconds",
    "histogram",
    "Time from when a volume was due to its DELETE. A hold, a limit on deletions and the"
    " operator's own absence count.",
    (),
    DELAY_BUCKETS,
)
DELETION_SECONDS = Spec(
    "evc_deletion_duration_seconds",
    "histogram",
    "Time from the DELETE to when the PersistentVolumeClaim was seen gone.",
    (),
    DELAY_BUCKETS,
)
DELETIONS_PUT_OFF = Spec(
    "evc_deletions_put_off_total",
    "counter",
    "Due deletions that were not admitted, once per attempt: rate is"
    " --max-deletions-per-minute, breaker is --max-deletions-percent.",
    ("limit",),
)
DELETION_CAP = Spec(
    "evc_deletions_per_minute_limit",
    "gauge",
    "The value of --max-deletions-per-minute; 0: no limit.",
)
BREAKER_OPEN = Spec(
    "evc_deletion_breaker_open",
    "gauge",
    "1: too many claims ended at once, and nothing is deleted until the operator is restarted.",
)
INFORMER_STALE = Spec(
    "evc_informer_stale_seconds",
    "gauge",
    "Time since the API server last said something about a resource. It sends a bookmark"
    " every minute; +Inf: it has not answered yet.",
    ("resource",),
)

ALL = tuple(value for value in globals().values() if isinstance(value, Spec))


def names(specs: Iterable[Spec]) -> set[str]:
    """Return their names."""
    return {spec.name for spec in specs}
