"""A skill's card, README.md of its folder: written by packaging, but for its notes."""

from __future__ import annotations

import re
from importlib import resources

from jinja2 import StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from seamline.models.bases import BaseSpec
from seamline.models.making import Made
from seamline.models.recipes import Recipe
from seamline.models.skills import Calibration, SkillSpec

__all__ = ["is_packaged", "render_card"]

_WRITTEN = "<!-- Written by packaging; what stands between the marks of the notes is kept. -->"
_NOTES = re.compile(r"(?s)<!-- notes -->\n(.*?)<!-- end of notes -->")


def is_packaged(card: str) -> bool:
    """Whether a card was written by packaging, and may be written again."""
    return _WRITTEN in card


def render_card(
    spec: SkillSpec,
    recipe: Recipe,
    base: BaseSpec,
    *,
    made: Made,
    numbers: str,
    size: int,
    before: str,
) -> str:
    """The card as Markdown.

    Args:
        spec: What was packaged.
        recipe: Its sources, settings and limits.
        base: The base with its licence.
        made: What training and calibration reported.
        numbers: The part of the card that tells its evaluation.
        size: Bytes of the adapter.
        before: The card of before, whose notes are kept.
    """
    notes = _NOTES.search(before)
    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters["cell"] = _cell
    template = resources.files("seamline.models").joinpath("card.md.jinja")
    return environment.from_string(template.read_text(encoding="utf-8")).render(
        written=_WRITTEN,
        spec=spec,
        recipe=recipe,
        base=base,
        made=made,
        numbers=numbers,
        calibrated=spec.calibration != Calibration(),
        megabytes=f"{size / 1e6:.1f}",
        notes=notes.group(1) if notes else "",
    )


def _cell(value: object) -> str:
    """A value inside a Markdown table: on one line, its bars escaped."""
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    return " ".join(text.replace("|", "\\|").split())
