"""Which list a deletion rests on, told to the judge by an audit log of a few lines."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from faults.audit import AuditLog
from faults.judge import Judge
from sim.facts import OWNER_UID

Json = dict[str, Any]
OPERATOR, BEGAN = "operator", datetime(2026, 1, 1, tzinfo=UTC).timestamp()


def request(
    second: float, verb: str, resource: str, name: str = "", *, user: str = OPERATOR, **bodies: Json
) -> Json:
    """One line: sent and received at that second, answered a hundredth later."""
    sent, answered = (
        datetime.fromtimestamp(BEGAN + at, UTC).isoformat() for at in (second, second + 0.01)
    )
    return {
        "verb": verb,
        "requestURI": f"/{resource}",
        "user": {"username": user},
        "userAgent": f"evc team-a {BEGAN + second}" if user == OPERATOR else "kubectl",
        "objectRef": {"resource": resource, "namespace": "team", "name": name},
        "responseStatus": {"code": 200},
        "requestReceivedTimestamp": sent,
        "stageTimestamp": answered,
        **{f"{kind}Object": body for kind, body in bodies.items()},
    }


def stored(name: str, version: int, **more: Json) -> Json:
    meta = {"name": name, "namespace": "team", "uid": f"uid-{name}", "resourceVersion": version}
    return {"metadata": meta | more.pop("meta", {}), **more}


EVC = stored(
    "evc-one",
    1,
    meta={"creationTimestamp": "2026-01-01T00:00:00Z"},
    spec={
        "podSelector": {"matchLabels": {"app": "x"}},
        "gracePeriodSeconds": 0,
        "minimumWaitSeconds": 0,
        "expirySeconds": 0,
    },
    status={"conditions": [{"type": "Ready", "reason": "Releasing", "status": "False"}]},
)
CLAIM = stored("one", 2, meta={"annotations": {OWNER_UID: "uid-evc-one"}}, spec={})
LATE = stored(
    "late",
    3,
    meta={"labels": {"app": "x"}},
    spec={"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "one"}}]},
    status={"phase": "Pending"},
)
DELETED = stored("one", 4, meta={"annotations": {OWNER_UID: "uid-evc-one"}}, spec={})
EXACTLY: Json = {"preconditions": {"uid": "uid-one", "resourceVersion": "2"}}


@pytest.mark.parametrize(
    ("claim_read", "seen"),
    [
        pytest.param(10.2, False, id="before the pod came"),
        pytest.param(10.45, True, id="after it came and was listed"),
    ],
)
def test_a_deletion_rests_on_the_list_before_the_claim_was_read(
    tmp_path: Path, claim_read: float, *, seen: bool
) -> None:
    """Another claim of the namespace may have it listed anew in between."""
    log = tmp_path / "audit.log"
    lines = [
        request(1.0, "create", "ephemeralvolumeclaims", "evc-one", user="ada", response=EVC),
        request(2.0, "create", "persistentvolumeclaims", "one", response=CLAIM),
        *(request(10.0, "list", resource) for resource in ("pods", "jobs")),
        request(claim_read, "get", "persistentvolumeclaims", "one"),
        request(claim_read + 0.02, "get", "ephemeralvolumeclaims", "evc-one"),
        request(10.3, "create", "pods", "late", user="ada", response=LATE),
        *(request(10.4, "list", resource) for resource in ("pods", "jobs")),
        request(10.5, "delete", "persistentvolumeclaims", "one", request=EXACTLY, response=DELETED),
    ]
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = Judge(AuditLog(log, OPERATOR), "team")()
    assert found == (["S1: one deleted under pod late"] if seen else [])
