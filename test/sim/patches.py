"""JSON patch (RFC 6902) and merge patch (RFC 7386), as far as the operator and its users go."""

from __future__ import annotations

from typing import Any


class PatchFailed(Exception):
    """A test did not hold or a path does not exist."""


def merge(old: Any, patch: Any) -> Any:
    """Apply a merge patch; returns a new value."""
    if not isinstance(patch, dict):
        return patch
    result = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


def apply_operations(old: Any, operations: list[dict[str, Any]]) -> Any:
    """Apply a JSON patch; returns a new value."""
    for operation in operations:
        path = [part.replace("~1", "/").replace("~0", "~") for part in _split(operation["path"])]
        old = _apply(old, path, operation)
    return old


def _split(path: str) -> list[str]:
    if not path.startswith("/"):
        raise PatchFailed(f"not a path: {path!r}")
    return path[1:].split("/")


def _apply(node: Any, path: list[str], operation: dict[str, Any]) -> Any:
    step, rest = path[0], path[1:]
    if isinstance(node, list):
        return _apply_list(node, step, rest, operation)
    if not isinstance(node, dict):
        raise PatchFailed(f"nothing to go into at {step}")
    result = dict(node)
    if rest:
        if step not in result:
            raise PatchFailed(f"no {step}")
        result[step] = _apply(result[step], rest, operation)
        return result
    match operation["op"]:
        case "add":
            result[step] = operation["value"]
        case _ if step not in result:
            raise PatchFailed(f"no {step}")
        case "replace":
            result[step] = operation["value"]
        case "remove":
            del result[step]
        case "test":
            _test(result[step], operation)
    return result


def _apply_list(node: list[Any], step: str, rest: list[str], operation: dict[str, Any]) -> Any:
    result = list(node)
    if step == "-" and operation["op"] == "add" and not rest:
        return [*result, operation["value"]]
    if not step.isdecimal() or int(step) >= len(result) + (operation["op"] == "add"):
        raise PatchFailed(f"no element {step}")
    index = int(step)
    if rest:
        result[index] = _apply(result[index], rest, operation)
        return result
    match operation["op"]:
        case "add":
            result.insert(index, operation["value"])
        case "replace":
            result[index] = operation["value"]
        case "remove":
            del result[index]
        case "test":
            _test(result[index], operation)
    return result


def _test(found: Any, operation: dict[str, Any]) -> None:
    if found != operation["value"]:
        raise PatchFailed(f"testing {operation['path']} failed")
