"""Choosing among candidates with a scripted skill."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from seamline.errors import ToolCallError
from seamline.loading import load_module
from seamline.models.protocol import DecideRequest
from seamline.tools import Tool, ToolRegistry, call_tool

Context: Any = load_module(Path(__file__).with_name("contexts.py")).Context
TEXT = "Assessment: knee pain. History of gout. Denies asthma. Gout again."
TITLES = {
    "M25.561": "Pain in right knee",
    "M25.562": "Pain in left knee",
    "M25.569": "Pain in unspecified knee",
    "M17.9": "Osteoarthritis of knee, unspecified",
    "M10.9": "Gout, unspecified",
    "J45.909": "Unspecified asthma, uncomplicated",
}


@pytest.fixture(scope="module")
def tool(registry: ToolRegistry) -> Tool:
    return registry.get("icd10_select")


def mention(word: str, *codes: str, nth: int = 0, **fields: Any) -> dict[str, Any]:
    start = -1
    for _ in range(nth + 1):
        start = TEXT.lower().index(word.lower(), start + 1)
    return {
        "start": start,
        "end": start + len(word),
        "text": TEXT[start : start + len(word)],
        "context": TEXT,
        "candidates": [
            {"code": code, "title": TITLES[code], "score": 0.9, "billable": True} for code in codes
        ],
        **fields,
    }


def select(
    tool: Tool,
    tmp_path: Path,
    scores: Mapping[str, float],
    *mentions: dict[str, Any],
    answer: str = "",
) -> tuple[Any, Any]:
    def scored(request: DecideRequest) -> list[float]:
        return [scores.get(choice.text, 0.0) for choice in request.choices]

    context = Context(tool.spec, tmp_path, scored)
    values = {"text": TEXT, "mentions": list(mentions), "answer": answer}
    return asyncio.run(call_tool(tool, values, context)), context


def sure(tool: Tool, mean: float) -> Any:
    """The confidence that a mean of likeness and probability stands for."""
    own = tool.spec.settings
    return pytest.approx(1 / (1 + math.exp(own["steepness"] * (own["even"] - mean))), abs=1e-4)


def test_the_likeliest_candidate_is_chosen_with_its_evidence(tool: Tool, tmp_path: Path) -> None:
    scores = {"Pain in unspecified knee": 0.8, "Osteoarthritis of knee, unspecified": 0.3}
    output, context = select(
        tool, tmp_path, scores, mention("knee pain", "M17.9", "M25.569", "M25.561")
    )
    [chosen] = output.selections
    assert (chosen.code, chosen.confidence, chosen.ties) == ("M25.569", sure(tool, 0.87), False)
    assert chosen.level == "medium"
    assert TEXT[chosen.evidence.start : chosen.evidence.end] == "knee pain"
    assert chosen.runner_up.code == "M17.9"
    [asked] = context.asked
    assert asked.ask == "options"
    assert asked.context == f"Text: {TEXT}\nMention: knee pain\n"
    assert asked.choices[0].text == "Osteoarthritis of knee, unspecified"


@pytest.mark.parametrize(("alike", "code", "mean"), [(0.9, "M17.9", 0.78), (0.85, "M25.569", 0.77)])
def test_skill_and_search_are_weighed(
    tool: Tool, tmp_path: Path, alike: float, code: str, mean: float
) -> None:
    knee = mention("knee pain", "M25.569", "M17.9")
    for candidate, score in zip(knee["candidates"], (0.8, alike), strict=True):
        candidate["score"] = score
    scores = {"Pain in unspecified knee": 0.7, "Osteoarthritis of knee, unspecified": 0.5}
    output, _ = select(tool, tmp_path, scores, knee)
    [chosen] = output.selections
    assert (chosen.code, chosen.confidence) == (code, sure(tool, mean))


@pytest.mark.parametrize(("probability", "given"), [(0.09, False), (0.11, True)])
def test_the_skill_declines_what_the_search_is_sure_of(
    tool: Tool, tmp_path: Path, probability: float, given: bool
) -> None:
    gout = mention("gout", "M10.9", "M17.9")
    for candidate in gout["candidates"]:
        candidate["score"] = 1.0
    output, _ = select(tool, tmp_path, {"Gout, unspecified": probability}, gout)
    assert bool(output.selections) is given
    assert output.facts()["ties"] == int(given)  # What is declined is no tie.


def test_what_is_denied_unlikely_or_without_candidates_is_declined_with_a_reason(
    tool: Tool, tmp_path: Path
) -> None:
    output, context = select(
        tool,
        tmp_path,
        {"Gout, unspecified": 0.07},
        mention("asthma", "J45.909", assertion="negated"),
        mention("gout", "M10.9", assertion="historical"),
        mention("knee pain"),
        mention("Gout", "M10.9", nth=1, assertion="family"),
    )
    assert output.selections == []
    reasons = {d.text + str(d.span.start): d.reason for d in output.declined}
    assert len(context.asked) == 1
    assert sorted(reasons.values()) == [
        "it is a relative's, not the patient's",
        "no candidate code fits it well enough",
        "the search found no candidate code",
        "the text says that it is not there",
    ]
    assert output.facts() == {"codes selected": 0, "mentions declined": 4, "ties": 0}


def test_one_code_from_two_mentions_is_one_selection(tool: Tool, tmp_path: Path) -> None:
    output, _ = select(
        tool,
        tmp_path,
        {"Gout, unspecified": 0.9},
        mention("gout", "M10.9"),
        mention("Gout", "M10.9", nth=1),
    )
    [chosen] = output.selections
    spans = [chosen.evidence, *chosen.more_evidence]
    assert [TEXT[s.start : s.end] for s in spans] == ["gout", "Gout"]


@pytest.mark.parametrize(
    ("other", "score", "tied"),
    [
        ("M17.9", 0.72, True),  # another category within 0.05 of the mean
        ("M17.9", 0.6, False),
        ("M25.561", 0.78, True),  # the same category within 0.015
        ("M25.561", 0.72, False),
    ],
)
def test_a_close_second_is_a_tie(
    tool: Tool, tmp_path: Path, other: str, score: float, tied: bool
) -> None:
    scores = {"Pain in unspecified knee": 0.8, TITLES[other]: score}
    output, _ = select(tool, tmp_path, scores, mention("knee pain", "M25.569", other))
    assert output.selections[0].ties is tied
    assert output.facts()["ties"] == int(tied)


KNEES = {"Pain in right knee": 0.8, "Pain in left knee": 0.79}


@pytest.mark.parametrize(
    ("answer", "code"),
    [("the left one", "M25.562"), ("M25.562", "M25.562"), ("right", "M25.561"), ("m25562", None)],
)
def test_an_answer_settles_the_tie(
    tool: Tool, tmp_path: Path, answer: str, code: str | None
) -> None:
    output, _ = select(
        tool,
        tmp_path,
        KNEES,
        mention("knee pain", "M25.561", "M25.562"),
        answer=answer,
    )
    [chosen] = output.selections
    assert chosen.code == (code or "M25.562")
    assert code is None or chosen.confidence == 1.0
    assert not chosen.ties


def test_an_answer_may_rule_every_candidate_out(tool: Tool, tmp_path: Path) -> None:
    knee = mention("knee pain", "M25.561", "M25.562")
    output, _ = select(tool, tmp_path, KNEES, knee, answer="none of these")
    assert output.selections == []
    assert output.declined[0].reason == "a person's answer rules its candidates out"


def test_an_answer_that_names_nothing_is_read_with_the_text(tool: Tool, tmp_path: Path) -> None:
    knee = mention("knee pain", "M25.561", "M25.562")
    output, context = select(tool, tmp_path, KNEES, knee, answer="after a fall")
    assert context.asked[-1].context.startswith(f"Text: {TEXT} after a fall\n")
    assert output.selections[0].ties


def test_an_answer_leaves_the_other_mentions_alone(tool: Tool, tmp_path: Path) -> None:
    scores = {**KNEES, "Gout, unspecified": 0.9}
    output, _ = select(
        tool,
        tmp_path,
        scores,
        mention("knee pain", "M25.561", "M25.562"),
        mention("gout", "M10.9"),
        answer="left",
    )
    assert [s.code for s in output.selections] == ["M25.562", "M10.9"]


def test_spans_of_another_text_are_refused(tool: Tool, tmp_path: Path) -> None:
    wrong = {**mention("gout", "M10.9"), "start": 0, "end": 4}
    with pytest.raises(ToolCallError, match="bind `text` and `mentions` to the same document"):
        select(tool, tmp_path, {}, wrong)
