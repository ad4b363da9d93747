"""What a create or a patch of ours set counts as applied afterwards, so that it can come off."""

from __future__ import annotations

from typing import Any

from evc.kube.client import _migration, _Ownership

UPDATED = {
    "f:labels": {".": {}, "f:team": {}},
    "f:annotations": {"f:evc.dev/completed-pods": {}},
    "f:ownerReferences": {},
}
APPLIED = {"f:labels": {"f:cost": {}}}


def entry(operation: str, metadata: dict[str, Any], **more: Any) -> dict[str, Any]:
    """One entry of managedFields."""
    fields = {"f:metadata": metadata, "f:spec": {}}
    return {"manager": "evc", "operation": operation, "fieldsV1": fields} | more


def written(*entries: dict[str, Any]) -> dict[str, Any]:
    """What the migration of these entries writes, by path."""
    patch = _migration(_Ownership("7", [*entries]))
    return {op["path"]: op["value"] for op in patch if op["op"] != "test"}


def test_what_we_created_starts_an_applied_entry() -> None:
    assert written(entry("Update", UPDATED)) == {
        "/metadata/resourceVersion": "7",
        "/metadata/managedFields/0/fieldsV1/f:metadata": {"f:ownerReferences": {}},
        "/metadata/managedFields/-": {
            "manager": "evc",
            "operation": "Apply",
            "fieldsV1": {
                "f:metadata": {name: UPDATED[name] for name in ("f:labels", "f:annotations")}
            },
        },
    }


def test_what_we_patched_later_joins_what_we_applied_before() -> None:
    """Of two entries for one manager the API server keeps none: the label would stay for ever."""
    assert written(entry("Apply", APPLIED), entry("Update", UPDATED)) == {
        "/metadata/resourceVersion": "7",
        "/metadata/managedFields/1/fieldsV1/f:metadata": {"f:ownerReferences": {}},
        "/metadata/managedFields/0/fieldsV1": {
            "f:metadata": {
                "f:labels": {"f:cost": {}, ".": {}, "f:team": {}},
                "f:annotations": UPDATED["f:annotations"],
            },
            "f:spec": {},
        },
    }


def test_others_entries_and_those_of_subresources_are_left_alone() -> None:
    others = entry("Update", UPDATED) | {"manager": "kubectl"}
    assert written(others, entry("Update", UPDATED, subresource="status")) == {}


def test_where_nothing_of_ours_is_left_to_move_nothing_is_written() -> None:
    assert written(entry("Apply", APPLIED), entry("Update", {"f:ownerReferences": {}})) == {}
