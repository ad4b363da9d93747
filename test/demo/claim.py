"""One claim as the snapshots show it: the sights that more than one story has."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from .audit import deletions
from .errors import Broken
from .story import Sight
from .watch import Item, Snapshot, moment

PUNCTUAL = timedelta(seconds=3)
"""How much later than due the DELETE may come."""


class Claim:
    """The EphemeralVolumeClaim of this name, its PVC and its pods; remembers what was seen."""

    def __init__(self, name: str, selector: str, audit_log: Path) -> None:
        self.name = name
        self._label, _, self._value = selector.partition("=")
        self._audit_log = audit_log
        self._spec: Item = {}
        self._created: datetime | None = None
        self._uid = ""
        self.deadline: datetime | None = None
        """The latest status.deletionTime that was seen."""

    # Sights, in the order of a claim's life.

    def applied(self, seen: Snapshot) -> str | None:
        """The object is there."""
        evc = seen.evcs.get(self.name)
        if evc is None:
            return None
        self._spec, self._created = evc["spec"], moment(evc["metadata"]["creationTimestamp"])
        return "EphemeralVolumeClaim applied"

    def bound(self, seen: Snapshot) -> str | None:
        """The PVC is Bound; its UID is the one it must keep."""
        pvc = seen.pvcs.get(self.name)
        if pvc is None or pvc["status"].get("phase") != "Bound":
            return None
        self._uid = pvc["metadata"]["uid"]
        volume = pvc["spec"]["volumeName"]
        if volume not in seen.volumes:
            raise Broken(f"the PVC is Bound to {volume}, which does not exist")
        return f"PVC created and Bound to {volume[:12]}... ({pvc['status']['capacity']['storage']})"

    def in_use(self, seen: Snapshot) -> str | None:
        """The operator says that the volume is in use, and counts down no more."""
        status = self.status(seen)
        if self.reason(seen) != "InUse" or "deletionTime" in status:
            return None
        holders = ", ".join(status.get("heldBy", {}).get("names", []))
        return f"STATUS InUse, held by {holders}"

    def counting_down(self, seen: Snapshot) -> str | None:
        """The operator says when it will delete."""
        due = self.status(seen).get("deletionTime")
        if due is None or self.reason(seen) != "Draining":
            return None
        self.deadline = moment(due)
        left = (self.deadline - seen.time).total_seconds()
        return f"STATUS Draining, DELETES-AT {self.deadline:%H:%M:%S}, in {left:.1f} s"

    def terminating(self, seen: Snapshot) -> str | None:
        """The PVC is deleted and pinned."""
        pvc = seen.pvcs.get(self.name)
        if pvc is not None and "deletionTimestamp" not in pvc["metadata"]:
            return None
        return "PVC Terminating: the DELETE was sent" if pvc else "PVC deleted"

    def outlived_by(self, count: int) -> Sight:
        """The PVC is gone, and this many completed pods are still there."""

        def sight(seen: Snapshot) -> str | None:
            if self.name in seen.pvcs:
                return None
            pods = [pod for pod in self.pods(seen) if pod["status"]["phase"] == "Succeeded"]
            if len(pods) != count:
                raise Broken(f"expected {count} completed pods next to the PVC, saw {len(pods)}")
            return f"PVC deleted ALTHOUGH {count} completed pods are still there:\n" + table(pods)

        return sight

    def expired(self, seen: Snapshot) -> str | None:
        """The PVC is gone, which must not be before `expirySeconds`."""
        if self.name in seen.pvcs:
            return None
        left = (self.after_creation("expirySeconds") - seen.time).total_seconds()
        if left > 0:
            raise Broken(f"the PVC is gone {left:.1f} s before it expires")
        return "PVC deleted"

    def volume_gone(self, seen: Snapshot) -> str | None:
        """No PersistentVolume is left that was bound to the PVC."""
        owners = [volume["spec"].get("claimRef", {}) for volume in seen.volumes.values()]
        return None if any(o.get("name") == self.name for o in owners) else "PersistentVolume gone"

    def record_gone(self, seen: Snapshot) -> str | None:
        """The object itself is gone."""
        return None if self.name in seen.evcs else "EphemeralVolumeClaim gone"

    # Around the sights.

    def kept(self, sight: Sight) -> Sight:
        """The same sight; until it comes, and then, the PVC must be the same and not deleted."""

        def guarded(seen: Snapshot) -> str | None:
            pvc = seen.pvcs.get(self.name)
            if pvc is None:
                raise Broken("the PVC is gone, and should still be there")
            if pvc["metadata"]["uid"] != self._uid:
                raise Broken("the PVC was replaced by another one")
            if "deletionTimestamp" in pvc["metadata"]:
                raise Broken("the PVC is being deleted, and should not be yet")
            return sight(seen)

        return guarded

    def pods(self, seen: Snapshot, phase: str = "") -> list[Item]:
        """The designated pods, of this phase only if one is given, by name."""
        return [
            pod
            for _, pod in sorted(seen.pods.items())
            if pod["metadata"].get("labels", {}).get(self._label) == self._value
            and phase in ("", pod["status"]["phase"])
        ]

    def status(self, seen: Snapshot) -> Item:
        """The object's status."""
        status: Item = seen.evcs.get(self.name, {}).get("status", {})
        return status

    def reason(self, seen: Snapshot) -> str:
        """What kubectl shows under STATUS."""
        conditions = self.status(seen).get("conditions", [])
        return next((c["reason"] for c in conditions if c["type"] == "Ready"), "")

    def after_creation(self, field: str) -> datetime:
        """Creation plus the duration in this field of the spec."""
        assert self._created is not None  # every story begins with `applied`
        return self._created + timedelta(seconds=self._spec[field])

    def due_after(self, finished: datetime) -> datetime:
        """When the claim of work that finished then is due, worked out by ourselves."""
        grace = timedelta(seconds=self._spec["gracePeriodSeconds"])
        return max(self.after_creation("minimumWaitSeconds"), finished + grace)

    def judged(self, due: datetime, rule: str) -> str:
        """Ask the audit log: one DELETE, by the operator, not before it was due, nor long after."""
        found = deletions(self._audit_log, self.name)
        if len(found) != 1 or not found[0].agent.startswith("evc/"):
            agents = ", ".join(deletion.agent for deletion in found) or "nobody"
            raise Broken(
                f"expected one DELETE of the PVC, by the operator; it was sent by: {agents}"
            )
        late = found[0].time - due
        text = f"the operator sent the DELETE {abs(late.total_seconds()):.2f} s"
        if not timedelta(0) <= late <= PUNCTUAL:
            raise Broken(
                f"{text} {'before' if late < timedelta(0) else 'after'} it was due ({rule})"
            )
        return f"{text} after it was due ({rule})"


def table(pods: list[Item]) -> str:
    """What `kubectl get pods` shows of them."""
    rows = []
    for pod in pods:
        statuses = pod["status"].get("containerStatuses", [])
        ready = f"{sum(status['ready'] for status in statuses)}/{len(statuses)}"
        ended = [s["state"]["terminated"]["reason"] for s in statuses if "terminated" in s["state"]]
        rows.append(f"  pod/{pod['metadata']['name']:<24} {ready}  {(ended or ['?'])[0]}")
    return "\n".join(rows)


def finished_at(pod: Item) -> datetime:
    """When the pod's last container ended."""
    statuses = pod["status"]["containerStatuses"]
    return max(moment(status["state"]["terminated"]["finishedAt"]) for status in statuses)
