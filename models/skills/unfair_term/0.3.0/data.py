"""Training rows of `unfair_term` 0.3.0: sentences of terms of service, with their unfair types.

Those of 0.1.0, whose `data.py` says what a tag means, but every fair sentence; and sentences that
a language model wrote for this skill (`written.yaml`), because rare types had fewer than thirty.
Of the documents held out every sentence is kept too, because a threshold is right only for the
share of unfair sentences that it was fitted on.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from seamline.loading import load_module

__all__ = ["build", "written"]

_HERE = Path(__file__).resolve().parent
_earlier = load_module(_HERE.parent / "0.1.0" / "data.py")

Row = dict[str, Any]


def build(data: Path, *, seed: int = 7, scale: float = 1.0) -> Iterator[Row]:
    """Training rows from `data/contracts/unfair_tos_train.jsonl` and from `written.yaml`.

    The same seed gives the same rows; `scale` takes a share of those to train on.

    Raises:
        FileNotFoundError: The file is missing.
    """
    found = [row for row, _ in _earlier.sentences(data / "contracts" / "unfair_tos_train.jsonl")]
    held = _earlier.held_out(sorted({row["group"] for row in found}), seed)
    trained = written()
    for row in found:
        if row["group"] in held:
            yield {**row, "split": "valid"}
        else:
            trained.append(row)
    random.Random(seed).shuffle(trained)
    for row in trained[: round(len(trained) * scale)]:
        yield {**row, "split": "train"}


def written() -> list[Row]:
    """The written sentences, each a document of its own."""
    told = yaml.safe_load((_HERE / "written.yaml").read_text(encoding="utf-8"))
    return [
        {"context": {"text": one["text"]}, "labels": one["labels"], "group": f"written {number}"}
        for number, one in enumerate(told)
    ]
