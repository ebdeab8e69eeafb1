"""A policy file cut into its parts: front matter as JSON values with line numbers, and body."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from seamline.policies.messages import policy_error, shown

__all__ = ["Body", "FrontMatter", "split_body", "split_policy"]

Loc = tuple[str | int, ...]

_TAG = "tag:yaml.org,2002:"
_SCALARS = frozenset(_TAG + name for name in ("bool", "float", "int", "null", "str"))
# JSON has no dates, and `<<` and `=` are text here: what was written is what is meant.
_AS_WRITTEN = frozenset(_TAG + name for name in ("merge", "timestamp", "value"))

_FENCE = "---"
_PARTS = ("system", "user")


@dataclass(frozen=True)
class FrontMatter:
    """The front matter as plain JSON, and the line of each of its values."""

    data: dict[str, Any]
    lines: Mapping[Loc, int]

    def line(self, loc: Loc) -> int:
        """The line of a value, or of the nearest enclosing one."""
        while loc not in self.lines and loc:
            loc = loc[:-1]
        return self.lines.get(loc, 1)


@dataclass(frozen=True)
class Body:
    """The two parts of the prompt and the file lines on which their text starts."""

    system: str
    user: str
    system_line: int
    user_line: int


def split_policy(text: str, *, where: str) -> tuple[FrontMatter, Body]:
    """The front matter and the body of a policy file.

    Raises:
        PolicyError: A part is missing or malformed; the message has the line.
    """
    # Only these line ends count: str.splitlines would also cut at U+2028 and form feeds.
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if lines[0].rstrip() != _FENCE:
        raise policy_error(
            where,
            f"expected '---' as the first line, found {shown(lines[0])}; "
            "a policy starts with front matter between two '---' lines",
            line=1,
        )
    end = next((i for i, line in enumerate(lines[1:], 1) if line.rstrip() == _FENCE), None)
    if end is None:
        raise policy_error(
            where, "the front matter is never closed; add a '---' line after it", line=1
        )
    front = _read_yaml("\n".join(lines[1:end]), where=where)
    return front, split_body(lines[end + 1 :], first_line=end + 2, where=where)


def split_body(lines: list[str], *, first_line: int, where: str) -> Body:
    """The `system:` and `user:` parts below the front matter.

    Raises:
        PolicyError: A part is missing, empty, doubled, or text stands before the first.
    """
    starts: dict[str, int] = {}
    for index, line in enumerate(lines):
        part = line.rstrip()[:-1] if line.rstrip().endswith(":") else ""
        number = first_line + index
        if part in _PARTS:
            if part in starts:
                raise policy_error(where, f"a second '{part}:' part; keep one", line=number)
            if part == "system" and "user" in starts:
                raise policy_error(where, "'system:' must come before 'user:'", line=number)
            starts[part] = index
        elif line.strip() and not starts:
            raise policy_error(
                where,
                f"text before 'system:': {shown(line)}; the body has two parts, each opened "
                "by a line 'system:' or 'user:'",
                line=number,
            )
    for part in _PARTS:
        if part not in starts:
            raise policy_error(
                where,
                f"the body has no '{part}:' part; add a line '{part}:' and its text below it",
                line=first_line,
            )
    texts: dict[str, tuple[str, int]] = {}
    for part, stop in (("system", starts["user"]), ("user", len(lines))):
        block = lines[starts[part] + 1 : stop]
        blank = next((i for i, line in enumerate(block) if line.strip()), None)
        if blank is None:
            raise policy_error(
                where, f"the '{part}:' part is empty", line=first_line + starts[part]
            )
        texts[part] = (
            "\n".join(line.rstrip() for line in block[blank:]).rstrip(),
            first_line + starts[part] + 1 + blank,
        )
    return Body(
        system=texts["system"][0],
        user=texts["user"][0],
        system_line=texts["system"][1],
        user_line=texts["user"][1],
    )


def _read_yaml(text: str, *, where: str) -> FrontMatter:
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise policy_error(
            where,
            f"the front matter is not YAML: {error.problem or error.context}",
            line=mark.line + 2 if mark is not None else None,
        ) from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise policy_error(where, f"the front matter is not YAML: {reason}") from None
    if not isinstance(node, yaml.MappingNode):
        raise policy_error(
            where, "the front matter must be a mapping of keys (name, version, …)", line=2
        )
    reader = _Reader(where)
    try:
        data = reader.value(node, ())
    except RecursionError:
        raise policy_error(where, "the front matter is nested too deeply") from None
    return FrontMatter(data=data, lines=reader.lines)


class _Reader:
    """Turns YAML nodes into JSON values, remembering lines and refusing what JSON lacks."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.lines: dict[Loc, int] = {}
        self._seen: set[int] = set()
        self._scalars = yaml.SafeLoader("")

    def value(self, node: Any, loc: Loc) -> Any:
        line = node.start_mark.line + 2
        self.lines.setdefault(loc, line)
        # A node met twice is an alias: a few lines of them can unfold to gigabytes.
        if id(node) in self._seen:
            raise policy_error(self.where, "YAML aliases (*name) are not supported", line=line)
        self._seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, loc)
        if isinstance(node, yaml.SequenceNode):
            self._plain_tag(node, _TAG + "seq", line)
            return [self.value(item, (*loc, i)) for i, item in enumerate(node.value)]
        return self._scalar(node, line)

    def _mapping(self, node: Any, loc: Loc) -> dict[str, Any]:
        self._plain_tag(node, _TAG + "map", node.start_mark.line + 2)
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 2
            key = self.value(key_node, (*loc, "\0key"))
            del self.lines[(*loc, "\0key")]
            if not isinstance(key, str):
                raise policy_error(
                    self.where,
                    f"a key must be text, found {shown(key)}; put it in quotes",
                    line=line,
                )
            if key in result:
                raise policy_error(self.where, f"the key {shown(key)} is given twice", line=line)
            self.lines[(*loc, key)] = line
            result[key] = self.value(value_node, (*loc, key))
        return result

    def _plain_tag(self, node: Any, expected: str, line: int) -> None:
        if node.tag != expected:
            raise policy_error(
                self.where, f"YAML tag {shown(node.tag)} is not supported", line=line
            )

    def _scalar(self, node: Any, line: int) -> str | int | float | bool | None:
        if node.tag in _AS_WRITTEN:
            return str(node.value)
        if node.tag not in _SCALARS:
            raise policy_error(
                self.where, f"YAML tag {shown(node.tag)} is not supported", line=line
            )
        try:
            value = self._scalars.construct_object(node)
        except (yaml.YAMLError, ValueError, OverflowError):
            raise policy_error(
                self.where, f"cannot read the value {shown(node.value)}", line=line
            ) from None
        if isinstance(value, float) and not math.isfinite(value):
            raise policy_error(self.where, f"{shown(node.value)} is not a number", line=line)
        found: str | int | float | bool | None = value
        return found
