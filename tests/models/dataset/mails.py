"""Rows and a recipe of a small skill, and the real patterns for personal data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from seamline.models.dataset.rows import Record
from seamline.policies.pii import PII_KINDS, find_pii

_LETTERS = str.maketrans("0123456789", "ghijklmnop")
TOPICS = ("billing", "delivery", "other")


def find(text: str) -> dict[str, int]:
    found = {kind: sum(1 for _ in find_pii(text, kind)) for kind in PII_KINDS}
    return {kind: number for kind, number in found.items() if number}


def no_tick(done: int, total: int, what: str) -> None:
    return None


def distinct(at: int) -> str:
    """Texts of letters that are no near-duplicates of each other."""
    letters = hashlib.sha256(str(at).encode()).hexdigest().translate(_LETTERS)
    return " ".join(letters[start : start + 6] for start in range(0, 60, 6))


def rows(number: int) -> list[dict[str, Any]]:
    return [
        {
            "context": {"text": f"about {distinct(at)}"},
            "labels": [TOPICS[at % 3]],
            "group": f"g{at % 17}",
            "id": f"row-{at}",
        }
        for at in range(number)
    ]


def declaration(**changed: Any) -> dict[str, Any]:
    return {
        "skill": "mail_topic",
        "version": "0.1.0",
        "base": "smollm2-135m-instruct",
        "licence": "Apache-2.0",
        "description": "Says what a mail is about.",
        "contract": {
            "read": "labels",
            "context": "Mail: {{ text }}",
            "none_label": "other",
            "labels": {"billing": "bill", "delivery": "post", "other": "none"},
        },
        "sources": [{"title": "mails", "licence": "own", "file": "mails.jsonl"}],
        "data": {},
        **changed,
    }


def write_rows(path: Path, found: Iterable[Mapping[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in found), encoding="utf-8")


def record(text: str, *labels: str, name: str = "r", **more: str) -> Record:
    return Record(name, "mails", {"context": {"text": text}, "labels": list(labels), **more})
