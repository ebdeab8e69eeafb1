"""Where a note names a condition, and what it says of it.

Sentences and sections come with their offsets; candidate phrases are windows of words that
stop words and punctuation bound; the tabular list says how well each names something; the best
set without overlap is chosen a sentence at a time by dynamic programming. Assertion context
follows the idea of NegEx and ConText (Chapman et al. 2001; Harkema et al. 2009).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from .index import Icd10Index, normalise
from .terms import (
    FAMILY_CUES,
    HEADINGS,
    HISTORICAL_CUES,
    NEGATION_AFTER,
    NEGATION_BEFORE,
    NOT_A_CONDITION,
    POSSIBLE_AFTER,
    POSSIBLE_BEFORE,
    SCOPE_ENDS,
    STOP_WORDS,
    TELLING,
    words_of,
)

__all__ = [
    "Assertion",
    "Mention",
    "Sentence",
    "around",
    "assertion_of",
    "find_mentions",
    "pick_list_entry",
    "sentences",
]

Assertion = Literal["present", "negated", "family", "historical", "possible"]

_TOKEN = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*")
_LINE = re.compile(r"[^\r\n]+")
_END = re.compile(r"[.!?;]+(?=\s+[\"'(\[•*-]?\s*[A-Z0-9])|[.!?;]+\s*$")
_NOT_AN_END = re.compile(
    r"(?:\b(?:dr|mr|mrs|ms|vs|no|e\.g|i\.e|approx|fig|pt|st|yr|wk|hx|dx)|\b[a-z]|^\s*\d{1,2})$",
    re.IGNORECASE,
)
_TITLE = re.compile(r"\s*[A-Z][A-Za-z/&-]+(?: [A-Za-z/&-]+){0,3}:")
_BULLET = re.compile(r"^[\s•*#>-]*(?:\(?\d{1,2}[.)]\s+)?")
_WIDEST = 7  # words in one phrase
_THRESHOLD = 0.62  # what a phrase's words must be worth, on average, as a share of a title
_ALONE = 0.85  # the same for a single word
_WHOLE = 0.97  # the same for words of which none is a condition's head
_JOINED = 0.02  # what each further word of a phrase adds to its value
_CONTEXT_WORDS = 60
_LIKE = 0.35  # least likeness of a short text as a whole to any title
_SHORT = 12  # words: a text as short as this without a verb is one mention
_INSIDE = words_of(
    """
    a an the and or of in on to with without due by at from secondary associated as severe
    mild moderate first second third normal increased decreased previous related for not
    """
)
_OPEN_ENDED = words_of("right left bilateral upper lower anterior posterior other")
_AGAINST = words_of(
    """
    vaccine vaccines vaccination vaccinations immunization immunizations booster boosters shot
    shots prophylaxis screening pandemic
    """
)  # before one of these, a condition's name does not say that anybody has it
_SECTION_WORTH = {
    "assessment": 1.35,
    "history": 1.15,
    "complaint": 1.1,
    "medications": 0.3,
    "allergies": 0.5,
    "social": 0.5,
    "review": 0.75,
    "exam": 0.75,
    "surgical": 0.6,
    "family": 0.6,
}


@dataclass(frozen=True)
class Sentence:
    """A stretch of the text and the kind of section it stands in."""

    start: int
    end: int
    section: str


@dataclass(frozen=True)
class Mention:
    """A stretch of the text that names a condition; `worth` ranks it among the others."""

    start: int
    end: int
    sentence_start: int
    sentence_end: int
    assertion: Assertion
    words: tuple[str, ...]
    worth: float
    around: tuple[str, ...] = ()  # words that help to tell what it means


@dataclass(frozen=True)
class _Token:
    start: int
    end: int
    low: str


def sentences(text: str) -> list[Sentence]:
    """The sentences of a text, in order, with their section; offsets map to `text` exactly."""
    out: list[Sentence] = []
    section = "story"
    for line in _LINE.finditer(text):
        start, end = line.span()
        body = line.group()
        heading, rest = _heading(body)
        if heading is None and section == "family" and _opens_another(body):
            section = "story"
        if heading is not None:
            section = heading
            if not body[rest:].strip():
                continue
            start += rest
            body = body[rest:]
        cut = 0
        for stop in _END.finditer(body):
            if stop.group().startswith(".") and _NOT_AN_END.search(body[cut : stop.start()]):
                continue
            _append(out, text, start + cut, start + stop.end(), section)
            cut = stop.end()
        _append(out, text, start + cut, end, section)
    return out


def _append(out: list[Sentence], text: str, start: int, end: int, section: str) -> None:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    if start < end:
        out.append(Sentence(start, end, section))


def _heading(line: str) -> tuple[str | None, int]:
    """The kind of section that a line opens, and where its own text starts."""
    bullet = _BULLET.match(line)
    offset = bullet.end() if bullet else 0
    head, colon, _ = line[offset:].partition(":")
    words = " ".join(re.findall(r"[a-z]+", head.lower()))
    if words.replace("assessment plan", "assessment and plan") in HEADINGS or words in HEADINGS:
        kind = HEADINGS.get(words) or HEADINGS["assessment and plan"]
        if colon:
            return kind, offset + len(head) + 1
        if len(line.strip(" .:•*#-").split()) <= 6:
            return kind, len(line)
    return None, 0


def _opens_another(line: str) -> bool:
    """Whether a line opens a section under a heading that is not known, of no relative."""
    opened = _TITLE.match(line)
    return opened is not None and not _FAMILY.search(opened.group())


def find_mentions(text: str, index: Icd10Index, *, limit: int) -> list[Mention]:
    """The conditions a text names, at most `limit`, in the order of the text."""
    entry = pick_list_entry(text)
    if entry is not None and _is_like(entry.words, index):
        return [entry]
    stretches = sentences(text)
    short = len(_TOKEN.findall(text)) <= _SHORT and len(stretches) <= 1
    windows: list[tuple[Sentence, list[_Token], int, int]] = []
    phrases: list[tuple[str, ...]] = []
    for sentence in stretches:
        tokens = [
            _Token(m.start(), m.end(), m.group().lower())
            for m in _TOKEN.finditer(text, sentence.start, sentence.end)
        ]
        for i, j in _windows(text, tokens, index):
            words = tuple(normalise(text[tokens[i].start : tokens[j].end]))
            windows.append((sentence, tokens, i, j))
            phrases.append(words)
    found = _choose(text, windows, phrases, index)
    if short and stretches and not found:
        whole = stretches[0]
        words = tuple(normalise(text[whole.start : whole.end]))
        if _is_like(words, index):
            found = [_mention(text, whole, whole.start, whole.end, words, 1.0)]
    return _best(found, limit)


def _is_like(words: tuple[str, ...], index: Icd10Index) -> bool:
    """Whether the words of some title are like these as a whole."""
    likeness = index.scores([words]).data
    return bool(likeness.size) and float(likeness.max()) >= _LIKE


def pick_list_entry(text: str) -> Mention | None:
    """The mention in an entry of a pick list, `system|group|item|detail`; None for other text.

    What is meant stands in the last two levels, since a last level often only qualifies the one
    above it ("acute", "due to a drug"); the first names an organ system. The levels that are no
    part of the mention help to tell what it means.
    """
    line = text.strip()
    levels = line.split("|")
    if (
        len(levels) < 2
        or len(line.splitlines()) > 1
        or any(not x or x != x.strip() for x in levels)
    ):
        return None
    first = text.index(line)
    end = first + len(line)
    start = end - len("|".join(levels[1:][-2:]))
    return Mention(
        start=start,
        end=end,
        sentence_start=first,
        sentence_end=end,
        assertion="present",
        words=tuple(normalise(text[start:end])),
        worth=1.0,
        around=tuple(normalise(text[first:start])),
    )


def _windows(text: str, tokens: Sequence[_Token], index: Icd10Index) -> list[tuple[int, int]]:
    """Spans (first, last) of tokens that may name a condition."""
    out = []
    for i, first in enumerate(tokens):
        if first.low in STOP_WORDS and not _opens(first.low):
            continue
        for j in range(i, min(i + _WIDEST, len(tokens))):
            if j > i and _broken(text[tokens[j - 1].end : tokens[j].start]):
                break
            last = tokens[j].low
            if last in STOP_WORDS and last not in _INSIDE:
                break
            if (last in STOP_WORDS and not last.isdigit()) or (j > i and last in _OPEN_ENDED):
                continue
            if j > i or _names(first.low, index):
                out.append((i, j))
    return out


def _opens(word: str) -> bool:
    """Stop words that belong to a diagnosis when they lead it."""
    return word in ("severe", "recurrent", "increased", "decreased", "abnormal")


def _broken(between: str) -> bool:
    return any(c in between for c in ",;:()[]•\n\t|") or ". " in between or "/" in between


def _names(word: str, index: Icd10Index) -> bool:
    """Whether a word can be the head of a condition."""
    if word in STOP_WORDS or word in NOT_A_CONDITION or word.isdigit():
        return False
    return len(word) > 2 or any(index.known(w) for w in normalise(word))


def _choose(
    text: str,
    windows: Sequence[tuple[Sentence, list[_Token], int, int]],
    phrases: Sequence[tuple[str, ...]],
    index: Icd10Index,
) -> list[Mention]:
    """The best set without overlap in every sentence."""
    if not phrases:
        return []
    unique = {phrase: row for row, phrase in enumerate(dict.fromkeys(phrases))}
    products = index.scores(list(unique))
    _, norms = index.queries(list(unique))
    best = np.zeros(len(unique), np.float32)
    for row in range(len(unique)):
        values = products.data[products.indptr[row] : products.indptr[row + 1]]
        best[row] = values.max() if len(values) else 0.0
    keys = list(unique)
    mass = [sum(max(0.0, index.weight(word)) for word in set(phrase)) for phrase in keys]
    out: list[Mention] = []
    at = 0
    while at < len(windows):
        sentence, tokens = windows[at][0], windows[at][1]
        spans: list[tuple[int, int, float]] = []
        rows: dict[tuple[int, int], int] = {}
        while at < len(windows) and windows[at][0] is sentence:
            _, _, i, j = windows[at]
            row = unique[phrases[at]]
            surplus = float(best[row]) - _THRESHOLD
            if surplus > 0.0 and _credible(text, tokens, i, j, float(best[row]), index):
                # summed weights: a diagnosis of two words outweighs its parts, by a little
                spans.append((i, j, mass[row] * surplus * (1.0 + _JOINED * (j - i))))
                rows[i, j] = row
            at += 1
        for i, j, _ in _disjoint(spans, len(tokens)):
            row = rows[i, j]
            worth = float(norms[row]) * (float(best[row]) - _THRESHOLD)
            out.append(_mention(text, sentence, tokens[i].start, tokens[j].end, keys[row], worth))
    return out


def _credible(
    text: str, tokens: Sequence[_Token], i: int, j: int, best: float, index: Icd10Index
) -> bool:
    """Whether a phrase names a condition itself: by its head, or by being a whole title."""
    after = tokens[j + 1 : j + 2]
    if after and _broken(text[tokens[j].end : after[0].start]):
        after = []
    if any(token.low in _AGAINST for token in (*tokens[i : j + 1], *after)):
        return False
    if i == j:
        return best >= _ALONE and not _is_name(text, tokens, i)
    words = [token.low for token in tokens[i : j + 1]]
    head = words[: words.index("without")] if "without" in words else words
    if head == words and best >= _WHOLE:
        return True
    return any(_names(word, index) for word in head)  # what is not there is no condition


def _is_name(text: str, tokens: Sequence[_Token], i: int) -> bool:
    """Whether a lone word is written as a person's name: capitalised inside a sentence."""
    word = text[tokens[i].start : tokens[i].end]
    if not word[:1].isupper() or word.isupper() or any(c.isdigit() for c in word):
        return False
    if all(token.low.isdigit() for token in tokens[:i]):  # it opens the sentence or list item
        if i + 1 == len(tokens):
            return False
        between = text[tokens[i].end : tokens[i + 1].start]
        return between == " " and text[tokens[i + 1].start].isupper()
    return ":" not in text[tokens[i - 1].end : tokens[i].start]


