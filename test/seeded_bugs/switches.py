"""The switches of the bugs of the reliability page, and of defects that lives have found.

Each patches one name of the product and fails loudly when that name is no longer there.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from msgspec import to_builtins
from msgspec.structs import replace as changed

from evc.controller import apply, confirm, gather, mounts, owners, shared
from evc.model.errors import Forbidden, NotFound, Unreachable
from evc.model.evc import ADOPT_BY, HOLD, OWNER_UID
from evc.model.meta import Page
from evc.policy import deadline, decide, obtain, plan, release, template, usage, world
from evc.policy.release import Step
from evc.runtime import watcher
from sim.client import SimClient


def no_precondition() -> AbstractContextManager[Any]:
    def delete(self: Any, resource: Any, thing: Any) -> None:
        # Whatever bears the name by now: a real API server refuses an empty uid.
        with suppress(NotFound):
            found = self._client.get(resource, thing.metadata.key)
            self._client.delete(resource, found.metadata.key, uid=found.metadata.uid)

    return patch.object(apply.Apply, "_delete", delete)


def name_only() -> AbstractContextManager[Any]:
    return patch.object(template, "ours", lambda claim, evc: evc.status.claim is not None)


def label_only() -> AbstractContextManager[Any]:
    def ours(claim: Any, evc: Any) -> bool:
        return bool(claim.metadata.labels.get("app.kubernetes.io/managed-by") == "evc")

    return patch.object(template, "ours", ours)


def adopts_same_name() -> AbstractContextManager[Any]:
    def ours(claim: Any, evc: Any) -> bool:
        known = evc.status.claim
        return known is not None and known.uid in (None, claim.metadata.uid)

    return patch.object(template, "ours", ours)


def no_live_list() -> AbstractContextManager[Any]:
    def call(self: Any, key: Any, cached: Any) -> Any:
        return replace(cached, live=True, mounted_by=())

    return patch.object(confirm.Confirm, "__call__", call)


def ignores_unscheduled() -> AbstractContextManager[Any]:
    real = usage._holds

    def holds(observed: Any, *more: Any) -> Any:
        pods = tuple(pod for pod in observed.pods if pod.spec.node_name)
        return real(replace(observed, pods=pods), *more)

    return patch.object(usage, "_holds", holds)


def empty_means_over() -> AbstractContextManager[Any]:
    real = deadline.due

    def due(evc: Any, seen: Any, *more: Any) -> Any:
        return (
            deadline.created(evc)
            if not seen.evidence and not seen.holds
            else real(evc, seen, *more)
        )

    return patch.object(deadline, "due", due)


def forbidden_means_none() -> AbstractContextManager[Any]:
    real = shared.SharedReads.__init__

    def init(self: Any, client: Any, *more: Any, **named: Any) -> None:
        lenient: Any = Lenient(client)
        real(self, lenient, *more, **named)

    return patch.object(shared.SharedReads, "__init__", init)


class Lenient:
    """A client for which what may not be listed does not exist."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def list(self, *args: Any, **named: Any) -> Any:
        try:
            return self._client.list(*args, **named)
        except Forbidden:
            return Page((), "1")


def finished_when_looked() -> AbstractContextManager[Any]:
    return patch.object(usage, "last_finish", lambda pod: None)


def always_releases() -> AbstractContextManager[Any]:
    def release(observed: Any, claim: Any, *_: Any) -> Step:
        if "kubernetes.io/pvc-protection" not in claim.metadata.finalizers:
            return Step("gone soon")
        return Step("released", (plan.ReleaseClaim(claim),))

    return patch("evc.policy.dispose.release", release)


def creates_twice() -> AbstractContextManager[Any]:
    real = apply.Apply._create

    def create(self: Any, manifest: Any, observed: Any, evc: Any) -> None:
        try:
            real(self, manifest, observed, evc)
        except Unreachable:
            name = manifest["metadata"]["name"] + "-retry"
            again = manifest | {"metadata": manifest["metadata"] | {"name": name}}
            real(self, again, observed, evc)

    return patch.object(apply.Apply, "_create", create)


def no_mark() -> AbstractContextManager[Any]:
    real = template.manifest

    def manifest(evc: Any, intent: Any) -> Any:
        made = real(evc, intent)
        del made["metadata"]["annotations"][OWNER_UID]
        return made

    return patch.object(template, "manifest", manifest)


def no_lease_check() -> AbstractContextManager[Any]:
    real = apply.Apply.__init__

    def init(self: Any, *args: Any, **named: Any) -> None:
        real(self, *args, **named)
        assert self._may_write is not None
        self._may_write = lambda: True

    return patch.object(apply.Apply, "__init__", init)


def partial_page_is_all() -> AbstractContextManager[Any]:
    real = watcher._page

    def page(state: Any, found: Any, now: float) -> Any:
        return real(state, Page(found.items, found.resource_version), now)

    return patch.object(watcher, "_page", page)


def hold_from_cache() -> AbstractContextManager[Any]:
    real = confirm.Confirm.__call__

    def call(self: Any, key: Any, cached: Any) -> Any:
        live = real(self, key, cached)
        if live is None:
            return None
        evc, claim = live.evc, live.claim
        if evc is not None and cached.evc is not None:
            evc = changed(evc, spec=changed(evc.spec, hold=cached.evc.spec.hold))
        if claim is not None:
            marks = {k: v for k, v in claim.metadata.annotations.items() if k != HOLD}
            claim = changed(claim, metadata=changed(claim.metadata, annotations=marks))
        return replace(live, evc=evc, claim=claim)

    return patch.object(confirm.Confirm, "__call__", call)


