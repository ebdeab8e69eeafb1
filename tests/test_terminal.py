"""What somebody else wrote, on its way to a terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seamline.terminal import cut, plain


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b]0;title\x07", " [31mred ]0;title "),
        ("\x9b2Jc1\x7f", " 2Jc1 "),
        ("a\rb\tc\x00", "a b c "),
        ("pay\u202eload\u2066", "payload"),
        ("indemni\u00adfication\ufeff", "indemnification"),
        ("hard\u00a0space \ud800", "hard space  "),
        ("one\ntwo — Ünïcödé 漢字", "one\ntwo — Ünïcödé 漢字"),
    ],
)
def test_what_a_terminal_obeys_is_taken_out(text: str, shown: str) -> None:
    assert plain(text) == shown


@given(st.text())
def test_lines_stay_and_nothing_else_that_does_not_print(text: str) -> None:
    assert plain(text).count("\n") == text.count("\n")
    assert plain(text).replace("\n", "").isprintable()
    assert "\n" not in cut(text, 0)
    assert len(cut(text, 8)) <= 8


def test_a_cut_is_marked() -> None:
    assert cut("one\ntwo three", 8) == "one two…"
    assert cut("one\ntwo three", 0) == "one two three"
