"""Who owns which labels and annotations: managedFields, as far as server-side apply needs them."""

from __future__ import annotations

from typing import Any

from sim.history import Json

SECTIONS = ("labels", "annotations")

Manager = tuple[str, str, str]
"""A name, how it writes (Update or Apply), and through which subresource."""
Owned = dict[Manager, dict[str, set[str]]]


def read(meta: Json) -> Owned:
    """Parse managedFields."""
    owned: Owned = {}
    for entry in meta.get("managedFields", ()):
        fields = entry.get("fieldsV1", {}).get("f:metadata", {})
        manager = entry["manager"], entry["operation"], entry.get("subresource", "")
        owned[manager] = {
            section: {key.removeprefix("f:") for key in fields.get(f"f:{section}", ())} - {"."}
            for section in SECTIONS
        }
    return owned


def _sound(entries: list[Json]) -> bool:
    """Whether Kubernetes takes these entries; of two for one manager it takes none."""
    managers = [(e["manager"], e["operation"], e.get("subresource", "")) for e in entries]
    return bool(entries) and len({*managers}) == len(managers)


def written(owned: Owned) -> list[Json]:
    """The entries, without the managers that own nothing."""
    entries = []
    for (manager, operation, sub), sets in owned.items():
        fields: dict[str, object] = {
            f"f:{section}": {f"f:{key}": {} for key in sorted(keys)}
            for section, keys in sets.items()
            if keys
        }
        if fields:
            entries.append(
                {
                    "manager": manager,
                    "operation": operation,
                    "subresource": sub,
                    "fieldsType": "FieldsV1",
                    "fieldsV1": {"f:metadata": fields},
                }
            )
    return entries


def updated(old: Json, new: Json, manager: str, sub: str = "") -> list[Json]:
    """After a create, a PUT or a patch: whoever changes a value owns it alone."""
    owned = read(new if _sound(new.get("managedFields", [])) else old)
    mine = owned.setdefault((manager, "Update", sub), {section: set() for section in SECTIONS})
    for section in SECTIONS:
        before, after = old.get(section) or {}, new.get(section) or {}
        changed = {key for key in after if before.get(key) != after[key]}
        for sets in owned.values():
            sets[section] -= changed | (before.keys() - after.keys())
        mine[section] |= changed
    return written(owned)


def applied(old: Json, body: Json, manager: str) -> Json:
    """Metadata after a forced server-side apply of these labels and annotations."""
    owned = read(old)
    me = manager, "Apply", ""
    last = owned.get(me, {section: set() for section in SECTIONS})
    new: dict[str, Any] = dict(old)
    mine: dict[str, set[str]] = {}
    for section in SECTIONS:
        before, wanted = dict(old.get(section) or {}), body.get(section) or {}
        for key in last[section] - wanted.keys():
            others = any(key in s[section] for m, s in owned.items() if m != me)
            if not others:
                before.pop(key, None)
        for owner, sets in owned.items():
            if owner != me:
                sets[section] -= {k for k in wanted if before.get(k) != wanted[k]}
        new[section] = before | wanted
        mine[section] = set(wanted)
    owned[me] = mine
    return new | {"managedFields": written(owned)}
