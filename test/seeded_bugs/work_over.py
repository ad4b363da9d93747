"""Switches about when work is over, how it ended, and what is told of that."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from msgspec import structs

from evc.controller import confirm, events, owners
from evc.model.core import Workload
from evc.policy import owners as judging
from evc.policy import usage, world


def failure_is_success() -> AbstractContextManager[Any]:
    real = usage.usage

    def optimist(*args: Any, **named: Any) -> Any:
        return replace(real(*args, **named), failed=False)

    return patch.object(world, "usage", optimist)


def first_end_counts() -> AbstractContextManager[Any]:
    """The first end says how it was, not the last."""
    real = usage._finish

    def finish(ends: Any, *more: Any) -> Any:
        time, failed = real(ends, *more)
        dated = [(end.time, end.failed) for end in ends if end.designated and end.time is not None]
        return time, min(dated)[1] if dated else failed

    return patch.object(usage, "_finish", finish)


def evidence_made_up() -> AbstractContextManager[Any]:
    return patch.object(
        usage,
        "_told",
        lambda end: (
            f"{end.name} finished at {usage.stamp(end.time)}"
            if end.time is not None
            else f"{end.name} finished"
        ),
    )


def wanted_replicas_ignored() -> AbstractContextManager[Any]:
    real = judging.wants_pods

    def wants(workload: Any) -> bool:
        return workload.spec.replicas is None and bool(real(workload))

    return patch.object(judging, "wants_pods", wants)


def deployments_not_asked() -> AbstractContextManager[Any]:
    """Their ReplicaSets are thought to say it all."""
    real = judging.wants_pods

    def wants(workload: Any) -> bool:
        return workload.kind != "Deployment" and bool(real(workload))

    return patch.object(judging, "wants_pods", wants)


def workloads_believed() -> AbstractContextManager[Any]:
    """What the cache says of workloads is not asked again."""

    def call(_: Any, evc: Any, observed: Any, workloads: Any) -> Any:
        return map(judging.as_owner, workloads)

    return patch.object(owners.AskOwners, "__call__", call)


def deaf_caches_believed() -> AbstractContextManager[Any]:
    """A cache of workloads whose watch has failed counts as complete."""
    return patch.object(confirm, "unlisted", lambda workloads: iter(()))


def daemons_believed() -> AbstractContextManager[Any]:
    """A DaemonSet's count is believed, although its controller has not seen the spec."""

    def wants(workload: Any) -> bool:
        if workload.status.desired_number_scheduled is not None:
            return not workload.metadata.deleting and workload.status.desired_number_scheduled > 0
        return not workload.metadata.deleting and workload.spec.replicas != 0

    return patch.object(judging, "wants_pods", wants)


def owners_of_owners_ignored() -> AbstractContextManager[Any]:
    return patch.object(owners, "_askable", lambda references: iter(()))


def dead_mens_events_lost() -> AbstractContextManager[Any]:
    """What a process could not tell before it died is told by nobody."""
    return patch.object(events.Recorder, "retell", lambda *_: None)


def owners_of_workloads_ignored() -> AbstractContextManager[Any]:
    real = owners.AskOwners._read

    def read(self: Any, seen: Any, namespace: str) -> Any:
        found = real(self, seen, namespace)
        if not isinstance(found, Workload):
            return found
        return structs.replace(found, metadata=structs.replace(found.metadata, owner_references=()))

    return patch.object(owners.AskOwners, "_read", read)


def owner_asked_at_the_end() -> AbstractContextManager[Any]:
    """The defect of life 1739: by then the owner's owner may be unknown."""
    return patch.object(world.World, "_met_owner", property(lambda self: False))
