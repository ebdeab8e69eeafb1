"""Every measure against its definition, written out."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seamline.models.evaluation.metrics import (
    accuracy_at_coverage,
    calibration_error,
    exact_match,
    macro_f1,
    mcnemar,
    micro_f1,
    paired_bootstrap,
    reliability,
    risk_coverage,
)

SETS = st.lists(
    st.tuples(
        st.frozensets(st.sampled_from("abcd"), max_size=3),
        st.frozensets(st.sampled_from("abcd"), max_size=3),
    ),
    max_size=12,
)
# Few distinct confidences, so that ties are common.
ROWS = st.lists(
    st.tuples(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0]), st.integers(0, 1)),
    min_size=1,
    max_size=24,
)
FINE = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 1)), min_size=1, max_size=40)


def f1(gold: list[bool], said: list[bool]) -> float:
    both = sum(g and s for g, s in zip(gold, said, strict=True))
    precision = both / sum(said) if any(said) else 0.0
    recall = both / sum(gold) if any(gold) else 0.0
    return 2 * precision * recall / (precision + recall) if both else 0.0


@settings(deadline=None)
@given(SETS)
def test_f1_is_that_of_precision_and_recall(rows: list[tuple[frozenset[str], ...]]) -> None:
    gold, said = [row[0] for row in rows], [row[1] for row in rows]
    labels = sorted(set().union(*gold, *said))
    each = [f1([label in g for g in gold], [label in s for s in said]) for label in labels]
    assert macro_f1(gold, said) == pytest.approx(sum(each) / len(each) if each else 1.0)
    flat = [(label in g, label in s) for g, s in rows for label in labels]
    wanted = f1([g for g, _ in flat], [s for _, s in flat]) if labels else 1.0
    assert micro_f1(gold, said) == pytest.approx(wanted)
    same = sum(g == s for g, s in rows)
    assert exact_match(gold, said) == pytest.approx(same / len(rows) if rows else 0.0)


@settings(deadline=None)
@given(FINE, st.integers(1, 15))
def test_calibration_error_is_the_weighted_gap_of_equal_bins(
    rows: list[tuple[float, int]], bins: int
) -> None:
    # Distinct confidences, so that the definition needs no word about ties.
    unique = sorted(dict(rows).items())
    n = len(unique)
    ends = [math.ceil(i * n / bins) for i in range(bins + 1)]
    gap = 0.0
    for start, end in itertools.pairwise(ends):
        part = unique[start:end]
        if part:
            gap += abs(sum(c for c, _ in part) - sum(r for _, r in part)) / n
    assert calibration_error(*zip(*unique, strict=True), bins=bins) == pytest.approx(gap, abs=1e-9)


@settings(deadline=None)
@given(ROWS, st.randoms(use_true_random=False))
def test_no_number_depends_on_the_order_of_rows(rows: list[tuple[float, int]], rng: object) -> None:
    shuffled = list(rows)
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = [list(zip(*part, strict=True)) for part in (rows, shuffled)]
    assert calibration_error(*one) == pytest.approx(calibration_error(*other))
    assert risk_coverage(*one)[1] == pytest.approx(risk_coverage(*other)[1])
    mass = reliability(*one)
    assert sum(part.rows for part in mass) == len(rows)
    assert len({c for c, _ in rows}) >= len(mass)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0.2, 0.5, 0.8]), st.integers(0, 1)), min_size=1,
                max_size=6))  # fmt: skip
def test_risk_is_the_mean_over_all_orders_by_confidence(rows: list[tuple[float, int]]) -> None:
    n = len(rows)
    orders = [
        [rows[i][1] for i in order]
        for order in itertools.permutations(range(n))
        if all(rows[a][0] >= rows[b][0] for a, b in itertools.pairwise(order))
    ]
    coverage, risk = risk_coverage(*zip(*rows, strict=True))
    assert coverage == pytest.approx([(i + 1) / n for i in range(n)])
    for k in range(1, n + 1):
        wanted = np.mean([1 - sum(order[:k]) / k for order in orders])
        assert risk[k - 1] == pytest.approx(wanted)
    least = next(k for k in range(1, n + 1) if 10 * k >= 8 * n)
    at_80 = accuracy_at_coverage(*zip(*rows, strict=True), coverage=0.8)
    assert at_80 == pytest.approx(1 - risk[least - 1])


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=30))
def test_mcnemar_is_the_two_sided_binomial_tail(rows: list[tuple[bool, bool]]) -> None:
    b = sum(one and not other for one, other in rows)
    c = sum(other and not one for one, other in rows)
    tail = sum(math.comb(b + c, i) for i in range(min(b, c) + 1)) / 2 ** (b + c)
    p = mcnemar([one for one, _ in rows], [other for _, other in rows])
    assert p == pytest.approx(min(1.0, 2 * tail))


@settings(deadline=None)
@given(st.lists(st.sampled_from([-1, 0, 1]), min_size=1, max_size=60), st.integers(0, 9))
def test_the_bootstrap_interval_is_that_of_resampled_rows(values: list[int], seed: int) -> None:
    found = paired_bootstrap(values, seed=seed)
    rng = np.random.default_rng(seed + 100)
    n = len(values)
    means = np.array(values)[rng.integers(n, size=(10_000, n))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    # Two draws of 10,000 may part by one step of the lattice (one row from -1 to 1), or by noise.
    slack = 2.01 / n + 0.02
    assert found.low == pytest.approx(low, abs=slack)
    assert found.high == pytest.approx(high, abs=slack)
    assert found.mean == pytest.approx(sum(values) / n)
    assert found == paired_bootstrap(values, seed=seed)
    assert found.low <= found.mean <= found.high


@settings(deadline=None)
@given(st.lists(st.sampled_from([-1, 0, 1]), min_size=1, max_size=30), st.integers(2, 5))
def test_rows_of_one_group_are_no_further_evidence(values: list[int], times: int) -> None:
    groups = [str(i) for i in range(len(values))]
    alone = paired_bootstrap(values)
    assert paired_bootstrap(values, groups) == alone
    again = paired_bootstrap(values * times, groups * times)
    assert (again.low, again.mean, again.high) == pytest.approx((alone.low, alone.mean, alone.high))


def test_groups_of_other_sizes_are_drawn_whole() -> None:
    # One group of three rights and one of one wrong: the mean is 1, 0.5 (each once) or -1.
    found = paired_bootstrap([1, 1, 1, -1], ["a", "a", "a", "b"])
    assert (found.low, found.mean, found.high) == (-1.0, 0.5, 1.0)


def test_an_interval_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one row"):
        paired_bootstrap([])
