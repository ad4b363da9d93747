"""Names for what happens, the same in every run: writes of the operator, and events it is sent.

`status-scratch-Draining-2` is that status for the second time, after another one;
`pod-crunch:Running` is the first watch event in which that pod runs.  What is sent again
without anything new has no name, so a name means the same moment in every run.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from typing import Any

from faults.proxy import Call
from sim.history import condition
from sim.kinds import EVCS, EVENTS, JOBS, LEASES, PODS, PROTECTION, PVCS, STATEFULSETS

Json = dict[str, Any]
WATCHED = (EVCS, PVCS, PODS, JOBS, STATEFULSETS)
SHORT = {EVCS: "evc", PVCS: "pvc", PODS: "pod", JOBS: "job", STATEFULSETS: "statefulset"}
GONE = "gone"


def write_name(call: Call) -> str:
    """What a write is for, without its number; "" for reads and the election."""
    if not call.writes or call.resource == LEASES:
        return ""
    if call.resource == EVENTS:
        return f"event-{call.json['regarding']['name']}-{call.json['reason']}"
    kind = SHORT.get(call.resource, call.resource)
    if call.subresource == "status":
        return f"status-{call.name}-{condition(call.json, 'Ready').get('reason', 'none')}"
    if call.verb == "patch" and isinstance(call.json, list) and call.json[-1]["op"] == "remove":
        return f"release-{kind}-{call.name}"
    return f"{call.verb}-{kind}-{call.name}"


class Writes:
    """Numbers the writes of a run; safe for many threads."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._counts: Counter[str] = Counter()
        self._status: dict[str, str] = {}
        self._lock = threading.Lock()

    def name(self, call: Call) -> str:
        """The name of this write, each time another one; "" for what has none."""
        plain = write_name(call)
        if not plain:
            return ""
        with self._lock:
            if call.subresource == "status":
                if self._status.get(call.name) == plain:
                    return ""
                self._status[call.name] = plain
            self._counts[plain] += 1
            count = self._counts[plain]
            name = plain if count == 1 else f"{plain}-{count}"
            self.names.append(name)
        return name

    def conflicted(self, call: Call) -> None:
        """Give the name of a write that was refused to its repetition.

        Whether others changed the object in that moment differs from run to run.
        """
        if call.step and call.subresource != "status":
            with self._lock:
                self._counts[write_name(call)] -= 1
                self.names.remove(call.step)


def event_of(line: bytes) -> tuple[str, Json] | None:
    """Type and object of a watch line; None for bookmarks and errors."""
    decoded = json.loads(line)
    if decoded["type"] in ("BOOKMARK", "ERROR"):
        return None
    return decoded["type"], decoded["object"]


def subject(resource: str, item: Json) -> str:
    """Which object an event is about; a Job's pod is called after the Job."""
    owners = item["metadata"].get("ownerReferences") or [{"name": item["metadata"]["name"]}]
    owner = owners[0]["name"] if resource == PODS else item["metadata"]["name"]
    return f"{SHORT[resource]}-{owner}"


def state(resource: str, kind: str, item: Json) -> str:
    """What an event says, as far as it matters to anybody."""
    if kind == "DELETED":
        return GONE
    meta, status = item["metadata"], item.get("status", {})
    if "deletionTimestamp" in meta:
        return "Released" if PROTECTION not in meta.get("finalizers", ()) else "Terminating"
    if resource == PODS:
        scheduled = "Scheduled" if item["spec"].get("nodeName") else "Pending"
        phase = str(status.get("phase", "Pending"))
        return scheduled if phase == "Pending" else phase
    if resource == PVCS:
        held = "-held" if "evc.dev/hold" in (meta.get("annotations") or {}) else ""
        ours = "" if "evc.dev/owner-uid" in (meta.get("annotations") or {}) else "-free"
        return f"{status.get('phase', 'Pending')}{held}{ours}"
    if resource == STATEFULSETS:
        return "Wanting" if item["spec"].get("replicas", 1) else "Over"
    if resource == JOBS:
        over = [c["type"] for c in status.get("conditions", ()) if c["status"] == "True"]
        return over[-1] if over else "Active" if status.get("active") else "New"
    held = "-held" if item["spec"].get("hold") else ""
    return str(condition(item, "Ready").get("reason", "New")) + held


class Events:
    """The order in which each object showed its states in the watches of a run."""

    def __init__(self) -> None:
        self.states: dict[str, list[str]] = {}
        self._lock = threading.Lock()

    def saw(self, resource: str, line: bytes) -> tuple[str, str]:
        """Note a line; return its subject and state, ("", "") if it says nothing new."""
        event = event_of(line) if resource in WATCHED else None
        if event is None:
            return "", ""
        about, new = subject(resource, event[1]), state(resource, *event)
        with self._lock:
            seen = self.states.setdefault(about, [])
            if new not in seen:
                seen.append(new)
        return about, new
