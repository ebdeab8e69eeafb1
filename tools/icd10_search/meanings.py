"""Embeddings of what the tabular list says of each code, made once and kept beside the index.

A title that differs from its parent's only by a side, a trimester or the mechanism of an injury
says nothing that words do not say better, so such a code takes the likeness of its parent.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seamline.models.embedders import Embedder, EmbedderSpec, is_here, is_usable

from .build import Progress, by_code
from .glossary import Term
from .store import Floats, replace

__all__ = ["Meanings", "pulled_embedder"]

_DECLARED = Path(__file__).resolve().parents[2] / "models" / "embedders"

_SAME = re.compile(r"\b(?:right|left|bilateral|(?:first|second|third) trimester)\b", re.I)


@cache
def pulled_embedder(name: str) -> Embedder | None:
    """The project's embedder of this name; None where it has not been pulled, or torch is missing.

    Raises:
        ConfigError: the project declares none of this name.
        ModelError: its weights have changed since it was pulled.
    """
    spec = EmbedderSpec.load(_DECLARED / f"{name}.yaml")
    return Embedder(spec) if is_here(spec) and is_usable() else None


class Meanings:
    """How near a phrase is in meaning to each code, by the nearest of the code's texts."""

    def __init__(self, embedder: Embedder, vectors: Floats, owners: NDArray[np.int32]) -> None:
        self._embedder = embedder
        self._vectors = vectors
        self._starts = np.flatnonzero(np.r_[True, owners[1:] != owners[:-1]])
        self._owners = owners[self._starts]

    @property
    def embedder(self) -> str:
        """The embedder's name."""
        return self._embedder.spec.name

    @classmethod
    def open(
        cls,
        stem: Path,
        embedder: Embedder,
        codes: Sequence[str],
        titles: Sequence[str],
        terms: Sequence[Term],
        progress: Progress,
    ) -> Meanings:
        """The embeddings kept at `stem`, else made; a few minutes on one core.

        The vectors stay on disk and are mapped into memory.
        """
        folder = stem.with_name(f"{stem.name}-{embedder.spec.digest.removeprefix('sha256:')[:12]}")
        vectors, owners = folder.with_suffix(".vectors.npy"), folder.with_suffix(".owners.npy")
        shape = (embedder.spec.dimensions,)
        # A damaged file, or one of another shape, is made again.
        with contextlib.suppress(OSError, ValueError):
            held, told = np.load(vectors, mmap_mode="r"), np.load(owners)
            if held.shape == (len(told), *shape) and held.dtype == np.float32:
                return cls(embedder, held, told)
        texts, owner = _texts(codes, titles, terms)
        made, told = embedder.embed(texts, progress=progress), np.array(owner, np.int32)
        with contextlib.suppress(OSError):
            replace(vectors, lambda file: np.save(file, made, allow_pickle=False))
            replace(owners, lambda file: np.save(file, told, allow_pickle=False))
        return cls(embedder, made, told)

    def likeness(self, phrases: Sequence[str], codes: int) -> Floats:
        """Cosines `(len(phrases), codes)`; -1 for a code that has no text of its own."""
        near = self._embedder.embed(phrases) @ self._vectors.T
        out = np.full((len(phrases), codes), -1.0, np.float32)
        out[:, self._owners] = np.maximum.reduceat(near, self._starts, axis=1)
        return out


def _texts(
    codes: Sequence[str], titles: Sequence[str], terms: Sequence[Term]
) -> tuple[list[str], list[int]]:
    """What is embedded, and the place of its code in `codes`, in ascending order."""
    import simple_icd_10_cm as icd

    position = {code: i for i, code in enumerate(codes)}
    told: Mapping[str, Sequence[str]] = by_code(terms, position)
    texts: list[str] = []
    owner: list[int] = []
    for i, (code, title) in enumerate(zip(codes, titles, strict=True)):
        own = told.get(code, ())
        if not own and (code[0] in "VWXY" or (code[0] in "ST" and len(code) > 5)):
            continue
        if not own and _SAME.search(title):
            continue
        said = [title, *own, *icd.get_inclusion_term(code), *icd.get_includes(code)]
        for text in dict.fromkeys(said):
            texts.append(text)
            owner.append(i)
    return texts, owner
