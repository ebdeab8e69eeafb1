"""Where the fields of a tool's input come from.

A string that starts with `$` is a reference: `$input.text`, `$answer`, `$<tool>.<field>`,
`$policy.<slot>.values.<name>`; `$$` writes a dollar sign. Everything else is a literal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from typing import Any, Literal

from pydantic import ValidationError

from seamline.errors import ToolError
from seamline.models.objections import objections
from seamline.tools.contract import ToolInput

__all__ = [
    "MISSING",
    "Reference",
    "references",
    "resolve_binding",
    "stale_after_answer",
    "waiting_in_a_circle",
    "wrong_constants",
]

ReferenceKind = Literal["input", "answer", "tool", "policy"]


class _Missing:
    """The source of a value has not run yet."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING = _Missing()


@dataclass(frozen=True)
class Reference:
    """One parsed `$…`; `path` is what comes after the source's name."""

    text: str
    kind: ReferenceKind
    source: str
    path: tuple[str, ...]

    @staticmethod
    def parse(text: str) -> Reference:
        """The reference that `text` writes.

        Raises:
            ToolError: It is none of the known forms.
        """
        head, *path = text.removeprefix("$").split(".")
        if not head or any(not part for part in path):
            raise ToolError(f"binding {text!r} is not a reference; {_FORMS}")
        if head == "input":
            if path != ["text"]:
                raise ToolError(f"binding {text!r}: the input has the field `text` only")
            return Reference(text, "input", "input", ("text",))
        if head == "answer":
            if path:
                raise ToolError(f"binding {text!r}: `$answer` has no fields")
            return Reference(text, "answer", "answer", ())
        if head == "policy":
            if len(path) != 3 or path[1] != "values":
                raise ToolError(f"binding {text!r}: expected `$policy.<slot>.values.<name>`")
            return Reference(text, "policy", path[0], (path[2],))
        return Reference(text, "tool", head, tuple(path))


_FORMS = (
    "expected `$input.text`, `$answer`, `$<tool>.<field>` or `$policy.<slot>.values.<name>`; "
    "write a literal dollar sign as `$$`"
)


def references(value: Any) -> Iterator[Reference]:
    """Every reference inside a binding.

    Raises:
        ToolError: A reference is malformed.
    """
    if isinstance(value, str):
        if value.startswith("$") and not value.startswith("$$"):
            yield Reference.parse(value)
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from references(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from references(part)


def resolve_binding(value: Any, lookup: Callable[[Reference], Any]) -> Any:
    """The binding with every reference replaced by what `lookup` gives for it.

    A mapping or list that holds a `MISSING` value is `MISSING` as a whole.
    """
    if isinstance(value, str):
        if value.startswith("$$"):
            return value[1:]
        return lookup(Reference.parse(value)) if value.startswith("$") else value
    if isinstance(value, Mapping):
        mapped = {key: resolve_binding(part, lookup) for key, part in value.items()}
        return MISSING if any(part is MISSING for part in mapped.values()) else mapped
    if isinstance(value, (list, tuple)):
        parts = [resolve_binding(part, lookup) for part in value]
        return MISSING if any(part is MISSING for part in parts) else parts
    return value


def dig(value: Any, path: tuple[str, ...], reference: Reference) -> Any:
    """The field at `path` of a tool's output.

    Raises:
        ToolError: There is no such field.
    """
    for part in path:
        if not isinstance(value, Mapping) or part not in value:
            has = ", ".join(value) if isinstance(value, Mapping) else type(value).__name__
            raise ToolError(
                f"binding {reference.text!r}: {reference.source} gives no {part!r}; it has: {has}"
            )
        value = value[part]
    return value


def stale_after_answer(tools: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The tools to run again once a person has answered.

    Those are the ones that read `$answer`, and the ones that read such a tool's output.
    """
    reads = {
        name: {
            reference.source if reference.kind == "tool" else f"${reference.kind}"
            for reference in references(dict(binding))
        }
        for name, binding in tools.items()
    }
    stale: set[str] = {name for name, sources in reads.items() if "$answer" in sources}
    while True:
        more = {name for name, sources in reads.items() if sources & stale} - stale
        if not more:
            return [name for name in tools if name in stale]
        stale |= more


def waiting_in_a_circle(
    tools: Mapping[str, Mapping[str, Any]], required: Mapping[str, Mapping[str, bool]]
) -> list[tuple[str, str]]:
    """Tools of which none can ever run first, each with the reference that it waits for.

    A field that is not required is left out while its source has not run, so nothing waits
    for that.

    Args:
        tools: The binding of each tool.
        required: The fields of each tool's input, and whether each is required.
    """
    waits = {
        name: {
            reference.source: reference.text
            for field, value in binding.items()
            if required[name].get(field)
            for reference in references(value)
            if reference.kind == "tool"
        }
        for name, binding in tools.items()
    }
    try:
        TopologicalSorter(waits).prepare()
    except CycleError as error:
        circle: list[str] = error.args[1]
        return [(later, waits[later][earlier]) for earlier, later in pairwise(circle)][::-1]
    return []


def wrong_constants(
    binding: Mapping[str, Any], takes: type[ToolInput], value_of: Callable[[Reference], Any]
) -> str:
    """What a tool's input cannot take of what its binding says outright; empty where it can.

    Args:
        binding: The binding.
        takes: The tool's input.
        value_of: The value of a reference to a policy's.
    """

    def known(reference: Reference) -> Any:
        return value_of(reference) if reference.kind == "policy" else MISSING

    resolved = {field: resolve_binding(value, known) for field, value in binding.items()}
    constants = {field: value for field, value in resolved.items() if value is not MISSING}
    try:
        takes.model_validate(constants)
    except ValidationError as error:
        return objections(error, takes, only=constants)
    except Exception:  # A validator of the tool's own, which may need what is not known yet.
        return ""
    return ""
