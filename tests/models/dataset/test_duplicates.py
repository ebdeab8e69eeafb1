"""Duplicate removal, against its definition on generated rows."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seamline.errors import ConfigError
from seamline.models.dataset.duplicates import (
    exact_duplicates,
    near_duplicates,
    resolve_contradictions,
    shingles,
    similarity,
)
from seamline.models.dataset.rows import Record, answer, comparable, prompt_text

from .mails import distinct, no_tick, record

THRESHOLD = 0.8

texts = st.one_of(
    st.text(alphabet="abE \n", min_size=1, max_size=12),
    st.builds(
        lambda at, tail: f"{distinct(at)} {tail}",
        st.integers(0, 5),
        st.sampled_from(["now", "NOW", "then", ""]),
    ),
)
records = st.lists(
    st.builds(lambda text, label: record(text, label), texts, st.sampled_from("xy")), max_size=25
)


def key(one: Record) -> tuple[str, tuple[str, ...]]:
    return comparable(prompt_text(one.row)), answer(one.row)


@given(records)
def test_exact_removal_keeps_the_first_of_each_and_nothing_else(found: list[Record]) -> None:
    outcome = exact_duplicates(found)
    assert [key(one) for one in outcome.kept] == list(dict.fromkeys(map(key, found)))
    assert len(outcome.kept) + len(outcome.dropped) == len(found)
    assert exact_duplicates(outcome.kept).kept == outcome.kept


@given(records)
def test_no_text_keeps_two_answers(found: list[Record]) -> None:
    kept = resolve_contradictions(found, "drop").kept
    texts = {text for text, _ in map(key, kept)}
    assert len({key(one) for one in kept}) == len(texts)
    lost = {key(one)[0] for one in found} - texts
    for text in lost:
        assert len({key(one)[1] for one in found if key(one)[0] == text}) > 1


@settings(max_examples=40, deadline=None)
@given(records)
def test_a_row_is_dropped_only_for_a_near_one_before_it_of_the_same_answer(
    found: list[Record],
) -> None:
    outcome = near_duplicates(found, THRESHOLD, no_tick)
    places = {id(one): at for at, one in enumerate(found)}
    for one, _ in outcome.dropped:
        assert any(
            answer(kept.row) == answer(one.row)
            and places[id(kept)] < places[id(one)]
            and similarity(shingles(key(kept)[0]), shingles(key(one)[0])) >= THRESHOLD
            for kept in outcome.kept
        )
    order = [places[id(one)] for one in outcome.kept]
    assert all(a < b for a, b in pairwise(order))
    assert near_duplicates(outcome.kept, THRESHOLD, no_tick).dropped == []


@settings(deadline=None)
@given(texts)
def test_an_equal_text_is_always_found(text: str) -> None:
    outcome = near_duplicates([record(text, "x"), record(f" {text.upper()}", "x")], 1.0, no_tick)
    same = comparable(text) == comparable(text.upper())
    assert len(outcome.dropped) == int(same)


def test_a_changed_word_is_near_and_another_answer_is_kept() -> None:
    text = " ".join(distinct(at) for at in range(3))
    near = text.replace("now", "then") + " thanks"
    found = [record(text, "x"), record(near, "x"), record(near, "y"), record(distinct(9), "x")]
    outcome = near_duplicates(found, 0.85, no_tick)
    assert outcome.kept == [found[0], found[2], found[3]]
    assert outcome.noticed == {"near, but another answer (kept)": 1}


def test_similarity_is_that_of_sets() -> None:
    assert similarity(shingles("abcdefg"), shingles("abcdefg")) == 1.0
    assert similarity(shingles("abcdef"), shingles("bcdefg")) == pytest.approx(1 / 3)
    assert similarity(shingles("ab"), shingles("ba")) == 0.0


def test_choices_in_another_order_are_the_same_question() -> None:
    branches: list[dict[str, Any]] = [{"title": "flu", "label": 1}, {"title": "cold", "label": 0}]
    first = Record("a", "s", {"context": {"text": "t"}, "branches": branches})
    again = Record("b", "s", {"context": {"text": "t"}, "branches": branches[::-1]})
    turned = [{**one, "label": 1 - one["label"]} for one in branches]
    other = Record("c", "s", {"context": {"text": "t"}, "branches": turned})
    assert exact_duplicates([first, again, other]).kept == [first, other]
    with pytest.raises(ConfigError, match=r"2 rows .* another answer: a, c"):
        resolve_contradictions([first, other], "error")
