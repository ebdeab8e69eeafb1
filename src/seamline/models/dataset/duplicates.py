"""Rows that say the same twice: exactly, nearly, or with another answer."""

from __future__ import annotations

import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seamline.errors import ConfigError
from seamline.models.dataset.cleaning import Outcome
from seamline.models.dataset.rows import Record, answer, comparable, prompt_text

__all__ = [
    "NearIndex",
    "Tick",
    "exact_duplicates",
    "near_duplicates",
    "resolve_contradictions",
    "shingles",
    "similarity",
]

Tick = Callable[[int, int, str], None]
Shingles = NDArray[np.uint32]

_PERMUTATIONS = 128
_CHARACTERS = 5


def exact_duplicates(records: Sequence[Record]) -> Outcome:
    """Keeps the first of rows whose prompt and answer are the same to `comparable`."""
    seen: set[tuple[str, tuple[str, ...]]] = set()
    kept, dropped = [], []
    for record in records:
        key = comparable(prompt_text(record.row)), answer(record.row)
        if key in seen:
            dropped.append((record, "same text and answer"))
        else:
            seen.add(key)
            kept.append(record)
    return Outcome(kept, dropped)


def resolve_contradictions(records: Sequence[Record], action: str) -> Outcome:
    """Drops every row whose prompt stands elsewhere with another answer.

    Which of them is right nobody can say from the rows, so none is kept.

    Raises:
        ConfigError: There are some, and `action` is `error`.
    """
    answers: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    keys = [comparable(prompt_text(record.row)) for record in records]
    for key, record in zip(keys, records, strict=True):
        answers[key].add(answer(record.row))
    kept, dropped = [], []
    for key, record in zip(keys, records, strict=True):
        if len(answers[key]) > 1:
            dropped.append((record, "same text, another answer"))
        else:
            kept.append(record)
    if dropped and action == "error":
        names = ", ".join(record.name for record, _ in dropped[:6])
        raise ConfigError(
            f"{len(dropped)} rows have the text of another row and another answer: {names}; "
            "correct them, or set data.contradictions: drop"
        )
    return Outcome(kept, dropped)


def near_duplicates(records: Sequence[Record], threshold: float, tick: Tick) -> Outcome:
    """Drops a row that is nearly a row before it with the same answer.

    Near rows with different answers are kept and counted: a small change that turns the
    answer is what a skill should learn.
    """
    index = NearIndex(threshold)
    kept: list[Record] = []
    dropped: list[tuple[Record, str]] = []
    turned = 0
    for at, record in enumerate(records):
        tick(at, len(records), "near-duplicates")
        text = comparable(prompt_text(record.row))
        near = index.near(text)
        if any(answer(kept[found].row) == answer(record.row) for found in near):
            dropped.append((record, f"similarity of {threshold:g} or more"))
            continue
        turned += bool(near)
        index.add(len(kept), text)
        kept.append(record)
    noticed = Counter({"near, but another answer (kept)": turned}) if turned else None
    return Outcome(kept, dropped, noticed=noticed)


def shingles(text: str) -> Shingles:
    """The distinct character 5-grams of a text, hashed; a shorter text is one of its own."""
    last = max(1, len(text) - _CHARACTERS + 1)
    grams = {text[at : at + _CHARACTERS] for at in range(last)}
    hashed = [zlib.crc32(gram.encode("utf-8", "surrogatepass")) for gram in grams]
    return np.unique(np.asarray(hashed, dtype=np.uint32))


def similarity(a: Shingles, b: Shingles) -> float:
    """Jaccard similarity: shared shingles by all shingles."""
    shared = len(np.intersect1d(a, b, assume_unique=True))
    return shared / (len(a) + len(b) - shared)


class NearIndex:
    """Texts that are found again by a near one.

    MinHash LSH proposes, the exact Jaccard similarity decides: what is found is near, and a
    pair just above the threshold may be missed.
    """

    def __init__(self, threshold: float) -> None:
        """An empty index.

        Raises:
            ConfigError: datasketch is not installed.
        """
        try:
            import datasketch
        except ImportError as error:
            raise ConfigError(
                "near-duplicates need datasketch, which is not installed: "
                "pip install -c constraints.txt 'seamline[train]'"
            ) from error
        self._hash: Any = datasketch.MinHash
        self._threshold = threshold
        # Missing a pair is worse than comparing one in vain, which costs microseconds. Near 1
        # the library finds no banding.
        self._lsh: Any = datasketch.MinHashLSH(
            threshold=min(threshold, 0.9), num_perm=_PERMUTATIONS, weights=(0.1, 0.9)
        )
        self._held: dict[int, Shingles] = {}
        self._last: tuple[str, Shingles, Any] | None = None

    def near(self, text: str) -> list[int]:
        """The keys of the texts whose similarity reaches the threshold, in order."""
        own, sketch = self._sketch(text)
        return sorted(
            key
            for key in self._lsh.query(sketch)
            if similarity(own, self._held[key]) >= self._threshold
        )

    def add(self, key: int, text: str) -> None:
        """Take in a text under a key that is not taken."""
        own, sketch = self._sketch(text)
        self._held[key] = own
        self._lsh.insert(key, sketch)

    def _sketch(self, text: str) -> tuple[Shingles, Any]:
        # A text is mostly looked for and then added.
        if self._last is None or self._last[0] != text:
            own = shingles(text)
            sketch = self._hash(num_perm=_PERMUTATIONS, seed=1, hashfunc=int)
            sketch.update_batch(own)
            self._last = text, own, sketch
        return self._last[1], self._last[2]
