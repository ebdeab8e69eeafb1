"""A small, deterministic likeness of two texts: cosine over counts of character 3-grams."""

from __future__ import annotations

import math
from collections import Counter

__all__ = ["likeness", "trigrams"]

_MAX_CHARS = 20_000


def trigrams(text: str) -> Counter[str]:
    """How often each 3-gram stands in the first 20,000 characters, case and spacing aside."""
    plain = f"  {' '.join(text[:_MAX_CHARS].casefold().split())} "
    return Counter(plain[i : i + 3] for i in range(len(plain) - 2))


def likeness(a: Counter[str], b: Counter[str]) -> float:
    """Between 0 (no 3-gram in common) and 1 (the same proportions)."""
    # Whole-number sums, so that the order of the counts cannot change the last bit.
    dot = sum(count * b[gram] for gram, count in a.items() if gram in b)
    norm = sum(count * count for count in a.values()) * sum(count * count for count in b.values())
    return dot / math.sqrt(norm) if norm else 0.0
