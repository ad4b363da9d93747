"""All that a decision may look at."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from evc.model.core import Job, PersistentVolumeClaim, Pod
from evc.model.evc import EphemeralVolumeClaim
from evc.policy.owners import Owner


@dataclass(frozen=True, kw_only=True)
class Observed:
    """One EphemeralVolumeClaim, its volume's claim and everything near it.

    ``evc`` is None when a user deleted it and only the marked ``claim`` is left.
    """

    evc: EphemeralVolumeClaim | None
    claim: PersistentVolumeClaim | None
    pods: tuple[Pod, ...] = ()
    """Every pod of the namespace that matches the selector or references the claim,
    scheduled or not."""
    jobs: tuple[Job, ...] = ()
    """Every Job whose pod template does, and every Job that controls one of ``pods``."""
    owners: tuple[Owner, ...] = ()
    """Other owners of designated pods, judged: built-in workloads, and, which only a live read
    knows, those of other kinds."""
    live: bool = False
    """Read from etcd, not from a cache: required before anything is destroyed."""
    mounted_by: tuple[str, ...] | None = None
    """VolumeAttachments and nodes that may still have the volume mounted, as Kind/name;
    None when that was not or may not be read, which counts as mounted."""
    time: datetime | None = None
    """The API server's clock at the live read, cut to whole seconds; None if it did not say."""
