"""The ICD-10-CM tabular list as a searchable index, built once and cached.

Every title and inclusion term is one *entry*: an L2-normalised TF-IDF vector over words. A
query word also counts, at a discount, for the vocabulary words it resembles by character
3-4-grams (soft cosine: Sidorov et al. 2014, "Soft Similarity and Soft Cosine Measure"), which
serves inflections, compounds and slips of the pen at a fraction of the cost of an n-gram
index over all entries.

Where an embedder is there, likeness in meaning counts too (see `meanings.py`).

The cache is an `.npz` of plain arrays and a JSON of strings, named by the release and the
digest of the code that made it; a damaged one is built again.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from seamline.models.embedders import Embedder

from .build import DISCOUNT, Progress, bare_code, build
from .glossary import Term, glossary
from .meanings import Meanings
from .store import Floats, Tables, load, save
from .terms import WEAK_WORDS, words_of
from .words import grams_of, normalise, opposed

__all__ = ["Hit", "Icd10Index", "Progress", "normalise", "release_name"]

_PACKAGE = "simple_icd_10_cm"
_TOLD = words_of(
    """
    poisoning overdose underdosing toxic adverse encounter screening presence exposure
    """
)
_BY_HEADING = 0.985  # what an entry counts for the leaf that stands for its category
_AFTER = 0.999  # what it counts for the category itself, which so comes right after the leaf
_CONTEXT = 0.3  # what a word of the context counts for, against one of the phrase
_MEANING = 0.65  # the share of meaning in a score, chosen on a tenth of the synonyms' codes
_SIDES = frozenset(("right", "left", "bilateral"))


def _data_folder() -> Path:
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"{_PACKAGE} is not installed; pip install simple-icd-10-cm")
    return Path(next(iter(spec.submodule_search_locations))) / "data"


def release_name() -> str:
    """The release of the installed tables, e.g. `April 2026`, without importing them."""
    for path in sorted(_data_folder().glob("code-list-*.txt")):
        return path.stem.removeprefix("code-list-").replace("-", " ")
    return f"{_PACKAGE} {importlib.metadata.version(_PACKAGE)}"


def _cache_key(synonyms: Sequence[Term]) -> str:
    digest = hashlib.sha256(repr(synonyms).encode())
    for path in sorted(_data_folder().glob("*.*")):
        digest.update(f"{path.name}:{path.stat().st_size};".encode())
    digest.update(importlib.metadata.version(_PACKAGE).encode())
    for name in ("build.py", "glossary.yaml", "meanings.py", "store.py", "terms.py", "words.py"):
        digest.update((Path(__file__).parent / name).read_bytes())
    return digest.hexdigest()[:16]


def _silent(done: int, total: int, what: str) -> None:
    """No progress to tell."""


@dataclass(frozen=True)
class Hit:
    """One candidate code; `score` is the soft cosine of its best entry, in about 0..1."""

    code: str
    title: str
    score: float
    billable: bool


class Icd10Index:
    """Titles and inclusion terms of one ICD-10-CM release, searchable by phrase."""

    def __init__(self, *, release: str, tables: Tables, meanings: Meanings | None = None) -> None:
        self.release = release
        self.meanings = meanings
        self.codes = tables.codes
        self.titles = tables.titles
        self.position = {code: i for i, code in enumerate(self.codes)}
        self._words = {word: i for i, word in enumerate(tables.words)}
        self._word_list = tables.words
        self._grams = {gram: i for i, gram in enumerate(tables.grams)}
        self._a = tables.arrays
        self._unknown: dict[str, list[tuple[int, float]]] = {}
        self._max_idf = float(tables.arrays.idf.max())
        self._own = tables.arrays.target == np.arange(len(self.codes))

    @classmethod
    def open(
        cls,
        cache_dir: Path,
        *,
        synonyms: Sequence[Term] = (),
        embedder: Embedder | None = None,
        progress: Progress | None = None,
    ) -> Icd10Index:
        """The index of the installed release: from the cache, else built and cached.

        Args:
            cache_dir: where indexes are kept, one for every release and set of synonyms.
            synonyms: further terms for codes, next to those of the tool's own glossary.
            embedder: ranks by meaning too; without it, by words alone.
            progress: told how far a build is.

        Raises:
            ModuleNotFoundError: the tables' package is not installed.
        """
        release = release_name()
        stem = f"icd10-{release.replace(' ', '-').lower()}-{_cache_key(synonyms)}"
        arrays_path, strings_path = cache_dir / f"{stem}.npz", cache_dir / f"{stem}.json"
        tables = load(arrays_path, strings_path)
        if tables is None:
            tables = build(progress or _silent, [*glossary(), *synonyms])
            # a read-only or full cache costs the next start a build, not this run its result
            with contextlib.suppress(OSError):
                cache_dir.mkdir(parents=True, exist_ok=True)
                save(tables, arrays_path, strings_path)
        meanings = None
        if embedder is not None:
            terms = [*glossary(), *synonyms]
            meanings = Meanings.open(
                cache_dir / stem, embedder, tables.codes, tables.titles, terms, progress or _silent
            )
        return cls(release=release, tables=tables, meanings=meanings)

    def title(self, code: str) -> str:
        """The official title of a code of this release."""
        return self.titles[self.position[code]]

    def default(self, code: str) -> str | None:
        """The code to propose for `code`: its unspecified leaf, itself, or None if unknown.

        A code with its 7th character leads to the code without it.
        """
        bare = bare_code(code, self.position)
        if bare is None:
            return None
        return self.codes[int(self._a.target[self.position[bare]])]

    def known(self, word: str) -> bool:
        """Whether a normalised word stands in some title or inclusion term."""
        return word in self._words

    def weight(self, word: str) -> float:
        """How telling a normalised word is: its inverse document frequency, framed."""
        i = self._words.get(word)
        base = self._max_idf if i is None else float(self._a.idf[i])
        return base * WEAK_WORDS.get(word, 1.0)

    def queries(
        self, phrases: Sequence[Sequence[str]], contexts: Sequence[Sequence[str]] = ()
    ) -> tuple[sparse.csr_matrix, Floats]:
        """Query vectors of phrases of normalised words, and each phrase's norm.

        Words of a phrase's context count `_CONTEXT` of what they would count in the phrase.
        """
        indptr: list[int] = [0]
        indices: list[int] = []
        values: list[float] = []
        norms: list[float] = []
        for at, phrase in enumerate(phrases):
            shares = dict.fromkeys(phrase, 1.0)
            for word in contexts[at] if contexts else ():
                shares.setdefault(word, _CONTEXT)
            norm = 0.0
            row: dict[int, float] = {}
            for word, share in shares.items():
                weight = self.weight(word) * share
                if weight <= 0.0:
                    continue
                norm += weight * weight if share == 1.0 else 0.0
                for i, similarity in self._look_alikes(word):
                    row[i] = max(row.get(i, 0.0), weight * similarity)
            indices.extend(row)
            values.extend(row.values())
            indptr.append(len(indices))
            norms.append(norm**0.5 or 1.0)
        shape = (len(norms), len(self._words))
        matrix = sparse.csr_matrix(
            (np.array(values, np.float32), np.array(indices, np.int32), np.array(indptr)),
            shape=shape,
        )
        return matrix, np.array(norms, np.float32)

    def _look_alikes(self, word: str) -> list[tuple[int, float]]:
        i = self._words.get(word)
        if i is not None:
            start, end = self._a.similar.indptr[i], self._a.similar.indptr[i + 1]
            columns, values = self._a.similar.indices[start:end], self._a.similar.data[start:end]
            return list(zip(columns.tolist(), values.tolist(), strict=True))
        found = self._unknown.get(word)
        if found is None:
            found = self._unknown[word] = self._guess(word)
        return found

    def _guess(self, word: str) -> list[tuple[int, float]]:
        """Vocabulary words that an unknown word resembles, best first, at most four."""
        if len(word) < 5 or any(c.isdigit() for c in word):
            return []
        counts = Counter(grams_of(word))
        known = [(self._grams[g], n) for g, n in counts.items() if g in self._grams]
        if not known:
            return []
        norm = sum(n * n for n in counts.values()) ** 0.5
        scores = np.zeros(len(self._words), np.float32)
        grams = self._a.grams
        for g, n in known:
            start, end = grams.indptr[g], grams.indptr[g + 1]
            scores[grams.indices[start:end]] += grams.data[start:end] * (n / norm)
        best = np.argsort(-scores)[:6]
        kept = [
            (int(i), float(scores[i]) * DISCOUNT)
            for i in best
            if scores[i] >= 0.5 and not opposed(word, self._word_list[int(i)])
        ]
        return kept[:4]

    def scores(
        self, phrases: Sequence[Sequence[str]], contexts: Sequence[Sequence[str]] = ()
    ) -> sparse.csr_matrix:
        """Soft cosine of every phrase with every entry that shares a word, priors applied."""
        matrix, norms = self.queries(phrases, contexts)
        products = sparse.csr_matrix(matrix @ self._a.vectors)
        rows = np.repeat(np.arange(len(norms)), np.diff(products.indptr))
        told = np.array([bool(_TOLD.intersection(phrase)) for phrase in phrases])
        prior = np.where(told[rows], np.float32(1.0), self._a.prior[products.indices])
        products.data = products.data / norms[rows] * prior
        return products

    def candidates(
        self, text: str, k: int, *, context: str = "", headings: bool = False
    ) -> list[Hit]:
        """The `k` best distinct codes for one phrase; unspecified leaves where it says no more.

        Args:
            text: the phrase.
            k: how many codes at most.
            context: words around the phrase that help to tell what it means and name
                nothing themselves, e.g. the headings over an entry of a pick list.
            headings: give a category that has such a leaf too, right after it.
        """
        return self.candidates_of([normalise(text)], k, [normalise(context)], headings=headings)[0]

    def candidates_of(
        self,
        phrases: Sequence[Sequence[str]],
        k: int,
        contexts: Sequence[Sequence[str]] = (),
        *,
        headings: bool = False,
    ) -> list[list[Hit]]:
        """As `candidates`, for many phrases and contexts of normalised words at once."""
        products = self.scores(phrases, contexts)
        blended = self._likeness(phrases)
        found = []
        for i, phrase in enumerate(phrases):
            row = slice(products.indptr[i], products.indptr[i + 1])
            best = self._best(
                products.indices[row], products.data[row], frozenset(phrase), max(60, 8 * k)
            )
            if blended is not None:
                best = self._blend(best, blended[i], max(60, 2 * k))
            found.append(self._hits(best, k, headings))
        return found

    def _best(
        self, entries: NDArray[Any], values: NDArray[Any], words: frozenset[str], keep: int
    ) -> dict[int, float]:
        """Codes with their best entry's score; categories lead to their leaf and stay too."""
        if len(entries) > keep:
            top = np.argpartition(-values, keep)[:keep]
            entries, values = entries[top], values[top]
        best: dict[int, float] = {}
        above: dict[int, float] = {}  # categories whose place a leaf takes
        for entry, value in zip(entries.tolist(), values.tolist(), strict=True):
            owner = int(self._a.owner[entry])
            target = int(self._a.target[owner])
            unsaid = {w for w in self.titles[target].lower().split() if w in _SIDES} - words
            score = value * 0.9 if unsaid else value
            if target != owner:
                above[owner] = max(above.get(owner, 0.0), score)
                score *= _BY_HEADING
            best[target] = max(best.get(target, 0.0), score)
        for owner, score in above.items():
            best[owner] = min(score, best[int(self._a.target[owner])]) * _AFTER
        return best

    def _likeness(self, phrases: Sequence[Sequence[str]]) -> Floats | None:
        """How near each code is in meaning; a category's texts speak for its leaf too."""
        if self.meanings is None or not phrases:
            return None
        near = self.meanings.likeness([" ".join(phrase) for phrase in phrases], len(self.codes))
        above = np.flatnonzero(~self._own)
        for row in near:
            np.maximum.at(row, self._a.target[above], row[above] * _BY_HEADING)
            row[above] = np.minimum(row[above], row[self._a.target[above]] * _AFTER)
        return near

    def _blend(self, best: dict[int, float], near: Floats, reach: int) -> dict[int, float]:
        """By words and by meaning, over the best of both."""
        top = np.argpartition(-near, reach)[:reach].tolist()
        return {
            code: (1 - _MEANING) * best.get(code, 0.0) + _MEANING * self._nearest_known(code, near)
            for code in {*best, *top}
        }

    def _nearest_known(self, code: int, near: Floats) -> float:
        """The likeness of a code, or of the closest one above it that has texts of its own."""
        name = self.codes[code]
        while near[code] < 0.0 and len(name) > 3:
            name = name[:-1].rstrip(".")
            code = self.position.get(name, code)
        return max(0.0, float(near[code]))

    def _hits(self, best: dict[int, float], k: int, headings: bool) -> list[Hit]:
        ranked = sorted(
            (item for item in best.items() if headings or self._own[item[0]]),
            key=lambda item: (-round(item[1], 4), self.codes[item[0]]),
        )
        return [
            Hit(self.codes[i], self.titles[i], round(min(1.0, s), 4), bool(self._a.billable[i]))
            for i, s in ranked[:k]
        ]
