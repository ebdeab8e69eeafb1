"""What the skill `unfair_term` reads of a sentence; training rows go through it too."""

from __future__ import annotations

from collections.abc import Sequence

from seamline.tools.text import lead_in, normalise

__all__ = ["model_text"]

READ_WORDS = 110
READ_CHARS = 900


def model_text(sentence: str, before: Sequence[str] = ()) -> str:
    """The sentence on one line, its first 110 words; an item with what opens its list.

    `before` are the sentences before it in the document, in order.
    """
    opened = lead_in(before, sentence)
    line = normalise(f"{opened} {sentence}" if opened else sentence)
    return " ".join(line.split(" ")[:READ_WORDS])[:READ_CHARS].rstrip()
