"""The deterministic checks of a guard: each reads a text and yields one fact.

A check knows no domain; what it looks for stands in the policy. Every check reads the
whole text in time proportional to its length, but `control_chars`, `language` and `script`,
which read samples of its head, middle and tail (`language.sample`).
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import islice
from typing import Any

import regex
from pydantic import BaseModel, ConfigDict

from seamline.policies.language import language_of, sample, script_of
from seamline.policies.messages import policy_error
from seamline.policies.model import Check, Policy
from seamline.policies.pii import PII_KINDS, find_pii

__all__ = ["MAX_SPANS", "CheckResult", "run_checks"]

MAX_SPANS = 20
PATTERN_SECONDS = 2.0  # of processor time, so that a busy machine does not matter
_PATTERN_CHARS_PER_SECOND = 5_000_000  # slower than any pattern that reads each letter once
_WORD = re.compile(r"\S+")
_READABLE_SHARE = 0.9
_LETTER_SHARE = 0.25

Span = tuple[int, int]


class CheckResult(BaseModel):
    """What a check found.

    `name` and `value` make the fact. `spans` are offsets of up to 20 finds, never their
    text, so that what was found does not travel into prompts and traces.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    value: str | int
    spans: tuple[Span, ...] = ()

    @property
    def fact(self) -> str:
        """`name: value`."""
        return f"{self.name}: {self.value}"


def run_checks(policy: Policy, text: str) -> list[CheckResult]:
    """One result for each check of the policy, in its order.

    Raises:
        PolicyError: A pattern takes too long on this text; the message names the check.
            So a text that makes a pattern explode is stopped, not let through.
    """
    return [_run(policy, check, text) for check in policy.checks]


def _run(policy: Policy, check: Check, text: str) -> CheckResult:
    spans: tuple[Span, ...] = ()
    value: str | int
    match check.kind:
        case "word_count":
            value = _word_count(check, text)
        case "max_chars":
            value = "yes" if len(text) > (check.max or 0) else "no"
        case "control_chars":
            value = "yes" if _is_readable(text) else "no"
        case "language":
            value = language_of(text)
        case "script":
            value = script_of(text)
        case "pattern":
            found = (match.span() for match in _finds(check, text))
            spans = _all_in_time(policy, check, islice(found, MAX_SPANS))
            value = "found" if spans else "none"
        case "pii":
            spans = _pii(check.kinds or PII_KINDS, text)
            value = "found" if spans else "none"
        case "allow_list":
            spans = _not_allowed(policy, check, text)
            value = "no" if spans else "yes"
    return CheckResult(name=check.name, value=value, spans=spans)


def _word_count(check: Check, text: str) -> str | int:
    count = sum(1 for _ in _WORD.finditer(text))
    if check.min is None and check.max is None:
        return count
    if check.min is not None and count < check.min:
        return "too few"
    return "too many" if check.max is not None and count > check.max else "enough"


def _is_readable(text: str) -> bool:
    """Nine of ten characters are printable, and a quarter of the visible ones are letters."""
    part = sample(text)
    readable = letters = visible = 0
    for char, count in Counter(part).items():
        category = unicodedata.category(char)
        if char.isspace():
            readable += count
        elif (category[0] != "C" and char != "\ufffd") or category == "Cf":
            readable += count
            visible += count
            letters += count if category[0] in "LM" else 0
    return (
        readable >= _READABLE_SHARE * len(part)
        and visible > 0
        and letters >= _LETTER_SHARE * visible
    )


def _pii(kinds: Iterable[str], text: str) -> tuple[Span, ...]:
    found = {span for kind in kinds for span in islice(find_pii(text, kind), MAX_SPANS)}
    return tuple(sorted(found)[:MAX_SPANS])


def _not_allowed(policy: Policy, check: Check, text: str) -> tuple[Span, ...]:
    """What the pattern finds (its first group, if it has one) that is not on the list."""

    def key(value: str) -> str:
        return value.casefold() if check.ignore_case else value

    allowed = {key(value) for value in check.values}
    if not check.pattern:
        plain = text.strip()
        start = text.find(plain)
        return () if key(plain) in allowed else ((start, start + len(plain)),)
    odd = (
        match.span(1 if match.re.groups else 0)
        for match in _finds(check, text)
        if key(match[1 if match.re.groups else 0] or "") not in allowed
    )
    return _all_in_time(policy, check, islice(odd, MAX_SPANS))


def _finds(check: Check, text: str) -> Iterator[Any]:
    seconds = PATTERN_SECONDS + len(text) / _PATTERN_CHARS_PER_SECOND
    pattern = _pattern(check.pattern, check.ignore_case)
    return iter(pattern.finditer(text, timeout=seconds))


def _all_in_time(policy: Policy, check: Check, spans: Iterator[Span]) -> tuple[Span, ...]:
    try:
        return tuple(spans)
    except (TimeoutError, MemoryError):
        raise policy_error(
            policy.ref,
            f"check {check.name!r}: the pattern takes too long on this text; rewrite it without "
            "a repeat inside a repeat, such as (a+)+",
        ) from None


@lru_cache(maxsize=256)
def _pattern(pattern: str, ignore_case: bool) -> Any:
    return regex.compile(pattern, regex.IGNORECASE if ignore_case else 0)
