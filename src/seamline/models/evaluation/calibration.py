"""What makes scores trustworthy: a temperature, and a threshold that holds a precision."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

__all__ = ["fit_temperature", "threshold_for_precision"]

_LOWEST, _HIGHEST = 0.05, 20.0


def fit_temperature(margins: ArrayLike, gold: ArrayLike) -> float:
    """The temperature that makes `margins / temperature` most likely on held-out rows.

    Guo et al. 2017, "On Calibration of Modern Neural Networks". Searched in 0.05..20, so that
    rows which are all right, or all wrong, give a bound and not infinity.

    Args:
        margins: Of shape (questions,), the logit of yes minus that of no, with gold 0 or 1; or
            of shape (rows, labels), logits, with gold the index of the right label.
        gold: Of shape (questions,) or (rows,).

    Raises:
        ValueError: There is nothing to fit on, a margin is not finite, or the shapes or golds
            do not fit.
    """
    logits, right = np.asarray(margins, dtype=np.float64), np.asarray(gold)
    if not logits.size or logits.ndim not in (1, 2) or right.shape != logits.shape[:1]:
        raise ValueError(f"margins {logits.shape} and gold {right.shape} do not fit each other")
    if not np.isfinite(logits).all():
        raise ValueError("a margin is not a finite number")
    if logits.ndim == 1:
        logits = np.stack([np.zeros_like(logits), logits], axis=1)
    if not np.isin(right, np.arange(logits.shape[1])).all():
        raise ValueError(f"gold must be whole numbers from 0 to {logits.shape[1] - 1}")
    own = logits[np.arange(len(logits)), right.astype(np.int64)]

    def loss(log_temperature: float) -> float:
        scale = math.exp(-log_temperature)
        total: Any = logsumexp(logits * scale, axis=1)
        return float(np.mean(total - own * scale))

    bounds = (math.log(_LOWEST), math.log(_HIGHEST))
    found: Any = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return math.exp(float(found.x))


def threshold_for_precision(scores: ArrayLike, right: ArrayLike, precision: float) -> float | None:
    """The lowest score from which on at least `precision` of the rows are right.

    Answering every row that scores at least this much covers the most rows that the target
    allows. None where no threshold reaches it.

    Raises:
        ValueError: The shapes differ, or the precision is outside 0..1.
    """
    marks, hits = np.asarray(scores, dtype=np.float64), np.asarray(right, dtype=np.float64)
    if marks.shape != hits.shape or marks.ndim != 1:
        raise ValueError(f"shapes {marks.shape} and {hits.shape} are not one number a row each")
    if not 0 <= precision <= 1:
        raise ValueError(f"precision {precision} is outside 0..1")
    order = np.argsort(-marks, kind="stable")
    marks, hits = marks[order], hits[order]
    reached = np.cumsum(hits) >= precision * np.arange(1, len(marks) + 1) - 1e-9
    # Rows of equal score are answered together, so only the last of a group can end it.
    last = np.append(marks[1:] != marks[:-1], True)[: len(marks)]
    found = np.flatnonzero(reached & last)
    return float(marks[found[-1]]) if len(found) else None
