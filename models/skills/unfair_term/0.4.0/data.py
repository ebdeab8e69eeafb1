"""Training rows of `unfair_term` 0.4.0: those of 0.3.0 without the written sentences."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from seamline.loading import load_module

__all__ = ["build"]

_earlier = load_module(Path(__file__).parents[1] / "0.3.0" / "data.py")


def build(data: Path, *, seed: int = 7, scale: float = 1.0) -> Iterator[dict[str, Any]]:
    """Training rows from `data/contracts/unfair_tos_train.jsonl`; the same seed, the same rows.

    Raises:
        FileNotFoundError: The file is missing.
    """
    rows = _earlier.build(data, seed=seed, scale=scale)
    return (row for row in rows if not row["group"].startswith("written "))
