"""Finds the passage of an agreement that a statement is about; training rows go through it too."""

from __future__ import annotations

import re
from collections.abc import Sequence

from seamline.models.retrieval import Retriever
from seamline.tools.text import normalise

__all__ = ["Sentences", "model_text"]

READ_WORDS = 220
READ_CHARS = 1_800
MOST = 6
STEM = 5
LEAST_WORDS = 4
"""Shorter ones are headings and marks, which are about a statement and say nothing of it."""

_WORD = re.compile(r"[^\W\d_]{3,}")


class Sentences:
    """The sentences of one agreement, found by the stems of their words with BM25."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._words = [len(text.split()) for text in texts]
        self._index = Retriever([_stems(text) for text in texts])

    def passage(self, query: str, words: int) -> list[int]:
        """The best sentences for a query, best first: at most 6, and `words` words in all.

        One that does not fit is skipped; only the best may be longer by itself.
        """
        chosen: list[int] = []
        for at in self._index.nearest(_stems(query), len(self._words)):
            if len(chosen) == MOST:
                break
            if self._words[at] < LEAST_WORDS:
                continue
            if chosen and sum(self._words[i] for i in chosen) + self._words[at] > words:
                continue
            chosen.append(at)
        return chosen


def model_text(sentences: Sequence[str]) -> str:
    """What the skill reads of a passage: its sentences on one line, at most 220 words."""
    words = normalise(" ".join(sentences)).split(" ")[:READ_WORDS]
    return " ".join(words)[:READ_CHARS].rstrip()


def _stems(text: str) -> str:
    """First letters of words, so that "share", "shared" and "sharing" are one."""
    return " ".join(word[:STEM] for word in _WORD.findall(text.casefold()))
