"""Plain data as the journal keeps it: canonical JSON, blobs for large values, field diffs.

A stored value is JSON in which every large string, list or object has been replaced by a
reference `{"$blob": "sha256:…", "bytes": n}`. The reference holds the digest of the whole
value, so two stored values are equal exactly when the values themselves are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import orjson
import zstandard

from seamline.errors import TraceError

__all__ = [
    "BLOB_BYTES",
    "MAX_DEPTH",
    "Blobs",
    "FieldDiff",
    "Json",
    "Plain",
    "blob_digests",
    "canonical_json",
    "check_depth",
    "compress_blob",
    "decompress_blob",
    "describe_diff",
    "diff_fields",
    "digest_of",
    "expand",
    "externalise",
    "record_text",
]

Json: TypeAlias = Any
"""Anything the standard `json` module writes: objects, lists, strings, numbers, booleans, null."""

Blobs: TypeAlias = dict[str, bytes]
"""Blob digest to the canonical JSON of the value it stands for."""

BLOB_BYTES = 4096
"""Strings, lists and objects whose canonical JSON is longer than this become blobs."""

MAX_DEPTH = 200
"""How deep lists and objects may be nested; readers walk values by recursion."""

_BLOB = "$blob"
_ABSENT = object()


def canonical_json(value: Json) -> str:
    """The one spelling of a value: sorted keys, no spaces, ASCII, shortest float repr.

    Raises:
        TraceError: the value is not JSON (NaN, bytes, sets, objects).
    """
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise TraceError(
            f"a value for the journal is not plain JSON ({error}); "
            "hand over dicts, lists, strings, finite numbers, booleans and None only"
        ) from error


def record_text(record: Mapping[str, Json]) -> str:
    """A record as JSON that reads back as the same values, ten times as fast as canonical.

    For storing many records; digests are taken of the canonical form of what was read.
    """
    try:
        return orjson.dumps(record).decode()
    except TypeError:
        # Integers of more than 64 bits, lone surrogates.
        return canonical_json(record)


def digest_of(value: Json) -> str:
    """`sha256:` and the hex digest of a value's canonical JSON."""
    return _sha256(canonical_json(value).encode("ascii"))


def _sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def check_depth(value: Json, text: str) -> None:
    """Nothing, where a value with this canonical JSON is not nested too deeply.

    Raises:
        TraceError: it is nested more than `MAX_DEPTH` deep.
    """
    # Brackets are counted first, since that is fast and nearly always enough.
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    level = _containers(value)
    for _ in range(MAX_DEPTH - 1):
        level = [inner for outer in level for inner in _containers(outer)]
    if level:
        raise TraceError(
            f"a value is nested more than {MAX_DEPTH} deep; hand over flatter data, "
            "or the JSON as one string"
        )


def _containers(value: Json) -> list[Json]:
    if not isinstance(value, (dict, list)):
        return []
    members = value.values() if isinstance(value, dict) else value
    return [member for member in members if isinstance(member, (dict, list))]


@dataclass(frozen=True)
class Plain:
    """A value as a reader of the journal gets it, next to its canonical JSON.

    Keys are strings and sorted, tuples are lists. Made once where a value enters, so that a
    large one is not spelled out again at every step.
    """

    value: Json
    text: str

    @classmethod
    def of(cls, value: Json) -> Plain:
        """The plain form. Raises `TraceError` where the value is not JSON, or too deep."""
        plain = json.loads(canonical_json(value))
        # Spelled once more: numbers as keys, and halves of a surrogate pair, sort otherwise
        # before they are read back than after.
        text = canonical_json(plain)
        check_depth(plain, text)
        return cls(plain, text)


def externalise(plain: Plain, blobs: Blobs) -> Json:
    """The stored form of a value; what was moved out is added to `blobs`.

    An object stays an object, so that a diff can name its fields, and its large members
    move out one by one; equal members of many effects are then stored once.
    """
    return _stored(plain.value, plain.text, blobs)


def _stored(value: Json, text: str, blobs: Blobs) -> Json:
    if len(text) <= BLOB_BYTES and _BLOB not in text:
        return value
    if isinstance(value, dict) and not _looks_like_reference(value):
        return {key: _member(member, blobs) for key, member in value.items()}
    return _move_out(text, blobs)


def _member(value: Json, blobs: Blobs) -> Json:
    if not isinstance(value, (str, list, dict)):
        return value
    text = canonical_json(value)
    inner: Blobs = {}
    stored = _stored(value, text, inner)
    if len(text) > BLOB_BYTES and len(canonical_json(stored)) > BLOB_BYTES:
        return _move_out(text, blobs)
    blobs.update(inner)
    return stored


