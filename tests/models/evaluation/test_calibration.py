"""Scales, knots and thresholds are the best that there are."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, softmax

from seamline.models.evaluation.calibration import (
    fit_knots,
    fit_scale,
    log_loss,
    scaled,
    threshold_for_accuracy,
    threshold_for_f1,
    threshold_for_precision,
)
from seamline.models.evaluation.metrics import micro_f1
from seamline.models.skills import Calibration

ROWS = st.lists(
    st.tuples(st.sampled_from([0.1, 0.2, 0.35, 0.5, 0.8, 0.9]), st.integers(0, 1)),
    min_size=1,
    max_size=40,
)


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(-8, 8), st.integers(0, 1)), min_size=2, max_size=30))
def test_no_other_temperature_of_labels_is_likelier(rows: list[tuple[float, int]]) -> None:
    logits = np.array([[0.0, margin] for margin, _ in rows])
    gold = np.array([[1 - right, right] for _, right in rows])
    found, bias = fit_scale(logits, gold)
    assert bias == 0

    def loss(temperature: float) -> float:
        return float(log_loss(scaled(logits, temperature), gold).mean())

    assert all(loss(found) <= loss(t) + 1e-4 for t in np.geomspace(0.05, 20, 60))


def test_temperature_and_bias_are_recovered() -> None:
    rng = np.random.default_rng(3)
    margins = rng.normal(0, 6, size=40_000)
    right = rng.random(40_000) < expit((margins - 3) / 2.5)
    temperature, bias = fit_scale(margins, right)
    assert temperature == pytest.approx(2.5, rel=0.05)
    assert bias == pytest.approx(-3, abs=0.2)


def test_the_temperature_of_labels_is_recovered_where_rows_have_one() -> None:
    rng = np.random.default_rng(4)
    logits = rng.normal(0, 5, size=(8_000, 6))
    drawn = [rng.choice(6, p=p) for p in softmax(logits / 2.0, axis=1)]
    temperature, _ = fit_scale(logits, np.eye(6)[drawn])
    assert temperature == pytest.approx(2.0, rel=0.05)


@pytest.mark.parametrize("right", [0, 1])
def test_rows_that_are_all_alike_give_finite_scores(right: int) -> None:
    margins = np.linspace(-3, 3, 50)
    scores = scaled(margins, *fit_scale(margins, np.full(50, right)))
    assert (scores > 0.9).all() if right else (scores < 0.1).all()
    assert 0 < scores.min() <= scores.max() < 1


@pytest.mark.parametrize(
    ("margins", "right", "told"),
    [
        ([], [], "do not fit"),
        ([1.0], [1, 0], "do not fit"),
        ([1.0], [2], "must be 0 or 1"),
        ([math.nan], [1], "finite"),
        ([[1.0, 2.0]], [1], "do not fit"),
    ],
)
def test_bad_margins_are_refused(margins: Any, right: list[int], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        fit_scale(margins, right)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 1)), min_size=1, max_size=60),
    st.lists(st.floats(0, 1), min_size=2, max_size=20),
)
def test_knots_rise_and_keep_the_order(rows: list[tuple[float, int]], scores: list[float]) -> None:
    knots = fit_knots(*zip(*rows, strict=True))
    assert knots[0][0] == 0
    assert all(a[0] < b[0] and a[1] < b[1] for a, b in itertools.pairwise(knots))
    assert all(0 < y < 1 for _, y in knots)
    mapped = Calibration(knots=knots).mapped(sorted(scores))
    assert (np.diff(mapped) >= 0).all()


def test_knots_tell_what_scores_are_worth() -> None:
    rng = np.random.default_rng(5)
    scores = rng.random(40_000)
    right = rng.random(40_000) < 0.1 + 0.6 * scores**2
    asked = np.linspace(0.05, 0.95, 10)
    found = Calibration(knots=fit_knots(scores, right)).mapped(asked.tolist())
    assert found == pytest.approx(0.1 + 0.6 * asked**2, abs=0.03)


def test_saturated_scores_are_not_taken_for_certainty() -> None:
    scores = np.concatenate([np.full(500, 0.99999), np.linspace(0, 0.5, 500)])
    right = np.concatenate([np.arange(500) % 5 < 3, np.zeros(500)])
    [found] = Calibration(knots=fit_knots(scores, right)).mapped([0.99999])
    assert found == pytest.approx(0.6, abs=0.02)


@settings(deadline=None)
@given(ROWS)
def test_no_other_threshold_has_a_better_f1(rows: list[tuple[float, int]]) -> None:
    gold = [frozenset({"x"} if right else ()) for _, right in rows]

    def f1(threshold: float) -> float:
        said = [frozenset({"x"} if score >= threshold else ()) for score, _ in rows]
        return micro_f1(gold, said)

    scores, right = zip(*rows, strict=True)
    found = threshold_for_f1(scores, right)
    assert 0 < found < 1
    if any(right):
        assert f1(found) == pytest.approx(max(f1(t) for t in np.linspace(0.001, 0.999, 200)))


@settings(deadline=None)
@given(ROWS, st.lists(st.integers(0, 1), min_size=40, max_size=40))
def test_no_other_threshold_has_more_right_rows(
    rows: list[tuple[float, int]], other: list[int]
) -> None:
    # A row that is right when answered may be right as well, or not, when declined.
    scores, right = zip(*rows, strict=True)
    declined = other[: len(rows)]

    def correct(threshold: float) -> int:
        answered = [score >= threshold for score in scores]
        return sum(r if a else d for a, r, d in zip(answered, right, declined, strict=True))

    found = threshold_for_accuracy(scores, right, declined)
    assert 0 < found < 1
    assert correct(found) == max(correct(t) for t in np.linspace(0.001, 0.999, 200))


@settings(deadline=None)
@given(ROWS, st.sampled_from([0.0, 0.5, 0.75, 0.9, 1.0]))
def test_the_threshold_is_the_lowest_that_holds(
    rows: list[tuple[float, int]], precision: float
) -> None:
    holding = [
        mark
        for mark in {score for score, _ in rows}
        if np.mean([right for score, right in rows if score >= mark]) >= precision
    ]
    scores, right = zip(*rows, strict=True)
    found = threshold_for_precision(scores, right, precision)
    assert found == (min(holding) if holding else None)
