"""Asks the API server's audit log, the one witness that misses nothing, who deleted what."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from .watch import moment


@dataclass(frozen=True)
class Deletion:
    """A DELETE of a PersistentVolumeClaim that the API server granted."""

    time: datetime
    agent: str


def deletions(log: Path, claim: str) -> list[Deletion]:
    """Every granted DELETE of this claim, first to last."""
    found = []
    for line in log.read_text().splitlines():
        if '"delete"' not in line:
            continue
        event = json.loads(line)
        target = event.get("objectRef", {})
        asked = (event["verb"], target.get("resource"), target.get("name"))
        if asked == ("delete", "persistentvolumeclaims", claim) and _granted(event):
            time = moment(event["requestReceivedTimestamp"])
            found.append(Deletion(time, str(event.get("userAgent", "?"))))
    return found


def _granted(event: dict[str, dict[str, int]]) -> bool:
    return event.get("responseStatus", {}).get("code", 0) < 300
