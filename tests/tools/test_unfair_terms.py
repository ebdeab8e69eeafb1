"""Finding unfair sentences with a scripted skill."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from seamline.errors import BudgetExceededError, ToolCallError
from seamline.loading import load_module
from seamline.models.contracts import SkillContract
from seamline.models.protocol import DecideRequest, DecideResponse
from seamline.models.skills import Marks
from seamline.tools.contract import ToolSpec

ROOT = Path(__file__).resolve().parents[2]
TOOL: Any = load_module(ROOT / "tools/unfair_terms/tool.py")
READING: Any = load_module(ROOT / "tools/unfair_terms/reading.py")
CONTRACT = SkillContract(
    read="labels",
    context="{{ text }}",
    labels={"Arbitration": "panel", "Unilateral Change": "change", "Fair": "fair"},
    none_label="Fair",
)
CHANGE = "We may change these terms at any time."
PANEL = "All disputes go to an arbitrator, and we may change that."
FAIR = "You can write to us by mail."


class Context:
    """A tool's context whose skill knows the type of a sentence by a word in it.

    It answers `calls` calls, and then the budget is used up.
    """

    def __init__(self, threshold: float = 0.3, calls: int = 1000, **settings: Any) -> None:
        self.calls = calls
        self.spec = ToolSpec(
            name="unfair_terms",
            kind="skill",
            skill="unfair_term",
            description="Finds unfair terms.",
            settings={"rationales": {"Arbitration": "No court."}, **settings},
        )
        self.marks = Marks(threshold=threshold, low=0.5, high=0.8)
        self.cache_dir = Path()
        self.contract = CONTRACT
        self.batches: list[list[str]] = []
        self.told: list[tuple[int, int]] = []

    async def decide(self, requests: Sequence[DecideRequest]) -> list[DecideResponse]:
        if len(self.batches) == self.calls:
            raise BudgetExceededError("the budget of 300 tokens is used up")
        self.batches.append([request.context for request in requests])
        return [
            DecideResponse(scores=self._scores(request.context), labels=tuple(CONTRACT.labels))
            for request in requests
        ]

    def _scores(self, text: str) -> tuple[float, ...]:
        if "arbitrator" in text:
            return (0.55, 0.4, 0.05)
        return (0.0, 0.9, 0.1) if "change" in text or "account" in text else (0.02, 0.03, 0.95)

    def progress(self, done: int, total: int, what: str) -> None:
        assert what
        self.told.append((done, total))


def read(parts: list[str], **settings: Any) -> tuple[Any, Context, str]:
    text, clauses, at = "\n\n".join(parts), [], 0
    for number, part in enumerate(parts):
        clauses.append({"start": at, "end": at + len(part), "heading": f"{number}"})
        at += len(part) + 2
    context = Context(**settings)
    given = TOOL.Input(text=text, clauses=clauses)
    return asyncio.run(TOOL.run(given, context)), context, text


def test_types_places_and_rationales() -> None:
    found, _, text = read([f"{FAIR} {CHANGE}", PANEL])
    change, panel, other = found.terms
    assert text[change.start : change.end] == change.text == CHANGE
    assert (change.type, change.level, change.heading) == ("Unilateral Change", "high", "0")
    assert change.rationale == ""
    assert (panel.type, panel.level, panel.rationale) == ("Arbitration", "medium", "No court.")
    assert (other.type, other.level) == ("Unilateral Change", "low")
    assert (other.start, other.end) == (panel.start, panel.end)
    assert [one.needs_review for one in found.terms] == [False, False, True]
    assert other.reasons == ("the skill is not sure of this type",)
    assert found.facts() == {"unfair terms": 3}


def test_the_threshold_is_that_of_the_skill() -> None:
    found, _, _ = read([PANEL], threshold=0.5)
    assert [one.type for one in found.terms] == ["Arbitration"]


def test_an_item_is_read_with_what_opens_its_list_across_pieces() -> None:
    parts = ["We may close your account:", "(a) whenever we like to;"]
    found, context, text = read(parts)
    assert context.batches == [[parts[0], f"{parts[0]} {parts[1]}"]]
    assert text[found.terms[1].start : found.terms[1].end] == parts[1]


def test_a_short_item_is_read_with_what_opens_its_list() -> None:
    parts = ["We may at any time and without notice:", "(a) change prices;"]
    found, context, text = read(parts)
    assert context.batches == [[parts[0], " ".join(parts)]]
    assert [text[one.start : one.end] for one in found.terms] == [parts[1]]


def test_headings_are_not_asked_about_and_the_rest_in_chunks() -> None:
    found, context, _ = read(["Account changes", *[f"{FAIR} {FAIR}"] * 20])
    assert found.terms == ()
    assert [len(batch) for batch in context.batches] == [32, 8]
    assert context.told == [(32, 40), (40, 40)]


def test_what_was_read_before_the_budget_was_used_up_is_kept() -> None:
    found, context, _ = read([PANEL, *[f"{FAIR} {FAIR}"] * 20, PANEL], calls=1)
    assert context.told == [(32, 42)]
    assert {one.text for one in found.terms} == {PANEL}
    assert len(found.terms) == 2
    assert found.stopped == "stopped at 32 of 42 sentences; the rest was not looked at"
    assert read([PANEL])[0].stopped == ""


def test_the_model_reads_one_line_of_at_most_110_words() -> None:
    assert READING.model_text("a\n b") == "a b"
    assert len(READING.model_text("word " * 500).split()) == 110
    assert len(READING.model_text("x" * 5_000)) == 900


def test_a_rationale_for_no_type_is_refused() -> None:
    with pytest.raises(ToolCallError, match=r"'Arbitrage'.*Arbitration, Unilateral Change"):
        read([FAIR], rationales={"Arbitrage": "?"})


def test_an_output_survives_its_own_json() -> None:
    found, _, _ = read([PANEL])
    assert TOOL.Output.model_validate_json(found.model_dump_json()) == found


def test_every_type_of_the_skill_has_a_rationale() -> None:
    settings = yaml.safe_load((ROOT / "tools/unfair_terms/tool.yaml").read_text())["settings"]
    types = load_module(ROOT / "models/skills/unfair_term/0.1.0/data.py").TYPES
    assert sorted(TOOL.Settings.model_validate(settings).rationales) == sorted(types.values())


def test_a_review_outlives_this_check() -> None:
    tool = yaml.safe_load((ROOT / "tools/unfair_terms/tool.yaml").read_text())
    agent = yaml.safe_load((ROOT / "agents/contract_review/agent.yaml").read_text())
    assert 2 * tool["timeout_s"] < agent["budget"]["seconds"]
