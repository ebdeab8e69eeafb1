"""Checks of known codes against the release, and what a review does to the coding."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from seamline.errors import ToolCallError
from seamline.loading import load_module
from seamline.tools import Review, Tool, ToolRegistry, call_tool

Context: Any = load_module(Path(__file__).with_name("contexts.py")).Context


@pytest.fixture(scope="module")
def tool(registry: ToolRegistry) -> Tool:
    return registry.get("icd10_check")


@pytest.fixture(scope="module")
def tabular(root: Path) -> Any:
    return load_module(root / "tools" / "icd10_check" / "tabular.py")


def selected(code: str, **fields: Any) -> dict[str, Any]:
    evidence = {"start": 0, "end": 4, "text": "text"}
    told = {"title": "", "confidence": 0.95, "level": "high", "evidence": evidence}
    return {"code": code, **told, **fields}


def check(tool: Tool, tmp_path: Path, *codes: dict[str, Any], release: str = "April 2026") -> Any:
    values = {"selections": list(codes), "declined": [], "release": release}
    return asyncio.run(call_tool(tool, values, Context(tool.spec, tmp_path)))


def test_a_billable_code_without_conflict_needs_no_review(tool: Tool, tmp_path: Path) -> None:
    coding = check(tool, tmp_path, selected("I10"))
    [code] = coding.codes
    assert code.description == "Essential (primary) hypertension"
    assert (code.billable, code.needs_review, code.conflicts_with) == (True, False, [])
    assert coding.facts()["unknown codes"] == 0


def test_a_category_is_flagged_with_what_would_complete_it(tool: Tool, tmp_path: Path) -> None:
    [code] = check(tool, tmp_path, selected("E11")).codes
    assert not code.billable
    assert code.needs_review
    assert "not billable, needs more characters" in code.reasons[0]
    assert "E11.0" in code.reasons[0]


@pytest.mark.parametrize(
    ("code", "extended"), [("S72.001", "S72.001A"), ("T14.8", "T14.8XXA"), ("T40.1X1", "T40.1X1A")]
)
def test_a_missing_7th_character_is_named(
    tool: Tool, tmp_path: Path, code: str, extended: str
) -> None:
    [found] = check(tool, tmp_path, selected(code)).codes
    assert not found.billable
    assert found.reasons[0].startswith(f"needs a 7th character: {extended} (initial encounter")


def test_a_code_with_its_7th_character_is_billable(tool: Tool, tmp_path: Path) -> None:
    [code] = check(tool, tmp_path, selected("s72001a")).codes
    assert (code.code, code.billable, code.needs_review) == ("S72.001A", True, False)


def test_excludes1_conflicts_are_flagged_on_both(tool: Tool, tmp_path: Path) -> None:
    coding = check(tool, tmp_path, selected("E10.9"), selected("E11.9"), selected("I10"))
    conflicts = {code.code: code.conflicts_with for code in coding.codes}
    assert conflicts == {"E10.9": ["E11.9"], "E11.9": ["E10.9"], "I10": []}
    first = coding.codes[0]
    assert first.needs_review
    assert "Excludes1 at E1" in first.reasons[0]
    assert coding.facts()["codes in conflict"] == 2


def test_an_excludes1_note_of_an_ancestor_holds(tool: Tool, tmp_path: Path) -> None:
    # the note stands at the category I20 and names the subcategory I25.1-
    coding = check(tool, tmp_path, selected("I20.9"), selected("I25.110"))
    assert [code.conflicts_with for code in coding.codes] == [["I25.110"], ["I20.9"]]


@pytest.mark.parametrize(
    ("code", "other", "conflict"),
    [
        ("E11.9", "E11.42", True),
        ("J45.909", "J45.901", True),
        ("E11.9", "I10", False),
        ("B27.00", "B27.12", False),  # two viruses, each with its own
    ],
)
def test_a_case_without_complications_has_none(
    tool: Tool, tmp_path: Path, code: str, other: str, conflict: bool
) -> None:
    coding = check(tool, tmp_path, selected(code), selected(other))
    assert [bool(one.conflicts_with) for one in coding.codes] == [conflict, conflict]
    assert [one.needs_review for one in coding.codes] == [conflict, conflict]
    if conflict:
        said = f"must not stand with {other}: {code} is for a case without complications"
        assert coding.codes[0].reasons == [said]


@pytest.mark.parametrize(
    ("note", "code", "named"),
    [
        ("secondary diabetes mellitus NEC (E13.-)", "E13.9", True),
        ("secondary diabetes mellitus NEC (E13.-)", "E14", False),
        ("neonatal disorders (P70.0-P70.2)", "P70.1", True),
        ("neonatal disorders (P70.0-P70.2)", "P70.3", False),
        ("malignant neoplasm of lymphoid tissue (C81-C96)", "C83.30", True),
        ("malignant neoplasm of lymphoid tissue (C81-C96)", "C97", False),
        ("superficial bite of ankle (S90.56-, S90.57-)", "S90.571A", True),
        ("disease complicating pregnancy (O10-O11, O13-O16)", "O12.0", False),
        ("disease complicating pregnancy (O10-O11, O13-O16)", "O14.90", True),
        ("certain localized infections - see chapters", "A00", False),
    ],
)
def test_codes_and_ranges_are_read_from_notes(
    tabular: Any, note: str, code: str, named: bool
) -> None:
    assert any(one.holds(code) for one in tabular.codes_in(note)) is named


def test_a_code_outside_the_release_is_declined_never_coded(tool: Tool, tmp_path: Path) -> None:
    coding = check(tool, tmp_path, selected("Q99.999"), selected("E00-E07"), selected("I10"))
    assert [code.code for code in coding.codes] == ["I10"]
    assert coding.unknown == ["Q99.999", "E00-E07"]
    assert "Q99.999 is not a code of ICD-10-CM April 2026" in coding.declined[0].reason


def test_coding_notes_are_told(tool: Tool, tmp_path: Path) -> None:
    [code] = check(tool, tmp_path, selected("E11.9")).codes
    assert any(note.startswith("Use additional:") for note in code.notes)


def test_another_release_is_refused(tool: Tool, tmp_path: Path) -> None:
    with pytest.raises(ToolCallError, match=r"release 'April 2020'.*'April 2026'"):
        check(tool, tmp_path, selected("I10"), release="April 2020")


def test_review_items_hold_facts_for_policies_and_words_for_people(
    tool: Tool, tmp_path: Path
) -> None:
    coding = check(
        tool,
        tmp_path,
        selected("I10", level="low", ties=True),
        selected("S72.001", level="medium"),
        selected("E10.9"),
        selected("E11.9"),
    )
    facts = {item.key: item.facts for item in coding.review_items()}
    assert facts["I10"] == {
        "confidence": "low",
        "billable": "yes",
        "conflicts": "none",
        "ties": "yes",
        "ambiguous": "no",
    }
    assert facts["S72.001"]["confidence"] == "medium"
    assert facts["S72.001"]["billable"] == "no"
    assert facts["E10.9"]["confidence"] == "high"
    assert facts["E10.9"]["conflicts"] == "E11.9"
    [item] = [item for item in coding.review_items() if item.key == "I10"]
    assert item.about["mention"] == "text"


def test_a_code_that_the_skill_is_not_sure_of_needs_a_person_whatever_the_review_says(
    tool: Tool, tmp_path: Path
) -> None:
    sure, unsure = selected("I10"), selected("J45.909", level="low")
    coding = check(tool, tmp_path, sure, unsure)
    after = coding.reviewed({code: Review(choice="accept") for code in ("I10", "J45.909")})
    assert [(code.needs_review, code.reasons) for code in after.codes] == [
        (False, []),
        (True, ["the confidence is low"]),
    ]
    assert coding.facts()["codes to review"] == 1


def test_reviews_are_applied(tool: Tool, tmp_path: Path) -> None:
    coding = check(tool, tmp_path, selected("I10"), selected("J45.909"), selected("S72.001"))
    after = coding.reviewed(
        {
            "I10": Review(choice="flag", reason="low confidence"),
            "J45.909": Review(choice="decline", reason="not this visit"),
            "S72.001": Review(choice="accept"),
        }
    )
    kept = {code.code: code for code in after.codes}
    assert kept["I10"].needs_review
    assert kept["I10"].reasons == ["low confidence"]
    assert "J45.909" not in kept
    assert after.declined[0].reason == "J45.909: not this visit"
    assert kept["S72.001"].needs_review  # accepting does not hide what the release objects to
    assert coding.codes[0].needs_review is False
    with pytest.raises(KeyError, match=r"Z99\.9"):
        coding.reviewed({"Z99.9": Review(choice="accept")})
    with pytest.raises(ValueError, match="expected accept, flag, ask or decline"):
        coding.reviewed({"I10": Review(choice="shrug")})
