"""The CustomResourceDefinition, derived from the structs in `evc.model.evc`.

msgspec emits JSON Schema; the API server wants *structural* schema: references
inlined, no null alternatives, no titles.
"""

from __future__ import annotations

from inspect import cleandoc
from typing import Any

import msgspec

from evc.model.evc import (
    GROUP,
    KIND,
    PLURAL,
    SPEC_RULES,
    VERSION,
    EphemeralVolumeClaimSpec,
    EphemeralVolumeClaimStatus,
)

COLUMNS = (
    ("Status", "string", '.status.conditions[?(@.type=="Ready")].reason', "Stage of its life"),
    ("Used", "string", '.status.conditions[?(@.type=="Used")].status', "Whether a pod used it"),
    ("Deletes-At", "string", ".status.deletionTime", "When the volume will be deleted"),
    ("Held-By", "string", ".status.heldBy.summary", "Who keeps it"),
    ("Capacity", "string", ".status.claim.capacity", "Size of the volume"),
    ("Age", "date", ".metadata.creationTimestamp", "Time since creation"),
)


def custom_resource_definition() -> dict[str, Any]:
    """Return the manifest of ephemeralvolumeclaims.evc.dev."""
    spec = _schema(EphemeralVolumeClaimSpec) | SPEC_RULES
    status = _schema(EphemeralVolumeClaimStatus)
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": [
            {"name": name, "type": kind, "jsonPath": path, "description": text}
            for name, kind, path, text in COLUMNS
        ],
        "schema": {
            "openAPIV3Schema": {
                "type": "object",
                "description": "A scratch volume for designated pods that goes away when their"
                " work is over.",
                "required": ["spec"],
                "properties": {
                    "apiVersion": {"type": "string"},
                    "kind": {"type": "string"},
                    "metadata": {"type": "object"},
                    "spec": spec,
                    "status": status,
                },
            }
        },
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": ["evc", "evcs"],
            },
            "versions": [version],
        },
    }


def _schema(struct: type[msgspec.Struct]) -> dict[str, Any]:
    (root,), components = msgspec.json.schema_components((struct,), ref_template="{name}")
    inlined: dict[str, Any] = _structural(root, components)
    return inlined


def _structural(node: Any, components: dict[str, Any]) -> Any:
    if isinstance(node, list):
        return [_structural(item, components) for item in node]
    if not isinstance(node, dict):
        return node
    node = dict(node)
    if "$ref" in node:
        node = {**components[node.pop("$ref")], **node}
    if "anyOf" in node:
        (only,) = [option for option in node.pop("anyOf") if option != {"type": "null"}]
        return _structural({**only, **node}, components)
    result = {name: _structural(value, components) for name, value in node.items()}
    if isinstance(result.get("title"), str):
        del result["title"]
    return _plain(result)


def _plain(node: dict[str, Any]) -> dict[str, Any]:
    """Name types and defaults as the API server wants them."""
    if "enum" in node:
        node["enum"] = [value for value in node["enum"] if value is not None]
        node["type"] = "string"
    if not isinstance(node.get("default"), (str, int)):
        node.pop("default", None)
    if isinstance(node.get("description"), str):
        node["description"] = " ".join(cleandoc(node["description"]).replace("``", "").split())
    if node.get("required") == []:
        del node["required"]
    return node
