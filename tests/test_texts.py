"""Text that UTF-8 can hold."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seamline.errors import SeamlineError
from seamline.texts import is_whole, whole_text


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("", ""),
        ("é \U0001f600", "é \U0001f600"),
        ("a \ud800 b", "a \ufffd b"),
        ("\ud83d\ude00 \ude00\ud83d", "\U0001f600 \ufffd\ufffd"),
    ],
)
def test_halves_of_pairs_are_joined_or_replaced(text: str, whole: str) -> None:
    assert whole_text(text) == whole
    assert is_whole(text) is (text == whole)


@given(st.text(st.characters(categories=["Cs", "L"])))
def test_a_text_is_the_same_before_a_journal_and_after(text: str) -> None:
    assert whole_text(json.loads(json.dumps(text))) == whole_text(text)
    assert is_whole(whole_text(text))


def test_the_message_of_an_error_is_text() -> None:
    assert str(SeamlineError("no file \ud800")) == "no file \ufffd"
