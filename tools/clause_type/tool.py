"""Types the clauses of a contract and holds what a review policy says about them.

The skill gives every piece a probability per type. Which types are expected and which of
them are a risk is not known here: the policy of the `review` slot says so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from seamline.errors import ToolCallError
from seamline.models.skills import Level, Marks
from seamline.tools.chunks import decide_in_chunks, stopped_at
from seamline.tools.contract import (
    FactValue,
    PartialOutput,
    Review,
    ReviewedOutput,
    ReviewItem,
    ToolContext,
)
from seamline.tools.pieces import PiecesInput
from seamline.tools.text import normalise

__all__ = [
    "CheckedStatement",
    "ContractReview",
    "Input",
    "MissingClause",
    "Output",
    "Risk",
    "TypedClause",
    "UnfairTerm",
    "model_text",
    "run",
]

CHUNK = 32
READ_WORDS = 110
READ_CHARS = 900

RiskLevel = Literal["", "none", "low", "medium", "high"]
Clause = TypeVar("Clause", bound="TypedClause")

_UNSURE = "the skill is not sure of this type"
_SEVERITY = re.compile(r"(?i)\s*(low|medium|high) risk\b[:,]?\s*")


def model_text(text: str) -> str:
    """What the skill reads of a clause: normalised, its first 110 words."""
    line = " ".join(normalise(text).split(" ")[:READ_WORDS])
    return line[:READ_CHARS].rstrip()


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CheckedStatement(_Frozen):
    """A statement and what the contract says of it, as `nda_check` gives it.

    Attributes:
        start: With `end`, the place of the evidence; None where it is not mentioned.
        text: The words at that place.
        reasons: Why a person should look at it.
    """

    name: str
    statement: str
    answer: str
    confidence: float = Field(ge=0, le=1)
    level: Level
    start: int | None = None
    end: int | None = None
    text: str = ""
    needs_review: bool = False
    reasons: tuple[str, ...] = ()


class TypedClause(_Frozen):
    """A clause of a type.

    Attributes:
        start: With `end`, its place in the contract, in characters.
        text: Its words: what stands there.
        confidence: The skill's probability of this type, 0 to 1.
        level: The same in words, as the review policy reads it; `low` means not sure, and needs
            a person unless a review declines the clause.
        risk: Empty until a review policy has judged it.
        reasons: Why it is a risk or needs a person.
    """

    type: str
    start: int
    end: int
    text: str
    confidence: float = Field(ge=0, le=1)
    level: Level
    heading: str = ""
    needs_review: bool = False
    reasons: tuple[str, ...] = ()
    risk: RiskLevel = ""

    def told(self, reason: str) -> str:
        """What a review says of it, for people."""
        return reason


class UnfairTerm(TypedClause):
    """A sentence that may be unfair to consumers, as `unfair_terms` gives it.

    Attributes:
        rationale: What makes terms of this type unfair.
    """

    rationale: str = ""

    def told(self, reason: str) -> str:
        """What a review says of it, and what makes terms of its type unfair."""
        return f"{reason}. {self.rationale}" if self.rationale else reason


class Input(PiecesInput):
    """A contract, its pieces, and the types that the policy expects in it.

    What other checks found, where the plan had them run, becomes part of the review.
    """

    expected: tuple[str, ...] = ()
    statements: tuple[CheckedStatement, ...] = ()
    unfair_terms: tuple[UnfairTerm, ...] = ()


class MissingClause(_Frozen):
    """A type that the policy expects and no clause has."""

    type: str
    reason: str = ""


class Risk(_Frozen):
    """A clause or term that the review policy flags; offsets and text are those of the clause."""

    type: str
    severity: Level
    reason: str
    start: int
    end: int
    text: str


class ContractReview(PartialOutput, ReviewedOutput):
    """The typed clauses of a contract, its risks, and the expected clauses it lacks.

    Attributes:
        missing: Empty where the types of some pieces were not asked for any more.
        statements: Of a confidentiality agreement, what it answers to usual questions.
        unfair_terms: Of terms of service, the sentences that may be unfair.
    """

    clauses: tuple[TypedClause, ...]
    missing: tuple[MissingClause, ...] = ()
    statements: tuple[CheckedStatement, ...] = ()
    unfair_terms: tuple[UnfairTerm, ...] = ()
    risks: tuple[Risk, ...] = ()
    needs_review: bool = False
    reasons: tuple[str, ...] = ()

    def facts(self) -> dict[str, FactValue]:
        """Counts of what was found."""
        return {
            "typed clauses": len(self.clauses),
            "unsure clauses": sum(one.level == "low" for one in self.clauses),
            "missing clauses": len(self.missing),
            "statements checked": len(self.statements),
            "unfair terms": len(self.unfair_terms),
            "risks": len(self.risks),
            "high risks": sum(one.severity == "high" for one in self.risks),
        }

    def review_items(self) -> list[ReviewItem]:
        """One item per clause, missing type, statement and unfair term; many share their facts.

        `present` tells what was found from what is missing.
        """
        found = [
            ReviewItem(
                key=f"clause:{number}",
                facts={"clause type": one.type, "confidence": one.level, "present": "yes"},
            )
            for number, one in enumerate(self.clauses)
        ]
        lacking = [
            ReviewItem(key=f"missing:{one.type}", facts={"clause type": one.type, "present": "no"})
            for one in self.missing
        ]
        checked = [
            ReviewItem(
                key=f"statement:{number}",
                facts={
                    "statement": one.name,
                    "answer": one.answer,
                    "confidence": one.level,
                    "present": "yes",
                },
            )
            for number, one in enumerate(self.statements)
        ]
        unfair = [
            ReviewItem(
                key=f"unfair:{number}",
                facts={"unfair term": one.type, "confidence": one.level, "present": "yes"},
            )
            for number, one in enumerate(self.unfair_terms)
        ]
        return found + lacking + checked + unfair

    def reviewed(self, reviews: Mapping[str, Review]) -> Self:
        """The output with the reviews applied.

        `flag` makes a clause or an unfair term a risk when its reason starts with "low risk",
        "medium risk" or "high risk", and otherwise asks for a person's look; `ask` asks for
        that look too; `decline` drops the item, and so does `accept` for a missing clause.
        """
        clauses, risks = _judged_all(self.clauses, "clause", reviews)
        unfair, unfair_risks = _judged_all(self.unfair_terms, "unfair", reviews)
        statements = _looked_at(self.statements, reviews)
        missing: list[MissingClause] = []
        for lack in self.missing:
            review = reviews.get(f"missing:{lack.type}")
            if review is None:
                missing.append(lack)
            elif review.choice in {"flag", "ask"}:
                missing.append(MissingClause(type=lack.type, reason=review.reason or lack.reason))
        doubtful = [
            *((one.type, one) for one in (*clauses, *unfair) if one.needs_review),
            *((one.name, one) for one in statements if one.needs_review),
        ]
        reasons = [self.stopped] if self.stopped else []
        reasons += [f"{name}: {why}" for name, one in doubtful for why in one.reasons]
        reasons += [f"{one.type}: {one.reason}" for one in missing]
        return self.model_copy(
            update={
                "clauses": tuple(clauses),
                "missing": tuple(missing),
                "statements": tuple(statements),
                "unfair_terms": tuple(unfair),
                "risks": tuple(risks + unfair_risks),
                "needs_review": bool(missing or doubtful or self.stopped),
                "reasons": tuple(dict.fromkeys(reasons)),
            }
        )


Output = ContractReview


async def run(input: Input, context: ToolContext) -> ContractReview:  # noqa: A002
    """The typed clauses of a contract.

    Raises:
        ToolCallError: An expected type is none of the skill's labels.
        ModelError: The skill could not answer.
    """
    known = [label for label in context.contract.labels if label != context.contract.none_label]
    strange = [name for name in input.expected if name not in known]
    if strange:
        raise ToolCallError(
            f"expected clause types {', '.join(map(repr, strange))} are not labels of the skill "
            f"{context.spec.skill!r}; use some of: {', '.join(known)}"
        )
    types = await _types(input, context)
    clauses = _typed(input, types, context.marks, context.contract.none_label)
    stopped = stopped_at(len(types), len(input.clauses), "clauses")
    found = {one.type for one in clauses}
    # What was not found may stand in the clauses that were not looked at.
    sought = () if stopped else dict.fromkeys(input.expected)
    return ContractReview(
        stopped=stopped,
        clauses=tuple(clauses),
        missing=tuple(
            MissingClause(type=name, reason="expected, and found in no clause")
            for name in sought
            if name not in found
        ),
        statements=input.statements,
        unfair_terms=input.unfair_terms,
        needs_review=bool(stopped),
        reasons=(stopped,) if stopped else (),
    )


async def _types(given: Input, context: ToolContext) -> list[dict[str, float]]:
    """The probability of every label, per piece; of the first pieces where it had to stop."""
    requests = [
        context.contract.request({"text": model_text(given.text[piece.start : piece.end])}, [])
        for piece in given.clauses
    ]
    answers = await decide_in_chunks(context, requests, size=CHUNK, what="clauses typed")
    return [dict(zip(one.labels, one.scores, strict=True)) for one in answers]


def _typed(
    given: Input,
    types: Sequence[Mapping[str, float]],
    marks: Marks,
    none_label: str | None,
) -> list[TypedClause]:
    """Clauses in order of place; neighbouring pieces of one type are one clause."""
    clauses: list[TypedClause] = []
    still_open: dict[str, int] = {}
    for piece, scores in zip(given.clauses[: len(types)], types, strict=True):
        now: dict[str, int] = {}
        for label, score in sorted(scores.items(), key=lambda pair: (-pair[1], pair[0])):
            if label == none_label or score < marks.threshold:
                continue
            confidence = round(min(max(score, 0.0), 1.0), 4)
            if label in still_open:
                place = still_open[label]
                old = clauses[place]
                best = max(old.confidence, confidence)
                clauses[place] = old.model_copy(update={"end": piece.end, "confidence": best})
            else:
                place = len(clauses)
                clauses.append(
                    TypedClause(
                        type=label,
                        start=piece.start,
                        end=piece.end,
                        text="",
                        confidence=confidence,
                        level="low",
                        heading=piece.heading,
                    )
                )
            now[label] = place
        still_open = now
    return [_marked(clause, marks, given.text) for clause in clauses]


def _marked(clause: TypedClause, marks: Marks, text: str) -> TypedClause:
    """The clause with its words and level; where the skill is not sure, marked for a person."""
    level = marks.level(clause.confidence)
    unsure = level == "low"
    reasons = (_UNSURE,) if unsure else ()
    return clause.model_copy(
        update={
            "text": text[clause.start : clause.end],
            "level": level,
            "needs_review": unsure,
            "reasons": reasons,
        }
    )


def _judged_all(
    clauses: Sequence[Clause], kind: str, reviews: Mapping[str, Review]
) -> tuple[list[Clause], list[Risk]]:
    """The clauses as the reviews leave them, and the risks they are."""
    kept: list[Clause] = []
    risks: list[Risk] = []
    for number, clause in enumerate(clauses):
        review = reviews.get(f"{kind}:{number}")
        if review is not None and review.choice == "decline":
            continue
        judged, risk = _judged(clause, review)
        kept.append(judged)
        if risk is not None:
            risks.append(risk)
    return kept, risks


def _judged(clause: Clause, review: Review | None) -> tuple[Clause, Risk | None]:
    """The clause as the review leaves it, and the risk it is."""
    if review is None:
        return clause, None
    if review.choice not in {"flag", "ask"}:
        return clause.model_copy(update={"risk": "none"}), None
    match = _SEVERITY.match(review.reason)
    if review.choice == "flag" and match:
        severity = _level(match.group(1))
        reason = clause.told(review.reason[match.end() :] or review.reason.strip())
        risk = Risk(
            type=clause.type,
            severity=severity,
            reason=reason,
            start=clause.start,
            end=clause.end,
            text=clause.text,
        )
        told = (reason, *clause.reasons)
        return clause.model_copy(update={"risk": severity, "reasons": told}), risk
    reasons = (review.reason,) if review.reason else clause.reasons
    return clause.model_copy(update={"needs_review": True, "reasons": reasons}), None


def _looked_at(
    statements: Sequence[CheckedStatement], reviews: Mapping[str, Review]
) -> list[CheckedStatement]:
    """The statements that no review declines; `flag` and `ask` want a person's look."""
    kept: list[CheckedStatement] = []
    for number, one in enumerate(statements):
        review = reviews.get(f"statement:{number}")
        choice = review.choice if review else "accept"
        if choice in {"flag", "ask"}:
            reasons = (review.reason,) if review and review.reason else one.reasons
            kept.append(one.model_copy(update={"needs_review": True, "reasons": reasons}))
        elif choice != "decline":
            kept.append(one)
    return kept


def _level(word: str) -> Level:
    levels: dict[str, Level] = {"low": "low", "medium": "medium", "high": "high"}
    return levels[word.lower()]
