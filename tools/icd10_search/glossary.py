"""Terms for codes beyond the tabular list's own: the tool's glossary, and a file of the user's."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import yaml

__all__ = ["GLOSSARY", "Term", "glossary", "read_synonyms"]

Term = tuple[str, str]
"""What is written, and its code."""

GLOSSARY = Path(__file__).with_name("glossary.yaml")


@cache
def glossary() -> tuple[Term, ...]:
    """The terms of `glossary.yaml`, in its order."""
    held: dict[str, str] = yaml.safe_load(GLOSSARY.read_text(encoding="utf-8"))
    return tuple((term.strip(), code) for code, line in held.items() for term in line.split(";"))


def read_synonyms(path: Path) -> tuple[Term, ...]:
    """The terms of a user's JSON-lines file of `{"term": …, "code": …}`; other keys are free.

    Raises:
        ValueError: the file cannot be read, or a line is not such a row.
    """
    found = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        raise ValueError(f"synonyms file {path} cannot be read: {error}") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            term, code = row["term"], row["code"]
        except (ValueError, KeyError, TypeError):
            term = code = None
        if not (isinstance(term, str) and isinstance(code, str) and term.strip()):
            raise ValueError(
                f'{path}, line {number}: expected {{"term": "…", "code": "…"}}, got {line[:80]!r}'
            )
        found.append((term.strip(), code.strip().upper()))
    return tuple(found)
