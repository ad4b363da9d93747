"""The composition root: builds every part and wires them."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import version
from random import Random
from typing import Any

import structlog

from evc.controller.apply import Apply
from evc.controller.confirm import Confirm
from evc.controller.enqueue import Enqueue
from evc.controller.events import Recorder
from evc.controller.gather import Caches, OwnWrites
from evc.controller.limits import DeletionLimit
from evc.controller.observer import ClaimObserver, Unobserved
from evc.controller.reconcile import Reconcile
from evc.controller.shared import SharedReads, Together, one_by_one
from evc.kube import config as kubeconfig
from evc.kube.client import Client, ResourceWatcher
from evc.kube.config import Cluster
from evc.kube.lease import Lock
from evc.kube.resources import CLAIMS, JOBS, PODS, PVCS, WATCHED, WORKLOADS, Resource
from evc.kube.throttle import TokenBucket
from evc.kube.transport import Transport
from evc.model.core import PersistentVolumeClaim
from evc.model.evc import GROUP
from evc.model.meta import Key, T
from evc.options import Options
from evc.policy.mapping import Designations
from evc.preflight import StartError, preflight
from evc.runtime.backoff import Exponential
from evc.runtime.controller import Controller
from evc.runtime.deadline import Deadline
from evc.runtime.election import Elector, Timing
from evc.runtime.manager import LeadershipLost, Manager, NotSynced
from evc.runtime.ports import Clock, Observer, Reconciler
from evc.runtime.queue import Priority, RateLimitingQueue
from evc.runtime.reflector import Reflector
from evc.runtime.store import Store
from evc.serving.access import TIMEOUT, Reviewer
from evc.serving.health import Freshness
from evc.serving.logs import LogObserver
from evc.serving.metrics import Metrics
from evc.serving.observers import Broadcast
from evc.serving.servers import CertificateError, servers
from evc.serving.state import measure
from evc.serving.volumes import Volumes

CONTROLLER = "ephemeralvolumeclaim"
READER = "namespace"
"""The controller that makes the live reads on which decisions rest."""
READERS = 10
"""Namespaces read at the same time; a read is mostly waiting."""
LEASE = f"{CONTROLLER}.{GROUP}"
SYNC_TIMEOUT = 120.0
"""Seconds for the caches to fill; controller-runtime's CacheSyncTimeout."""
GRACE_PERIOD = 8.0
"""Seconds for a clean stop, inside the Deployment's terminationGracePeriodSeconds of 10."""
MAX_BACKOFF = 60.0
"""Seconds; events of a busy claim count as attempts, and a right that comes back after a
minute must not find its deletion put off by controller-runtime's 1,000."""
ALL = ""
"""The namespace that means every one."""

log = structlog.get_logger("evc")


def run(options: Options, clock: Clock, stop: threading.Event) -> None:
    """Run until ``stop`` is set; raises StartError for what the user must mend."""
    metrics = Metrics({CONTROLLER: options.workers, READER: READERS})
    observer = Broadcast(metrics, LogObserver())
    try:
        cluster = kubeconfig.load(options.kubeconfig)
        namespaces = options.namespaces or (ALL,)
        deadline = Deadline(clock)
        client = work_client(options, cluster, clock, stop, metrics, deadline)
        preflight(client, namespaces)
        elector = election(options, cluster, clock, metrics, observer)
        manager = build(
            options,
            client,
            namespaces,
            clock,
            metrics,
            observer,
            elector=elector,
            deadline=deadline,
            reviewer=_client_aside(cluster, metrics, TIMEOUT),
        )
        log.info("Started operator", server=client.host, namespaces=options.namespaces or "all")
        manager.run(stop)
    except (kubeconfig.ConfigError, CertificateError, NotSynced, LeadershipLost) as error:
        raise StartError(str(error)) from error
    except OSError as error:
        raise StartError(f"cannot serve: {error}; choose another --*-bind-address") from error
    log.info("Stopped operator")


