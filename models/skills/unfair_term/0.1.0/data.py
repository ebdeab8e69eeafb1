"""Training rows of `unfair_term`: sentences of terms of service, with their unfair types.

Rows are `{"context": {"text": ...}, "labels": [...], "group": document, "split": ...}`.

A tag is a type and a level: 1 says that the clause is clearly fair, 2 that it may be unfair, 3
that it clearly is (Lippi et al. 2019; the data shows it: `ltd1` says that liability for death
is not excluded, `j1` that consumers may sue at home). Levels 2 and 3 are unfair. A sentence
with level 1 alone is fair, and of those that look like unfair ones, so all of them are kept.
`countrym` says that a clause differs by country; it is no type, and where it stands alone the
sentence often is unfair without a tag, so those sentences are left out.

Fair sentences are eleven times as many as unfair ones; about 2.5 for each are kept, so scores
have to be calibrated on rows as they come.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from seamline.loading import load_module

__all__ = ["FAIR", "TYPES", "build", "held_out", "read", "sentences", "types_of"]

FAIR = "Fair"
TYPES = {
    "a": "Arbitration",
    "ch": "Unilateral Change",
    "cr": "Content Removal",
    "j": "Jurisdiction",
    "law": "Choice of Law",
    "ltd": "Limitation of Liability",
    "pinc": "Privacy Included",
    "ter": "Unilateral Termination",
    "use": "Contract by Using",
}
FAIR_FOR_ONE = 2.5
SHORT_SHARE = 0.1
"""Of the fair rows, those of fewer than five words: headings and the like."""
VALID_SHARE = 0.2

_MARKER = "countrym"
_READING = Path(__file__).resolve().parents[4] / "tools" / "unfair_terms" / "reading.py"

Row = dict[str, Any]


def build(data: Path, *, seed: int = 7, scale: float = 1.0) -> Iterator[Row]:
    """Training rows from `data/contracts/unfair_tos_train.jsonl`; the same seed, the same rows.

    Raises:
        FileNotFoundError: The file is missing.
    """
    rng = random.Random(seed)
    kinds: dict[str, list[Row]] = {"unfair": [], "near": [], "fair": [], "short": []}
    for row, what in sentences(data / "contracts" / "unfair_tos_train.jsonl"):
        kinds[what].append(row)
    unfair, near, fair, short = kinds.values()
    for rows in (unfair, fair, short):
        rng.shuffle(rows)
    unfair = unfair[: round(len(unfair) * scale)]
    wanted = round(FAIR_FOR_ONE * len(unfair))
    headings = short[: round(SHORT_SHARE * wanted)]
    chosen = unfair + (near + headings + fair)[:wanted]
    rng.shuffle(chosen)
    held = held_out(sorted({row["group"] for row in chosen}), seed)
    for row in chosen:
        yield {**row, "split": "valid" if row["group"] in held else "train"}


def sentences(file: Path) -> Iterator[tuple[Row, str]]:
    """Each different sentence as a row, and what it is: unfair, near, fair or short."""
    seen: set[str] = set()
    for text, tags, document in read(file):
        labels = types_of(tags)
        if text.casefold() in seen or (not labels and tags == [_MARKER]):
            continue
        seen.add(text.casefold())
        row = {"context": {"text": text}, "labels": labels or [FAIR], "group": document}
        other = "fair" if len(text.split()) > 4 else "short"
        yield row, "unfair" if labels else "near" if tags else other


def read(file: Path) -> Iterator[tuple[str, list[str], str]]:
    """Each sentence as the tool would read it, its tags and its document."""
    model_text = load_module(_READING).model_text
    before: list[str] = []
    document = ""
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            row: Mapping[str, Any] = json.loads(line)
            if row["doc"] != document:
                document, before = row["doc"], []
            text = model_text(row["text"], before)
            before.append(row["text"])
            yield text, list(row["tags"]), document


def types_of(tags: Sequence[str]) -> list[str]:
    """The names of the types that are tagged as unfair, sorted.

    Raises:
        ValueError: A tag is none of this data set's.
    """
    found = set()
    for tag in tags:
        if tag == _MARKER:
            continue
        if tag[:-1] not in TYPES or tag[-1] not in "123":
            raise ValueError(f"tag {tag!r} is no type and level of {sorted(TYPES)}")
        if tag[-1] in "23":
            found.add(TYPES[tag[:-1]])
    return sorted(found)


def held_out(documents: Sequence[str], seed: int) -> frozenset[str]:
    """A fifth of the documents, those of the lowest hashes: added data moves few of them."""
    order = sorted(documents, key=lambda one: hashlib.sha256(f"{seed}:{one}".encode()).digest())
    return frozenset(order[: max(1, round(VALID_SHARE * len(order)))])
