"""A cache of all pods and nothing else: `informer.py official|evc EXPECTED`.

``official`` is the Kubernetes Python client's SharedInformer, ``evc`` the operator's reflector
and store.  Prints READY when EXPECTED pods are cached; on SIGTERM one line of JSON: how many
changes it was told of and how old they were.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from typing import Any

SENT = "bench.dev/sent"
lags: list[float] = []
ready_at = [float("inf")]
"""What was written before it was ready came with the first list, which is no lag."""


def told(annotations: dict[str, str] | None) -> None:
    """A handler: how long ago was this written?"""
    sent = (annotations or {}).get(SENT)
    if sent is not None and float(sent) > ready_at[0]:
        lags.append(time.time() - float(sent))


def official() -> Any:
    """Start the official client's informer; returns what counts its cache."""
    from kubernetes import client, config
    from kubernetes.informer import SharedInformer

    config.load_kube_config()
    informer = SharedInformer(client.CoreV1Api().list_pod_for_all_namespaces)
    for event in ("ADDED", "MODIFIED"):
        informer.add_event_handler(event, lambda pod: told(pod.metadata.annotations))
    informer.start()
    return lambda: len(informer.cache.list_keys())


def evc() -> Any:
    """Start ours."""
    from random import Random

    import msgspec

    from evc.__main__ import RealClock
    from evc.kube.client import Client, ResourceWatcher
    from evc.kube.config import load
    from evc.kube.resources import Resource
    from evc.kube.transport import Transport
    from evc.model.core import Pod
    from evc.model.meta import ObjectMeta
    from evc.runtime.reflector import Reflector
    from evc.runtime.store import Store
    from evc.serving.observers import Observing

    # The operator drops annotations; here one says when the change was written.
    metadata = ("metadata", ObjectMeta, msgspec.field(default_factory=ObjectMeta))
    annotated = msgspec.defstruct("Annotated", [metadata], bases=(Pod,), frozen=True)
    transport = Transport(
        load(None),
        user_agent="bench",
        connections=2,
        on_request=lambda *_: None,
        wait=lambda _: False,
    )
    store: Store[Any] = Store({"namespace": lambda pod: (pod.metadata.namespace,)})
    reflector = Reflector(
        "pods",
        ResourceWatcher(Client(transport), Resource("v1", "pods", annotated)),
        store,
        on_change=lambda _, new: told(new.metadata.annotations) if new is not None else None,
        observer=Observing(),
        clock=RealClock(),
        random=Random(),
    )
    threading.Thread(target=reflector.run, args=(threading.Event(),), daemon=True).start()
    return lambda: len(store)


def main() -> None:
    """Run until SIGTERM."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    count = {"official": official, "evc": evc}[sys.argv[1]]()
    while count() < int(sys.argv[2]) and not stop.is_set():
        time.sleep(0.02)
    ready_at[0] = time.time()
    print("READY", flush=True)
    stop.wait()
    print(json.dumps({"lags": lags}), flush=True)
    sys.stdout.flush()
    # Its threads may wait for a silent watch.
    os._exit(0)


if __name__ == "__main__":
    main()
