"""What an output says of the text it came from: where a thing stands, and what was left out."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

__all__ = ["Declined", "Span"]


class _Value(BaseModel):
    # Another tool's finding may carry more than the next tool reads.
    model_config = ConfigDict(frozen=True, extra="ignore")


class Span(_Value):
    """A stretch of the input text; offsets count its characters."""

    start: int
    end: int
    text: str


class Declined(_Value):
    """What stands in the text and got no result, and why."""

    text: str
    span: Span
    reason: str
