"""A tool's context for tests; `scores` stands for its skill."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from seamline.errors import ToolError
from seamline.models.contracts import SkillContract
from seamline.models.protocol import DecideRequest, DecideResponse
from seamline.models.skills import Marks
from seamline.tools import ToolSpec

Scores = Callable[[DecideRequest], Sequence[float]]
SELECT = SkillContract(
    read="branches",
    context="Text: {{ text }}\nMention: {{ mention }}\n",
    choice="{{ title }}",
    frames={"options": "Code: {text}\nIs this the right code?"},
)


class Context:
    """What a tool gets to touch; `scores` stands for its skill."""

    def __init__(self, spec: ToolSpec, cache_dir: Path, scores: Scores | None = None) -> None:
        self.spec = spec
        self.cache_dir = cache_dir
        self.asked: list[DecideRequest] = []
        self.told: list[tuple[int, int, str]] = []
        self.marks = Marks(threshold=0.35, low=0.6, high=0.85)
        self._scores = scores

    @property
    def contract(self) -> SkillContract:
        if self._scores is None:
            raise ToolError("no skill")
        return SELECT

    async def decide(self, requests: Sequence[DecideRequest]) -> list[DecideResponse]:
        assert self._scores is not None
        self.asked.extend(requests)
        return [DecideResponse(scores=tuple(self._scores(request))) for request in requests]

    def progress(self, done: int, total: int, what: str) -> None:
        self.told.append((done, total, what))
