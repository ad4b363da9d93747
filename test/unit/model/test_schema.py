"""The CustomResourceDefinition: the file is what the code generates, and it is structural."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from evc.model.evc import EphemeralVolumeClaimSpec, EphemeralVolumeClaimStatus
from evc.model.schema import custom_resource_definition

MANIFEST = Path(__file__).parents[3] / "config/crd/bases/evc.dev_ephemeralvolumeclaims.yaml"
CRD = custom_resource_definition()
VERSION = CRD["spec"]["versions"][0]
ROOT = VERSION["schema"]["openAPIV3Schema"]


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every schema node with its path."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for keyword in ("items", "additionalProperties"):
        if isinstance(schema.get(keyword), dict):
            yield from nodes(schema[keyword], f"{path}[{keyword}]")


NODES = list(nodes(ROOT))
PROPERTIES = {path: node for path, node in NODES if path}


def test_the_manifest_is_the_generated_one() -> None:
    """After a change of evc/model: evc crd > config/crd/bases/..."""
    assert msgspec.yaml.decode(MANIFEST.read_bytes()) == CRD


@pytest.mark.parametrize(("path", "node"), NODES, ids=[path or "root" for path, _ in NODES])
def test_every_node_is_structural(path: str, node: dict[str, Any]) -> None:
    assert node["type"] in ("object", "array", "string", "integer", "boolean")
    assert not {"$ref", "anyOf", "oneOf", "allOf", "title", "nullable"} & set(node)
    assert "x-kubernetes-preserve-unknown-fields" not in node
    if node["type"] == "array":
        assert "items" in node
    assert not ("properties" in node and "additionalProperties" in node)


@pytest.mark.parametrize("path", [p for p in PROPERTIES if p.count(".") == 2 and ".spec." in p])
def test_every_field_of_the_spec_is_described(path: str) -> None:
    assert PROPERTIES[path].get("description")


@pytest.mark.parametrize(
    ("field", "default"),
    [
        ("minimumWaitSeconds", 60),
        ("expirySeconds", 86_400),
        ("gracePeriodSeconds", 30),
        ("completedPods", "Release"),
        ("hold", False),
        ("ttlSecondsAfterFinished", 0),
    ],
)
def test_defaults_are_those_of_the_design(field: str, default: object) -> None:
    assert PROPERTIES[f".spec.{field}"]["default"] == default


def test_when_deleted_has_no_default() -> None:
    """Absent is a value of its own: Delete for a template, Retain for a claim taken over."""
    assert "default" not in PROPERTIES[".spec.whenDeleted"]


def test_nothing_can_pin_somebody_elses_volume() -> None:
    allowed = set(PROPERTIES[".spec.volumeClaimTemplate.spec"]["properties"])
    assert not allowed & {"volumeName", "selector"}
    for source in ("dataSource", "dataSourceRef"):
        fields = PROPERTIES[f".spec.volumeClaimTemplate.spec.{source}"]["properties"]
        assert "namespace" not in fields


def test_every_rule_says_what_to_do() -> None:
    rules = [r for _, node in NODES for r in node.get("x-kubernetes-validations", ())]
    assert len(rules) >= 10
    assert all(rule["message"] and rule["rule"] for rule in rules)


def test_the_status_is_a_subresource_and_has_mergeable_conditions() -> None:
    assert VERSION["subresources"] == {"status": {}}
    conditions = PROPERTIES[".status.conditions"]
    assert conditions["x-kubernetes-list-type"] == "map"
    assert conditions["x-kubernetes-list-map-keys"] == ["type"]


def test_no_phase() -> None:
    assert ".status.phase" not in PROPERTIES


def test_printer_columns_are_those_of_the_design() -> None:
    names = [column["name"] for column in VERSION["additionalPrinterColumns"]]
    assert names == ["Status", "Used", "Deletes-At", "Held-By", "Capacity", "Age"]


@pytest.mark.parametrize(
    ("struct", "path"),
    [(EphemeralVolumeClaimSpec, ".spec"), (EphemeralVolumeClaimStatus, ".status")],
)
def test_every_field_of_the_structs_is_in_the_schema(struct: type, path: str) -> None:
    fields = {f.encode_name for f in msgspec.structs.fields(struct)}
    assert set(PROPERTIES[path]["properties"]) == fields
