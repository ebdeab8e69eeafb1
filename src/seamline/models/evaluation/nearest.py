"""The training rows nearest to a text, by BM25: the examples of a few-shot prompt."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from scipy import sparse

__all__ = ["Nearest"]

_K1, _B = 1.5, 0.75
_WORD = re.compile(r"\w+")


class Nearest:
    """An index of texts by their words.

    BM25 after Robertson and Zaragoza 2009, with the idf `ln(1 + (N - n + 0.5) / (n + 0.5))`,
    k1 1.5 and b 0.75.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        counts = [Counter(_words(text)) for text in texts]
        self._ids = {word: i for i, word in enumerate(sorted(set().union(*counts)))}
        lengths = np.array([sum(count.values()) for count in counts], dtype=np.float64)
        mean = float(lengths.mean()) if lengths.size and lengths.any() else 1.0
        rows = np.repeat(np.arange(len(counts)), [len(count) for count in counts])
        columns = np.array([self._ids[word] for count in counts for word in count], dtype=np.int64)
        times = np.array([n for count in counts for n in count.values()], dtype=np.float64)
        holding = np.bincount(columns, minlength=len(self._ids))
        idf = np.log(1 + (len(counts) - holding + 0.5) / (holding + 0.5))
        norm = _K1 * (1 - _B + _B * lengths[rows] / mean)
        weights = idf[columns] * times * (_K1 + 1) / (times + norm)
        shape = (len(counts), len(self._ids))
        self._weights = sparse.csc_matrix((weights, (rows, columns)), shape=shape)

    def nearest(self, text: str, k: int) -> list[int]:
        """At most `k` indices, best first, equal ones by index; none that shares no word."""
        known = sorted({self._ids[word] for word in _words(text) if word in self._ids})
        if not known:
            return []
        scores = np.asarray(self._weights[:, known].sum(axis=1)).ravel()
        best = np.argsort(-scores, kind="stable")[:k]
        return [int(i) for i in best if scores[i] > 0]


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())
