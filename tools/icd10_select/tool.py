"""Which candidate code each mention means: one question to the skill for every mention.

A candidate counts by the weighted mean of two opinions: the skill's probability that it is the
code, and how alike it is to the mention by the search. Each knows what the other does not, and
together they are right more often than either alone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from seamline.errors import ToolCallError
from seamline.models.protocol import DecideRequest, DecideResponse
from seamline.models.skills import Level, Marks
from seamline.tools.contract import FactValue, ToolContext, ToolInput, ToolOutput, ToolSettings
from seamline.tools.evidence import Declined, Span

Assertion = Literal["present", "negated", "family", "historical", "possible"]

_DECLINED = {
    "negated": "the text says that it is not there",
    "family": "it is a relative's, not the patient's",
}
_NONE = re.compile(r"\b(?:none|neither|no code|not coded|do not code|don't code)\b", re.I)
_WORD = re.compile(r"[a-z0-9]{3,}")
_CODE = re.compile(r"\b[A-Z]\d[0-9A-Z](?:\.?[0-9A-Z]{1,4})?\b", re.I)


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Candidate(_Value):
    """A code that may be meant; `score` is how alike its words are, in 0..1."""

    code: str
    title: str
    score: float = 0.0
    billable: bool = True


class Found(_Value):
    """A mention as the search gives it; offsets count characters of the input text."""

    start: int = Field(ge=0)
    end: int = Field(ge=0)
    text: str
    context: str = ""
    assertion: Assertion = "present"
    candidates: list[Candidate] = Field(default_factory=list)


class RunnerUp(_Value):
    """The candidate that came second.

    `confidence` is what its mean would stand for if it came first: it tells how close it is.
    """

    code: str
    title: str
    confidence: float


class Selection(_Value):
    """A chosen code with its evidence; `more_evidence` holds its other mentions.

    `confidence` is the share of such codes that are right, by the weighted mean of the skill's
    probability and the search's likeness; `level` is that mean in words, `low` means not sure.
    """

    code: str
    title: str
    confidence: float
    level: Level = "low"
    evidence: Span
    more_evidence: list[Span] = Field(default_factory=list)
    assertion: Assertion = "present"
    runner_up: RunnerUp | None = None
    ties: bool = False


class Input(ToolInput):
    """The text, its mentions with their candidates, and what a person answered, if anything."""

    text: str = Field(min_length=1)
    mentions: list[Found]
    answer: str = ""


class Output(ToolOutput):
    """The codes chosen, and the mentions declined."""

    selections: list[Selection]
    declined: list[Declined]

    def facts(self) -> dict[str, FactValue]:
        """How many codes were chosen, how many mentions declined, how many codes are tied."""
        return {
            "codes selected": len(self.selections),
            "mentions declined": len(self.declined),
            "ties": sum(s.ties for s in self.selections),
        }


class Settings(ToolSettings):
    """When a candidate is a code, how sure, and when two of them are a tie.

    All but the first three are about the mean of probability and likeness.

    Attributes:
        candidates: How many of a mention's the skill reads.
        skill_share: What the skill's probability counts for in the mean; the rest is likeness.
        least_probability: The mention is declined where the skill gives no candidate as much.
        threshold: From this mean on the best candidate is a code.
        low: Below this mean a code is not sure.
        high: From this mean on it is of high confidence.
        tie_margin: Candidates this close are a tie; `tie_margin_kin` within one category.
        even: The mean of which half the codes are right (`scripts/fit_certainty.py` fits it);
            without it the mean itself is the confidence.
        steepness: How fast that share changes with the mean.
    """

    candidates: int = Field(default=8, gt=0)
    skill_share: float = Field(default=0.3, ge=0, le=1)
    least_probability: float = Field(default=0.1, ge=0, lt=1)
    threshold: float = Field(default=0.65, gt=0, lt=1)
    low: float = Field(default=0.75, ge=0, le=1)
    high: float = Field(default=0.9, ge=0, le=1)
    tie_margin: float = Field(default=0.05, ge=0, le=1)
    tie_margin_kin: float = Field(default=0.015, ge=0, le=1)
    even: float | None = Field(default=None, ge=0, le=1)
    steepness: float = Field(default=10.0, gt=0)

    @property
    def marks(self) -> Marks:
        """How a mean is read."""
        return Marks(threshold=self.threshold, low=self.low, high=self.high)

    def mean(self, probability: float, likeness: float) -> float:
        """What a candidate counts, in 0..1."""
        share = self.skill_share
        return share * _unit(probability) + (1 - share) * _unit(likeness)

    def confidence(self, mean: float) -> float:
        """How often a code with this mean is right, in 0..1."""
        if self.even is None:
            return mean
        return 1 / (1 + math.exp(self.steepness * (self.even - mean)))

    def fits(self, probabilities: Sequence[float]) -> bool:
        """Whether the skill thinks any of a mention's candidates possible."""
        return max(probabilities, default=0.0) >= self.least_probability


