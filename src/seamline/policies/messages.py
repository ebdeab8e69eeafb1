"""How errors of this package begin: with the file and the line."""

from __future__ import annotations

from seamline.errors import PolicyError

__all__ = ["policy_error"]


def policy_error(where: object, message: str, *, line: int | None = None) -> PolicyError:
    """A `PolicyError` that begins with the file, and the line where it is known."""
    place = f"{where}, line {line}" if line is not None else str(where)
    return PolicyError(f"{place}: {message}")
