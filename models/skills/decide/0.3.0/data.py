"""Training rows of `decide` 0.3.0: more than twice as many worlds as 0.2.0 had.

What a world is, the `data.py` of 0.2.0 says. Beside them stands a part of what 0.1.0 learned
from; one world in twenty-five is held out.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import yaml

from seamline.loading import load_module

__all__ = ["build", "rows_of", "worlds"]

REHEARSED = 0.25
"""Rows of the generator of 0.1.0 for each row of a world, so that nothing is unlearned."""

HELD_OUT = 0.04
"""Of the worlds, those that are not trained on, to measure by.

One in seven worlds shares its states with another, under other instructions, and the two may
stand on both sides.
"""

WORLDS = Path(__file__).with_name("worlds")
_HERE = Path(__file__).parent
_first = load_module(_HERE.parent / "0.1.0" / "data.py")
_earlier = load_module(_HERE.parent / "0.2.0" / "data.py")
domain_words_in = _first.domain_words_in
row_text = _first.row_text
rows_of = _earlier.rows_of


def worlds() -> Iterator[dict[str, Any]]:
    """Every world, file by file: those of 0.2.0, then those of this version."""
    own = (
        yaml.safe_load(file.read_text(encoding="utf-8")) for file in sorted(WORLDS.glob("*.yaml"))
    )
    yield from chain(_earlier.worlds(), *own)


def build(data: Path, *, seed: int, scale: float = 1.0) -> Iterator[dict[str, Any]]:
    """The training rows, the same ones for the same seed; those with domain wording left out.

    Args:
        data: The folder of outside data (`tooluse/`, `guardrails/`).
        seed: Decides every random choice.
        scale: The share of the worlds that is taken.
    """
    dice = random.Random(f"{seed} worlds")
    known = list(worlds())
    dice.shuffle(known)
    taken = known[: max(1, round(len(known) * scale))]
    held = round(len(taken) * HELD_OUT)
    rows = [row for world in taken[held:] for row in _rows(world, dice)]
    rehearsed = (row for row in _first.build(data, seed=seed, scale=1.0) if row["stage"] == 2)
    rows += [row | {"stage": 1} for row in islice(rehearsed, round(len(rows) * REHEARSED))]
    dice.shuffle(rows)
    yield from (row | {"split": "train"} for row in rows)
    yield from (row | {"split": "valid"} for world in taken[:held] for row in _rows(world, dice))


def _rows(world: dict[str, Any], dice: random.Random) -> list[dict[str, Any]]:
    return [row for row in rows_of(world, dice) if not domain_words_in(row_text(row))]
