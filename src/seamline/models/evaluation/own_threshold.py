"""The threshold of a cell of the base, chosen on training rows that it was asked for that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from seamline.models.evaluation.declared import EvalRow, Evaluation
from seamline.models.evaluation.metrics import micro_f1

__all__ = ["ROWS", "UNFITTED", "best_threshold"]

ROWS = 40
"""Training rows at most: the base takes a question a choice."""
UNFITTED = 0.5
"""Where there is no training row to choose on."""


def best_threshold(
    evaluation: Evaluation,
    rows: Sequence[EvalRow],
    scored: Sequence[tuple[Sequence[str], Sequence[float]]],
    *,
    weights: Sequence[float],
    none: str | None,
) -> float:
    """The threshold with the most accuracy; of equal ones, that with the best micro-F1.

    Where several are equal in both, it is the middle one.

    Args:
        evaluation: Says what scores mean at a threshold.
        rows: The training rows.
        scored: The names of each row and their scores.
        weights: How many rows each of them stands for.
        none: The name that stands for "none of these".
    """
    marks = sorted({score for _, scores in scored for score in scores} | {0.0, 1.0})
    gold = [row.gold for row in rows]

    def worth(threshold: float) -> tuple[float, float]:
        own = replace(evaluation, threshold=threshold)
        said = [own.predict(*one, none=none) for one in scored]
        right = (
            weight
            for row, one, weight in zip(rows, said, weights, strict=True)
            if one.right(row.gold)
        )
        return round(sum(right), 6), micro_f1(gold, [one.labels for one in said])

    found = {(low + high) / 2: worth((low + high) / 2) for low, high in pairwise(marks)}
    best = max(found.values())
    equal = [threshold for threshold, own in found.items() if own == best]
    # Scores have six digits, so one more keeps it between two of them.
    return round(equal[len(equal) // 2], 7)