def _disjoint(spans: list[tuple[int, int, float]], size: int) -> list[tuple[int, int, float]]:
    """The set of spans without overlap that is worth most (weighted interval scheduling)."""
    ending: list[list[tuple[int, int, float]]] = [[] for _ in range(size)]
    for span in spans:
        ending[span[1]].append(span)
    value = [0.0] * (size + 1)
    taken: list[tuple[int, int, float] | None] = [None] * (size + 1)
    for j in range(size):
        value[j + 1] = value[j]
        for span in ending[j]:
            total = value[span[0]] + span[2]
            if total > value[j + 1]:
                value[j + 1], taken[j + 1] = total, span
    out = []
    j = size
    while j:
        span_or_none = taken[j]
        if span_or_none is None:
            j -= 1
        else:
            out.append(span_or_none)
            j = span_or_none[0]
    return out[::-1]


def _mention(
    text: str, sentence: Sentence, start: int, end: int, words: tuple[str, ...], worth: float
) -> Mention:
    assertion = assertion_of(text, sentence, start, end)
    return Mention(
        start=start,
        end=end,
        sentence_start=sentence.start,
        sentence_end=sentence.end,
        assertion=assertion,
        words=words,
        worth=worth * _SECTION_WORTH.get(sentence.section, 1.0),
    )