@dataclass(frozen=True)
class _Judged:
    """A mention with what each of its candidates counts, the mean, best first.

    `fits` is whether the skill thinks any of them possible.
    """

    mention: Found
    ranked: list[tuple[Candidate, float]]
    ties: bool
    fits: bool = True
    settled: bool = False

    @property
    def best(self) -> float:
        return self.ranked[0][1] if self.ranked and self.fits else 0.0


async def run(request: Input, context: ToolContext) -> Output:
    """A selection or a reason to decline for every mention of `request`.

    Raises:
        ToolCallError: a span does not lie in the text, or the skill broke its contract.
    """
    settings = Settings.of(context.spec)
    _check_spans(request)
    codable = [m for m in request.mentions if m.assertion not in _DECLINED and m.candidates]
    judged = await _judge(codable, settings, context)
    if request.answer.strip():
        judged = await _apply_answer(judged, request.answer.strip(), settings, context)
    chosen: list[Selection] = []
    declined = [
        _decline(m) for m in request.mentions if m.assertion in _DECLINED or not m.candidates
    ]
    for one in judged:
        if one.best >= settings.threshold:
            chosen.append(_selection(one, settings))
        else:
            why = (
                "a person's answer rules its candidates out"
                if one.settled
                else ("no candidate code fits it well enough")
            )
            declined.append(Declined(text=one.mention.text, span=_span(one.mention), reason=why))
    declined.sort(key=lambda d: (d.span.start, d.span.end))
    return Output(selections=_merged(chosen), declined=declined)


def _check_spans(request: Input) -> None:
    for mention in request.mentions:
        if request.text[mention.start : mention.end] != mention.text:
            raise ToolCallError(
                f"mention {mention.text!r} does not stand at {mention.start}:{mention.end} of the "
                "text; bind `text` and `mentions` to the same document"
            )


async def _judge(
    mentions: Sequence[Found], settings: Settings, context: ToolContext, *, said: str = ""
) -> list[_Judged]:
    """Ask the skill about every mention in one call; `said` is a person's clarification."""
    if not mentions:
        return []
    requests = [_request(mention, settings, context, said) for mention in mentions]
    responses = await context.decide(requests)
    if len(responses) != len(requests):
        raise ToolCallError(f"asked {len(requests)} questions, got {len(responses)} answers")
    return [
        _ranked(mention, response, settings)
        for mention, response in zip(mentions, responses, strict=True)
    ]


def _request(mention: Found, settings: Settings, context: ToolContext, said: str) -> DecideRequest:
    text = mention.context or mention.text
    return context.contract.request(
        {"text": f"{text} {said}".strip(), "mention": mention.text},
        [{"title": c.title} for c in mention.candidates[: settings.candidates]],
    )


def _ranked(mention: Found, response: DecideResponse, settings: Settings) -> _Judged:
    candidates = mention.candidates[: settings.candidates]
    if len(response.scores) != len(candidates):
        raise ToolCallError(
            f"{len(candidates)} candidates for {mention.text!r}, {len(response.scores)} scores"
        )
    pairs = [
        (candidate, settings.mean(score, candidate.score))
        for candidate, score in zip(candidates, response.scores, strict=True)
    ]
    pairs.sort(key=lambda pair: (-pair[1], -pair[0].score, pair[0].code))
    fits = settings.fits(response.scores)
    return _Judged(mention, pairs, fits and _tied(pairs, settings), fits)


def _unit(score: float) -> float:
    return min(1.0, max(0.0, score))


