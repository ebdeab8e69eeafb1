"""Makes the result of the rated words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from seamline.tools.contract import (
    FactValue,
    Review,
    ReviewedOutput,
    ReviewItem,
    ToolContext,
    ToolInput,
)


class Input(ToolInput):
    ratings: tuple[dict[str, Any], ...]
    unit: str = ""


class Output(ReviewedOutput):
    words: tuple[dict[str, Any], ...]
    declined: tuple[str, ...] = ()

    def facts(self) -> dict[str, FactValue]:
        return {"words listed": len(self.words)}

    def review_items(self) -> list[ReviewItem]:
        return [
            ReviewItem(key=str(at), facts={"level": word["level"]})
            for at, word in enumerate(self.words)
        ]

    def reviewed(self, reviews: Mapping[str, Review]) -> Self:
        kept, declined = [], []
        for at, word in enumerate(self.words):
            review = reviews[str(at)]
            if review.choice == "decline":
                declined.append(word["word"])
                continue
            flagged = review.choice == "flag"
            kept.append({**word, "flagged": flagged, "reason": review.reason if flagged else ""})
        return self.model_copy(update={"words": tuple(kept), "declined": tuple(declined)})


async def run(given: Input, context: ToolContext) -> Output:
    return Output(words=given.ratings)