def no_durable_decision() -> AbstractContextManager[Any]:
    real = apply.Apply.__call__

    def call(self: Any, observed: Any, made: Any) -> Any:
        deletes = any(isinstance(action, plan.DeleteClaim) for action in made.actions)
        return real(self, observed, replace(made, status=None) if deletes else made)

    return patch.object(apply.Apply, "__call__", call)


def jobs_do_not_hold() -> AbstractContextManager[Any]:
    return patch.object(usage, "will_make_pods", lambda job: False)


def no_settle_time() -> AbstractContextManager[Any]:
    return patch("evc.policy.release.SETTLE", deadline.SETTLE * 0)


def attachments_ignored() -> AbstractContextManager[Any]:
    return patch.object(mounts.Mounts, "__call__", lambda *_: ())


def forgets_own_writes() -> AbstractContextManager[Any]:
    return patch.object(gather.OwnWrites, "visible", lambda self, key: True)


def minimum_ignored() -> AbstractContextManager[Any]:
    real = deadline.due

    def due(evc: Any, seen: Any, *more: Any) -> Any:
        return real(changed(evc, spec=changed(evc.spec, minimum_wait_seconds=0)), seen, *more)

    return patch.object(deadline, "due", due)


def retain_ignored() -> AbstractContextManager[Any]:
    return patch.object(world.World, "retains", property(lambda self: False))


def marks_left_on() -> AbstractContextManager[Any]:
    real = template.letting_go

    def letting_go(claim: Any, evc: Any) -> Any:
        made = real(claim, evc)
        references = [to_builtins(owner) for owner in claim.metadata.owner_references]
        return {"metadata": made["metadata"] | {"ownerReferences": references}}

    return patch.object(template, "letting_go", letting_go)


def owners_not_asked() -> AbstractContextManager[Any]:
    return patch.object(owners.AskOwners, "__call__", lambda self, *_: iter(()))


def hold_ignored_by_release() -> AbstractContextManager[Any]:
    real = release.release

    def step(observed: Any, claim: Any, *more: Any) -> Step:
        evc = observed.evc
        if evc is not None:
            evc = changed(evc, spec=changed(evc.spec, hold=False))
        with patch("evc.policy.release.held_by_annotation", lambda claim: False):
            return real(replace(observed, evc=evc), claim, *more)

    return patch("evc.policy.dispose.release", step)


def request_not_compared() -> AbstractContextManager[Any]:
    real = template.ours

    def ours(claim: Any, evc: Any) -> bool:
        known = evc.status.claim
        if known is not None and known.uid is None and not evc.adopts:
            return bool(claim.metadata.annotations.get(OWNER_UID) == evc.metadata.uid)
        return bool(real(claim, evc))

    return patch.object(template, "ours", ours)


def takes_without_offer() -> AbstractContextManager[Any]:
    real = obtain.adopt

    def adopt(seen: Any) -> Any:
        claim = seen.observed.claim
        if claim is not None and not claim.metadata.deleting:
            marks = claim.metadata.annotations | {ADOPT_BY: seen.evc.metadata.name}
            claim = changed(claim, metadata=changed(claim.metadata, annotations=marks))
            seen = replace(seen, observed=replace(seen.observed, claim=claim))
        return real(seen)

    rules = tuple(adopt if rule is real else rule for rule in decide.RULES)
    assert adopt in rules
    return patch.object(decide, "RULES", rules)


def applies_to_any_version() -> AbstractContextManager[Any]:
    """The defect of life 160: an apply that is not bound to the version it was decided on."""
    real = SimClient.apply

    def apply_blindly(self: Any, resource: Any, key: Any, body: Any) -> Any:
        meta = body["metadata"] | {
            "resourceVersion": self.get(resource, key).metadata.resource_version
        }
        return real(self, resource, key, body | {"metadata": meta})

    return patch.object(SimClient, "apply", apply_blindly)


def owned_again() -> AbstractContextManager[Any]:
    """The defect of life 446: ownership mended from a cache that is behind."""
    real = decide._following_template

    def following(seen: Any, made: Any) -> Any:
        then = real(seen, made)
        patches = any(isinstance(action, plan.PatchClaim) for action in then.actions)
        return replace(then, irreversible=False) if patches and not made.irreversible else then

    return patch.object(decide, "_following_template", following)


def read_before_it_asked() -> AbstractContextManager[Any]:
    """Whoever comes is given what was read last, however long ago and at what stage."""
    read = shared.SharedReads._read

    def remember(self: Any, namespace: str, asked: Any) -> Any:
        self.__dict__.setdefault("last", {})[namespace] = found = read(self, namespace, asked)
        return found

    def take(self: Any, key: Any) -> Any:
        last = self.__dict__.get("last", {}).get(key.namespace)
        return shared.Shared(last, shared.Stage("any")) if last is not None else None

    stack = ExitStack()
    stack.enter_context(patch.object(shared.SharedReads, "_read", remember))
    stack.enter_context(patch.object(shared.SharedReads, "take", take))
    stack.enter_context(patch.object(confirm, "stage", lambda evc, claim: shared.Stage("any")))
    return stack
