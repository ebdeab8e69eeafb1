"""Finds long words."""

from __future__ import annotations

from seamline.tools.contract import FactValue, ToolContext, ToolInput, ToolOutput


class Input(ToolInput):
    text: str
    least: int = 4


class Output(ToolOutput):
    words: tuple[str, ...]

    def facts(self) -> dict[str, FactValue]:
        return {"words found": len(self.words)}


async def run(given: Input, context: ToolContext) -> Output:
    words = [word.strip(".,") for word in given.text.split()]
    long = tuple(word for word in words if len(word) >= given.least)
    context.progress(1, 1, "words read")
    return Output(words=long)
