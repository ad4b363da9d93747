"""Logs in the field's style: capital, past tense, no full stop, key/value pairs."""

from __future__ import annotations

import logging
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import structlog

from evc.model.errors import ApiError, Conflict
from evc.model.meta import Key
from evc.serving.observers import Observing

log = structlog.get_logger("evc")


def configure(log_format: Literal["plain", "json"]) -> None:
    """Send all logs to standard error, one line each."""
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(
                fmt="iso", utc=True, key="ts" if log_format == "json" else "timestamp"
            ),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


class LogObserver(Observing):
    """Tells the runtime's news; the keys are controller-runtime's."""

    @contextmanager
    def reconciling(self, controller: str, key: Key) -> Iterator[None]:
        """Bind what every line of this reconcile carries."""
        with structlog.contextvars.bound_contextvars(
            controller=controller,
            namespace=key.namespace,
            name=key.name,
            reconcileID=str(uuid.uuid4()),
        ):
            yield

    def reconcile_failed(
        self, controller: str, key: Key, error: Exception, retry_in: float
    ) -> None:
        """A lost race is normal; another refusal is news; anything else is a bug."""
        if isinstance(error, Conflict):
            log.info("Lost a race and will look again", error=str(error), retryIn=retry_in)
        elif isinstance(error, ApiError):
            log.warning("Could not reconcile", error=str(error), retryIn=round(retry_in, 3))
        else:
            log.error("Reconciler failed unexpectedly", retryIn=retry_in, exc_info=error)

    def watch_failed(self, resource: str, error: Exception, retry_in: float) -> None:
        """Say what the cache will miss until then."""
        log.warning(
            "Could not list or watch",
            resource=resource,
            error=str(error),
            retryIn=round(retry_in, 3),
        )

    def handler_failed(self, resource: str, error: Exception) -> None:
        """A bug, with its traceback."""
        log.error("Informer handler failed", resource=resource, exc_info=error)

    def streaming_refused(self, resource: str) -> None:
        """Why there are paged lists in the API server's log."""
        log.info("Fell back to paged lists", resource=resource)

    def synced(self, resource: str, objects: int) -> None:
        """How much is known."""
        log.info("Synced cache", resource=resource, objects=objects)

    def candidate(self, name: str) -> None:
        """Why nothing is done yet."""
        log.info("Waiting to lead", lease=name)

    def leading(self, name: str, is_leader: bool) -> None:
        """Who acts."""
        log.info("Became leader" if is_leader else "Stopped leading", lease=name)

    def election_failed(self, name: str, error: Exception) -> None:
        """Why nobody may act."""
        log.warning("Could not update lease", lease=name, error=str(error))

    def stop_timed_out(self, part: str) -> None:
        """What was cut off."""
        log.warning("Stopped waiting for a part to end", part=part)
