"""What `split_clauses` holds for every text, and what it does with each drafting style."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seamline.loading import load_module

ROOT = Path(__file__).resolve().parents[2]
SPLIT: Any = load_module(ROOT / "tools/split_clauses/tool.py")
EXAMPLE = (ROOT / "examples/contracts/services_agreement.md").read_text(encoding="utf-8")

FRAGMENTS = st.sampled_from([
    "1. Term. ", "1.1 ", "(a) ", "ARTICLE IV", "## Liability", "\n", "\n\n", "\r\n", "\f", " " * 9,
    "The Supplier shall deliver the Goods.", "and, subject to Section 4.2, pay;", "By: ____",
    "IN WITNESS WHEREOF, the parties sign.", "TABLE OF CONTENTS", "Fees ........ 7", "- 3 -",
    "word " * 130, "x" * 1500, "Page 2 of 9", "合同条款。", "\u2028", "“Quoted.” ", "\x1c", "* ",
])  # fmt: skip
TEXTS = st.one_of(st.text(max_size=400), st.lists(FRAGMENTS, max_size=25).map("".join))


def bodies(text: str) -> list[str]:
    """The text of each clause."""
    return [text[one.start : one.end] for one in SPLIT.split(text).clauses]


@settings(max_examples=60, deadline=None)
@given(TEXTS, st.integers(min_value=5, max_value=120))
def test_spans_are_ordered_apart_inside_and_not_blank(text: str, max_words: int) -> None:
    output = SPLIT.split(text, max_words=max_words)
    for spans in (output.clauses, output.other):
        for span in spans:
            assert 0 <= span.start < span.end <= len(text)
            assert text[span.start : span.end].strip()
        for one, following in itertools.pairwise(spans):
            assert one.end <= following.start
    for clause in output.clauses:
        assert len(text[clause.start : clause.end].split()) <= max_words


@settings(max_examples=60, deadline=None)
@given(TEXTS)
def test_no_word_is_lost(text: str) -> None:
    output = SPLIT.split(text)
    covered = "".join(text[one.start : one.end] for one in (*output.clauses, *output.other))
    assert sorted("".join(covered.split())) == sorted("".join(text.split()))


def test_the_shipped_agreement_is_split_by_section() -> None:
    output = SPLIT.split(EXAMPLE)
    starts = [EXAMPLE[one.start : one.start + 4].strip() for one in output.clauses]
    assert {"1.2", "2.2", "3.3", "8.2", "10.3", "11.3"} <= set(starts)
    law = next(one for one in output.clauses if EXAMPLE[one.start :].startswith("11.3"))
    assert law.heading == "11. General"
    signed = [EXAMPLE[one.start : one.end] for one in output.other]
    assert any(one.startswith("IN WITNESS") for one in signed)
    assert "Name: Orla Whitcombe" in signed
    assert "Schedule A" in output.clauses[-1].heading


STYLES = {
    "run-on": (
        "1. Term. This runs for two years from its date. 2. Fees. The Client shall pay soon.",
        ["1. Term.", "2. Fees."],
    ),
    "articles": (
        "ARTICLE I\nTERM\n\nThis runs for two years.\n\nARTICLE II\nFEES\n\nThe Client shall pay.",
        ["ARTICLE I\n", "ARTICLE II\n"],
    ),
    "Markdown": (
        "# Term\nThis Agreement runs for two years.\n# Fees\nThe Client shall pay the fees.",
        ["# Term", "# Fees"],
    ),
    "sections": (
        "Section 3.1 Notices. Every notice must be in plain writing.\nSection 3.2 Waiver. None.",
        ["Section 3.1", "Section 3.2"],
    ),
}


@pytest.mark.parametrize("style", STYLES)
def test_drafting_styles(style: str) -> None:
    text, starts = STYLES[style]
    found = bodies(text)
    assert len(found) == len(starts)
    assert all(body.startswith(start) for body, start in zip(found, starts, strict=True))


def test_a_wrapped_reference_to_a_section_does_not_cut_a_sentence() -> None:
    text = "The Supplier shall pay what it owes under\nSection 4.2 of this Agreement and no more."
    assert bodies(text) == [text]


def test_a_long_paragraph_is_cut_at_sentence_ends() -> None:
    text = " ".join(f"The Supplier shall perform duty number {n} with due care." for n in range(60))
    found = bodies(text)
    assert len(found) > 4
    assert all(body.startswith("The Supplier") and body.endswith("care.") for body in found)


def test_abbreviations_do_not_end_a_sentence() -> None:
    long = "The Supplier is Acme Inc. and its agent is J. Smith of St. Ives, as in No. 5 above. "
    assert all(body.startswith("The Supplier is Acme") for body in bodies(long * 30))


def test_contents_page_marks_and_running_heads_are_other() -> None:
    pages = "\n\n".join(
        f"Confidential Draft of Acme\n\n{n}.1 The Supplier shall deliver lot {n} of the Goods on "
        f"the day that the order names, and at the place it names.\n\n- {n} -"
        for n in range(1, 5)
    )
    text = f"TABLE OF CONTENTS\n\n1. Delivery ........ 1\n2. Price ........ 2\n\n{pages}"
    output = SPLIT.split(text)
    assert len(output.clauses) == 4
    rest = {text[one.start : one.end] for one in output.other}
    assert {"TABLE OF CONTENTS", "Confidential Draft of Acme", "- 2 -"} <= rest


def test_a_sentence_that_is_repeated_is_kept() -> None:
    text = "\n\n".join(["The Supplier shall deliver the Goods to the Client in good order."] * 5)
    assert "".join(bodies(text)).count("shall deliver") == 5


@pytest.mark.parametrize(
    "piece", [" ", ". ", "(a) ", "1. A ", "a; ", "\n", "x\r\n", "A. ", ".'\") ", "- ", "# ", "(b"]
)
def test_time_grows_with_length_only(piece: str) -> None:
    """Quadratic work on 60,000 characters would take minutes, not seconds."""
    text = "The " + piece * (60_000 // len(piece)) + " end"
    began = time.process_time()
    SPLIT.split(text)
    assert time.process_time() - began < 10


def test_sixty_thousand_words_take_seconds() -> None:
    text = "\n\n".join(EXAMPLE for _ in range(60))
    began = time.process_time()
    output = SPLIT.split(text)
    assert time.process_time() - began < 20
    assert len(output.clauses) > 1_000


def test_an_empty_text_has_no_clauses() -> None:
    assert SPLIT.split("").clauses == ()
    assert SPLIT.split(" \n\t\n").facts() == {"clauses found": 0}
