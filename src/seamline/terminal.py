"""Text that somebody else wrote, made fit for a terminal."""

from __future__ import annotations

import unicodedata

__all__ = ["cut", "plain"]


def plain(text: str) -> str:
    """A text without what a terminal would obey: control and direction characters.

    Documents, models and servers may send them. Lines stay lines.
    """
    return text if text.isprintable() else "".join(map(_shown, text))


def cut(text: str, width: int = 60) -> str:
    """A text on one line, at most `width` characters of it, all of it where `width` is 0."""
    line = plain(text).replace("\n", " ")
    return line if not width or len(line) <= width else line[: width - 1] + "…"


def _shown(char: str) -> str:
    if char.isprintable() or char == "\n":
        return char
    # Direction marks, joiners and soft hyphens take no room, so a space would part a word.
    return "" if unicodedata.category(char) == "Cf" else " "
