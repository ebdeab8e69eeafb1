"""Text that UTF-8 can hold: Python's strings may also hold halves of surrogate pairs."""

from __future__ import annotations

__all__ = ["is_whole", "whole_text"]


def is_whole(text: str) -> bool:
    """Whether the text holds no half of a surrogate pair, so that UTF-8 can hold it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def whole_text(text: str) -> str:
    """The text with U+FFFD in the place of each half of a surrogate pair.

    Two halves that stand together become the character they spell, as they do where JSON is
    read: a text is the same before it was in a journal and after.
    """
    if is_whole(text):
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
