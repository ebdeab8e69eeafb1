"""The seam: what a tool is, typed both ways.

A tool folder holds `tool.yaml` (declaration) and `tool.py` with `Input`, `Output` and
`async def run(input, context) -> Output`; and with `Settings`, where `tool.yaml` sets anything.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from seamline.models.contracts import SkillContract
from seamline.models.protocol import DecideRequest, DecideResponse
from seamline.models.skills import Marks
from seamline.texts import is_whole
from seamline.tools.plain import NOT_WHOLE

__all__ = [
    "FactValue",
    "PartialOutput",
    "Review",
    "ReviewItem",
    "ReviewedOutput",
    "ToolContext",
    "ToolInput",
    "ToolOutput",
    "ToolSettings",
    "ToolSpec",
]

FactValue = str | int | float | bool
ToolKind = Literal["skill", "function", "retrieval", "http", "mcp"]


class ToolSpec(BaseModel):
    """`tool.yaml`: what a policy may know of a tool, and how it may be run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")
    version: str = "0.1.0"
    kind: ToolKind
    description: str = Field(min_length=10)
    skill: str | None = None
    side_effects: bool = False
    timeout_s: float = Field(default=60.0, gt=0)
    settings: Mapping[str, Any] = Field(default_factory=dict)


class ToolSettings(BaseModel):
    """Base of a tool's `Settings`: what `settings` in its `tool.yaml` may say.

    A mistyped one is told when the tool is loaded, so also by `seamline check`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def of(cls, spec: ToolSpec) -> Self:
        """The settings that a tool declares."""
        return cls.model_validate(dict(spec.settings))


class ToolInput(BaseModel):
    """Base of a tool's `Input`."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ToolOutput(BaseModel):
    """Base of a tool's `Output`; `facts()` is what policies get to see of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def facts(self) -> dict[str, FactValue]:
        """Short facts for the state that policies read, e.g. `{"mentions found": 12}`."""
        return {}


class PartialOutput(ToolOutput):
    """Base of an `Output` that holds what a tool had done when the run's budget was used up.

    A tool that catches the `BudgetExceededError` of `context.decide` gives one, and the run ends
    as `budget_exceeded` with it.

    Attributes:
        stopped: What was left undone, after the tool's name: "stopped at 64 of 600 clauses";
            empty where nothing was.
    """

    stopped: str = ""


class ReviewItem(BaseModel):
    """One thing a review policy judges, by its facts alone; equal facts are judged once.

    `about` is for people: what a question's `say` may name besides the facts (the words of
    the document, the alternatives). It never enters a policy prompt. No name stands in both.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    facts: dict[str, FactValue]
    about: dict[str, FactValue] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _can_be_said(self) -> Self:
        both = [repr(name) for name in self.about if name in self.facts]
        if both:
            raise ValueError(
                f"item {self.key!r} has {', '.join(both)} in both `facts` and `about`, and a "
                "question could show only one of them; give it another name in `about`"
            )
        for name, value in (*self.facts.items(), *self.about.items()):
            if not is_whole(f"{name}{value}"):
                raise ValueError(f"item {self.key!r}, {name!r}: {NOT_WHOLE}")
        return self


class Review(BaseModel):
    """What a review policy said of one item: its choice and the reason it gives."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    choice: str
    reason: str = ""


class ReviewedOutput(ToolOutput, ABC):
    """An output that can serve as an agent's result."""

    @abstractmethod
    def review_items(self) -> list[ReviewItem]:
        """What the review policy is asked about."""

    @abstractmethod
    def reviewed(self, reviews: Mapping[str, Review]) -> Self:
        """The output with the reviews applied: flagged, declined or accepted items."""


class ToolContext(Protocol):
    """What a running tool may touch; nothing else reaches a model, a clock or a network."""

    @property
    def spec(self) -> ToolSpec:
        """The tool's own declaration."""
        ...

    @property
    def cache_dir(self) -> Path:
        """A folder to keep what can be made again."""
        ...

    @property
    def contract(self) -> SkillContract:
        """The prompt contract of the tool's skill. Raises `ToolError` where it has none."""
        ...

    @property
    def marks(self) -> Marks:
        """How the scores of the tool's skill are read. Raises `ToolError` where it has none."""
        ...

    async def decide(self, requests: Sequence[DecideRequest]) -> list[DecideResponse]:
        """Ask the tool's own skill; recorded as one model effect.

        Raises `BudgetExceededError` where the run has nothing left for it.
        """
        ...

    def progress(self, done: int, total: int, what: str) -> None:
        """Tell a waiting person how far the tool is."""
        ...
