"""Training rows, and the texts by which they are compared.

A row is what `seamline.models.training.examples_from` reads: `{"context", "labels"}`,
`{"context", "branches"}`, or `{"kind", "instructions", "context", "branches"}`; or what
`seamline.models.preference` reads: `{"context", "chosen", "rejected"}`.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = [
    "PAIR",
    "Record",
    "Row",
    "answer",
    "classes",
    "comparable",
    "context_text",
    "declined",
    "prompt_text",
    "to_json",
]

Row = Mapping[str, Any]

PAIR = ("chosen", "rejected")
"""The keys of a preference: the better text and the worse one."""


@dataclass(frozen=True)
class Record:
    """A row, with what the report says of it.

    Attributes:
        name: Names the row in reports: its own id, or its place in its source.
        source: Where it is from.
        row: What is trained on.
    """

    name: str
    source: str
    row: Row

    @property
    def own_id(self) -> str | None:
        """The id that the data gave it."""
        found = self.row.get("id")
        return None if found is None else str(found)


def context_text(row: Row, variables: Collection[str] | None = None) -> str:
    """The text that the row is about; of `variables` alone where they are given."""
    context = row["context"]
    if isinstance(context, str):
        return context
    names = context if variables is None else variables
    return "\n".join(str(context[name]) for name in sorted(names) if name in context)


def prompt_text(row: Row) -> str:
    """Everything the base reads of the row, whatever the order of its choices or texts."""
    choices = sorted(_choice(branch) for branch in row.get("branches", ()))
    choices += sorted(row[key] for key in PAIR if key in row)
    return "\n".join([str(row.get("instructions", "")), context_text(row), *choices]).strip()


def answer(row: Row) -> tuple[str, ...]:
    """What is right, in a form that two equal prompts can be compared by."""
    if "labels" in row:
        return tuple(sorted(set(row["labels"])))
    if "chosen" in row:
        return (row["chosen"],)
    return tuple(sorted(_choice(b) for b in row["branches"] if b["label"]))


def classes(row: Row) -> list[str]:
    """The labels of a row, one `yes` or `no` a branch, or the two parts of a pair."""
    if "labels" in row:
        return list(row["labels"])
    if "chosen" in row:
        return list(PAIR)
    return ["yes" if branch["label"] else "no" for branch in row["branches"]]


def declined(row: Row, none_label: str | None) -> bool:
    """Whether the right answer is "none of these"."""
    if "labels" in row:
        return none_label is not None and list(row["labels"]) == [none_label]
    return "branches" in row and not any(branch["label"] for branch in row["branches"])


def comparable(text: str) -> str:
    """A text without what makes no difference: case, width, accents' encoding, blanks."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def to_json(rows: Iterable[Row]) -> Iterable[bytes]:
    """One line a row, its keys in the order they came in."""
    for row in rows:
        # Half of a surrogate pair has no UTF-8; escaped like this it is JSON again.
        yield json.dumps(row, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"


def _choice(branch: Row) -> str:
    return "\n".join(str(branch[key]) for key in sorted(branch) if key != "label")
