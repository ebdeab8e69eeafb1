"""JSON Schema (draft 2020-12) as policies use it: local references only, never the network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, best_match
from referencing import Registry
from referencing.exceptions import Unresolvable

__all__ = ["schema_problem", "value_problem"]


def schema_problem(schema: Mapping[str, Any]) -> str | None:
    """What is wrong with a schema, or None."""
    try:
        for reference in _references(schema):
            if not reference.startswith("#"):
                return f"$ref {reference!r} leaves the file; only '#/…' is supported"
        Draft202012Validator.check_schema(dict(schema))
    except SchemaError as error:
        return f"not a JSON Schema: {_at(error.absolute_path)}{error.message[:200]}"
    except RecursionError:
        return "nested too deeply"
    return None


def value_problem(schema: Mapping[str, Any], value: Any) -> str | None:
    """Why a value does not satisfy a schema, or None."""
    # An empty registry: the default one fetches unknown references over the network.
    registry: Registry[Any] = Registry()
    validator = Draft202012Validator(dict(schema), registry=registry)
    try:
        error = best_match(validator.iter_errors(value))
    except Unresolvable as broken:
        return f"the schema's reference {broken.ref!r} leads nowhere"
    except RecursionError:
        return "the schema refers to itself without end"
    return None if error is None else f"{_at(error.absolute_path)}{error.message[:200]}"


def _at(path: Any) -> str:
    where = ".".join(str(part) for part in path)
    return f"at '{where}': " if where else ""


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key in ("$ref", "$dynamicRef") and isinstance(item, str):
                yield item
            yield from _references(item)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)
