"""One line per write, for people."""

from __future__ import annotations

from sim.history import Commit, Json, condition, deleting, meta
from sim.kinds import EVCS, EVENTS, JOBS, PODS, PVCS


def line(commit: Commit) -> str:
    """What was written, by whom, and what matters of it."""
    item = commit.last
    if commit.name.plural == EVENTS:
        what = f"{item['reason']}: {item['note']}"
    elif commit.after is None:
        what = "gone"
    else:
        what = _summary(commit.name.plural, item)
    return f"{commit.actor}: {commit.verb} {commit.name} @{commit.revision} {what}"


def _summary(plural: str, item: Json) -> str:
    words = [meta(item)["uid"]]
    if deleting(item):
        words.append(f"deleting, finalizers {meta(item).get('finalizers', [])}")
    status = item.get("status", {})
    if plural in (PODS, PVCS):
        words.append(status.get("phase", ""))
    if plural == PODS:
        words.append(item["spec"].get("nodeName", "unscheduled"))
    if plural == EVCS:
        ready = condition(item, "Ready")
        claim = status.get("claim", {}).get("uid", "no claim")
        words += [ready.get("reason", "no status"), claim, ready.get("message", "")]
        words.append(f"due {status.get('deletionTime')} hold={item['spec'].get('hold')}")
    if plural == JOBS:
        words.append(str({k: v for k, v in status.items() if k != "conditions"}))
        words += [c["type"] for c in status.get("conditions", ())]
    return " ".join(str(word) for word in words)
