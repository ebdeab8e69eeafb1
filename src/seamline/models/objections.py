"""What pydantic objects to in a declaration, in words: the place, what was expected, the value."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from seamline.strict_yaml import Document, Loc
from seamline.wording import did_you_mean, listed, shown

__all__ = ["objections"]

_EXPECTED = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "dict_type": "keys with values",
    "finite_number": "a finite number",
    "float_parsing": "a number",
    "float_type": "a number",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "list_type": "a list",
    "literal_error": "{expected}",
    "mapping_type": "keys with values",
    "model_attributes_type": "keys with values",
    "model_type": "keys with values",
    "string_pattern_mismatch": "text that matches {pattern}",
    "string_too_long": "at most {max_length} characters",
    "string_too_short": "at least {min_length} characters",
    "string_type": "text; put it in quotes",
    "too_long": "at most {max_length} entries",
    "too_short": "at least {min_length} entries",
    "tuple_type": "a list",
}
"""By pydantic's type of error; other errors keep pydantic's words."""

# Somebody may write a key where its variable's name belongs; messages end up in logs.
_SECRET = re.compile(r"key|passw|secret|credential|(^|_)token$", re.IGNORECASE)
_IN_KEY = "[key]"


def objections(
    error: ValidationError,
    kind: type[BaseModel],
    document: Document | None = None,
    *,
    only: Collection[str] | None = None,
) -> str:
    """Everything that is wrong, in one line: `place (line 3): expected …, found …; …`.

    Args:
        error: What pydantic raised.
        kind: What the declaration was read as; its fields are what a key may have been meant as.
        document: Where it was read from, for the lines.
        only: The fields of `kind` that are told of; all by default.
    """
    found = [
        one
        for one in error.errors(include_url=False)
        if only is None or one["loc"][:1] in [(name,) for name in only]
    ]
    line = document.line if document is not None else None
    return "; ".join(dict.fromkeys(_objection(one, kind, line) for one in found))


def _objection(one: Any, kind: type[BaseModel], line: Callable[[Loc], int] | None) -> str:
    loc: Loc = tuple(one["loc"])
    place = loc[:-1] if loc[-1:] == (_IN_KEY,) else loc
    there = place[:-1] if one["type"] == "missing" else place
    at = f" (line {line(there)})" if line is not None and there else ""
    where = ".".join(map(str, place)) or "the whole"
    return f"{where}{at}: {_told(one, kind, loc)}"


def _told(one: Any, kind: type[BaseModel], loc: Loc) -> str:
    context = one.get("ctx", {})
    if one["type"] == "missing":
        return "it is missing; add it"
    if one["type"] == "extra_forbidden":
        return _unknown_key(str(loc[-1]), _keys(kind, loc[:-1]))
    choices = re.findall(r"'([^']*)'", str(context.get("expected", "")))
    if loc[-1:] == (_IN_KEY,) and choices:
        return _unknown_key(str(loc[-2]), choices)
    if one["type"] == "value_error":  # Of a validator of ours, whose words name the value.
        return str(context.get("error", one["msg"]))
    expected = _EXPECTED.get(one["type"])
    told = one["msg"] if expected is None else f"expected {expected.format_map(context)}"
    value = one["input"]
    near = did_you_mean(value, choices) if isinstance(value, str) else ""
    return f"{told}, found {_found(value, loc)}{'.' + near if near else ''}"


def _unknown_key(key: str, known: list[str]) -> str:
    near = did_you_mean(key, known) or f" There are: {listed(known, limit=20)}"
    return f"unknown key.{near}"


def _found(value: Any, loc: Loc) -> str:
    """The value; of a long one its kind, of what may be a secret nothing."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "keys with values"
    if isinstance(value, (list, tuple)):
        return "a list"
    if any(_SECRET.search(str(part)) for part in loc):
        return "another (not shown, as it may be a secret)"
    return shown(value)


def _keys(kind: type[BaseModel], loc: Loc) -> list[str]:
    """The keys that may stand at a place in a declaration of this kind."""
    models = [kind]
    for part in loc:
        inner = [
            model
            for outer in models
            for name, field in outer.model_fields.items()
            if part in (name, field.alias)
            for model in _models_in(field.annotation)
        ]
        # Where nothing is inside, it is a place in a list or map, or pydantic's name of a union's
        # member.
        models = inner or [m for m in models if m.__name__ == part] or models
    return list(dict.fromkeys(name for model in models for name in model.model_fields))


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)
