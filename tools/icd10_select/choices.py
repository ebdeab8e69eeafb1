"""Candidates of the search as the skill reads them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

__all__ = ["told"]


class Found(Protocol):
    """A candidate of `icd10_search`; `score` is in 0..1."""

    @property
    def title(self) -> str: ...

    @property
    def score(self) -> float: ...


def told(candidates: Iterable[Found]) -> list[dict[str, str]]:
    """The variables of each choice, in the order of the search.

    `place` is its rank from 1 and its likeness in tenths: `1/8`.
    """
    return [
        {"title": one.title, "place": f"{rank}/{round(10 * one.score)}"}
        for rank, one in enumerate(candidates, start=1)
    ]
