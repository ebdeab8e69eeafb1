"""Builds the index from the tabular list; about five seconds on one core."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import sparse

from .glossary import Term
from .store import Arrays, Floats, Tables
from .terms import WEAK_WORDS
from .words import folded, grams_of, normalise, opposed

__all__ = ["DISCOUNT", "Progress", "bare_code", "build", "by_code"]

Progress = Callable[[int, int, str], None]

_NEIGHBOUR = 0.55  # least character-gram cosine of two words that may stand for each other
DISCOUNT = 0.8  # what a look-alike counts for, against the word itself
_FRAME = re.compile(
    r"\b(unspecified|not otherwise specified|nos|not specified|nec|uncomplicated|"
    r"not elsewhere classified)\b|,? without [a-z -]*complications?[a-z -]*|site not specified",
)


def build(progress: Progress, terms: Sequence[Term]) -> Tables:
    """The tables of the installed release, read and indexed with further terms for its codes.

    A term whose code is not of the release is left out.
    """
    progress(0, 4, "reading the ICD-10-CM tabular list")
    import simple_icd_10_cm as icd

    everything = icd.get_all_codes()
    codes = [
        c
        for c in dict.fromkeys(everything)
        if icd.is_category_or_subcategory(c) and not icd.is_extended_subcategory(c)
    ]
    position = {code: i for i, code in enumerate(codes)}
    titles = [icd.get_description(code) for code in codes]
    billable = np.array([icd.is_leaf(code) for code in codes])
    children = [[c for c in icd.get_children(code) if c in position] for code in codes]
    target = np.array(
        [position[_default_leaf(c, children, position, titles)] for c in codes], np.int32
    )
    progress(1, 4, "indexing titles, inclusion terms and synonyms")
    texts, owner, prior = _entries(codes, titles, icd, by_code(terms, position))
    words, idf, vectors = _vectors(texts)
    progress(2, 4, "comparing words")
    grams, gram_matrix, similar = _similar_words(words)
    progress(4, 4, "index ready")
    arrays = Arrays(
        vectors=vectors.T.tocsr(),
        owner=np.array(owner, np.int32),
        prior=np.array(prior, np.float32),
        idf=idf,
        similar=similar,
        grams=gram_matrix.T.tocsr(),
        target=target,
        billable=billable,
    )
    return Tables(codes=codes, titles=titles, words=words, grams=grams, arrays=arrays)


def _default_leaf(
    code: str, children: list[list[str]], position: dict[str, int], titles: list[str]
) -> str:
    """The leaf that says no more than `code` does, or `code` where there is none."""
    here = code
    while children[position[here]]:
        below = children[position[here]]
        plain = [c for c in below if _says_no_more(titles[position[c]], titles[position[here]])]
        plain += [c for c in below if c.endswith("9") and "unspecified" in titles[position[c]]]
        plain += [c for c in below if _is_other(titles[position[c]], titles[position[here]])]
        if not plain and len(below) == 1:
            plain = below
        if not plain:
            return here
        here = plain[0]
    return here


def _is_other(title: str, parent: str) -> bool:
    return title.lower() == f"other {parent.lower()}"


def _says_no_more(title: str, parent: str) -> bool:
    bare = re.sub(r",? without .*", " ", _FRAME.sub(" ", title.lower()))
    return set(folded(bare)) <= set(folded(_FRAME.sub(" ", parent.lower())))


def bare_code(code: str, position: Mapping[str, int]) -> str | None:
    """The code as the index holds it, without a 7th character; None if it is not held.

    S72.001A is held as S72.001, and T14.8XXA as T14.8.
    """
    bare = code
    while bare not in position:
        if not (len(code) == 8 and (bare == code or bare.endswith("X"))):
            return None
        bare = bare[:-1]
    return bare


def by_code(terms: Sequence[Term], position: Mapping[str, int]) -> dict[str, list[str]]:
    """The terms of each code; one whose code is not of the release is left out."""
    held: dict[str, list[str]] = {}
    for term, code in terms:
        bare = bare_code(code, position)
        if bare is not None:
            held.setdefault(bare, []).append(term)
    return held


def _entries(
    codes: Sequence[str], titles: Sequence[str], icd: Any, synonyms: Mapping[str, Sequence[str]]
) -> tuple[list[list[str]], list[int], list[float]]:
    texts: list[list[str]] = []
    owner: list[int] = []
    prior: list[float] = []
    for i, code in enumerate(codes):
        said = [titles[i], *icd.get_inclusion_term(code), *icd.get_includes(code)]
        told = synonyms.get(code, ())
        seen: set[tuple[str, ...]] = set()
        for at, text in enumerate([*told, *said]):
            for variant in _variants(text):
                words = normalise(variant)
                key = tuple(sorted(set(words)))
                if words and key not in seen:
                    seen.add(key)
                    texts.append(words)
                    owner.append(i)
                    prior.append(1.0 if at < len(told) else _prior(code))
    return texts, owner, prior


def _variants(text: str) -> Iterable[str]:
    """A title as it stands, and without optional words in brackets or its frame."""
    yield text
    bare = _FRAME.sub(" ", re.sub(r"\([^)]*\)|\[[^\]]*\]", " ", text))
    if bare.split() != text.split():
        yield bare
    without = re.sub(r",? (without|with or without|not specified as) .*", "", bare)
    if without.split() != bare.split() and len(without.split()) > 1:
        yield without


def _prior(code: str) -> float:
    """External causes and poisonings take more than a bare word to be meant."""
    if code[0] in "VWXY" or "T36" <= code[:3] <= "T65":
        return 0.62
    if code[0] == "Z":
        return 0.88
    if code[0] in "OP":
        return 0.92
    return 1.0


def _vectors(
    texts: Sequence[Sequence[str]],
) -> tuple[list[str], Floats, sparse.csr_matrix]:
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(set(text))
    words = sorted(counts)
    position = {word: i for i, word in enumerate(words)}
    idf = np.array([np.log(len(texts) / counts[w]) + 1.0 for w in words], np.float32)
    weight = idf * np.array([WEAK_WORDS.get(w, 1.0) for w in words], np.float32)
    indptr, indices = [0], []
    for text in texts:
        indices.extend(sorted(position[w] for w in set(text)))
        indptr.append(len(indices))
    columns = np.array(indices, np.int32)
    matrix = sparse.csr_matrix(
        (weight[columns], columns, np.array(indptr)), shape=(len(texts), len(words))
    )
    return words, idf, _unit_rows(matrix)


def _unit_rows(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    norms = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    norms[norms == 0.0] = 1.0
    return sparse.csr_matrix(sparse.diags(1.0 / norms) @ matrix, dtype=np.float32)


def _similar_words(
    words: Sequence[str],
) -> tuple[list[str], sparse.csr_matrix, sparse.csr_matrix]:
    """Character-gram vectors of the vocabulary, and each word's look-alikes, itself at 1."""
    counted = [Counter(grams_of(word)) for word in words]
    grams = sorted({gram for counts in counted for gram in counts})
    position = {gram: i for i, gram in enumerate(grams)}
    rows = [(i, position[g], n) for i, counts in enumerate(counted) for g, n in counts.items()]
    at, column, value = (np.array(x) for x in zip(*rows, strict=True))
    shape = (len(words), len(grams))
    matrix = _unit_rows(sparse.csr_matrix((value.astype(np.float32), (at, column)), shape=shape))
    pairs: list[tuple[int, int, float]] = [(i, i, 1.0) for i in range(len(words))]
    for start in range(0, len(words), 1000):
        block = sparse.coo_matrix(matrix[start : start + 1000] @ matrix.T)
        near = block.data >= _NEIGHBOUR
        for i, j, s in zip(block.row[near], block.col[near], block.data[near], strict=True):
            a, b = words[start + int(i)], words[int(j)]
            if a != b and _may_stand_for(a, b):
                pairs.append((start + int(i), int(j), float(s) * DISCOUNT))
    left, right, score = (np.array(x) for x in zip(*pairs, strict=True))
    similar = sparse.csr_matrix(
        (score.astype(np.float32), (left, right)), shape=(len(words), len(words))
    )
    return grams, matrix, similar


def _may_stand_for(a: str, b: str) -> bool:
    if min(len(a), len(b)) < 5 or any(c.isdigit() for c in a + b):
        return False
    return (not opposed(a, b) and a[:2] == b[:2]) or a.endswith(b) or b.endswith(a)