def _tied(pairs: Sequence[tuple[Candidate, float]], settings: Settings) -> bool:
    """Whether another candidate could as well be meant: likely itself, and close to the best."""
    best, most = pairs[0]
    for other, likely in pairs[1:]:
        margin = settings.tie_margin_kin if other.code[:3] == best.code[:3] else settings.tie_margin
        if likely >= settings.threshold and most - likely <= margin:
            return True
    return False


async def _apply_answer(
    judged: list[_Judged], answer: str, settings: Settings, context: ToolContext
) -> list[_Judged]:
    """Settle the mention that was asked about by what the person said of it."""
    at = _asked_about(judged, answer)
    if at is None:
        return judged
    one = judged[at]
    pairs = _named(one, answer)
    if pairs is None:
        # context and answer together, judged anew
        [again] = await _judge([one.mention], settings, context, said=answer)
        settled = replace(again, settled=True)
    else:
        settled = _Judged(one.mention, pairs, ties=False, settled=True)
    return [*judged[:at], settled, *judged[at + 1 :]]


def _asked_about(judged: Sequence[_Judged], answer: str) -> int | None:
    """The mention an answer is about: the first tied one, else the one whose words it shares."""
    if not judged:
        return None
    for at, one in enumerate(judged):
        if one.ties:
            return at
    said = _words(answer)
    shared = [
        len(said & _words(" ".join([one.mention.text, *(c.title for c, _ in one.ranked)])))
        for one in judged
    ]
    most = max(range(len(judged)), key=lambda i: (shared[i], -judged[i].best))
    return most if shared[most] else None


def _named(one: _Judged, answer: str) -> list[tuple[Candidate, float]] | None:
    """The candidates as an answer names them outright: by code, by words, or none of them."""
    codes = {code.upper().replace(".", "") for code in _CODE.findall(answer)}
    pairs = one.ranked
    if codes:
        hit = [pair for pair in pairs if pair[0].code.replace(".", "") in codes]
        if hit:
            return [(hit[0][0], 1.0), *(pair for pair in pairs if pair is not hit[0])]
    if _NONE.search(answer):
        return [(candidate, 0.0) for candidate, _ in pairs]
    said = _words(answer)
    likely = [pair for pair in pairs if pair[1] >= 0.5 * one.best]
    titles = [_words(candidate.title) for candidate, _ in likely]
    common = set.intersection(*titles) if titles else set()
    told = [len(said & (words - common)) for words in titles]
    most = max(told, default=0)
    if most and told.count(most) == 1:
        first = likely[told.index(most)]
        return [(first[0], 1.0), *(pair for pair in pairs if pair is not first)]
    return None


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text.lower()))


def _span(mention: Found) -> Span:
    return Span(start=mention.start, end=mention.end, text=mention.text)


def _decline(mention: Found) -> Declined:
    reason = _DECLINED.get(mention.assertion, "the search found no candidate code")
    return Declined(text=mention.text, span=_span(mention), reason=reason)


def _selection(one: _Judged, settings: Settings) -> Selection:
    candidate, likely = one.ranked[0]
    second = one.ranked[1] if len(one.ranked) > 1 else None
    # What a person named outright is no guess.
    sure = 1.0 if one.settled and likely == 1.0 else settings.confidence(likely)
    return Selection(
        code=candidate.code,
        title=candidate.title,
        confidence=round(sure, 4),
        level=settings.marks.level(likely),
        evidence=_span(one.mention),
        assertion=one.mention.assertion,
        runner_up=None
        if second is None
        else RunnerUp(
            code=second[0].code,
            title=second[0].title,
            confidence=round(settings.confidence(second[1]), 4),
        ),
        ties=one.ties,
    )


def _merged(chosen: Sequence[Selection]) -> list[Selection]:
    """One selection a code: its surest mention leads, every span is kept."""
    groups: dict[str, list[Selection]] = {}
    for selection in chosen:
        groups.setdefault(selection.code, []).append(selection)
    merged = []
    for group in groups.values():
        lead = max(group, key=lambda s: (not s.ties, s.confidence, -s.evidence.start))
        rest = sorted((s.evidence for s in group if s is not lead), key=lambda e: e.start)
        merged.append(lead.model_copy(update={"more_evidence": rest}))
    return sorted(merged, key=lambda s: s.evidence.start)