def around(text: str, mention: Mention) -> str:
    """The mention's sentence, at most sixty words of it, around the mention."""
    before = text[mention.sentence_start : mention.start].split()
    after = text[mention.end : mention.sentence_end].split()
    room = _CONTEXT_WORDS - len(text[mention.start : mention.end].split())
    if len(before) + len(after) <= room:
        return text[mention.sentence_start : mention.sentence_end]
    left = min(len(before), max(room // 2, room - len(after)))
    start = mention.start - len(" ".join(before[-left:])) - 1 if left else mention.start
    tail = " ".join(after[: room - left])
    kept = text[max(start, mention.sentence_start) : mention.end]
    return f"{kept} {tail}".strip()


def _best(found: list[Mention], limit: int) -> list[Mention]:
    """At most `limit`: each condition once, and what is to be coded before what is not."""
    first: dict[tuple[frozenset[str], bool], Mention] = {}
    for mention in found:
        key = (frozenset(mention.words), mention.assertion in ("negated", "family"))
        held = first.get(key)
        if held is None:
            first[key] = mention
        elif mention.worth > held.worth * 1.05:
            first[key] = replace(mention, worth=mention.worth + 0.3)
    ranked = sorted(first.values(), key=lambda m: (-m.worth, m.start))
    codable = [m for m in ranked if m.assertion not in ("negated", "family")]
    rest = [m for m in ranked if m.assertion in ("negated", "family")]
    room = max(limit - len(rest), limit - max(1, limit // 5))
    chosen = codable[:room]
    chosen += rest[: limit - len(chosen)]
    return sorted(chosen, key=lambda m: (m.start, m.end))


def _cues(words: tuple[str, ...]) -> re.Pattern[str]:
    joined = "|".join(
        re.escape(w).replace(r"\ ", r"[\s/.-]+") for w in sorted(words, key=len)[::-1]
    )
    return re.compile(rf"(?<![\w-])(?:{joined})(?![\w])", re.IGNORECASE)


_SCOPE_END = _cues(SCOPE_ENDS)
_NEGATED_BEFORE, _NEGATED_AFTER = _cues(NEGATION_BEFORE), _cues(NEGATION_AFTER)
_FAMILY, _HISTORICAL = _cues(FAMILY_CUES), _cues(HISTORICAL_CUES)
_POSSIBLE_BEFORE, _POSSIBLE_AFTER = _cues(POSSIBLE_BEFORE), _cues(POSSIBLE_AFTER)
_TELLING = rf"{_FAMILY.pattern}\s+(?:also\s+|has\s+|had\s+)?(?={_cues(TELLING).pattern})"
_TELLS = re.compile(_TELLING, re.IGNORECASE)  # a relative who tells of the patient
_NOT_NEGATING = re.compile(r"\b(?:no|not)\s+(?:only|change|increase|further|longer)\b", re.I)


def assertion_of(text: str, sentence: Sentence, start: int, end: int) -> Assertion:
    """What the sentence says of the mention at `start:end`: there, not there, or of whom."""
    before, after = text[sentence.start : start], text[end : sentence.end]
    scope = before[_last_end(_SCOPE_END, before) :]
    scope = _NOT_NEGATING.sub(" ", scope)
    tail = re.split(r"[,;:(]|\b(?:but|and|with|which)\b", after, maxsplit=1)[0]
    tail = " ".join(tail.split()[:6])
    if _FAMILY.search(_TELLS.sub(" ", before)) or sentence.section == "family":
        return "family"
    if _within(_NEGATED_BEFORE, scope, 12) or _NEGATED_AFTER.search(tail):
        return "negated"
    if _within(_POSSIBLE_BEFORE, scope, 7) or _POSSIBLE_AFTER.search(tail):
        return "possible"
    if _within(_HISTORICAL, scope, 6):
        return "historical"
    return "present"


def _last_end(pattern: re.Pattern[str], text: str) -> int:
    end = 0
    for match in pattern.finditer(text):
        end = match.end()
    return end


def _within(pattern: re.Pattern[str], scope: str, words: int) -> bool:
    """Whether the last cue stands within so many words of the end of `scope`."""
    end = _last_end(pattern, scope)
    if not end:
        return False
    return len(scope[end:].split()) <= words
