"""The texts nearest to a text: by their words, and by meaning where an embedder is given."""

from __future__ import annotations

import re
from collections.abc import Sequence

import bm25s
import numpy as np
from numpy.typing import NDArray

from seamline.models.embedders import Embedder

__all__ = ["Retriever"]

_WORD = re.compile(r"\w+")
_RANK = 60  # the constant of Cormack, Clarke and Büttcher 2009


class Retriever:
    """An index of texts.

    Words are compared by BM25 (Robertson and Zaragoza 2009, k1 1.5 and b 0.75, the idf of
    Lucene). With an embedder, reciprocal ranks by words and by meaning are added up.
    """

    def __init__(self, texts: Sequence[str], *, embedder: Embedder | None = None) -> None:
        self._size = len(texts)
        words = [_words(text) for text in texts]
        self._bm25: bm25s.BM25 | None = None
        if any(words):
            self._bm25 = bm25s.BM25(k1=1.5, b=0.75, method="lucene")
            self._bm25.index(words, show_progress=False)
        self._embedder = embedder
        self._vectors = embedder.embed(texts) if embedder is not None and texts else None

    def nearest(self, text: str, k: int) -> list[int]:
        """At most `k` indices, best first, equal ones by index.

        By words alone, none that shares no word.
        """
        words = self._by_words(text)
        if self._embedder is None or self._vectors is None:
            scores = words
        else:
            meaning = self._vectors @ self._embedder.embed([text])[0]
            scores = _reciprocal(words) + _reciprocal(meaning)
        best = np.argsort(-scores, kind="stable")[:k]
        return [int(i) for i in best if scores[i] > 0]

    def _by_words(self, text: str) -> NDArray[np.float64]:
        known = list(dict.fromkeys(_words(text)))
        if self._bm25 is None or not known:
            return np.zeros(self._size)
        return np.asarray(self._bm25.get_scores(known), np.float64)


def _reciprocal(scores: NDArray[np.floating]) -> NDArray[np.float64]:
    """One over the rank of each, shifted; 0 where the score is no better than 0."""
    ranks = np.empty(len(scores))
    ranks[np.argsort(-scores, kind="stable")] = np.arange(1, len(scores) + 1)
    return np.where(scores > 0, 1.0 / (_RANK + ranks), 0.0)


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())
