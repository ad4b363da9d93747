"""Observers of the runtime: one that hears nothing, to be extended, and one that passes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext

from evc.model.meta import Key
from evc.runtime.ports import Observer


class Observing:
    """Ignores all news; subclasses override what they tell. See `evc.runtime.ports.Observer`."""

    def reconciling(self, controller: str, key: Key) -> AbstractContextManager[None]:
        """Surround nothing."""
        return nullcontext()

    def reconciled(self, controller: str, key: Key, result: str, seconds: float) -> None:
        """Ignore."""

    def reconcile_failed(
        self, controller: str, key: Key, error: Exception, retry_in: float
    ) -> None:
        """Ignore."""

    def reconcile_timed_out(self, controller: str, key: Key) -> None:
        """Ignore."""

    def enqueued(self, queue: str) -> None:
        """Ignore."""

    def retried(self, queue: str) -> None:
        """Ignore."""

    def dequeued(self, queue: str, waited: float) -> None:
        """Ignore."""

    def worked(self, queue: str, seconds: float) -> None:
        """Ignore."""

    def watch_failed(self, resource: str, error: Exception, retry_in: float) -> None:
        """Ignore."""

    def streaming_refused(self, resource: str) -> None:
        """Ignore."""

    def handler_failed(self, resource: str, error: Exception) -> None:
        """Ignore."""

    def synced(self, resource: str, objects: int) -> None:
        """Ignore."""

    def candidate(self, name: str) -> None:
        """Ignore."""

    def leading(self, name: str, is_leader: bool) -> None:
        """Ignore."""

    def election_failed(self, name: str, error: Exception) -> None:
        """Ignore."""

    def election_slowpath(self, name: str) -> None:
        """Ignore."""

    def stop_timed_out(self, part: str) -> None:
        """Ignore."""


def _each(method: str) -> Callable[..., None]:
    def tell(self: Broadcast, *news: object) -> None:
        for observer in self.observers:
            getattr(observer, method)(*news)

    return tell


class Broadcast:
    """Tells several observers the same, in order."""

    def __init__(self, *observers: Observer) -> None:
        self.observers = observers

    @contextmanager
    def reconciling(self, controller: str, key: Key) -> Iterator[None]:
        """Enter every observer's context."""
        with ExitStack() as stack:
            for observer in self.observers:
                stack.enter_context(observer.reconciling(controller, key))
            yield

    reconciled = _each("reconciled")
    reconcile_failed = _each("reconcile_failed")
    reconcile_timed_out = _each("reconcile_timed_out")
    enqueued = _each("enqueued")
    retried = _each("retried")
    dequeued = _each("dequeued")
    worked = _each("worked")
    watch_failed = _each("watch_failed")
    streaming_refused = _each("streaming_refused")
    handler_failed = _each("handler_failed")
    synced = _each("synced")
    candidate = _each("candidate")
    leading = _each("leading")
    election_failed = _each("election_failed")
    election_slowpath = _each("election_slowpath")
    stop_timed_out = _each("stop_timed_out")