def _looks_like_reference(value: Mapping[str, Json]) -> bool:
    # Data that itself has a "$blob" key is moved out whole; blobs are never looked into,
    # so nobody can have a value read as a reference by naming a field that way.
    return _BLOB in value


def _move_out(text: str, blobs: Blobs) -> Json:
    data = text.encode("ascii")
    digest = _sha256(data)
    blobs[digest] = data
    return {_BLOB: digest, "bytes": len(data)}


def expand(stored: Json, read: Callable[[str], bytes]) -> Json:
    """The value behind a stored form; `read` gives the canonical JSON of a blob by digest.

    Raises:
        TraceError: a blob is missing or does not match its digest.
    """
    if isinstance(stored, dict):
        digest = stored.get(_BLOB)
        if isinstance(digest, str):
            data = read(digest)
            if _sha256(data) != digest:
                raise TraceError(f"blob {digest} does not match its digest; restore it")
            return json.loads(data)
        return {key: expand(member, read) for key, member in stored.items()}
    if isinstance(stored, list):
        return [expand(member, read) for member in stored]
    return stored


def blob_digests(stored: Json) -> Iterator[str]:
    """The digests of the blobs that a stored form refers to."""
    if isinstance(stored, dict):
        digest = stored.get(_BLOB)
        if isinstance(digest, str):
            yield digest
        else:
            for member in stored.values():
                yield from blob_digests(member)
    elif isinstance(stored, list):
        for member in stored:
            yield from blob_digests(member)


def compress_blob(data: bytes) -> bytes:
    """A zstd frame that states its content size."""
    return zstandard.ZstdCompressor(level=3).compress(data)


def decompress_blob(data: bytes, *, size: int) -> bytes:
    """The content of a frame that must be `size` bytes.

    Raises:
        TraceError: the frame is damaged, or states another size.
    """
    try:
        # The stated size is checked first: a frame from elsewhere may unpack to gigabytes.
        if zstandard.frame_content_size(data) != size:
            raise TraceError(f"a blob states another size than the {size} bytes recorded")
        return zstandard.ZstdDecompressor().decompress(data)
    except (zstandard.ZstdError, TypeError) as error:
        raise TraceError(f"a blob of {size} bytes is damaged ({error})") from error


@dataclass(frozen=True)
class FieldDiff:
    """One field in which two values differ, both sides as short text."""

    field: str
    recorded: str
    asked: str


def diff_fields(recorded: Json, asked: Json, *, limit: int = 10) -> list[FieldDiff]:
    """The first `limit` fields that differ, as dotted paths, in the order of the paths."""
    found: list[FieldDiff] = []
    _diff(recorded, asked, "", found, limit)
    return found


def _diff(recorded: Json, asked: Json, path: str, found: list[FieldDiff], limit: int) -> None:
    if len(found) >= limit or _same(recorded, asked):
        return
    if isinstance(recorded, dict) and isinstance(asked, dict):
        for key in sorted(recorded.keys() | asked.keys()):
            where = f"{path}.{key}" if path else str(key)
            _diff(recorded.get(key, _ABSENT), asked.get(key, _ABSENT), where, found, limit)
    elif isinstance(recorded, list) and isinstance(asked, list):
        for index in range(max(len(recorded), len(asked))):
            left = recorded[index] if index < len(recorded) else _ABSENT
            right = asked[index] if index < len(asked) else _ABSENT
            _diff(left, right, f"{path}[{index}]", found, limit)
    else:
        found.append(FieldDiff(path or "(whole)", *_short_pair(recorded, asked)))


def _same(left: Json, right: Json) -> bool:
    # 1, 1.0 and True are equal to Python but not to the journal.
    if left is _ABSENT or right is _ABSENT:
        return left is right
    return canonical_json(left) == canonical_json(right)


def _short_pair(recorded: Json, asked: Json, width: int = 60) -> tuple[str, str]:
    left = "(absent)" if recorded is _ABSENT else canonical_json(recorded)
    right = "(absent)" if asked is _ABSENT else canonical_json(asked)
    common = 0
    while common < min(len(left), len(right)) and left[common] == right[common]:
        common += 1
    start = max(0, common - 20) if max(len(left), len(right)) > width else 0
    return _window(left, start, width), _window(right, start, width)


def _window(text: str, start: int, width: int) -> str:
    shown = text[start : start + width]
    return ("…" if start else "") + shown + ("…" if start + width < len(text) else "")


def describe_diff(differences: list[FieldDiff]) -> str:
    """The differences for an error message: one indented line a field."""
    return "\n".join(
        f"  {diff.field}: the journal has {diff.recorded}, asked was {diff.asked}"
        for diff in differences
    )
