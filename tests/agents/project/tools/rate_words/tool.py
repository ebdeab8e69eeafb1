"""Rates words: `sure` unless a word is ambiguous and nobody has said which is meant."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from seamline.errors import ToolCallError
from seamline.tools.contract import FactValue, ToolContext, ToolInput, ToolOutput


class Rating(BaseModel):
    model_config = ConfigDict(frozen=True)

    word: str
    level: str
    flagged: bool = False
    reason: str = ""


class Input(ToolInput):
    words: tuple[str, ...]
    preferred: str | None = None


class Output(ToolOutput):
    ratings: tuple[Rating, ...]

    def facts(self) -> dict[str, FactValue]:
        return {"words rated": len(self.ratings)}


async def run(given: Input, context: ToolContext) -> Output:
    if "breakdown" in given.words:
        raise ToolCallError("rate_words cannot rate 'breakdown'; leave it out")
    return Output(
        ratings=tuple(
            Rating(word=word, level=_level(word, given.preferred)) for word in given.words
        )
    )


def _level(word: str, preferred: str | None) -> str:
    if word == "spring" and preferred is None:
        return "ambiguous"
    return "unsure" if word.endswith("ish") else "sure"
