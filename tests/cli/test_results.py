"""The result for people: tables that fit a terminal and keep words whole."""

from __future__ import annotations

from typing import Any

import pytest

from seamline import AgentResult
from seamline.cli.results import MAX_ROWS, show_result

CLAUSE = "## 4. Ownership\n\n4.1 The provider assigns all rights to the client, in writing. "
TEXT = 3 * CLAUSE
LOW = "the confidence is low"


def code(name: str, description: str, mention: str, **more: Any) -> dict[str, Any]:
    """A row of the shape that `icd10_check` gives."""
    return {
        "code": name,
        "description": description,
        "confidence": 0.8,
        "confidence_level": "medium",
        "evidence": {"start": 0, "end": len(mention), "text": mention},
        "more_evidence": [],
        "assertion": "present",
        "billable": True,
        "ties": False,
        "runner_up": None,
        "needs_review": False,
        "reasons": [],
        **more,
    }


def clause(kind: str, start: int, **more: Any) -> dict[str, Any]:
    """A row of the shape that `clause_type` gives."""
    return {
        "type": kind,
        "start": start,
        "end": start + len(CLAUSE),
        "confidence": 0.9,
        "level": "high",
        "heading": "4. Ownership",
        "needs_review": False,
        "reasons": [],
        "risk": "none",
        **more,
    }


CODES = [
    code("E11.42", "Type 2 diabetes mellitus with diabetic polyneuropathy", "diabetes, type 2"),
    code("E78.00", "Pure hypercholesterolemia, unspecified", "hypercholesterolemia", ties=True),
    code("F32.9", "Major depressive disorder, single episode, unspecified", "low mood",
         assertion="possible", needs_review=True, reasons=[LOW, "another code fits as well"]),
    code("I10", "Essential (primary) hypertension", "high blood pressure", needs_review=True),
]  # fmt: skip
CLAUSES = [
    clause("IP Ownership Assignment", 0, risk="high", reasons=["ownership passes to the client"]),
    clause("No-Solicit of Employees", len(CLAUSE), risk="", needs_review=True, reasons=[LOW]),
    clause("Termination for Convenience", 2 * len(CLAUSE), heading="10. Term and Termination"),
]
DECLINED = [
    {"text": "cough", "span": {"start": 3, "end": 8, "text": "cough"}, "reason": "no code fits"},
    {"text": "fever", "span": {"start": 9, "end": 14, "text": "fever"}, "reason": "denied"},
]


def shown(capsys: Any, monkeypatch: Any, width: int, **output: Any) -> str:
    """What a person sees of a result with this output on so wide a terminal."""
    monkeypatch.setenv("COLUMNS", str(width))
    result = AgentResult(
        run_id="1", agent="a", agent_version="1.0.0", status="done", output=output,
        message="Done.", needs_review=True, reasons=[LOW],
    )  # fmt: skip
    show_result(result, TEXT)
    return str(capsys.readouterr().out)


@pytest.mark.parametrize("rows", [{"codes": CODES}, {"clauses": CLAUSES}, {"declined": DECLINED}])
@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_table_fits(capsys: Any, monkeypatch: Any, width: int, rows: Any) -> None:
    lines = shown(capsys, monkeypatch, width, **rows).splitlines()

    assert max(map(len, lines)) <= width
    assert len(lines) < 30


@pytest.mark.parametrize("width", [80, 120])
def test_words_stay_whole_and_flags_need_no_colour(
    capsys: Any, monkeypatch: Any, width: int
) -> None:
    out = shown(capsys, monkeypatch, width, codes=CODES, clauses=CLAUSES)

    cells = " ".join(out.split())
    for word in ("polyneuropathy", "hypercholesterolemia", "hypertension", "Convenience"):
        assert word in cells
    for heading in ("description", "conf.", "evidence", "reasons", "text"):
        assert heading in cells
    # A row that is flagged without a reason says that it is.
    [line] = [line for line in out.splitlines() if line.startswith("I10")]
    assert line.rstrip().endswith("needs review")
    assert "confidence level" not in cells


def test_more_columns_come_with_more_room(capsys: Any, monkeypatch: Any) -> None:
    narrow = shown(capsys, monkeypatch, 80, clauses=CLAUSES, codes=CODES)
    wide = shown(capsys, monkeypatch, 120, clauses=CLAUSES, codes=CODES)

    for name in ("assertion", "heading"):
        assert name in wide
        assert name not in narrow


def test_what_repeats_is_left_out(capsys: Any, monkeypatch: Any) -> None:
    out = shown(
        capsys, monkeypatch, 80, clauses=CLAUSES, declined=DECLINED, needs_review=True,
        reasons=[LOW], release="2026",
    )  # fmt: skip

    assert "span" not in out
    assert "##" not in out
    # Once, under another heading: where the heading's own column says it, the text does not.
    assert out.count("4. Ownership 4.1") == 1
    assert "release: 2026" in out
    assert out.count("needs review") == 1


def test_very_many_rows_are_cut(capsys: Any, monkeypatch: Any) -> None:
    rows = [{"word": f"w{number}", "score": 0.5} for number in range(MAX_ROWS + 5)]

    assert "and 5 more; --json shows all" in shown(capsys, monkeypatch, 80, words=rows)


@pytest.mark.parametrize(("name", "colours"), [("FORCE_COLOR", True), ("NO_COLOR", False)])
def test_colours_only_where_they_are_wanted(
    capsys: Any, monkeypatch: Any, name: str, colours: bool
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv(name, "1")

    assert ("\x1b[33m" in shown(capsys, monkeypatch, 80, codes=CODES)) is colours
