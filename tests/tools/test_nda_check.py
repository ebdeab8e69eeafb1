"""Holding an agreement against statements with a scripted skill."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from seamline.errors import BudgetExceededError, ToolCallError
from seamline.loading import load_module
from seamline.models.contracts import SkillContract
from seamline.models.protocol import DecideRequest, DecideResponse
from seamline.models.skills import Marks
from seamline.tools.contract import ToolSpec

ROOT = Path(__file__).resolve().parents[2]
TOOL: Any = load_module(ROOT / "tools/nda_check/tool.py")
PASSAGES: Any = load_module(ROOT / "tools/nda_check/passages.py")
CONTRACT = SkillContract(
    read="labels",
    context="Passage: {{ passage }}\nStatement: {{ statement }}",
    labels={"Entailment": "Yes", "Contradiction": "No", "Not mentioned": "unknown"},
)
COPIES = "The recipient shall make no copies of the documents."
RETURN = "On request, the recipient returns all documents within a week."
LAW = "This agreement is governed by the laws of Utopia."
STATEMENTS = [
    {"name": "copying", "text": "The recipient may make copies.", "words": "copies reproduce"},
    {"name": "return", "text": "Documents go back.", "words": "return documents request"},
    {"name": "hiring", "text": "Nobody is hired away.", "words": "solicit"},
]


class Context:
    """A tool's context whose skill knows the answer by a word in the passage.

    It answers `calls` calls, and then the budget is used up.
    """

    def __init__(
        self, contract: SkillContract = CONTRACT, calls: int = 1000, **settings: Any
    ) -> None:
        self.calls = calls
        self.spec = ToolSpec(
            name="nda_check",
            kind="skill",
            skill="nda_entailment",
            description="Answers questions on agreements.",
            settings={"statements": STATEMENTS, "passage_words": 20, **settings},
        )
        self.marks = Marks(low=0.5, high=0.8)
        self.cache_dir = Path()
        self.contract = contract
        self.asked: list[str] = []
        self.told: list[tuple[int, int]] = []

    async def decide(self, requests: Sequence[DecideRequest]) -> list[DecideResponse]:
        if self.calls == 0:
            raise BudgetExceededError("the budget of 300 tokens is used up")
        self.calls -= 1
        self.asked += [request.context for request in requests]
        return [
            DecideResponse(scores=self._scores(request.context), labels=tuple(CONTRACT.labels))
            for request in requests
        ]

    def _scores(self, asked: str) -> tuple[float, ...]:
        passage, statement = asked.split("\nStatement: ")
        if "copies" in statement:
            return (0.1, 0.7, 0.2) if "no copies" in passage else (0.3, 0.3, 0.4)
        if "go back" in statement:
            return (0.9, 0.05, 0.05) if "returns" in passage else (0.2, 0.1, 0.7)
        return (0.1, 0.1, 0.8)

    def progress(self, done: int, total: int, what: str) -> None:
        assert what
        self.told.append((done, total))


def checked(parts: list[str], **settings: Any) -> tuple[Any, Context, str]:
    text, clauses, at = "\n".join(parts), [], 0
    for part in parts:
        clauses.append({"start": at, "end": at + len(part)})
        at += len(part) + 1
    context = Context(**settings)
    given = TOOL.Input(text=text, clauses=clauses)
    return asyncio.run(TOOL.run(given, context)), context, text


def test_answers_with_their_evidence() -> None:
    found, context, text = checked([LAW, COPIES, RETURN])
    copying, returned, hiring = found.statements
    assert (copying.answer, copying.confidence, copying.level) == ("contradicted", 0.7, "medium")
    assert text[copying.start : copying.end] == copying.text == COPIES
    assert (returned.answer, returned.level) == ("entailed", "high")
    assert (returned.needs_review, returned.reasons) == (False, ())
    assert text[returned.start : returned.end] == RETURN
    assert (hiring.answer, hiring.start, hiring.end) == ("not mentioned", None, None)
    assert (hiring.text, found.stopped) == ("", "")
    assert found.facts() == {
        "statements checked": 3,
        "statements entailed": 1,
        "statements contradicted": 1,
        "statements not mentioned": 1,
    }
    assert context.asked[0] == (
        f"Passage: {COPIES} {RETURN}\nStatement: The recipient may make copies."
    )


def test_statements_that_were_not_asked_any_more_are_left_out() -> None:
    many = [{"name": f"copying {n}", "text": "The recipient may make copies."} for n in range(17)]
    found, context, _ = checked([COPIES], statements=[STATEMENTS[2], *many], calls=1)
    assert len(context.asked) == 16
    # That nothing was said of hiring is known without asking; of the last one nothing is known.
    assert [one.name for one in found.statements] == [
        "hiring", *[f"copying {n}" for n in range(16)]
    ]  # fmt: skip
    assert {one.answer for one in found.statements[1:]} == {"contradicted"}
    assert found.stopped == "stopped at 17 of 18 statements; the rest was not looked at"


def test_an_answer_is_kept_whose_evidence_was_not_sought_any_more() -> None:
    found, _, _ = checked([LAW, COPIES, RETURN], calls=1)
    copying, returned, hiring = found.statements
    assert (copying.answer, copying.start, copying.text) == ("contradicted", None, "")
    assert (returned.answer, returned.needs_review) == ("entailed", True)
    assert returned.reasons == ("the run's budget was used up before the evidence was found",)
    assert hiring.answer == "not mentioned"
    assert found.stopped == "stopped at 1 of 3 statements; the rest was not looked at"


def test_where_no_sentence_shares_a_word_the_skill_is_not_asked() -> None:
    found, context, _ = checked(["Utopia governs."])
    assert context.asked == []
    assert {(one.answer, one.confidence, one.level) for one in found.statements} == {
        ("not mentioned", 0.0, "low")
    }
    assert {(one.needs_review, one.reasons) for one in found.statements} == {
        (True, ("no sentence shares a word with this statement, so the skill was not asked",))
    }


def test_a_passage_of_one_sentence_is_its_own_evidence() -> None:
    found, context, text = checked([COPIES], statements=STATEMENTS[:1])
    assert len(context.asked) == 1
    assert text[found.statements[0].start : found.statements[0].end] == COPIES


def test_a_passage_stays_within_its_words_and_in_the_order_of_the_text() -> None:
    found, context, _ = checked([RETURN, COPIES, RETURN], passage_words=12)
    assert found.statements[0].answer == "contradicted"
    assert context.asked[0].startswith(f"Passage: {COPIES}\n")
    index = PASSAGES.Sentences(["copied a single word", "copied a longer word here", "copied"])
    assert index.passage("copier", 100) == [0, 1]
    assert index.passage("copier", 5) == [0]
    assert index.passage("unseen", 100) == []


def test_a_passage_is_no_longer_than_what_the_model_reads() -> None:
    most = PASSAGES.READ_WORDS
    assert TOOL.Settings(statements=[], passage_words=most).passage_words == most
    with pytest.raises(ValidationError, match="less than or equal to 220"):
        TOOL.Settings(statements=[], passage_words=most + 1)


def test_the_model_reads_one_line_of_at_most_220_words() -> None:
    assert PASSAGES.model_text(["a\nb", "c"]) == "a b c"
    assert len(PASSAGES.model_text(["word " * 500]).split()) == 220


def test_a_skill_with_other_labels_is_refused() -> None:
    other = SkillContract(read="labels", labels={"Yes": "Yes", "No": "No"})
    given = TOOL.Input(text=COPIES, clauses=[{"start": 0, "end": len(COPIES)}])
    with pytest.raises(ToolCallError, match=r"labels Yes, No; this tool needs Entailment"):
        asyncio.run(TOOL.run(given, Context(other)))


def test_an_output_survives_its_own_json() -> None:
    found, _, _ = checked([LAW, COPIES, RETURN])
    assert TOOL.Output.model_validate_json(found.model_dump_json()) == found


def test_the_shipped_statements_are_distinct_and_were_learned() -> None:
    settings = yaml.safe_load((ROOT / "tools/nda_check/tool.yaml").read_text())["settings"]
    shipped = TOOL.Settings.model_validate(settings)
    names = [one.name for one in shipped.statements]
    assert len(set(names)) == len(names) == 17
    learned = load_module(ROOT / "models/skills/nda_entailment/0.1.0/data.py").topics()
    assert [topic.name for topic in learned] == names
    assert [topic.same[0] for topic in learned] == [one.text for one in shipped.statements]


def test_a_review_outlives_this_check() -> None:
    tool = yaml.safe_load((ROOT / "tools/nda_check/tool.yaml").read_text())
    agent = yaml.safe_load((ROOT / "agents/contract_review/agent.yaml").read_text())
    assert 2 * tool["timeout_s"] < agent["budget"]["seconds"]
