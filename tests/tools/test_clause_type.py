"""Typing clauses with a scripted skill, and what a review does to the result."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from seamline.errors import BudgetExceededError, ToolCallError
from seamline.loading import load_module
from seamline.models.contracts import SkillContract
from seamline.models.protocol import DecideRequest, DecideResponse
from seamline.models.skills import Marks
from seamline.tools.contract import Review, ToolSpec
from seamline.tools.text import normalise

ROOT = Path(__file__).resolve().parents[2]
TOOL: Any = load_module(ROOT / "tools/clause_type/tool.py")
CONTRACT = SkillContract(
    read="labels",
    context="Clause: {{ text }}\n",
    labels={"Governing Law": "law", "Insurance": "insured", "Non-Compete": "war", "None": "none"},
    none_label="None",
)
LAW = "This contract is governed by the laws of Utopia."
COVER = "The Supplier shall keep   insurance of two\nmillion."
REST = "Headings are for convenience only."


class Context:
    """A tool's context whose skill knows the type of a clause by a word in it.

    It answers `calls` calls, and then the budget is used up.
    """

    def __init__(self, calls: int = 1000, **marks: float) -> None:
        self.calls = calls
        self.spec = ToolSpec(
            name="clause_type",
            kind="skill",
            skill="clause_type",
            description="Tells the type of each clause.",
        )
        self.marks = Marks(**{"threshold": 0.3, **marks})
        self.cache_dir = Path()
        self.contract = CONTRACT
        self.batches: list[list[str]] = []
        self.told: list[tuple[int, int]] = []
        self.scores: dict[str, tuple[float, ...]] = {
            "laws": (0.9, 0.02, 0.0, 0.08),
            "insurance": (0.1, 0.6, 0.0, 0.3),
            "both": (0.4, 0.45, 0.0, 0.15),
            "weak": (0.0, 0.0, 0.4, 0.35),
        }

    async def decide(self, requests: Sequence[DecideRequest]) -> list[DecideResponse]:
        if len(self.batches) == self.calls:
            raise BudgetExceededError("the budget of 300 tokens is used up")
        self.batches.append([request.context for request in requests])
        return [
            DecideResponse(
                scores=next(
                    (given for word, given in self.scores.items() if word in request.context),
                    (0.02, 0.03, 0.0, 0.95),
                ),
                labels=tuple(CONTRACT.labels),
            )
            for request in requests
        ]

    def progress(self, done: int, total: int, what: str) -> None:
        assert what
        self.told.append((done, total))


def typed(parts: list[str], expected: Sequence[str] = (), calls: int = 1000, **marks: float) -> Any:
    """The review of a contract made of the given clauses."""
    text, clauses, at = "\n\n".join(parts), [], 0
    for number, part in enumerate(parts):
        clauses.append({"start": at, "end": at + len(part), "heading": f"{number}"})
        at += len(part) + 2
    given = TOOL.Input(text=text, clauses=clauses, expected=tuple(expected))
    context = Context(calls, **marks)
    return asyncio.run(TOOL.run(given, context)), context, text


def test_types_places_and_confidence() -> None:
    review, context, text = typed([REST, LAW, COVER], ["Governing Law", "Non-Compete"])
    law, cover = review.clauses
    assert (law.type, law.level, law.heading) == ("Governing Law", "high", "1")
    assert text[law.start : law.end] == law.text == LAW
    assert (cover.type, cover.level, cover.confidence) == ("Insurance", "medium", 0.6)
    assert [one.type for one in review.missing] == ["Non-Compete"]
    assert context.batches == [
        [f"Clause: {TOOL.model_text(part)}\n" for part in (REST, LAW, COVER)]
    ]
    assert review.facts() == {
        "typed clauses": 2,
        "unsure clauses": 0,
        "missing clauses": 1,
        "statements checked": 0,
        "unfair terms": 0,
        "risks": 0,
        "high risks": 0,
    }


def test_the_skill_is_asked_in_chunks_and_progress_is_told() -> None:
    review, context, _ = typed([f"{n} {REST}" for n in range(70)])
    assert [len(batch) for batch in context.batches] == [32, 32, 6]
    assert context.told == [(32, 70), (64, 70), (70, 70)]
    assert review.clauses == ()


def test_what_was_typed_before_the_budget_was_used_up_is_kept() -> None:
    parts = [LAW, *[f"{n} {REST}" for n in range(68)], COVER]
    review, context, _ = typed(parts, ["Governing Law", "Insurance"], calls=2)
    stopped = "stopped at 64 of 70 clauses; the rest was not looked at"
    assert context.told == [(32, 70), (64, 70)]
    assert [one.type for one in review.clauses] == ["Governing Law"]
    assert (review.stopped, review.needs_review, review.reasons) == (stopped, True, (stopped,))
    # The insurance stands in the rest: nobody may say that it is missing.
    assert review.missing == ()
    assert review.reviewed({}).reasons == (stopped,)
    assert review.reviewed({}).needs_review

    whole, _, _ = typed(parts, ["Governing Law", "Insurance", "Non-Compete"])
    assert (whole.stopped, whole.needs_review, whole.reasons) == ("", False, ())
    assert [one.type for one in whole.missing] == ["Non-Compete"]


def test_a_budget_that_is_used_up_at_once_leaves_what_others_found() -> None:
    given = TOOL.Input(
        text=LAW, clauses=[{"start": 0, "end": len(LAW)}], unfair_terms=[UNFAIR], expected=[]
    )
    review = asyncio.run(TOOL.run(given, Context(0)))
    assert review.clauses == ()
    assert [one.type for one in review.unfair_terms] == ["Arbitration"]
    assert review.stopped == "stopped at 0 of 1 clauses; the rest was not looked at"


def test_one_clause_may_have_two_types() -> None:
    review, _, _ = typed(["both of these"])
    assert {one.type for one in review.clauses} == {"Governing Law", "Insurance"}
    assert {one.level for one in review.clauses} == {"low"}


def test_the_threshold_is_that_of_the_skill() -> None:
    assert typed(["both of these"], threshold=0.42)[0].clauses[0].type == "Insurance"
    assert len(typed(["both of these"], threshold=0.42)[0].clauses) == 1


def test_what_the_skill_abstains_from_is_not_asserted() -> None:
    sure, unsure = typed([LAW, COVER], low=0.7)[0].clauses
    assert (sure.level, sure.needs_review, sure.reasons) == ("high", False, ())
    assert (unsure.level, unsure.needs_review) == ("low", True)
    assert unsure.reasons == ("the skill is not sure of this type",)


def test_neighbours_of_one_type_are_one_clause() -> None:
    review, _, text = typed([COVER, COVER, REST, COVER])
    first, second = review.clauses
    assert text[first.start : first.end] == f"{COVER}\n\n{COVER}"
    assert text[second.start : second.end] == COVER


def test_no_clauses_means_no_question_and_all_expected_missing() -> None:
    review, context, _ = typed([], ["Insurance", "Insurance"])
    assert context.batches == []
    assert [one.type for one in review.missing] == ["Insurance"]


def test_an_unknown_expected_type_is_refused() -> None:
    with pytest.raises(ToolCallError, match=r"'Goverrning Law'.*Governing Law, Insurance"):
        typed([LAW], ["Goverrning Law"])


def test_review_items_carry_facts_only() -> None:
    review, _, _ = typed([LAW, "weak"], ["Insurance"])
    assert [(item.key, item.facts) for item in review.review_items()] == [
        ("clause:0", {"clause type": "Governing Law", "confidence": "high", "present": "yes"}),
        ("clause:1", {"clause type": "Non-Compete", "confidence": "low", "present": "yes"}),
        ("missing:Insurance", {"clause type": "Insurance", "present": "no"}),
    ]


def test_reviews_are_applied() -> None:
    review, _, _ = typed([LAW, REST, COVER, REST, "weak", REST, LAW], ["Non-Compete"])
    done = review.reviewed(
        {
            "clause:0": Review(choice="flag", reason="high risk: a far court"),
            "clause:1": Review(choice="flag", reason="the type is uncertain"),
            "clause:2": Review(choice="accept"),
            "clause:3": Review(choice="decline"),
        }
    )
    law, cover, other = done.clauses
    assert (law.risk, law.reasons, law.needs_review) == ("high", ("a far court",), False)
    assert (cover.risk, cover.needs_review) == ("", True)
    assert (other.risk, other.needs_review) == ("none", True)
    assert other.reasons == ("the skill is not sure of this type",)
    [risk] = done.risks
    assert (risk.type, risk.severity, risk.reason) == ("Governing Law", "high", "a far court")
    assert (risk.start, risk.end) == (law.start, law.end)
    assert done.needs_review
    assert done.reasons == (
        "Insurance: the type is uncertain",
        "Non-Compete: the skill is not sure of this type",
    )
    assert done.facts()["high risks"] == 1


def test_a_missing_clause_is_kept_or_accepted_by_the_review() -> None:
    review, _, _ = typed([REST], ["Insurance", "Governing Law"])
    done = review.reviewed(
        {
            "missing:Insurance": Review(choice="flag", reason="always needed"),
            "missing:Governing Law": Review(choice="accept"),
        }
    )
    assert [(one.type, one.reason) for one in done.missing] == [("Insurance", "always needed")]
    assert done.reasons == ("Insurance: always needed",)


def test_an_untouched_output_survives_its_own_json() -> None:
    review, _, _ = typed([LAW], ["Insurance"])
    assert TOOL.Output.model_validate_json(review.model_dump_json()) == review


def test_the_model_reads_one_line_of_at_most_110_words() -> None:
    assert normalise("“A”\u00a0 fee of\n[***]  is due ______ on \u2018time\u2019") == (
        "\"A\" fee of [*] is due [*] on 'time'"
    )
    assert len(TOOL.model_text("word " * 500).split()) == 110
    assert len(TOOL.model_text("x" * 5_000)) == 900


def test_every_label_of_the_shipped_policy_is_a_label_of_the_skill() -> None:
    yaml = pytest.importorskip("yaml")
    recipe = ROOT / "models/skills/clause_type/0.1.0/recipe.yaml"
    labels = yaml.safe_load(recipe.read_text(encoding="utf-8"))["contract"]["labels"]
    assert len(labels) == 38
    assert len(set(labels.values())) == 38
    text = (ROOT / "policies/contract_review/review/1.0.0.md").read_text(encoding="utf-8")
    front = yaml.safe_load(text.split("---")[1])
    types = [
        rule["when"].removeprefix("The clause type is ")
        for rule in front["rules"]
        if rule["when"].startswith("The clause type is ")
    ]
    assert types
    assert {*types, *front["values"]["expected"]} <= set(labels)


UNFAIR = {"type": "Arbitration", "start": 0, "end": 4, "text": "This", "confidence": 0.6,
          "level": "medium", "rationale": "No court."}  # fmt: skip


def with_unfair_terms() -> Any:
    """The review of terms of service in which unfair ones were found."""
    given = TOOL.Input(text=LAW, clauses=[], unfair_terms=[UNFAIR] * 2)
    return asyncio.run(TOOL.run(given, Context()))


def test_unfair_terms_are_part_of_the_review() -> None:
    review = with_unfair_terms()
    assert [one.rationale for one in review.unfair_terms] == ["No court.", "No court."]
    assert review.facts()["unfair terms"] == 2
    assert [(item.key, item.facts) for item in review.review_items()][1:] == [
        ("unfair:1", {"unfair term": "Arbitration", "confidence": "medium", "present": "yes"}),
    ]


def test_reviews_of_unfair_terms_are_applied() -> None:
    done = with_unfair_terms().reviewed(
        {
            "unfair:0": Review(choice="flag", reason="high risk: unfair"),
            "unfair:1": Review(choice="decline"),
        }
    )
    [term], [risk] = done.unfair_terms, done.risks
    assert (term.risk, risk.type, risk.reason) == ("high", "Arbitration", "unfair. No court.")
    assert (risk.start, risk.end, risk.text) == (0, 4, "This")
    assert term.reasons == ("unfair. No court.",)
    assert not done.needs_review
    unsure = with_unfair_terms().reviewed({"unfair:0": Review(choice="flag", reason="odd")})
    assert unsure.reasons == ("Arbitration: odd",)


STATEMENT = {"name": "copying", "statement": "No copies.", "answer": "entailed",
             "confidence": 0.9, "level": "high", "start": 0, "end": 4}  # fmt: skip


def with_statements() -> Any:
    """The review of an agreement that was held against statements."""
    given = TOOL.Input(text=LAW, clauses=[], statements=[STATEMENT] * 2)
    return asyncio.run(TOOL.run(given, Context()))


def test_checked_statements_are_part_of_the_review() -> None:
    review = with_statements()
    assert review.facts()["statements checked"] == 2
    assert [(item.key, item.facts) for item in review.review_items()][1:] == [
        (
            "statement:1",
            {"statement": "copying", "answer": "entailed", "confidence": "high", "present": "yes"},
        ),
    ]


def test_reviews_of_statements_are_applied() -> None:
    done = with_statements().reviewed(
        {
            "statement:0": Review(choice="flag", reason="look at this"),
            "statement:1": Review(choice="decline"),
        }
    )
    [one] = done.statements
    assert (one.needs_review, one.reasons) == (True, ("look at this",))
    assert done.reasons == ("copying: look at this",)
    unsure = {**STATEMENT, "needs_review": True, "reasons": ["not sure"]}
    given = TOOL.Input(text=LAW, clauses=[], statements=[unsure])
    asked = asyncio.run(TOOL.run(given, Context())).reviewed({"statement:0": Review(choice="ask")})
    assert asked.statements[0].reasons == ("not sure",)
    kept = with_statements().reviewed({"statement:0": Review(choice="accept")})
    assert len(kept.statements) == 2
    assert not kept.needs_review
