"""Canonical JSON and the digests made over it."""

from __future__ import annotations

import hashlib
import json
from typing import Any

__all__ = ["canonical_json", "digest_of"]


def canonical_json(value: Any) -> str:
    """The one JSON text of a value: keys sorted, no spaces, no NaN.

    Raises:
        ValueError: The value holds NaN, an infinity, or a lone surrogate.
        TypeError: The value is not JSON.
    """
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    text.encode("utf-8")  # UnicodeEncodeError, a ValueError, names a lone surrogate
    return text


def digest_of(value: Any) -> str:
    """`sha256:` and the hex digest over the canonical JSON of a value."""
    return "sha256:" + hashlib.sha256(canonical_json(value).encode("utf-8")).hexdigest()
