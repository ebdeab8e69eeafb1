"""What is held out, and how labels are evened out, on generated rows."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seamline.errors import ConfigError
from seamline.models.dataset.rows import Record, classes
from seamline.models.dataset.settings import Balance
from seamline.models.dataset.splitting import balanced, group_of, hold_out, own_split

from .mails import record

rows = st.lists(
    st.builds(
        lambda text, group, labels: record(text, *labels, group=group),
        st.text(max_size=6),
        st.sampled_from(["", "a", "b", "c", "d"]),
        st.lists(st.sampled_from("xyz"), min_size=1, max_size=2, unique=True),
    ),
    max_size=40,
)
seeds = st.integers(0, 5)


@given(rows, st.sampled_from([0.1, 0.2, 0.5]), seeds, st.randoms(use_true_random=False))
def test_the_held_out_part_is_of_whole_groups_near_its_share_and_in_no_order(
    found: list[Record], share: float, seed: int, dice: random.Random
) -> None:
    sizes = Counter(group_of(one) for one in found)
    if len(sizes) < 2:
        with pytest.raises(ConfigError, match="none can be held out"):
            hold_out(found, share, seed)
        return
    train, held = hold_out(found, share, seed)
    groups = {group_of(one) for one in held}
    assert train
    assert held
    assert not groups & {group_of(one) for one in train}
    assert Counter(map(id, train)) + Counter(map(id, held)) == Counter(map(id, found))
    gap = abs(len(held) - share * len(found))
    assert gap <= max(sizes.values()) / 2 or len(held) == min(sizes.values())
    mixed = dice.sample(found, len(found))
    assert {group_of(one) for one in hold_out(mixed, share, seed)[1]} == groups


@given(rows, st.integers(1, 5), seeds)
def test_a_cap_drops_a_row_only_when_all_its_labels_are_full(
    found: list[Record], cap: int, seed: int
) -> None:
    outcome = balanced(found, Balance(cap=cap), seed)
    kept = Counter(label for one in outcome.kept for label in classes(one.row))
    for one, _ in outcome.dropped:
        assert all(kept[label] >= cap for label in classes(one.row))
    for label, number in Counter(x for one in found for x in classes(one.row)).items():
        assert kept[label] >= min(cap, number)
    assert balanced(found, Balance(cap=cap), seed) == outcome


@given(rows, st.integers(2, 4))
def test_weights_repeat_rows_of_rare_labels_and_lose_none(found: list[Record], most: int) -> None:
    kept = Counter(map(id, balanced(found, Balance(weights=most), 0).kept))
    assert set(kept) == set(map(id, found))
    assert max(kept.values(), default=1) <= most


def test_weights_even_out_two_labels() -> None:
    found = [record(str(at), "x") for at in range(30)] + [record(f"y{at}", "y") for at in range(10)]
    outcome = balanced(found, Balance(weights=5), 0)
    assert Counter(one.row["labels"][0] for one in outcome.kept) == {"x": 30, "y": 30}
    assert outcome.noticed == {"repeated": 20}


def test_rows_may_say_themselves_what_is_held_out() -> None:
    found = [record("a", "x", split="train"), record("b", "x", split="valid"), record("c", "x")]
    assert own_split(found) == ([found[0], found[2]], [found[1]])
