"""Training rows of `nda_entailment` 0.3.0: those of 0.1.0, whose `data.py` says how, all of them.

Passages and wordings are drawn twice, so that most statements of an agreement are read in other
words and beside other sentences. The agreements held out are those of the first draw, and their
rows are drawn once.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from seamline.loading import load_module

__all__ = ["build"]

DRAWS = 2
ALL = 2.0
"""A `scale` of 0.1.0 that takes every row of a draw."""

_earlier = load_module(Path(__file__).parents[1] / "0.1.0" / "data.py")

Row = dict[str, Any]


def build(data: Path, *, seed: int = 7, scale: float = 1.0) -> Iterator[Row]:
    """Training rows from `data/contracts/contractnli_train.jsonl`; the same seed, the same rows.

    Raises:
        FileNotFoundError: The file is missing.
        ValueError: A statement of the file fits no topic of `statements.yaml`.
    """
    first, *further = (
        list(_earlier.build(data, seed=seed + draw, scale=ALL * scale)) for draw in range(DRAWS)
    )
    yield from first
    held = {row["group"] for row in first if row["split"] == "valid"}
    for rows in further:
        yield from (row | {"split": "train"} for row in rows if row["group"] not in held)
