"""Holds a confidentiality agreement against statements, and shows the evidence for each answer.

For each statement the sentences that share its words are found, and the skill reads them
together. Which statements these are is a setting of the tool.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from seamline.errors import ToolCallError
from seamline.models.skills import Level, Marks
from seamline.tools.chunks import decide_in_chunks, stopped_at
from seamline.tools.contract import FactValue, PartialOutput, ToolContext, ToolSettings
from seamline.tools.pieces import PiecesInput
from seamline.tools.text import sentences

from .passages import READ_WORDS, Sentences, model_text

__all__ = ["Input", "Output", "Settings", "Statement", "run"]

CHUNK = 16

Answer = Literal["entailed", "contradicted", "not mentioned"]
Place = tuple[int, int]

ANSWERS: dict[str, Answer] = {
    "Entailment": "entailed",
    "Contradiction": "contradicted",
    "Not mentioned": "not mentioned",
}
"""What this tool calls the skill's labels."""

_UNSURE = "the skill is not sure of this answer"
_UNASKED = "no sentence shares a word with this statement, so the skill was not asked"
_UNPLACED = "the run's budget was used up before the evidence was found"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Input(PiecesInput):
    """An agreement and its pieces."""


class Statement(_Frozen):
    """One statement and what the agreement says of it.

    Attributes:
        start: With `end`, the place of the sentence that speaks most for the answer, in
            characters; None where the statement is not mentioned.
        text: The words of that sentence.
        confidence: The skill's probability of the answer, 0 to 1; 0 where no sentence shares a
            word with the statement, so that the skill was not asked.
        level: The same in words; `low` means not sure, and needs a person.
    """

    name: str
    statement: str
    answer: Answer
    confidence: float = Field(ge=0, le=1)
    level: Level
    start: int | None = None
    end: int | None = None
    text: str = ""
    needs_review: bool = False
    reasons: tuple[str, ...] = ()


class Output(PartialOutput):
    """Every statement of the settings, in their order; those that were not asked are left out."""

    statements: tuple[Statement, ...]

    def facts(self) -> dict[str, FactValue]:
        """How many statements there are, and how many were answered how."""
        answers = {
            f"statements {answer}": sum(one.answer == answer for one in self.statements)
            for answer in ANSWERS.values()
        }
        return {"statements checked": len(self.statements), **answers}


class Asked(_Frozen):
    """A statement of the settings; `words` help to find its passage and are not shown."""

    name: str
    text: str
    words: str = ""


class Settings(ToolSettings):
    """The statements, and the most words of the passage that is read for each."""

    statements: tuple[Asked, ...]
    passage_words: int = Field(gt=0, le=READ_WORDS)


@dataclass(frozen=True)
class _Read:
    """What the skill said: the likeliest label, and the probability of each."""

    label: str
    scores: dict[str, float]


async def run(input: Input, context: ToolContext) -> Output:  # noqa: A002
    """What the agreement says of each statement.

    Raises:
        ToolCallError: The skill has other labels.
        ModelError: The skill could not answer.
    """
    if set(context.contract.labels) != set(ANSWERS):
        raise ToolCallError(
            f"skill {context.spec.skill!r} has the labels {', '.join(context.contract.labels)}; "
            f"this tool needs {', '.join(ANSWERS)}"
        )
    settings = Settings.of(context.spec)
    places = list(_places(input))
    texts = [input.text[start:end] for start, end in places]
    index = Sentences(texts)
    found = [
        sorted(index.passage(f"{one.text} {one.words}", settings.passage_words))
        for one in settings.statements
    ]
    read = await _ask(
        [
            ([texts[i] for i in at], one.text)
            for one, at in zip(settings.statements, found, strict=True)
            if at
        ],
        context,
    )
    answered = iter(read)
    answers = [next(answered, None) if at else None for at in found]
    evidence = await _evidence(settings.statements, found, answers, texts, context)
    told = [
        _statement(one, answer, None if place is None else places[place], input.text, context.marks)
        for one, at, answer, place in zip(
            settings.statements, found, answers, evidence, strict=True
        )
        if answer is not None or not at
    ]
    done = sum(_UNPLACED not in one.reasons for one in told)
    return Output(
        statements=tuple(told), stopped=stopped_at(done, len(settings.statements), "statements")
    )


def _places(given: Input) -> Iterable[Place]:
    for piece in given.clauses:
        yield from sentences(given.text, piece.start, piece.end)


async def _ask(pairs: Sequence[tuple[Sequence[str], str]], context: ToolContext) -> list[_Read]:
    """What the skill says of each passage and statement; of the first where it had to stop."""
    requests = [
        context.contract.request({"passage": model_text(passage), "statement": statement})
        for passage, statement in pairs
    ]
    read: list[_Read] = []
    for one in await decide_in_chunks(context, requests, size=CHUNK, what="passages read"):
        scores = dict(zip(one.labels, one.scores, strict=True))
        read.append(_Read(max(scores, key=lambda label: scores[label]), scores))
    return read


async def _evidence(
    statements: Sequence[Asked],
    found: Sequence[Sequence[int]],
    answers: Sequence[_Read | None],
    texts: Sequence[str],
    context: ToolContext,
) -> list[int | None]:
    """Per statement the sentence that, read alone, speaks most for its answer.

    None where the statement is not mentioned, and where the sentences were not all read.
    """
    candidates = [
        at if answer is not None and ANSWERS[answer.label] != "not mentioned" else ()
        for at, answer in zip(found, answers, strict=True)
    ]
    alone = iter(
        await _ask(
            [
                ([texts[i]], one.text)
                for one, at in zip(statements, candidates, strict=True)
                if len(at) > 1
                for i in at
            ],
            context,
        )
    )
    best: list[int | None] = []
    for at, answer in zip(candidates, answers, strict=True):
        if answer is None or len(at) < 2:
            best.append(at[0] if at else None)
            continue
        scores = [one.scores[answer.label] for one in islice(alone, len(at))]
        best.append(at[scores.index(max(scores))] if len(scores) == len(at) else None)
    return best


def _statement(
    asked: Asked, answer: _Read | None, place: Place | None, text: str, marks: Marks
) -> Statement:
    score = answer.scores[answer.label] if answer else 0.0
    confidence = round(min(max(score, 0.0), 1.0), 4)
    level = marks.level(confidence)
    said = ANSWERS[answer.label] if answer else "not mentioned"
    reasons: list[str] = []
    if level == "low":
        reasons.append(_UNSURE if answer else _UNASKED)
    if place is None and said != "not mentioned":
        reasons.append(_UNPLACED)
    return Statement(
        name=asked.name,
        statement=asked.text,
        answer=said,
        confidence=confidence,
        level=level,
        start=place[0] if place else None,
        end=place[1] if place else None,
        text=text[slice(*place)] if place else "",
        needs_review=bool(reasons),
        reasons=tuple(reasons),
    )
