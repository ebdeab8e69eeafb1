"""A policy file cut into its parts: front matter as JSON values with line numbers, and body."""

from __future__ import annotations

from dataclasses import dataclass

from seamline.policies.messages import policy_error
from seamline.strict_yaml import Document, YamlFault, read_yaml_text
from seamline.wording import shown

__all__ = ["Body", "split_body", "split_policy"]

_FENCE = "---"
_PARTS = ("system", "user")


@dataclass(frozen=True)
class Body:
    """The two parts of the prompt and the file lines on which their text starts."""

    system: str
    user: str
    system_line: int
    user_line: int


def split_policy(text: str, *, where: str) -> tuple[Document, Body]:
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
    front = _front_matter("\n".join(lines[1:end]), where=where)
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


def _front_matter(text: str, *, where: str) -> Document:
    try:
        front = read_yaml_text(text, first_line=2)
    except YamlFault as fault:
        raise policy_error(where, str(fault), line=fault.line) from None
    if not isinstance(front.data, dict):
        raise policy_error(
            where, "the front matter must be a mapping of keys (name, version, …)", line=2
        )
    return front
