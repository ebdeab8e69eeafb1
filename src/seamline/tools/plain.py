"""A tool's input or output as plain data: what JSON can hold, and so a journal."""

from __future__ import annotations

import math
from typing import Any

from pydantic import BaseModel

from seamline.texts import is_whole

__all__ = ["JSON_HOLDS", "MAX_DEPTH", "NOT_WHOLE", "as_plain"]

JSON_HOLDS = "text, finite numbers, true or false, null, and lists and objects of these"
"""What may be given, in the words of a message."""

NOT_WHOLE = "it holds half of a surrogate pair, which no UTF-8 text can hold"

MAX_DEPTH = 190
"""How deep a tool's data may be nested; a journal takes 200, with what it writes around it."""


def as_plain(value: BaseModel) -> dict[str, Any]:
    """The value as plain data.

    Raises:
        ValueError: JSON cannot hold it; the message names the field and what is wrong.
    """
    try:
        plain = value.model_dump(mode="json")
    except (Exception, SystemExit) as error:  # Serialisers are the tool's own code.
        raise ValueError(f"{_field_at_fault(value)}: {error}") from error
    found = _flaw(plain)
    if found is not None:
        where, what = found
        raise ValueError(f"{'.'.join(where[:4]) or 'the value'}: {what}")
    return plain


def _field_at_fault(value: BaseModel) -> str:
    for name in type(value).model_fields:
        try:
            value.model_dump(mode="json", include={name})
        except (Exception, SystemExit):
            return name
    return "the value"


def _flaw(value: Any, depth: int = 1) -> tuple[list[str], str] | None:
    """Where the first thing is that JSON cannot hold, and what it is."""
    if isinstance(value, float) and not math.isfinite(value):
        return [], f"{value} is no finite number"
    if isinstance(value, str) and not is_whole(value):
        return [], NOT_WHOLE
    members: Any = ()
    if isinstance(value, dict):
        members = value.items()
    elif isinstance(value, list):
        members = enumerate(value)
    if depth > MAX_DEPTH and isinstance(value, (dict, list)):
        return [], f"it is nested more than {MAX_DEPTH} deep"
    for key, member in members:
        found = _flaw(member, depth + 1)
        if found is not None:
            where, what = found
            return [str(key), *where], what
    return None
