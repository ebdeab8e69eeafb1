"""Digests that pin a base: its weights, its tokenizer, its chat template.

Each is taken over content, not over a file's bytes, so that a newer library which writes
the same thing with another header or another key order does not change it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from seamline.errors import ModelError

__all__ = ["chat_template_digest", "file_digest", "tokenizer_digest", "weights_digest"]

_BLOCK = 1 << 22
_MAX_HEADER = 100_000_000
"""Largest header that the safetensors format allows, in bytes."""

Tick = Callable[[int, int], None]


def _no_tick(_done: int, _total: int) -> None:
    return None


def file_digest(path: Path, *, tick: Tick = _no_tick) -> str:
    """The sha256 of a file's bytes, as `sha256:<hex>`; `tick` gets (bytes read, size)."""
    total, done = path.stat().st_size, 0
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
            done += len(block)
            tick(done, total)
    return f"sha256:{digest.hexdigest()}"


def weights_digest(path: Path, *, tick: Tick = _no_tick) -> str:
    """The sha256 over a safetensors file's tensors, in the order of their names.

    Each tensor adds its name, dtype and shape, then its bytes; metadata is left out.

    Raises:
        ModelError: The file is not a whole safetensors file.
    """
    size = path.stat().st_size
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        start, header = _header(path, stream.read(8), stream.read, size)
        done = 0
        for name in sorted(header):
            entry = header[name]
            begin, end = entry["data_offsets"]
            if not 0 <= begin <= end <= size - start:
                raise _damaged(path, f"tensor {name!r} lies outside the file")
            label = json.dumps([name, entry["dtype"], entry["shape"]], separators=(",", ":"))
            digest.update(label.encode() + b"\0")
            stream.seek(start + begin)
            left = end - begin
            while left:
                block = stream.read(min(_BLOCK, left))
                if not block:
                    raise _damaged(path, f"tensor {name!r} is cut off")
                digest.update(block)
                left -= len(block)
                done += len(block)
                tick(done, size - start)
    return f"sha256:{digest.hexdigest()}"


def tokenizer_digest(path: Path) -> str:
    """The sha256 over what decides token ids in a `tokenizer.json`.

    Vocabulary, merges, added tokens, normalizer, pre-tokenizer and post-processor count;
    padding, truncation and the decoder do not.

    Raises:
        ModelError: The file is not a tokenizer file.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        model = raw["model"]
        # Older tokenizers write a merge as "a b", newer ones as ["a", "b"].
        merges = [m.split(" ") if isinstance(m, str) else m for m in model.get("merges", [])]
        content = {
            "type": model["type"],
            "vocab": model["vocab"],
            "merges": merges,
            "added": [[t["id"], t["content"], t["special"]] for t in raw["added_tokens"]],
            "normalizer": raw.get("normalizer"),
            "pre_tokenizer": raw.get("pre_tokenizer"),
            "post_processor": raw.get("post_processor"),
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{path} is not a tokenizer.json ({error!r}); run `seamline models pull --force`"
        ) from error
    canonical = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(canonical.encode()).hexdigest()}"


def chat_template_digest(template: str) -> str:
    """The sha256 of a chat template's text, as `sha256:<hex>`."""
    return f"sha256:{hashlib.sha256(template.encode()).hexdigest()}"


def _header(
    path: Path, prefix: bytes, read: Callable[[int], bytes], size: int
) -> tuple[int, dict[str, Any]]:
    length = int.from_bytes(prefix, "little")
    if len(prefix) < 8 or not 2 <= length <= min(_MAX_HEADER, size - 8):
        raise _damaged(path, "its header has no sound length")
    try:
        header = json.loads(read(length))
        header.pop("__metadata__", None)
        for entry in header.values():
            begin, end = entry["data_offsets"]
            if not (isinstance(begin, int) and isinstance(end, int)):
                raise TypeError("offsets are not integers")
            _ = entry["dtype"], entry["shape"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(path, f"its header does not parse: {error!r}") from error
    return 8 + length, header


def _damaged(path: Path, why: str) -> ModelError:
    return ModelError(
        f"{path} is not a whole safetensors file: {why}; run `seamline models pull --force`"
    )
