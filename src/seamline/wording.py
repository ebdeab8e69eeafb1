"""Values and names as they stand in an error: quoted, cut, listed, with the nearest one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["did_you_mean", "listed", "shown"]


def shown(value: object, *, limit: int = 80) -> str:
    """A value as it may stand in a message: quoted, cut at `limit` characters."""
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def listed(values: Iterable[str], *, limit: int = 12) -> str:
    """Names as a comma-separated list, `none` when there are none."""
    names = list(values)
    more = f", … ({len(names)} in all)" if len(names) > limit else ""
    return (", ".join(shown(name)[1:-1] for name in names[:limit]) + more) or "none"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?` for the nearest known word, or nothing."""
    near = difflib.get_close_matches(word[:200], list(known), n=1, cutoff=0.6)
    return f" Did you mean {near[0]!r}?" if near else ""
