"""Least privilege, measured: what the operator may do against what it was seen to do.

Granted is what the rendered manifests bind to the operator's ServiceAccount; used is what the
API server's audit logs say its processes asked for, in all the control planes of a run.  A right
that nothing used is one too many, a request that nothing granted is one too few.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from e2e.kustomize import CONFIG, rendered

Json = dict[str, Any]

USER_AGENT = "evc/"
TEST_KINDS = ".example.com"
"""API groups of kinds that tests invent, and whose rights they give and take themselves."""


class Call(NamedTuple):
    """One kind of request."""

    verb: str
    group: str
    resource: str
    name: str = ""

    def __str__(self) -> str:
        where = f"{self.resource}.{self.group}" if self.group else self.resource
        return f"{self.verb} {where} {self.name}".strip()


@dataclass(frozen=True)
class Grant:
    """One verb on one resource, of all objects or of those named."""

    verb: str
    group: str
    resource: str
    names: tuple[str, ...] = ()

    def covers(self, call: Call) -> bool:
        """Whether this grants that."""
        same = (self.verb, self.group, self.resource) == call[:3]
        return same and (not self.names or call.name in self.names)

    def __str__(self) -> str:
        return str(Call(self.verb, self.group, self.resource, "|".join(self.names)))


def granted(manifests: Iterable[Json], account: str) -> set[Grant]:
    """What bindings give a ServiceAccount, with the rules that aggregation adds."""
    items = list(manifests)
    roles = {
        (item["kind"], item["metadata"]["name"]): item
        for item in items
        if item["kind"] in ("Role", "ClusterRole")
    }
    found: set[Grant] = set()
    for item in items:
        if item["kind"] not in ("RoleBinding", "ClusterRoleBinding"):
            continue
        if account in (subject["name"] for subject in item["subjects"]):
            role = roles[item["roleRef"]["kind"], item["roleRef"]["name"]]
            for rule in _rules(role, roles.values()):
                found |= set(_grants(rule))
    return found


def _rules(role: Json, roles: Iterable[Json]) -> Iterator[Json]:
    yield from role.get("rules") or ()
    for selector in role.get("aggregationRule", {}).get("clusterRoleSelectors", ()):
        for other in roles:
            labels = other["metadata"].get("labels", {})
            if selector["matchLabels"].items() <= labels.items():
                yield from other["rules"]


def _grants(rule: Json) -> Iterator[Grant]:
    for group in rule.get("apiGroups", ()):
        for resource in rule["resources"]:
            for verb in rule["verbs"]:
                yield Grant(verb, group, resource, tuple(rule.get("resourceNames", ())))


def used(audit_log: Path, user: str) -> set[Call]:
    """What the operator's processes asked for in a control plane's life, refused or not.

    Tests that borrow its token do not count: they have another user agent.
    """
    calls = set()
    for line in audit_log.read_bytes().splitlines(keepends=True):
        event = json.loads(line) if line.endswith(b"\n") else {}
        target = event.get("objectRef", {})
        ours = event.get("user", {}).get("username") == user
        if not ours or not target or not event["userAgent"].startswith(USER_AGENT):
            continue
        resource = "/".join(filter(None, (target["resource"], target.get("subresource"))))
        # Names matter where a right has them.
        name = target.get("name", "") if resource == "leases" else ""
        calls.add(Call(event["verb"], target.get("apiGroup", ""), resource, name))
    return calls


ASKED_IN_VAIN = {Call("get", "", "configmaps")}
"""What a forged ownerReference makes it ask for, and is refused (test_attacks.py)."""


def differences(grants: Iterable[Grant], calls: Iterable[Call]) -> list[str]:
    """Each right that nothing used and each request that nothing granted, in words."""
    grants = set(grants)
    calls = {call for call in calls if not call.group.endswith(TEST_KINDS)} - ASKED_IN_VAIN
    idle = [grant for grant in grants if not any(grant.covers(call) for call in calls)]
    bare = [call for call in calls if not any(grant.covers(call) for grant in grants)]
    return sorted(f"granted, but never used: {grant}" for grant in idle) + sorted(
        f"used, but not granted: {call}" for call in bare
    )


class RightsCheck:
    """Compares at the end of a run of the whole suite, with or without xdist.

    A run of a part, or one that failed anyway, compares nothing and says so.
    """

    def __init__(self, namespace: str, account: str) -> None:
        self._account = account
        self._user = f"system:serviceaccount:{namespace}:{account}"
        self._calls: set[Call] = set()
        self._why_not = ""
        self._found: list[str] = []

    def add(self, audit_log: Path) -> None:
        """Take in what one control plane saw."""
        self._calls |= used(audit_log, self._user)

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        """Notice -k, -m and --last-failed."""
        if items:
            self._why_not = f"{len(items)} tests were deselected"

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Notice whether the whole suite was asked for."""
        folder = Path(__file__).parent
        missing = {*folder.glob("test_*.py")} - {item.path for item in session.items}
        if missing:
            self._why_not = f"{len(missing)} files of the suite were not run"
        elif any("::" in argument for argument in session.config.args):
            self._why_not = "single tests were named"
        elif session.config.option.collectonly:
            self._why_not = "tests were only collected"

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take in what a worker of xdist saw."""
        output = getattr(node, "workeroutput", {})
        calls, why_not = output.get("rights", ([], "a worker crashed"))
        self._why_not = self._why_not or why_not
        self._calls |= {Call(*call) for call in calls}

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Hand over what was seen, or judge it and fail the run."""
        if hasattr(session.config, "workeroutput"):
            calls = [tuple(call) for call in sorted(self._calls)]
            session.config.workeroutput["rights"] = (calls, self._why_not)
        elif exitstatus:
            self._why_not = self._why_not or "tests failed"
        elif not self._why_not:
            self._found = differences(
                granted(rendered(CONFIG / "default"), self._account), self._calls
            )
            if self._found:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Say what was found."""
        write = terminalreporter.write_line
        if self._why_not:
            write(f"The operator's rights were not compared with their use: {self._why_not}.")
        elif self._found:
            terminalreporter.section("the operator's rights", sep="=", red=True)
            for line in self._found:
                write(line)
        else:
            write(f"Every right of the operator was used, and no other ({len(self._calls)} calls).")