def work_client(
    options: Options,
    cluster: Cluster,
    clock: Clock,
    stop: threading.Event,
    metrics: Metrics,
    deadline: Deadline,
) -> Client:
    """Return the client of informers and workers; they share its limits."""
    throttle = None
    if options.kube_api_qps > 0:
        throttle = TokenBucket(
            qps=options.kube_api_qps,
            burst=options.kube_api_burst,
            monotonic=clock.monotonic,
            wait=stop.wait,
        )
    watches = len(WATCHED) * max(1, len(options.namespaces))
    return Client(
        Transport(
            cluster,
            user_agent=_user_agent(),
            connections=options.workers + 2 * READERS + watches,
            on_request=metrics.requested(cluster.host),
            wait=stop.wait,
            time_left=deadline.left,
            throttle=throttle,
        )
    )


def election(
    options: Options, cluster: Cluster, clock: Clock, metrics: Metrics, observer: Observer
) -> Elector | None:
    """Return the elector, with a connection of its own; None if this process acts alone.

    Its requests wait for no throttle and end in time for another attempt; it makes that by
    itself, so a pause before a retry counts as a stop.
    """
    if not options.leader_elect:
        return None
    timing = Timing(
        options.leader_elect_lease_duration,
        options.leader_elect_renew_deadline,
        options.leader_elect_retry_period,
    )
    client = _client_aside(cluster, metrics, timing.renew / 2)
    lock = Lock(client, Key(options.leader_election_namespace, LEASE), _identity())
    return Elector(LEASE, lock, timing, clock=clock, observer=observer, random=Random())


def _client_aside(cluster: Cluster, metrics: Metrics, timeout: float) -> Client:
    """Return a client with a connection of its own and no throttle, whose user retries."""
    return Client(
        Transport(
            cluster,
            user_agent=_user_agent(),
            connections=1,
            on_request=metrics.requested(cluster.host),
            wait=lambda _: True,
            timeout=timeout,
        )
    )


def _user_agent() -> str:
    return f"evc/{version('evc')}"


@cache
def _identity() -> str:
    """Return a name that no other process has, and none before this one had."""
    return f"{socket.gethostname()}_{os.getpid()}_{Random().getrandbits(48):x}"


def build(
    options: Options,
    client: Client,
    namespaces: tuple[str, ...],
    clock: Clock,
    metrics: Metrics,
    observer: Observer,
    *,
    elector: Elector | None = None,
    deadline: Deadline | None = None,
    reviewer: Reviewer | None = None,
) -> Manager:
    """Build and wire all parts; nothing runs yet."""
    random = Random()
    queue, reads = (
        RateLimitingQueue(name, Exponential(cap=MAX_BACKOFF), clock=clock, observer=observer)
        for name in (CONTROLLER, READER)
    )
    designations = Designations()
    volumes = Volumes(metrics.registry, clock.monotonic)
    scopes = {
        name: informers(client, name, queue, designations, observer, clock, random, volumes.changed)
        for name in namespaces
    }
    limit = _limit(options, scopes, clock)
    reflectors = [reflector for scope in scopes.values() for reflector in scope.reflectors]
    freshness = Freshness(reflectors, clock)
    measure(
        metrics,
        claims=lambda: (evc for scope in scopes.values() for evc in scope.caches.claims.list()),
        queues=(queue, reads),
        limit=limit,
        per_minute=options.max_deletions_per_minute,
        freshness=freshness,
    )
    return Manager(
        servers=list(servers(options, reviewer or client, freshness, metrics, clock, random)),
        reflectors=reflectors,
        elector=elector,
        controllers=_controllers(
            options,
            client,
            scopes,
            queue,
            reads,
            clock,
            observer,
            elector,
            deadline or Deadline(clock),
            limit,
            volumes,
        ),
        sync_timeout=SYNC_TIMEOUT,
        grace_period=GRACE_PERIOD,
        clock=clock,
        observer=observer,
    )


