"""One line, sentences and list items of running text."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seamline.tools.text import lead_in, normalise, sentences


def parts(text: str) -> list[str]:
    return [text[start:end] for start, end in sentences(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One ends. Two begins! Three?", ["One ends.", "Two begins!", "Three?"]),
        ("Acme Inc. is e.g. a shop. No. 4 is not.", ["Acme Inc. is e.g. a shop.", "No. 4 is not."]),
        ("2. Term\n3. End", ["2. Term", "3. End"]),
        ("a line that\ngoes on here.\nNext", ["a line that\ngoes on here.", "Next"]),
        ("one part;\nand the other", ["one part;", "and the other"]),
        ("You may not: (a) copy; or (b) sell.", ["You may not:", "(a) copy; or", "(b) sell."]),
        ("first\n\n  second", ["first", "second"]),
        ('He said "no." Then left.', ['He said "no."', "Then left."]),
        ("  \n ", []),
    ],
)
def test_sentences_and_items(text: str, expected: list[str]) -> None:
    assert parts(text) == expected


def test_sentences_of_a_part_keep_their_places() -> None:
    text = "Not this. But this. And this."
    assert [text[a:b] for a, b in sentences(text, 10, 19)] == ["But this."]


@given(st.text(alphabet='aB1 .;:\n()"', max_size=80))
def test_sentences_are_in_order_and_lose_no_character_but_blanks(text: str) -> None:
    found = list(sentences(text))
    assert all(a < b for a, b in found)
    assert all(b <= c for (_, b), (c, _) in pairwise(found))
    assert "".join("".join(parts(text)).split()) == "".join(text.split())


def test_an_item_is_read_with_what_opens_its_list() -> None:
    before = ["We may close your account:", "(a) on fraud;", "(b) where the law says so;"]
    assert lead_in(before, "(c) to protect others.") == "We may close your account:"
    assert lead_in(before, "or at any time.") == "We may close your account:"
    assert lead_in(before, "You may leave.") == ""
    assert lead_in(["Nothing opens here."], "and nothing follows.") == ""
    assert lead_in(["We may: 4.4.1."], "close it.") == "We may: 4.4.1."


def test_a_sentence_in_lower_case_is_an_item_only_directly_behind_one() -> None:
    before = ["We may at any time:", "(a) change prices;", "We tell you first."]
    assert lead_in(before, "eBay may close your account.") == ""
    assert lead_in(before, "(b) close your account.") == "We may at any time:"
    assert lead_in(before[:2], "close your account;") == "We may at any time:"
    assert lead_in([*before, "iv."], "close your account.") == "We may at any time:"
    assert lead_in([*before[:2], "iv.", "close it;"], "end it.") == "We may at any time:"


def test_a_lead_is_short_and_near() -> None:
    long = " ".join(f"w{n}" for n in range(60)) + ":"
    assert len(lead_in([long], "an item").split()) == 24
    assert lead_in(["Opens:", *["An end."] * 12], "an item") == ""


def test_one_line_of_plain_marks() -> None:
    assert normalise("“A”\u00a0 fee of\n[***]  is due ______ on \u2018time\u2019") == (
        "\"A\" fee of [*] is due [*] on 'time'"
    )
