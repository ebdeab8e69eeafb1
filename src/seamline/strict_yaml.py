"""YAML as people write declarations in it: JSON values with their lines, and nothing twice.

Keys given twice, aliases, tags, keys that are no text and numbers that JSON lacks are faults:
in each, what is read would not be what was meant.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from seamline.wording import shown

__all__ = ["Document", "Loc", "YamlFault", "read_yaml_text"]

Loc = tuple[str | int, ...]

_TAG = "tag:yaml.org,2002:"
_SCALARS = frozenset(_TAG + name for name in ("bool", "float", "int", "null", "str"))
# JSON has no dates, and `<<` and `=` are text here: what was written is what is meant.
_AS_WRITTEN = frozenset(_TAG + name for name in ("merge", "timestamp", "value"))


class YamlFault(ValueError):
    """What is wrong with a text, and the line where that is known."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True)
class Document:
    """A text as plain JSON, and the line of each of its values."""

    data: Any
    lines: Mapping[Loc, int]

    def line(self, loc: Loc) -> int:
        """The line of a value, or of the nearest enclosing one."""
        while loc not in self.lines and loc:
            loc = loc[:-1]
        return self.lines.get(loc, 1)


def read_yaml_text(text: str, *, first_line: int = 1) -> Document:
    """What a text says; None where it says nothing.

    Args:
        text: One YAML document.
        first_line: The number of the text's first line in its file.

    Raises:
        YamlFault: It is no YAML, or says what a declaration does not.
    """
    reader = _Reader(first_line)
    try:
        node = _composed(text, first_line)
        data = None if node is None else reader.value(node, ())
    except RecursionError:
        raise YamlFault("nested too deeply; write it flatter") from None
    return Document(data=data, lines=reader.lines)


def _composed(text: str, first_line: int) -> Any:
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlFault(
            f"not YAML: {error.problem or error.context}",
            None if mark is None else mark.line + first_line,
        ) from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: an escape beyond Unicode.
        raise YamlFault(f"not YAML: {error}") from None


class _Reader:
    """Turns YAML nodes into JSON values, remembering lines and refusing what JSON lacks."""

    def __init__(self, first_line: int) -> None:
        self.first_line = first_line
        self.lines: dict[Loc, int] = {}
        self._seen: set[int] = set()
        self._scalars = yaml.SafeLoader("")

    def value(self, node: Any, loc: Loc) -> Any:
        line = self._line(node)
        self.lines.setdefault(loc, line)
        # A node met twice is an alias: a few lines of them can unfold to gigabytes.
        if id(node) in self._seen:
            raise YamlFault("YAML aliases (*name) are not supported; write the value again", line)
        self._seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, loc)
        if isinstance(node, yaml.SequenceNode):
            self._plain_tag(node, _TAG + "seq")
            return [self.value(item, (*loc, i)) for i, item in enumerate(node.value)]
        return self._scalar(node)

    def _line(self, node: Any) -> int:
        return int(node.start_mark.line) + self.first_line

    def _mapping(self, node: Any, loc: Loc) -> dict[str, Any]:
        self._plain_tag(node, _TAG + "map")
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = self._line(key_node)
            key = self.value(key_node, (*loc, "\0key"))
            del self.lines[(*loc, "\0key")]
            if not isinstance(key, str):
                raise YamlFault(f"a key must be text, found {shown(key)}; put it in quotes", line)
            if key in result:
                first = self.lines[(*loc, key)]
                raise YamlFault(
                    f"the key {shown(key)} is given twice, first in line {first}; keep one", line
                )
            self.lines[(*loc, key)] = line
            result[key] = self.value(value_node, (*loc, key))
        return result

    def _plain_tag(self, node: Any, expected: str) -> None:
        if node.tag != expected:
            raise self._odd_tag(node)

    def _odd_tag(self, node: Any) -> YamlFault:
        return YamlFault(f"YAML tag {shown(node.tag)} is not supported", self._line(node))

    def _scalar(self, node: Any) -> str | int | float | bool | None:
        if node.tag in _AS_WRITTEN:
            return str(node.value)
        if node.tag not in _SCALARS:
            raise self._odd_tag(node)
        line = self._line(node)
        try:
            value = self._scalars.construct_object(node)
        except (yaml.YAMLError, ValueError, OverflowError):
            raise YamlFault(f"cannot read the value {shown(node.value)}", line) from None
        if isinstance(value, float) and not math.isfinite(value):
            raise YamlFault(
                f"{shown(node.value)} is not a number that can be kept; write a finite one, or "
                "text in quotes",
                line,
            )
        found: str | int | float | bool | None = value
        return found
