"""What the data stage did, as `report.json` holds it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from seamline.models.dataset.rows import Record, classes, declined, prompt_text

__all__ = [
    "SHOWN",
    "Counts",
    "Finding",
    "Histogram",
    "Report",
    "SourceCount",
    "Step",
    "count",
    "histogram",
]

SHOWN = 20
"""Findings that a step names; all of them are counted."""
_BINS = 16


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Finding(_Frozen):
    """A row that a step dropped; its text only where that was asked for."""

    name: str
    reason: str
    text: str | None = None


class Step(_Frozen):
    """One step, with the rows before and after it.

    `reasons` count what was found, by reason; `changed` rows stay, with another text.
    """

    name: str
    before: int
    after: int
    changed: int = 0
    reasons: Mapping[str, int] = Field(default_factory=dict)
    findings: tuple[Finding, ...] = ()


class SourceCount(_Frozen):
    """Rows read from one source."""

    title: str
    licence: str
    rows: int


class Counts(_Frozen):
    """One part of the rows: how many, and how many of each label and source.

    Of a skill that answers yes or no, `labels` count choices. `declined` are the rows whose
    right answer is none of the labels or choices.
    """

    rows: int
    labels: Mapping[str, int]
    sources: Mapping[str, int]
    declined: int


class Histogram(_Frozen):
    """Rows by their length in words; bin i goes from `edges[i]` to `edges[i + 1]`."""

    edges: tuple[int, ...]
    counts: tuple[int, ...]


class Report(_Frozen):
    """The whole stage.

    Attributes:
        key: What the folder is named after: a digest of rows, settings and evaluations.
        applied: Whether all steps changed the rows; without a `data` section only schema,
            contradictions and leakage drop some, and the others count.
        compared: The evaluations that leakage was checked against, by their files.
        split_by: How the rows were parted.
        files: File to its sha256.
    """

    skill: str
    version: str
    key: str
    seed: int
    applied: bool
    split_by: Literal["groups", "the rows' own split", "nothing held out"]
    sources: tuple[SourceCount, ...]
    steps: tuple[Step, ...]
    compared: tuple[str, ...] = ()
    train: Counts
    held_out: Counts
    lengths: Histogram
    warnings: tuple[str, ...] = ()
    files: Mapping[str, str] = Field(default_factory=dict)


def count(records: Sequence[Record], labels: Iterable[str], none_label: str | None) -> Counts:
    """The counts of one part; labels that no row has count 0."""
    found: Counter[str] = Counter(dict.fromkeys(labels, 0))
    for record in records:
        found.update(classes(record.row))
    return Counts(
        rows=len(records),
        labels=dict(found),
        sources=dict(Counter(record.source for record in records)),
        declined=sum(declined(record.row, none_label) for record in records),
    )


def histogram(records: Sequence[Record]) -> Histogram:
    """The lengths of the prompts, in words."""
    words = [len(prompt_text(record.row).split()) for record in records]
    top = max(words, default=0)
    width = max(1, -(-(top + 1) // _BINS))
    edges = list(range(0, top + width + 1, width))
    counts, _ = np.histogram(words, bins=np.asarray([*edges[:-1], edges[-1] - 0.5]))
    return Histogram(edges=tuple(edges), counts=tuple(int(one) for one in counts))
