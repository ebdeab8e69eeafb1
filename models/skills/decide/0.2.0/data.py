"""Training rows of `decide` 0.2.0: written worlds, and a part of what 0.1.0 learned from.

A world is a few states of one small setting and conditions on them, with one letter a state
that says whether the condition holds; or a set of tools and requests. They were written by
hand, not by templates, so that only reading tells the answer: the same condition is met in
one state and not in the next, and most conditions have a minimal edit beside them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from seamline.loading import load_module

REHEARSED = 0.2
"""Rows of the generator of 0.1.0 for each row of a world, so that nothing is unlearned."""

WORLDS = Path(__file__).with_name("worlds")
_earlier = load_module(Path(__file__).parents[1] / "0.1.0" / "data.py")
domain_words_in = _earlier.domain_words_in
row_text = _earlier.row_text


def worlds() -> Iterator[dict[str, Any]]:
    """Every world, file by file."""
    for file in sorted(WORLDS.glob("*.yaml")):
        yield from yaml.safe_load(file.read_text(encoding="utf-8"))


def rows_of(world: dict[str, Any], dice: random.Random) -> Iterator[dict[str, Any]]:
    """The rows of one world: one a state, or one a request."""
    shared = {"instructions": world["instructions"].strip()}
    for at, state in enumerate(world.get("states", ())):
        branches = [
            {"text": text, "label": int(letters[at] == "y")} for text, letters in world["ask"]
        ]
        dice.shuffle(branches)
        yield shared | {
            "kind": "rules", "source": "worlds", "context": state.strip(), "branches": branches
        }  # fmt: skip
    for request, right in world.get("requests", ()):
        options = [
            {"name": name, "text": text, "label": int(name == right)}
            for name, text in world["options"]
        ]
        dice.shuffle(options)
        yield shared | {
            "kind": "options",
            "source": "requests",
            "context": f"Request: {request.strip()}",
            "branches": options,
        }


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
    rows = [row for world in taken for row in rows_of(world, dice)]
    rows = [row for row in rows if not domain_words_in(row_text(row))]
    earlier = (row for row in _earlier.build(data, seed=seed, scale=0.3) if row["stage"] == 2)
    rows += [row | {"stage": 1} for row in islice(earlier, round(len(rows) * REHEARSED))]
    dice.shuffle(rows)
    yield from rows
