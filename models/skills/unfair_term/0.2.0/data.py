"""Training rows of `unfair_term` 0.2.0: sentences of terms of service, with their unfair types.

Rows are those of 0.1.0, whose `data.py` says what a tag means, but for how many are fair: of the
documents that are trained on four for each unfair one, of those held out every sentence, because
a threshold is right only for the share of unfair sentences that it was fitted on.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from seamline.loading import load_module

__all__ = ["FAIR_FOR_ONE", "build"]

FAIR_FOR_ONE = 4.0

_earlier = load_module(Path(__file__).parents[1] / "0.1.0" / "data.py")

Row = dict[str, Any]


def build(data: Path, *, seed: int = 7, scale: float = 1.0) -> Iterator[Row]:
    """Training rows from `data/contracts/unfair_tos_train.jsonl`; the same seed, the same rows.

    `scale` takes a share of the unfair sentences to train on, and of the fair ones with them.

    Raises:
        FileNotFoundError: The file is missing.
    """
    rng = random.Random(seed)
    rows = list(_earlier.sentences(data / "contracts" / "unfair_tos_train.jsonl"))
    held = _earlier.held_out(sorted({row["group"] for row, _ in rows}), seed)
    trained: dict[str, list[Row]] = {"unfair": [], "near": [], "fair": [], "short": []}
    for row, what in rows:
        if row["group"] in held:
            yield {**row, "split": "valid"}
        else:
            trained[what].append({**row, "split": "train"})
    for what in ("unfair", "fair", "short"):
        rng.shuffle(trained[what])
    unfair = trained["unfair"][: round(len(trained["unfair"]) * scale)]
    wanted = round(FAIR_FOR_ONE * len(unfair))
    headings = trained["short"][: round(_earlier.SHORT_SHARE * wanted)]
    chosen = unfair + (trained["near"] + headings + trained["fair"])[:wanted]
    rng.shuffle(chosen)
    yield from chosen
