"""How a skill is evaluated, declared by `evaluation.py` in the skill's own folder.

That file defines `evaluation(contract) -> Evaluation`: rows with their gold, training rows for
few-shot prompts, and what a prediction means.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seamline.models.contracts import SkillContract

__all__ = ["EvalRow", "Evaluation", "Prediction", "Shot", "rows_digest"]


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
    """

    id: str
    context: Mapping[str, Any]
    gold: frozenset[str]
    text: str
    slices: tuple[str, ...] = ()
    choices: tuple[Mapping[str, Any], ...] = ()
    names: tuple[str, ...] = ()
    retrieved: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Shot:
    """A training row as an example in a prompt; `right` holds the texts of its right choices."""

    text: str
    context: Mapping[str, Any]
    right: tuple[str, ...]


@dataclass(frozen=True)
class Prediction:
    """The best name with its score, and every name that counts as answered."""

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
        bare: How the base is asked without the adapter.
        rows: The rows of a data folder, in a fixed order.
        shots: The training rows that few-shot prompts draw from.
        further: Further numbers, of all rows and what one cell said of each.
        threshold: The score from which a name counts as answered; `seamline eval` sets that of
            the version it evaluates.
    """

    file: str
    measure: str
    several: bool
    bare: SkillContract
    rows: Callable[[Path], Sequence[EvalRow]]
    shots: Callable[[Path], Sequence[Shot]]
    further: Callable[[Sequence[EvalRow], Sequence[Prediction]], Mapping[str, float]] = _nothing
    threshold: float = 0.5

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
        labels = {name for name, score in counted if score >= self.threshold and name != none}
        return Prediction(first, confidence, frozenset(labels))


def rows_digest(rows: Sequence[EvalRow]) -> str:
    """The sha256 over ids, contexts and golds: two evaluations of one digest saw the same rows."""
    told = [[row.id, dict(row.context), sorted(row.gold)] for row in rows]
    text = json.dumps(told, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
