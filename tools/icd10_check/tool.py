"""The coding of a text, every code checked against the release; the agent's typed result."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from seamline.errors import ToolCallError
from seamline.models.skills import Level
from seamline.tools.contract import (
    FactValue,
    Review,
    ReviewedOutput,
    ReviewItem,
    ToolContext,
    ToolInput,
)
from seamline.tools.evidence import Declined, Span

from .tabular import Tabular

_UNSURE = "the confidence is low"


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class RunnerUp(_Value):
    """The code that came second."""

    code: str
    title: str
    confidence: float = 0.0


class Selection(_Value):
    """A selected code as the selection gives it; without a level it counts as not sure."""

    code: str
    title: str = ""
    confidence: float = Field(ge=0.0, le=1.0)
    level: Level = "low"
    evidence: Span
    more_evidence: list[Span] = Field(default_factory=list)
    assertion: str = "present"
    runner_up: RunnerUp | None = None
    ties: bool = False


class Input(ToolInput):
    """The selection, and the release that its codes were found in."""

    selections: list[Selection]
    declined: list[Declined] = Field(default_factory=list)
    release: str


class Code(_Value):
    """One code of the release with its evidence.

    `needs_review` comes with at least one of `reasons`. `notes` are the release's
    instructions (Code first, Use additional, Code also), for information.
    """

    code: str
    description: str
    confidence: float
    confidence_level: Level
    evidence: Span
    more_evidence: list[Span] = Field(default_factory=list)
    assertion: str = "present"
    billable: bool
    conflicts_with: list[str] = Field(default_factory=list)
    ties: bool = False
    runner_up: RunnerUp | None = None
    needs_review: bool = False
    reasons: list[str] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list)

    def flagged(self, reason: str) -> Code:
        """The same code marked for a person, for a further reason."""
        reasons = [*self.reasons, *([reason] if reason not in self.reasons else [])]
        return self.model_copy(update={"needs_review": True, "reasons": reasons})


class Coding(ReviewedOutput):
    """The coding of a text: codes that the release holds, and what was declined.

    `unknown` holds what was selected and is no code of the release; it is declined, never coded.
    """

    release: str
    codes: list[Code]
    declined: list[Declined]
    unknown: list[str] = Field(default_factory=list)

    def facts(self) -> dict[str, FactValue]:
        """Counts of what was coded, flagged and declined."""
        return {
            "codes": len(self.codes),
            "codes to review": sum(c.needs_review for c in self.codes),
            "codes not billable": sum(not c.billable for c in self.codes),
            "codes in conflict": sum(bool(c.conflicts_with) for c in self.codes),
            "unknown codes": len(self.unknown),
            "mentions declined": len(self.declined),
        }

    def review_items(self) -> list[ReviewItem]:
        """One item a code; what is said of the document goes to people only."""
        return [
            ReviewItem(
                key=code.code,
                facts={
                    "confidence": code.confidence_level,
                    "billable": "yes" if code.billable else "no",
                    "conflicts": ", ".join(code.conflicts_with) or "none",
                    "ties": "yes" if code.ties else "no",
                    # The whole text names one condition, and names it in a way that two codes fit.
                    "ambiguous": "yes" if code.ties and len(self.codes) == 1 else "no",
                },
                about={
                    "mention": code.evidence.text,
                    "code": code.code,
                    "title": code.description,
                    "other_code": code.runner_up.code if code.runner_up else "none",
                    "other_title": code.runner_up.title if code.runner_up else "none",
                },
            )
            for code in self.codes
        ]

    def reviewed(self, reviews: Mapping[str, Review]) -> Self:
        """The coding with each review applied; what the release objects to stays flagged.

        Raises:
            KeyError: a review names a code that is not there.
            ValueError: a choice is none of accept, flag, ask, decline.
        """
        strange = set(reviews) - {code.code for code in self.codes}
        if strange:
            raise KeyError(f"no such code to review: {', '.join(sorted(strange))}")
        kept: list[Code] = []
        declined = list(self.declined)
        for code in self.codes:
            review = reviews.get(code.code, Review(choice="accept"))
            if review.choice == "decline":
                reason = review.reason or "declined in review"
                declined += [
                    Declined(text=span.text, span=span, reason=f"{code.code}: {reason}")
                    for span in (code.evidence, *code.more_evidence)
                ]
            elif review.choice in ("flag", "ask"):
                kept.append(code.flagged(review.reason or "flagged in review"))
            elif review.choice == "accept":
                kept.append(code)
            else:
                raise ValueError(
                    f"review of {code.code} chose {review.choice!r}; "
                    "expected accept, flag, ask or decline"
                )
        return self.model_copy(update={"codes": kept, "declined": declined})


Output = Coding


async def run(request: Input, context: ToolContext) -> Coding:  # noqa: ARG001
    """The checked coding.

    Raises:
        ToolCallError: the tables are not installed, or are of another release than the search's.
    """
    return await asyncio.to_thread(_check, request)


def _check(request: Input) -> Coding:
    try:
        tabular = Tabular()
    except ModuleNotFoundError as error:
        raise ToolCallError(
            f"icd10_check: {error.name} is not installed; pip install simple-icd-10-cm"
        ) from error
    if request.release != tabular.release:
        raise ToolCallError(
            f"the codes are of the ICD-10-CM release {request.release!r}, the installed tables of "
            f"{tabular.release!r}; search and check must use the same simple-icd-10-cm"
        )
    declined = list(request.declined)
    known: list[tuple[str, Selection]] = []
    for selection in request.selections:
        code = tabular.find(selection.code)
        if code is None:
            declined.append(_unknown(selection, tabular.release))
        else:
            known.append((code, selection))
    names = [code for code, _ in known]
    codes = [_code(code, selection, names, tabular) for code, selection in known]
    unknown = [s.code for s in request.selections if tabular.find(s.code) is None]
    return Coding(release=tabular.release, codes=codes, declined=declined, unknown=unknown)


def _unknown(selection: Selection, release: str) -> Declined:
    return Declined(
        text=selection.evidence.text,
        span=selection.evidence,
        reason=f"{selection.code} is not a code of ICD-10-CM {release}",
    )


def _code(code: str, selection: Selection, names: Sequence[str], tabular: Tabular) -> Code:
    conflicts = {other: _conflict(tabular, code, other) for other in names if other != code}
    against = {other: note for other, note in conflicts.items() if note is not None}
    checked = Code(
        code=code,
        description=tabular.description(code),
        confidence=selection.confidence,
        confidence_level=selection.level,
        evidence=selection.evidence,
        more_evidence=selection.more_evidence,
        assertion=selection.assertion,
        billable=tabular.billable(code),
        conflicts_with=sorted(against),
        ties=selection.ties,
        runner_up=selection.runner_up,
        notes=tabular.notes(code),
    )
    if selection.level == "low":
        checked = checked.flagged(_UNSURE)
    incomplete = tabular.incomplete(code)
    if incomplete is not None:
        checked = checked.flagged(incomplete)
    for other, note in sorted(against.items()):
        checked = checked.flagged(f"must not stand with {other}: {note}")
    return checked


def _conflict(tabular: Tabular, code: str, other: str) -> str | None:
    """What forbids the two together, whichever of them says it."""
    pairs = ((code, other), (other, code))
    objections = (
        ask(*pair) for ask in (tabular.excludes1, tabular.uncomplicated) for pair in pairs
    )
    return next((said for said in objections if said is not None), None)
