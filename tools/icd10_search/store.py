"""The arrays of the index and their cache: an `.npz` of plain arrays, a JSON of strings."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

__all__ = ["Arrays", "Floats", "Tables", "load", "replace", "save"]

Floats = NDArray[np.float32]

_MATRICES = ("vectors", "similar", "grams")
_VECTORS = ("owner", "prior", "idf", "target", "billable")
_STRINGS = ("codes", "titles", "words", "grams")


@dataclass(frozen=True)
class Arrays:
    """Arrays of the index: row i of `vectors` (transposed) is an entry of code `owner[i]`."""

    vectors: sparse.csr_matrix  # (vocabulary, entries)
    owner: NDArray[np.int32]  # entry → code
    prior: Floats  # entry → factor on its score
    idf: Floats
    similar: sparse.csr_matrix  # (vocabulary, vocabulary), 1 on the diagonal
    grams: sparse.csr_matrix  # (grams, vocabulary), unit columns
    target: NDArray[np.int32]  # code → the code to propose for it (its unspecified leaf)
    billable: NDArray[np.bool_]


@dataclass(frozen=True)
class Tables:
    """Everything the index holds; the strings are in the order of the arrays."""

    codes: list[str]
    titles: list[str]
    words: list[str]
    grams: list[str]
    arrays: Arrays


def load(arrays_path: Path, strings_path: Path) -> Tables | None:
    """The cached index, or None when there is none or it does not read."""
    try:
        strings = json.loads(strings_path.read_text("utf-8"))
        with np.load(arrays_path, allow_pickle=False) as stored:
            data = {name: stored[name] for name in stored.files}
        fields = {name: strings[name] for name in _STRINGS}
        if strings["check"] != _checksum(data, fields):
            return None
        parts: dict[str, Any] = {
            name: sparse.csr_matrix(
                (data[f"{name}_data"], data[f"{name}_indices"], data[f"{name}_indptr"]),
                shape=tuple(data[f"{name}_shape"]),
            )
            for name in _MATRICES
        }
        parts |= {name: data[name] for name in _VECTORS}
        return Tables(**fields, arrays=Arrays(**parts))
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return None


def save(tables: Tables, arrays_path: Path, strings_path: Path) -> None:
    """Write both files, each whole or not at all. Raises `OSError`."""
    data: dict[str, NDArray[Any]] = {name: getattr(tables.arrays, name) for name in _VECTORS}
    for name in _MATRICES:
        matrix = getattr(tables.arrays, name)
        data[f"{name}_data"], data[f"{name}_indices"] = matrix.data, matrix.indices
        data[f"{name}_indptr"] = matrix.indptr
        data[f"{name}_shape"] = np.array(matrix.shape)
    fields = {name: getattr(tables, name) for name in _STRINGS}
    text = json.dumps({"check": _checksum(data, fields), **fields})
    replace(arrays_path, lambda file: np.savez(file, allow_pickle=False, **data))
    replace(strings_path, lambda file: file.write(text.encode()))


def _checksum(data: dict[str, NDArray[Any]], fields: dict[str, list[str]]) -> str:
    """A digest over everything stored, so that a damaged cache is told from a whole one."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(json.dumps(fields, sort_keys=True).encode())
    for name in sorted(data):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(data[name]).data)
    return digest.hexdigest()


def replace(path: Path, write: Callable[[Any], Any]) -> None:
    """Write a file whole or not at all. Raises `OSError`."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
