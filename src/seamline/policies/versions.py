"""Semantic versions as policies use them: MAJOR.MINOR.PATCH with an optional pre-release."""

from __future__ import annotations

import re

__all__ = ["is_version", "version_key"]

# The grammar of semver.org 2.0.0 without build metadata, which has no order.
_NUMBER = r"(?:0|[1-9][0-9]{0,8})"
_IDENTIFIER = r"(?:0|[1-9][0-9]{0,8}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_VERSION = re.compile(
    rf"({_NUMBER})\.({_NUMBER})\.({_NUMBER})(?:-({_IDENTIFIER}(?:\.{_IDENTIFIER})*))?"
)


def is_version(text: str) -> bool:
    """Whether the text is a version such as `1.2.0` or `2.0.0-rc.1`."""
    return len(text) <= 64 and _VERSION.fullmatch(text) is not None


def version_key(text: str) -> tuple[int, int, int, int, tuple[tuple[int, int, str], ...]]:
    """A sort key in semver order; a pre-release comes before its release.

    Raises:
        ValueError: The text is not a version.
    """
    match = _VERSION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a version")
    major, minor, patch, pre = match.groups()
    parts = tuple(
        (0, int(part), "") if part.isdigit() else (1, 0, part)
        for part in (pre.split(".") if pre else ())
    )
    return int(major), int(minor), int(patch), 0 if pre else 1, parts
