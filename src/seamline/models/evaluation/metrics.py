"""Measures of answers, and what tells whether two cells of the grid really differ.

Confidences and rights are arrays of shape (rows,): a probability in 0..1, and 0 or 1. Rows of
equal confidence are never told apart by their order, so that no number depends on it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest

__all__ = [
    "BINS",
    "Bin",
    "Interval",
    "accuracy_at_coverage",
    "calibration_error",
    "exact_match",
    "macro_f1",
    "mcnemar",
    "micro_f1",
    "paired_bootstrap",
    "reliability",
    "risk_coverage",
]

BINS = 15
RESAMPLES = 10_000

Floats = NDArray[np.float64]
Sets = Sequence[frozenset[str]]


@dataclass(frozen=True)
class Interval:
    """A mean and the bounds of its 95 % interval."""

    low: float
    mean: float
    high: float


@dataclass(frozen=True)
class Bin:
    """Rows of like confidence: how sure they were on average, and how often right."""

    rows: int
    confidence: float
    accuracy: float


def exact_match(gold: Sets, predicted: Sets) -> float:
    """The share of rows whose predicted set is the gold set; 0 for no rows."""
    same = [g == p for g, p in zip(gold, predicted, strict=True)]
    return sum(same) / len(same) if same else 0.0


def micro_f1(gold: Sets, predicted: Sets) -> float:
    """F1 over all (row, label) pairs; 1 where there is no pair on either side."""
    hits, wanted, found = _counts(gold, predicted)
    total = sum(wanted.values()) + sum(found.values())
    return 2 * sum(hits.values()) / total if total else 1.0


def macro_f1(gold: Sets, predicted: Sets) -> float:
    """The mean F1 of the labels that occur in gold or predicted sets; 1 where none does."""
    hits, wanted, found = _counts(gold, predicted)
    labels = sorted(wanted.keys() | found.keys())
    each = [2 * hits[label] / (wanted[label] + found[label]) for label in labels]
    return sum(each) / len(each) if each else 1.0


def _counts(gold: Sets, predicted: Sets) -> tuple[Counter[str], Counter[str], Counter[str]]:
    hits, wanted, found = Counter[str](), Counter[str](), Counter[str]()
    for right, said in zip(gold, predicted, strict=True):
        hits.update(right & said)
        wanted.update(right)
        found.update(said)
    return hits, wanted, found


def reliability(confidence: ArrayLike, right: ArrayLike, *, bins: int = BINS) -> list[Bin]:
    """At most `bins` bins of equal mass, by rising confidence.

    Bin i ends at row ceil(i * rows / bins) of the sorted rows; where that cuts through rows of
    equal confidence, the whole group belongs to the lower bin, so there may be fewer bins.
    """
    sure, hits = _sorted(confidence, right)
    rows = len(sure)
    found: list[Bin] = []
    start = 0
    for i in range(1, bins + 1):
        end = -(-i * rows // bins)
        while 0 < end < rows and sure[end] == sure[end - 1]:
            end += 1
        if end > start:
            mean = float(sure[start:end].mean())
            found.append(Bin(end - start, mean, float(hits[start:end].mean())))
            start = end
    return found


def calibration_error(confidence: ArrayLike, right: ArrayLike, *, bins: int = BINS) -> float:
    """Expected calibration error: the bins' |confidence - accuracy|, weighted by their rows.

    After Naeini et al. 2015, with the equal-mass bins of `reliability`; 0 for no rows.
    """
    found = reliability(confidence, right, bins=bins)
    rows = sum(one.rows for one in found)
    return sum(one.rows * abs(one.confidence - one.accuracy) for one in found) / max(rows, 1)


def risk_coverage(confidence: ArrayLike, right: ArrayLike) -> tuple[Floats, Floats]:
    """Coverage and risk where the k most confident rows are answered, for k = 1..rows.

    Risk is the share of wrong ones among the answered. Of a group of equal confidence that k
    cuts through, the expected number of right ones counts. Both are of shape (rows,).
    """
    sure, hits = _sorted(confidence, right)
    sure, hits = sure[::-1], hits[::-1]
    _, group = np.unique(-sure, return_inverse=True)
    mean = np.bincount(group, weights=hits) / np.maximum(np.bincount(group), 1)
    answered = np.arange(1, len(sure) + 1, dtype=np.float64)
    return answered / max(len(sure), 1), 1 - np.cumsum(mean[group]) / answered


def accuracy_at_coverage(confidence: ArrayLike, right: ArrayLike, *, coverage: float) -> float:
    """Accuracy on the ceil(coverage * rows) most confident rows; 0 for no rows."""
    _, risk = risk_coverage(confidence, right)
    if not len(risk):
        return 0.0
    # A product like 0.8 * 5 may come out a hair above the whole number it means.
    answered = math.ceil(round(coverage * len(risk), 9))
    return float(1 - risk[max(answered, 1) - 1])


def paired_bootstrap(
    difference: ArrayLike, groups: Sequence[str] | None = None, *, seed: int = 0
) -> Interval:
    """The mean of per-row differences and its 95 % percentile bootstrap interval.

    10,000 resamples of the rows, the same for the same seed. With `groups`, one name a row,
    whole groups are resampled (cluster bootstrap: Field and Welsh 2007), because rows of one
    document are no independent evidence. Resampling means drawing how often each distinct kind
    of group (its sum and its size) occurs, which is what is drawn here.

    Raises:
        ValueError: There are no rows.
    """
    values = np.asarray(difference, dtype=np.float64)
    if not len(values):
        raise ValueError("an interval needs at least one row")
    _, group = np.unique(range(len(values)) if groups is None else groups, return_inverse=True)
    each = np.stack([np.bincount(group, weights=values), np.bincount(group)], axis=1)
    kinds, counts = np.unique(each, axis=0, return_counts=True)
    units = int(counts.sum())
    drawn = np.random.default_rng(seed).multinomial(units, counts / units, size=RESAMPLES)
    low, high = np.percentile((drawn @ kinds[:, 0]) / (drawn @ kinds[:, 1]), [2.5, 97.5])
    return Interval(float(low), float(values.mean()), float(high))


def mcnemar(one: ArrayLike, other: ArrayLike) -> float:
    """The two-sided p of McNemar's exact test on two cells' rights; 1 where they never differ."""
    a, b = np.asarray(one, dtype=bool), np.asarray(other, dtype=bool)
    only_one, only_other = int((a & ~b).sum()), int((~a & b).sum())
    if only_one + only_other == 0:
        return 1.0
    result: Any = binomtest(only_one, only_one + only_other, 0.5)
    return float(result.pvalue)


def _sorted(confidence: ArrayLike, right: ArrayLike) -> tuple[Floats, Floats]:
    sure, hits = np.asarray(confidence, dtype=np.float64), np.asarray(right, dtype=np.float64)
    if sure.shape != hits.shape or sure.ndim != 1:
        raise ValueError(f"shapes {sure.shape} and {hits.shape} are not one number a row each")
    order = np.argsort(sure, kind="stable")
    return sure[order], hits[order]