def _controllers(
    options: Options,
    client: Client,
    scopes: Mapping[str, Scope],
    queue: RateLimitingQueue,
    reads: RateLimitingQueue,
    clock: Clock,
    observer: Observer,
    elector: Elector | None,
    deadline: Deadline,
    limit: DeletionLimit,
    told: ClaimObserver,
) -> list[Controller]:
    """Return the controller of claims, and the one that reads namespaces for it."""
    reconcilers = {
        namespace: reconciler(
            client,
            scope.caches,
            queue,
            reads,
            clock,
            _identity(),
            elector.is_leader if elector is not None else lambda: True,
            limit,
            dry_run=options.dry_run,
            told=told,
            together=deadline.together,
        )
        for namespace, scope in scopes.items()
    }

    def of(namespace: str) -> Reconcile:
        return reconcilers[ALL if ALL in reconcilers else namespace]

    def controller(
        name: str, visit: Reconciler, queue: RateLimitingQueue, workers: int
    ) -> Controller:
        return Controller(
            name,
            visit,
            queue,
            workers=workers,
            clock=clock,
            observer=observer,
            deadline=deadline,
            timeout=options.reconcile_timeout or None,
        )

    return [
        controller(CONTROLLER, lambda key: of(key.namespace)(key), queue, options.workers),
        controller(READER, lambda key: of(key.name).reads.read(key), reads, READERS),
    ]


@dataclass(frozen=True)
class Scope:
    """The caches of one namespace (or of all) and the reflectors that fill them."""

    caches: Caches
    reflectors: tuple[Reflector[Any], ...]


def informers(
    client: Client,
    namespace: str,
    queue: RateLimitingQueue,
    designations: Designations,
    observer: Observer,
    clock: Clock,
    random: Random,
    follow: Callable[[PersistentVolumeClaim | None, PersistentVolumeClaim | None], None]
    | None = None,
) -> Scope:
    """Build the informers of a namespace and what their changes enqueue.

    ``follow`` hears of volumes before the queue does, and must not raise.
    """
    caches = Caches()
    enqueue = Enqueue(caches, queue, designations)

    def pvc_changed(old: PersistentVolumeClaim | None, new: PersistentVolumeClaim | None) -> None:
        if follow is not None:
            follow(old, new)
        enqueue.pvc_changed(old, new)

    def reflector(
        resource: Resource[T], store: Store[T], on_change: Callable[[T | None, T | None], None]
    ) -> Reflector[T]:
        return Reflector(
            resource.plural,
            ResourceWatcher(client, resource, namespace),
            store,
            on_change=on_change,
            observer=observer,
            clock=clock,
            random=random,
        )

    return Scope(
        caches,
        (
            reflector(CLAIMS, caches.claims, enqueue.claim_changed),
            reflector(PVCS, caches.pvcs, pvc_changed),
            reflector(PODS, caches.pods, enqueue.pod_changed),
            reflector(JOBS, caches.jobs, enqueue.job_changed),
            *(
                reflector(WORKLOADS[kind], store, partial(enqueue.workload_changed, kind))
                for kind, store in caches.workloads.items()
            ),
        ),
    )


def reconciler(
    client: Client,
    caches: Caches,
    queue: RateLimitingQueue,
    reads: RateLimitingQueue,
    clock: Clock,
    identity: str,
    may_write: Callable[[], bool],
    limit: DeletionLimit,
    *,
    dry_run: bool,
    told: ClaimObserver | None = None,
    together: Together = one_by_one,
) -> Reconcile:
    """Build what a worker calls for each key of these caches; ``told`` hears of its steps.

    ``queue`` is of claims, ``reads`` of the namespaces that `SharedReads.read` is to read.
    """
    writes = OwnWrites(caches, told or Unobserved())
    recorder = Recorder(client, identity, clock.now)
    shared = SharedReads(
        client, reads.add, partial(queue.add, priority=Priority.HIGH), clock.monotonic, together
    )
    return Reconcile(
        caches=caches,
        writes=writes,
        reads=shared,
        confirm=Confirm(client, caches, shared),
        apply=Apply(
            client, writes, recorder, may_write, clock.now, limit, dry_run=dry_run, observer=told
        ),
        events=recorder,
        now=clock.now,
    )


def _limit(options: Options, scopes: Mapping[str, Scope], clock: Clock) -> DeletionLimit:
    return DeletionLimit(
        per_minute=options.max_deletions_per_minute,
        max_percent=options.max_deletions_percent,
        claims=lambda: sum(len(scope.caches.claims) for scope in scopes.values()),
        monotonic=clock.monotonic,
    )
