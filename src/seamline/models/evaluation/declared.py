"""How a skill is evaluated, declared by `evaluation.py` in the skill's own folder.

That file defines `evaluation(contract)`, which gives an `Evaluation`: rows with their gold,
training rows, and what a prediction means. Where a skill is measured in several ways it gives a
mapping of names to them; the gate is about the first. It lies in a version's folder, or above it
for all versions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seamline.models.contracts import SkillContract
from seamline.models.protocol import DecideRequest

__all__ = ["PROMPTED", "EvalRow", "Evaluation", "Prediction", "Shot", "rows_digest"]

PROMPTED = ("nearest", "majority", "base", "base_few_shot", "adapter")
"""The cells of an evaluation of the skill beside the prompted base, which costs far more a row."""


@dataclass(frozen=True, kw_only=True)
class EvalRow:
    """One row to answer.

    Attributes:
        id: Tells it from every other row of its file.
        context: The variables of the contract's context template.
        gold: The names that are right; empty where "none" is.
        text: What the nearest training rows are looked up by.
        slices: The parts of the file that it belongs to, each with its own number.
        choices: The variables of each choice; empty where the contract has a label set.
        names: What each choice stands for, e.g. its code.
        retrieved: The retrieval score of each choice in 0..1; empty where nothing is retrieved.
        group: What it belongs to, e.g. a document. Rows of one group are drawn into a sample,
            and into a resample of the bootstrap, together; without, each row is its own.
        asked: The whole question, of a skill whose requests bring their own instructions.
    """

    id: str
    context: Mapping[str, Any]
    gold: frozenset[str]
    text: str
    slices: tuple[str, ...] = ()
    choices: tuple[Mapping[str, Any], ...] = ()
    names: tuple[str, ...] = ()
    retrieved: tuple[float, ...] = ()
    group: str = ""
    asked: DecideRequest | None = None

    @property
    def unit(self) -> str:
        """The group, or the row on its own."""
        return f"group {self.group}" if self.group else f"row {self.id}"


@dataclass(frozen=True, kw_only=True)
class Shot:
    """A training row: an example in a prompt, and an answer that can be copied.

    Attributes:
        text: What it is found by, as that of a row.
        context: The variables of the contract's context template.
        right: The texts of its right choices; of a label set, its labels. Empty where nothing is
            right: the label for none never stands here.
        group: What it belongs to, e.g. a document, as that of a row.
    """

    text: str
    context: Mapping[str, Any]
    right: tuple[str, ...]
    group: str = ""


@dataclass(frozen=True)
class Prediction:
    """The first name with its score, and every name that counts as answered."""

    first: str
    confidence: float
    labels: frozenset[str]

    def right(self, gold: frozenset[str]) -> bool:
        """Whether the first name is a gold one; where there is none, whether none is answered."""
        return self.first in gold if gold else not self.labels


def _nothing(rows: Sequence[EvalRow], said: Sequence[Prediction]) -> Mapping[str, float]:  # noqa: ARG001
    return {}


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A skill's evaluation.

    Attributes:
        file: The data file, as a path inside the data folder.
        measure: What the main number, accuracy, says in words.
        several: Whether a row can have several right names at once.
        as_told: Whether the first name is what a tool would tell first: the best of those that
            reach the threshold, though `none` may score higher, and `none` where none reaches it.
            Where `none` is no name, as for the bare base, the best counts at any score.
        bare: How the base is asked without the adapter.
        rows: The rows of a data folder, in a fixed order.
        shots: The training rows: examples for prompts, and what `nearest` and `majority` answer
            from; without, there are none.
        further: Further numbers, of all rows and what one cell said of each.
        read: What the scores of a row's choices mean; by default, the best-scored name.
        cells: The cells that are run where none are asked for; by default all there are.
        with_retrieval: What the skill's scores of a row mean together with `retrieved`; by
            default the name with the best mean of the two.
        retrieval_threshold: Chooses, on the training rows of a data folder, the threshold of
            the cell `retrieval`; by default it is `threshold`.
        measured_with: The embedder that ranks the choices, as `NAME sha256:…`, or in words what
            ranks them where it has not been pulled: numbers of the two are not comparable.
        threshold: The score from which a name counts as answered; `seamline eval` sets that of
            the version it evaluates.
        gate_cell: Whose accuracy the gate compares: `adapter`, or `adapter_retrieval` where that
            is what ships.
        gate_on: Further numbers of that cell that must not fall, the higher the better: names of
            `further`, or `macro_f1`, `micro_f1` and `exact_match`.
    """

    file: str
    measure: str
    several: bool
    bare: SkillContract
    as_told: bool = False
    rows: Callable[[Path], Sequence[EvalRow]]
    shots: Callable[[Path], Sequence[Shot]] | None = None
    further: Callable[[Sequence[EvalRow], Sequence[Prediction]], Mapping[str, float]] = _nothing
    read: Callable[[EvalRow, Sequence[float]], Prediction] | None = None
    with_retrieval: Callable[[EvalRow, Sequence[float]], Prediction] | None = None
    cells: tuple[str, ...] = ()
    retrieval_threshold: Callable[[Path], float] | None = None
    measured_with: str = ""
    threshold: float = 0.5
    gate_cell: str = "adapter"
    gate_on: tuple[str, ...] = ()

    def predict(
        self, names: Sequence[str], scores: Sequence[float], *, none: str | None = None
    ) -> Prediction:
        """What scores, one a name, mean; equal ones go to the earlier name.

        Where nothing scores above 0 there is no first name. `none` is the name that stands for
        "none of these".
        """
        pairs = list(zip(names, scores, strict=True))
        first, confidence = max(pairs, key=lambda pair: pair[1], default=("", 0.0))
        if confidence <= 0:
            return Prediction("", 0.0, frozenset())
        counted = pairs if self.several else [(first, confidence)]
        told = {name: score for name, score in counted if score >= self.threshold and name != none}
        if self.as_told and none is not None and none in names:
            named = told or {none: scores[names.index(none)]}
            first, confidence = max(named.items(), key=lambda pair: pair[1])
        return Prediction(first, confidence, frozenset(told))


def rows_digest(rows: Sequence[EvalRow]) -> str:
    """The sha256 over questions and golds: two evaluations of one digest saw the same rows."""
    told = [
        [
            row.id,
            dict(row.context),
            [dict(choice) for choice in row.choices],
            list(row.names),
            row.asked.model_dump(mode="json") if row.asked else None,
            sorted(row.gold),
        ]
        for row in rows
    ]
    text = json.dumps(told, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
