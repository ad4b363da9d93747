"""Liveness and readiness, with kubebuilder's paths."""

from __future__ import annotations

from collections.abc import Callable

from evc.serving.http import Answer, Routes


def routes(ready: Callable[[], list[str]]) -> Routes:
    """Return /healthz and /readyz; ``ready`` lists what is missing, empty when ready."""

    def healthz() -> Answer:
        return Answer(200, b"ok\n")

    def readyz() -> Answer:
        missing = ready()
        if not missing:
            return Answer(200, b"ok\n")
        return Answer(503, "".join(f"not ready: {what}\n" for what in missing).encode())

    return {"/healthz": healthz, "/readyz": readyz}
