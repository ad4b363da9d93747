"""What the fake kubelet does to pods: one kwok Stage for each step in a pod's life.

A pod bound to a node is accepted (address, containers waiting); its init containers begin and end,
all at the same time; its containers run; it completes, fails or, deleted, is stopped; deleted and
not running, it goes. Each step looks for what the one before it wrote.

Conditions and delays are jq over the pod. What a step writes is a Go template that gives YAML.
"""

from __future__ import annotations

import json
from typing import Any

Json = dict[str, Any]

ALIVE = ".metadata.deletionTimestamp == null"
DELETED = ".metadata.deletionTimestamp != null"
UNCLAIMED = ".metadata.finalizers == null"  # a Job holds its pods until it has counted them
PENDING = '.status.phase == "Pending"'
RUNNING = '.status.phase == "Running"'
ACCEPTED = ".status.containerStatuses != null"
OF_A_JOB = 'any(.metadata.ownerReferences[]?; .kind == "Job")'
GO: Json = {"delete": True}
NOW = "{{ Now }}"


def pod_stages() -> str:
    """All stages, as the text of a file for kwok: a YAML stream whose documents are JSON."""
    complete, fail = _annotation("complete-after"), _annotation("fail-after")
    ends = f"{complete} != null or {OF_A_JOB}"
    stages = [
        _accept(),
        _begin_init(),
        _end_init(),
        _run(),
        _end(0, "complete", [ALIVE, f"{fail} == null", ends], _delay(1000, complete)),
        _end(1, "fail", [ALIVE, f"{fail} != null"], _delay(1000, fail)),
        _end(143, "stop", [DELETED], _delay(100, _annotation("stop-after"))),
        _stage("go", [DELETED, _not(RUNNING), UNCLAIMED], GO),
    ]
    return "\n---\n".join(json.dumps(stage) for stage in stages)


def _accept() -> Json:
    """Only a pod without init containers is initialized from the start."""
    initialized = "{{ if .spec.initContainers }}False{{ else }}True{{ end }}"
    writes = _write(
        "Pending",
        [
            _condition("Initialized", initialized),
            *_readiness("False", "ContainersNotReady"),
        ],
        startTime=f'"{NOW}"',
        podIP="{{ PodIP }}",
        initContainerStatuses=_each(".spec.initContainers", _waiting("PodInitializing")),
        containerStatuses=_each(".spec.containers", _waiting("ContainerCreating")),
    )
    return _stage("accept", [ALIVE, PENDING, _not(ACCEPTED)], writes)


def _begin_init() -> Json:
    begun = _each(".status.initContainerStatuses", _running())
    writes = _write("Pending", [], initContainerStatuses=begun)
    delay = _delay(100, _annotation("start-after"))
    return _stage("begin-init", [ALIVE, PENDING, _some_init("waiting")], writes, delay)


def _end_init() -> Json:
    ended = _each(".status.initContainerStatuses", _terminated(0), ready=True)
    writes = _write("Pending", [_condition("Initialized", "True")], initContainerStatuses=ended)
    return _stage("end-init", [ALIVE, PENDING, _some_init("running")], writes, _delay(200))


def _run() -> Json:
    """For a pod without init containers this is the start, which it is told when to make."""
    running = _each(".status.containerStatuses", _running(), ready=True)
    writes = _write("Running", _readiness("True"), containerStatuses=running)
    initialized = [_not(_some_init("waiting")), _not(_some_init("running"))]
    start_after = f"select(.spec.initContainers == null) | {_annotation('start-after')}"
    conditions = [ALIVE, PENDING, ACCEPTED, *initialized]
    return _stage("run", conditions, writes, _delay(100, start_after))


def _end(exit_code: int, name: str, conditions: list[str], delay: Json) -> Json:
    """A running pod ends, every container with this exit code, whatever its restartPolicy."""
    phase, reason = ("Failed", "PodFailed") if exit_code else ("Succeeded", "PodCompleted")
    ended = _each(".status.containerStatuses", _terminated(exit_code))
    writes = _write(phase, _readiness("False", reason), containerStatuses=ended)
    return _stage(name, [RUNNING, *conditions], writes, delay)


def _stage(name: str, conditions: list[str], step: Json, delay: Json | None = None) -> Json:
    """When all conditions have held for the delay, the step is made."""
    matches = [{"jq": {"key": jq, "operator": "In", "values": ["true"]}} for jq in conditions]
    return {
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "Stage",
        "metadata": {"name": f"pod-{name}"},
        "spec": {
            "resourceRef": {"apiGroup": "v1", "kind": "Pod"},
            "selector": {"matchExpressions": matches},
            "delay": delay or {},
            "steps": [step],
        },
    }


def _not(condition: str) -> str:
    return f"({condition}) | not"


def _some_init(state: str) -> str:
    return f"any(.status.initContainerStatuses[]?; .state.{state} != null)"


def _annotation(name: str) -> str:
    return f'.metadata.annotations["cluster.evc.dev/{name}"]'


def _delay(milliseconds: int, jq: str = "empty") -> Json:
    """The duration, such as `2s`, that jq finds; else this many milliseconds."""
    return {"durationMilliseconds": milliseconds, "durationFrom": {"jq": {"expression": jq}}}


def _write(phase: str, conditions: list[Json], **fields: str) -> Json:
    """A step that changes these fields of the status, and its conditions of these types."""
    status = {"phase": phase, "conditions": json.dumps(conditions), **fields}
    template = "\n".join(f"{field}: {text}" for field, text in status.items())
    return {"patch": {"subresource": "status", "root": "status", "template": template}}


def _readiness(status: str, reason: str = "") -> list[Json]:
    return [_condition(kind, status, reason) for kind in ("Ready", "ContainersReady")]


def _condition(kind: str, status: str, reason: str = "") -> Json:
    return {"type": kind, "status": status, "reason": reason, "lastTransitionTime": NOW}


def _each(containers: str, state: Json, *, ready: bool = False) -> str:
    """The statuses of all containers in that list, of the spec or of the status so far."""
    entry = {
        "name": "{{ .name }}",
        "image": "{{ .image }}",
        "ready": ready,
        "started": "running" in state,
        "restartCount": 0,
        "state": state,
    }
    return f"[{{{{ range {containers} }}}}{json.dumps(entry)},{{{{ end }}}}]"


def _waiting(reason: str) -> Json:
    return {"waiting": {"reason": reason}}


def _running() -> Json:
    return {"running": {"startedAt": NOW}}


def _terminated(exit_code: int) -> Json:
    """The end of a container that is running so far."""
    return {
        "terminated": {
            "exitCode": exit_code,
            "reason": "Error" if exit_code else "Completed",
            "startedAt": "{{ .state.running.startedAt }}",
            "finishedAt": NOW,
        }
    }
