"""Where personal data stands in a text: five kinds with a shape of their own.

Found by shape, not by meaning: names and addresses are not looked for. Every pattern is
bounded and starts from a rare character, so a text is read in time proportional to its
length, and prose at the speed of a search for digits.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterator

__all__ = ["PII_KINDS", "find_pii", "mask_pii"]

Span = tuple[int, int]

_LOCAL = frozenset(string.ascii_letters + string.digits + "._%+'-")
_LOCAL_MAX = 64
_DOMAIN = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9-]{0,62}\.){1,8}[A-Za-z]{2,24}(?![A-Za-z0-9])")
# A stretch that may hold a number. The patterns below look one character beyond it.
_STRETCH = re.compile(r"[+(0-9][0-9+().\-/ ]{6,}")
# Area 000, 666 and 9xx, group 00 and serial 0000 are never issued (SSA).
_SSN = re.compile(r"(?<![\w-])(?!000|666|9)[0-9]{3}([- ])(?!00)[0-9]{2}\1(?!0000)[0-9]{4}(?![\w-])")
_PHONE = re.compile(
    r"(?<![\w.+])(?:"
    r"(?:\+?1[ .-]?)?(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[ .-])[0-9]{3}[ .-][0-9]{4}"
    r"|(?:\+|00)[1-9][0-9]{0,2}(?:[ ./-]?\(?[0-9]{1,5}\)?){2,6}"
    r"|0[1-9](?:[ .-][0-9]{2}){4}"
    r")(?![\w-]|\.[0-9])"
)
_PHONE_DIGITS = range(8, 16)  # at most 15 by E.164
_CARD = re.compile(r"(?<![\w])[0-9](?:[ -]?[0-9]){12,18}(?!\w)")
_NUMBER = re.compile(r"[0-9][0-9-]{3,18}[0-9](?!\w)")
_BEFORE_NUMBER = 48
_ID = re.compile(
    r"(?<!\w)(?:(?:mrn|record|patient|chart|account|case|member|insurance|passport)"
    r"(?:[ -]?(?:no|nr|number|id|identifier|num)\b\.?)?\s{0,3}[:#]{1,2}\s{0,3}|mrn\s{1,3})"
    r"#?[A-Z]{0,4}-?\Z",
    re.IGNORECASE,
)


def find_pii(text: str, kind: str) -> Iterator[Span]:
    """The spans of one kind, in order.

    Raises:
        KeyError: The kind is not one of `PII_KINDS`.
    """
    return _FINDERS[kind](text)


def mask_pii(text: str) -> str:
    """The text with every find of every kind replaced by its kind: `[email]`."""
    found = sorted((*span, kind) for kind in PII_KINDS for span in find_pii(text, kind))
    parts, done = [], 0
    for start, end, kind in found:
        if start >= done:
            parts += [text[done:start], f"[{kind}]"]
        # Of two that overlap the first gives its name, and both go.
        done = max(done, end)
    return "".join([*parts, text[done:]])


def _emails(text: str) -> Iterator[Span]:
    # Start from the '@': a pattern that starts from the local part tries every letter.
    at = text.find("@")
    while at >= 0:
        domain = _DOMAIN.match(text, at + 1)
        start = at
        while domain and start and at - start < _LOCAL_MAX and text[start - 1] in _LOCAL:
            start -= 1
        if domain and start < at:
            yield start, domain.end()
        at = text.find("@", at + 1)


def _in_stretches(pattern: re.Pattern[str], text: str) -> Iterator[tuple[Span, list[int]]]:
    """Each find, as its span and its digits."""
    for stretch in _STRETCH.finditer(text):
        start = max(0, stretch.start() - 1)
        for match in pattern.finditer(text[start : stretch.end() + 1]):
            digits = [int(char) for char in match[0] if char.isdigit()]
            yield (start + match.start(), start + match.end()), digits


def _numbers(
    pattern: re.Pattern[str], accept: Callable[[list[int]], bool]
) -> Callable[[str], Iterator[Span]]:
    def find(text: str) -> Iterator[Span]:
        return (span for span, digits in _in_stretches(pattern, text) if accept(digits))

    return find


def _ids(text: str) -> Iterator[Span]:
    for number in _NUMBER.finditer(text):
        before = text[max(0, number.start() - _BEFORE_NUMBER) : number.start()]
        if (":" in before or "#" in before or "mrn" in before.lower()) and _ID.search(before):
            yield number.span()


def _luhn(digits: list[int]) -> bool:
    doubled = [digit * 2 - 9 if digit > 4 else digit * 2 for digit in digits[-2::-2]]
    # A row of one digit passes the sum (0000 0000 0000 0000) and is no card.
    return len(set(digits)) > 1 and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


_FINDERS: dict[str, Callable[[str], Iterator[Span]]] = {
    "credit_card": _numbers(_CARD, _luhn),
    "email": _emails,
    "mrn": _ids,
    "phone": _numbers(_PHONE, lambda digits: len(digits) in _PHONE_DIGITS),
    "ssn": _numbers(_SSN, lambda _: True),
}
PII_KINDS = tuple(_FINDERS)
