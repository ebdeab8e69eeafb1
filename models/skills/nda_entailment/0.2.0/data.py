"""Training rows of `nda_entailment` 0.2.0: rows that 0.1.0 did not see, each answer as often.

They are drawn as those of 0.1.0, whose `data.py` says how, and begin where its rows ended. Of the
agreements that are trained on, as many rows of each answer are kept as there are contradictions,
which are rare and were missed; of those held out, rows stay as they come.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from seamline.loading import load_module

__all__ = ["build"]

SEEN = 0.5
"""The `scale` of 0.1.0: the share of all rows that it was trained with."""

_earlier = load_module(Path(__file__).parents[1] / "0.1.0" / "data.py")

Row = dict[str, Any]


def build(data: Path, *, seed: int = 7, scale: float = 1.0) -> Iterator[Row]:
    """Training rows from `data/contracts/contractnli_train.jsonl`; the same seed, the same rows.

    Raises:
        FileNotFoundError: The file is missing.
        ValueError: A statement of the file fits no topic of `statements.yaml`.
    """
    rows = list(_earlier.build(data, seed=seed))
    fresh = rows[round(SEEN * _earlier.ROWS) :]
    fresh = fresh[: round(scale * len(fresh))]
    by_answer: dict[str, list[Row]] = defaultdict(list)
    for row in fresh:
        if row["split"] == "valid":
            yield row
        else:
            by_answer[row["labels"][0]].append(row)
    fewest = min(map(len, by_answer.values()), default=0)
    kept = {id(row) for own in by_answer.values() for row in own[:fewest]}
    yield from (row for row in fresh if id(row) in kept)
