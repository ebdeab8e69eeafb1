"""A document in pieces: what one tool splits it into, and what others read piece by piece."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from seamline.tools.contract import ToolInput

__all__ = ["Piece", "PiecesInput"]


class Piece(BaseModel):
    """A stretch of a document, `text[start:end]`, with the nearest heading above or inside it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: int = Field(ge=0)
    end: int = Field(ge=0)
    heading: str = ""


class PiecesInput(ToolInput):
    """A document and its pieces, as `split_clauses` gives them.

    Raises:
        ValueError: A piece lies outside the text; a tool call reports it as `ToolCallError`.
    """

    text: str
    clauses: tuple[Piece, ...]

    @model_validator(mode="after")
    def _inside(self) -> Self:
        size = len(self.text)
        for piece in self.clauses:
            if not piece.start < piece.end <= size:
                raise ValueError(
                    f"clause {piece.start}..{piece.end} is not inside the text of {size} "
                    "characters; give the clauses that `split_clauses` found in this text"
                )
        return self
