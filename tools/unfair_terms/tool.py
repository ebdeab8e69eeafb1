"""Finds unfair sentences in terms of service; what makes each type unfair is a setting."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field

from seamline.errors import ToolCallError
from seamline.models.skills import Level, Marks
from seamline.tools.chunks import decide_in_chunks, stopped_at
from seamline.tools.contract import FactValue, PartialOutput, ToolContext, ToolSettings
from seamline.tools.pieces import PiecesInput
from seamline.tools.text import sentences

from .reading import model_text

__all__ = ["Input", "Output", "Settings", "UnfairTerm", "run"]

CHUNK = 32
LEAST_WORDS = 4
"""Of what the skill reads. Less is a heading or a mark, unless it is an item of a list, which is
read with what opens the list."""

_UNSURE = "the skill is not sure of this type"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Input(PiecesInput):
    """Terms of service and their pieces."""


class UnfairTerm(_Frozen):
    """A sentence that may be unfair.

    Attributes:
        start: With `end`, its place in the terms, in characters.
        text: Its words: what stands there.
        rationale: What makes terms of this type unfair.
        confidence: The skill's probability of this type, 0 to 1.
        level: The same in words; `low` means not sure, and needs a person.
    """

    type: str
    start: int
    end: int
    text: str
    confidence: float = Field(ge=0, le=1)
    level: Level
    heading: str = ""
    rationale: str = ""
    needs_review: bool = False
    reasons: tuple[str, ...] = ()


class Output(PartialOutput):
    """The unfair sentences in order of place; one that is unfair in two ways stands twice."""

    terms: tuple[UnfairTerm, ...]

    def facts(self) -> dict[str, FactValue]:
        """How many there are."""
        return {"unfair terms": len(self.terms)}


class Settings(ToolSettings):
    """What makes terms of a type unfair, by type."""

    rationales: Mapping[str, str]


class _Sentence(_Frozen):
    start: int
    end: int
    text: str
    heading: str
    read: str


async def run(input: Input, context: ToolContext) -> Output:  # noqa: A002
    """The unfair terms among the sentences of the pieces.

    Raises:
        ToolCallError: A rationale is for no type of the skill.
        ModelError: The skill could not answer.
    """
    settings = Settings.of(context.spec)
    strange = [name for name in settings.rationales if name not in context.contract.labels]
    if strange:
        raise ToolCallError(
            f"rationales for {', '.join(map(repr, strange))}, which are no labels of the skill "
            f"{context.spec.skill!r}; use some of: {', '.join(context.contract.labels)}"
        )
    found = _sentences(input)
    requests = [context.contract.request({"text": one.read}) for one in found]
    answers = await decide_in_chunks(context, requests, size=CHUNK, what="sentences read")
    terms: list[UnfairTerm] = []
    for one, answer in zip(found[: len(answers)], answers, strict=True):
        scores = dict(zip(answer.labels, answer.scores, strict=True))
        terms += [
            _term(one, label, score, context.marks, settings.rationales.get(label, ""))
            for label, score in _types(scores, context.marks, context.contract.none_label)
        ]
    stopped = stopped_at(len(answers), len(found), "sentences")
    return Output(terms=tuple(terms), stopped=stopped)


def _sentences(given: Input) -> list[_Sentence]:
    found: list[_Sentence] = []
    before: list[str] = []
    for piece in given.clauses:
        for start, end in sentences(given.text, piece.start, piece.end):
            text = given.text[start:end]
            read = model_text(text, before)
            if len(read.split()) >= LEAST_WORDS:
                found.append(
                    _Sentence(start=start, end=end, text=text, heading=piece.heading, read=read)
                )
            before.append(text)
    return found


def _types(
    scores: Mapping[str, float], marks: Marks, none_label: str | None
) -> list[tuple[str, float]]:
    """The types that the scores name, the likeliest first."""
    named = [(label, score) for label, score in scores.items() if label != none_label]
    answers = [(label, score) for label, score in named if score >= marks.threshold]
    return sorted(answers, key=lambda pair: (-pair[1], pair[0]))


def _term(one: _Sentence, label: str, score: float, marks: Marks, rationale: str) -> UnfairTerm:
    confidence = round(min(max(score, 0.0), 1.0), 4)
    level = marks.level(confidence)
    unsure = level == "low"
    return UnfairTerm(
        type=label,
        start=one.start,
        end=one.end,
        text=one.text,
        confidence=confidence,
        level=level,
        heading=one.heading,
        rationale=rationale,
        needs_review=unsure,
        reasons=(_UNSURE,) if unsure else (),
    )
