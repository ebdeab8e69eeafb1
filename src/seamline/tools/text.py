"""What tools do to running text before a skill reads it: one line, and its sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

__all__ = ["lead_in", "normalise", "sentences"]

_STRAIGHT = str.maketrans(
    {
        "\u2018": "'",
        "\u2019": "'",
        "\u201c": '"',
        "\u201d": '"',
        "\u2013": "-",
        "\u2014": "-",
        "\u00a0": " ",
        "\u200b": None,
        "\ufeff": None,
        "\u00ad": None,
    }
)
_BLANKS = re.compile(r"[_.*=\-\u2026]{4,}|\[\s?\*+\s?\]|\[_+\]")
_OPENING = "\"'\u2018\u201c(\\["
_CLOSING = "\"'\u2019\u201d)\\]"
_MARK = r"(?:\(?[a-zA-Z0-9]{1,4}\)|[a-z0-9]{1,2}\.|\d{1,2}(?:\.\d{1,2}){1,3}\.?|[-*\u2022\u00b7])"
_BREAK = re.compile(
    rf"(?:(?<=[.!?])|(?<=[.!?][{_CLOSING}]))\s+(?=[{_OPENING}]{{0,2}}[A-Z0-9])"
    rf"|(?:(?<=[;:,])|(?<=; and)|(?<=; or))\s+(?={_MARK}\s)"
    r"|(?<![ \t])[ \t]*\r?\n(?:\s*\n|[ \t]*(?=[^a-z\s]))\s*"
    rf"|(?<![ \t])[ \t]*\r?\n[ \t]*(?={_MARK}\s)"
    r"|(?<=[.;:!?])[ \t]*\r?\n\s*"
)
_ABBREVIATED = re.compile(
    r"(?:^|[\s(])(?:Inc|Ltd|Co|Corp|Nos?|Sec|Art|Mr|Mrs|Ms|Dr|St|vs?|Jr|Sr|e\.g|i\.e|cf|al|pp"
    r"|[A-Z](?:\.[A-Z]){0,3}|\d{1,2}(?:\.\d{1,2}){0,3}|[a-z])\.$"
)
_MARKED = re.compile(rf"{_MARK}\s+(?=[a-z])|[a-z]{{1,4}}[.)]\s")
_ITEM = re.compile(rf"{_MARKED.pattern}|[a-z]")
_BARE = re.compile(rf"\W*(?:{_MARK}|[ivxlc]{{1,5}}[.)])\W*")
_OPENED = re.compile(r":(?:\s*\S{1,8})?$")
_LEAD_WORDS = 24
_LEAD_WITHIN = 12


def normalise(text: str) -> str:
    """The text on one line: single spaces, straight quotes, blanks and redactions as `[*]`."""
    return " ".join(_BLANKS.sub(" [*] ", text.translate(_STRAIGHT)).split())


def sentences(text: str, start: int = 0, end: int | None = None) -> Iterator[tuple[int, int]]:
    """The places of the sentences and list items of `text[start:end]`, without their margins.

    A line that goes on in lower case ends no sentence, unless punctuation does.
    """
    stop = len(text) if end is None else end
    first = start
    for match in _BREAK.finditer(text, start, stop):
        last = match.start()
        if "\n" not in match.group() and _ABBREVIATED.search(text[max(first, last - 16) : last]):
            continue
        yield from _trimmed(text, first, last)
        first = match.end()
    yield from _trimmed(text, first, stop)


def lead_in(before: Sequence[str], sentence: str) -> str:
    """The words that open the list which `sentence` is an item of; empty where it is none.

    Args:
        before: The sentences before it, in order.
        sentence: An item starts in lower case. It stands behind a mark; without one, directly
            behind the opening words or another item.
    """
    if not _ITEM.match(sentence):
        return ""
    marked = _MARKED.match(sentence) or (before and _BARE.fullmatch(before[-1]))
    for text in reversed(before[-_LEAD_WITHIN:]):
        if _OPENED.search(text.rstrip()):
            return " ".join(text.split()[-_LEAD_WORDS:])
        if not (marked or _ITEM.match(text) or _BARE.fullmatch(text)):
            return ""
    return ""


def _trimmed(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    kept = text[start:end]
    first = start + len(kept) - len(kept.lstrip())
    last = first + len(kept.strip())
    if first < last:
        yield first, last
