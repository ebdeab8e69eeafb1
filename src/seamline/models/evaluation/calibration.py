"""What makes scores trustworthy: a scale, knots, and thresholds, all fitted on held-out rows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import isotonic_regression, minimize, minimize_scalar
from scipy.special import expit, softmax

__all__ = [
    "fit_knots",
    "fit_scale",
    "log_loss",
    "scaled",
    "threshold_for_accuracy",
    "threshold_for_f1",
    "threshold_for_precision",
]

Floats = NDArray[np.float64]

_COLDEST, _HOTTEST = 0.05, 20.0
_FARTHEST = 10.0
_LEAST = 1e-6
"""Scores are told with six digits, so none is surer than this."""
_RISE = 0.02
_BLOCK = 20
"""Statements that a block of knots has at least."""


def scaled(margins: ArrayLike, temperature: float, bias: float = 0.0) -> Floats:
    """Probabilities: the sigmoid of margins, or the softmax of each row of logits."""
    values = (np.asarray(margins, dtype=np.float64) + bias) / temperature
    found: Floats = expit(values) if values.ndim == 1 else softmax(values, axis=1)
    return found


def log_loss(scores: ArrayLike, right: ArrayLike) -> Floats:
    """The surprise of each statement "this one is right, with this probability"; natural."""
    sure = np.clip(np.asarray(scores, dtype=np.float64), _LEAST, 1 - _LEAST)
    found: Floats = -np.where(np.asarray(right, dtype=bool), np.log(sure), np.log1p(-sure))
    return found


def fit_scale(margins: ArrayLike, right: ArrayLike) -> tuple[float, float]:
    """The temperature and the bias that make held-out rows most likely.

    Of margins, both (Platt 1999, with his targets, so that rows which are all right, or all
    wrong, give no infinity); of logits, a temperature alone (Guo et al. 2017), and the bias is
    0. Each label counts as a statement of its own, so a row may have several right ones. The
    temperature stays in 0.05..20.

    Args:
        margins: Of shape (questions,), the logit of yes minus that of no; or of shape (rows,
            labels), logits.
        right: 0 or 1, of the same shape.

    Raises:
        ValueError: There is nothing to fit on, a margin is not finite, or the shapes or golds
            do not fit.
    """
    values, gold = _checked(margins, right)
    if values.ndim == 2:

        def label_loss(log_temperature: float) -> float:
            return float(log_loss(scaled(values, math.exp(log_temperature)), gold).mean())

        bounds = (math.log(_COLDEST), math.log(_HOTTEST))
        found: Any = minimize_scalar(label_loss, bounds=bounds, method="bounded")
        return math.exp(float(found.x)), 0.0
    hits = float(gold.sum())
    misses = len(gold) - hits
    target = np.where(gold == 1, (hits + 1) / (hits + 2), 1 / (misses + 2))

    def loss(at: Floats) -> tuple[float, Floats]:
        slope, shift = at
        logits = slope * values + shift
        total = np.logaddexp(0.0, logits) - target * logits
        residual = expit(logits) - target
        return float(total.mean()), np.array([(residual * values).mean(), residual.mean()])

    # Convex in slope and shift, unlike in temperature and bias.
    spans = [(1 / _HOTTEST, 1 / _COLDEST), (-_FARTHEST, _FARTHEST)]
    best: Any = minimize(loss, np.array([1.0, 0.0]), jac=True, bounds=spans, method="L-BFGS-B")
    slope, shift = map(float, best.x)
    return 1 / slope, shift / slope


def fit_knots(scores: ArrayLike, right: ArrayLike) -> tuple[tuple[float, float], ...]:
    """Knots (score, probability) of a rising line through what scores turned out to be worth.

    Isotonic regression whose blocks stand at their mean score, with straight lines between
    (Oron and Flournoy 2017, "Centered Isotonic Regression"). Beyond the outer blocks the line
    rises by a fiftieth of what is left, so that different scores do not become equal and the
    order of a row's names stays.

    Args:
        scores: Of shape (statements,), in 0..1.
        right: 0 or 1, of the same shape.
    """
    values, gold = _checked(scores, right)
    levels, own = np.unique(values, return_inverse=True)
    mass = np.bincount(own)
    # The few highest or lowest scores would make a block of their own, and a certain one.
    bins = np.minimum(np.cumsum(mass) - mass, max(len(values) - _BLOCK, 0)) // _BLOCK
    mass, hits, total = (
        np.bincount(bins, weights=one)
        for one in (mass, np.bincount(own, weights=gold), levels * mass)
    )
    full = mass > 0
    mass, hits, total = mass[full], hits[full], total[full]
    fitted: Any = isotonic_regression(hits / mass, weights=mass)
    starts = fitted.blocks[:-1]
    weight = np.add.reduceat(mass, starts)
    centre = np.add.reduceat(total, starts) / weight
    rate = np.clip(np.asarray(fitted.x)[starts], 0.5 / (weight + 1), 1 - 0.5 / (weight + 1))
    if len(rate) > 1:
        rate[0] = min(rate[0], rate[1] * (1 - _RISE))
        rate[-1] = max(rate[-1], rate[-2] + (1 - rate[-2]) * _RISE)
    knots = {0.0: rate[0] * (1 - _RISE), 1.0: rate[-1] + (1 - rate[-1]) * _RISE}
    knots |= {float(x): float(y) for x, y in zip(centre, rate, strict=True) if 0 < x < 1}
    return _distinct(sorted(knots.items()))


def threshold_for_f1(scores: ArrayLike, right: ArrayLike) -> float:
    """The threshold with the best micro-F1 over all (row, name) pairs.

    It lies half-way between two scores; 0.5 where nothing is right.
    """
    marks, gold = _descending(scores, right)
    last = np.append(marks[1:] != marks[:-1], True)[: len(marks)]
    hits = np.cumsum(gold)
    wanted = gold.sum()
    if not wanted:
        return 0.5
    f1 = np.where(last, 2 * hits / (np.arange(1, len(marks) + 1) + wanted), -1.0)
    return _between(marks, int(np.argmax(f1)))


def threshold_for_accuracy(scores: ArrayLike, right: ArrayLike, declined: ArrayLike) -> float:
    """The threshold with the most right rows, each answered by its best name or not at all.

    It lies half-way between two scores, and above all of them where no answer is worth it.

    Args:
        scores: Of shape (rows,), that of the best name.
        right: Whether the row is right when it is answered.
        declined: Whether the row is right when it is not.
    """
    marks, gain = _descending(
        scores, np.asarray(right, dtype=np.float64) - np.asarray(declined, dtype=np.float64)
    )
    if not len(marks):
        return 0.5
    last = np.append(marks[1:] != marks[:-1], True)
    worth = np.where(last, np.cumsum(gain), -np.inf)
    if worth.max() < 0:
        return float(np.clip((1 + marks[0]) / 2, _LEAST, 1 - _LEAST))
    return _between(marks, int(np.argmax(worth)))


def threshold_for_precision(scores: ArrayLike, right: ArrayLike, precision: float) -> float | None:
    """The lowest score from which on at least `precision` of the rows are right.

    Answering every row that scores at least this much covers the most rows that the target
    allows. None where no threshold reaches it.

    Raises:
        ValueError: The shapes differ, or the precision is outside 0..1.
    """
    if not 0 <= precision <= 1:
        raise ValueError(f"precision {precision} is outside 0..1")
    marks, hits = _descending(scores, right)
    reached = np.cumsum(hits) >= precision * np.arange(1, len(marks) + 1) - 1e-9
    # Rows of equal score are answered together, so only the last of a group can end it.
    last = np.append(marks[1:] != marks[:-1], True)[: len(marks)]
    found = np.flatnonzero(reached & last)
    return float(marks[found[-1]]) if len(found) else None


def _checked(margins: ArrayLike, right: ArrayLike) -> tuple[Floats, Floats]:
    values, gold = np.asarray(margins, dtype=np.float64), np.asarray(right, dtype=np.float64)
    if not values.size or values.ndim not in (1, 2) or gold.shape != values.shape:
        raise ValueError(f"margins {values.shape} and gold {gold.shape} do not fit each other")
    if not np.isfinite(values).all():
        raise ValueError("a margin is not a finite number")
    if not np.isin(gold, (0, 1)).all():
        raise ValueError("gold must be 0 or 1")
    return values, gold


def _descending(scores: ArrayLike, values: ArrayLike) -> tuple[Floats, Floats]:
    marks, others = np.asarray(scores, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if marks.shape != others.shape or marks.ndim != 1:
        raise ValueError(f"shapes {marks.shape} and {others.shape} are not one number a row each")
    order = np.argsort(-marks, kind="stable")
    return marks[order], others[order]


def _between(marks: Floats, at: int) -> float:
    """Half-way between a falling score and the next, and strictly inside 0..1."""
    below = marks[at + 1] if at + 1 < len(marks) else 0.0
    return float(np.clip((marks[at] + below) / 2, _LEAST, 1 - _LEAST))


def _distinct(pairs: list[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """The pairs with six digits, without those that no longer rise."""
    found: list[tuple[float, float]] = []
    for x, y in pairs:
        pair = (round(float(x), 6), round(float(y), 6))
        if not found or (pair[0] > found[-1][0] and pair[1] > found[-1][1]):
            found.append(pair)
    return tuple(found)
