"""Workers that call a reconcile function for one key at a time.

What a reconcile leads to (``result`` is the metric label, controller-runtime's words):

| it                        | then                                             | result        |
|---------------------------|--------------------------------------------------|---------------|
| returns None              | past failures are forgotten                      | success       |
| returns seconds > 0       | forgotten; called again after them at the latest | requeue_after |
| returns seconds <= 0      | called again with backoff                        | requeue       |
| raises ApiError           | called again with backoff, not before retry_after| error         |
| raises another Exception  | the same; reported as the bug that it is         | error         |

A deadline that has just passed counts as <= 0: it waits the shortest backoff, so that a
reconcile that keeps saying "now" cannot spin.  A key that changes meanwhile is called
again at once in every case; the queue sees to that, and to one worker per key.

A reconcile may have a time limit, which `evc.runtime.deadline` carries to the API client:
its next request after that raises, and so it ends like any other that failed.
"""

from __future__ import annotations

import threading

from evc.model.errors import ApiError
from evc.model.meta import Key
from evc.runtime.deadline import Deadline
from evc.runtime.ports import UNFINISHED, Clock, Observer, Reconciler
from evc.runtime.queue import RateLimitingQueue


class Controller:
    """Owns the worker threads of one reconcile function and the end of their queue."""

    def __init__(
        self,
        name: str,
        reconcile: Reconciler,
        queue: RateLimitingQueue,
        *,
        workers: int,
        clock: Clock,
        observer: Observer,
        deadline: Deadline | None = None,
        timeout: float | None = None,
    ) -> None:
        """``workers`` keys are reconciled at the same time, never one of them twice.

        ``deadline`` is what the API client asks, ``timeout`` the seconds of one reconcile.
        """
        self.name = name
        self.workers = workers
        self._reconcile = reconcile
        self._queue = queue
        self._clock = clock
        self._observer = observer
        self._deadline = deadline or Deadline(clock)
        self._timeout = timeout
        # Daemons: a reconcile that hangs must not keep the process from exiting.
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-worker-{number}", daemon=True)
            for number in range(workers)
        ]

    def start(self) -> None:
        """Start the workers; after `stop` they end at once."""
        for thread in self._threads:
            thread.start()

    def stop(self, timeout: float) -> bool:
        """Let running reconciles finish, start no other; return whether all did in time."""
        self._queue.shut_down()
        deadline = self._clock.monotonic() + timeout
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, deadline - self._clock.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def visit(self, key: Key) -> None:
        """Reconcile one key and put it back as the table says; raises no Exception.

        What a worker does with each key between the queue's ``get`` and ``done``.
        """
        started = self._clock.monotonic()
        with self._observer.reconciling(self.name, key):
            try:
                with self._deadline.within(self._timeout):
                    again_in = self._reconcile(key)
                result = self._settle(key, again_in)
            except Exception as error:
                # Whatever it was (RecursionError too), it concerns this key only.
                result = self._fail(key, error)
            seconds = self._clock.monotonic() - started
            if self._timeout is not None and seconds >= self._timeout:
                self._observer.reconcile_timed_out(self.name, key)
            self._observer.reconciled(self.name, key, result, seconds)

    def _work(self) -> None:
        while (key := self._queue.get()) is not None:
            try:
                self.visit(key)
            finally:
                # Always, or the key would never be handed out again.
                self._queue.done(key)

    def _settle(self, key: Key, again_in: float | None) -> str:
        if again_in is None:
            self._queue.forget(key)
            return "success"
        if again_in == UNFINISHED:
            return "requeue"
        if again_in <= 0:
            self._queue.add_rate_limited(key)
            return "requeue"
        self._queue.forget(key)
        self._queue.add_after(key, again_in)
        return "requeue_after"

    def _fail(self, key: Key, error: Exception) -> str:
        asked = error.retry_after if isinstance(error, ApiError) else None
        retry_in = self._queue.add_rate_limited(key, at_least=asked or 0.0)
        self._observer.reconcile_failed(self.name, key, error, retry_in)
        return "error"
