"""Splits a contract into pieces of at most about 110 words, as offsets into its text.

Works from layout where there is any (blank lines, numbered lines, Markdown headings) and
from sentence ends and inline section numbers where there is none. One pass over the
lines, one over the sentences; time and memory are linear in the length of the text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import Field

from seamline.tools.contract import FactValue, ToolContext, ToolInput, ToolOutput, ToolSettings

__all__ = ["Clause", "Input", "Output", "Settings", "Span", "run", "split"]

MAX_WORDS = 110
MAX_CHARS = 1_400
MIN_PARAGRAPH_WORDS = 25
MIN_ITEM_WORDS = 40
HEADING_WORDS = 8
HEADING_CHARS = 120
SIGNATURE_CHARS = 1_500

_NUMBER = r"\d{1,3}(?:\.\d{1,3}){0,4}[.)]?"
_TITLE = r"(?:section|article|clause|part|schedule|exhibit|annex|appendix)"
_QUOTES = "\"'\u2018\u2019\u201c\u201d"
_SECTION = re.compile(
    rf"(?:(?i:{_TITLE})[ \t]{{1,4}}(?:{_NUMBER}|[IVXLC]{{1,7}}\b\.?|[A-Z]\b\.?)"
    rf"(?![\d.]*(?:\([a-zA-Z0-9]{{1,4}}\))*[ \t]{{0,12}}[a-z,;)\]])"
    rf"|{_NUMBER}(?=[ \t]{{1,12}}[{_QUOTES}(\[]?[A-Z])"
    rf"|[IVXLC]{{1,7}}\.(?=[ \t]{{1,12}}[{_QUOTES}]?[A-Z])"
    rf"|[A-Z]\.(?=[ \t]{{1,12}}[{_QUOTES}]?[A-Z][a-zA-Z]))"
)
_ITEM = re.compile(
    r"\((?:[a-zA-Z]{1,2}|[ivxIVX]{1,5}|\d{1,2})\)|[a-z]\)|[-*\u2022\u2013\u00b7](?=[ \t])"
)
_MARKDOWN = re.compile(r"#{1,6}[ \t]")
_RULE = re.compile(r"[-=_*\s]{3,}$")
_PAGE = re.compile(
    r"(?i)(?:[-\u2013\u2014\s]*(?:page[ \t]+)?\d{1,4}(?:[ \t]+of[ \t]+\d{1,4})?[-\u2013\u2014\s]*"
    r"|[-\u2013\s]*[ivxl]{1,6}[-\u2013\s]*|[A-Z]-\d{1,3}|<page>)$"
)
_SOURCE = re.compile(r"Source: .{1,200}\d{4}$")
_LEADER = re.compile(r"(?:\.[ \t]?){4,60}")
_CONTENTS = re.compile(r"(?i)(?:#{1,6}[ \t])?\W{0,3}(?:table of )?contents\W{0,3}(?:page)?$")
_CONTENTS_LINE = re.compile(r"(?:\s|\.)(?:[A-Z]-)?(?:\d{1,3}|[ivx]{1,5})$")
_WITNESS = re.compile(r"(?i)[*_#\s]{0,4}in witness (?:whereof|hereof)")
_SIGNED = re.compile(
    r"(?i)[*_|\s]{0,4}(?:by|name|title|its|date|dated|signed|signature|print name|printed name"
    r"|witness|attest)[*_\s]{0,4}:|/s/|_{6,}"
)
_SENTENCE = re.compile(
    rf"[.!?][{_QUOTES})\]]{{0,3}}\s+(?=[{_QUOTES}(\[\dA-Z*])|[;:]\s+(?=\d{{1,2}}\.|\([a-z]\)\s)"
)
_ABBREVIATION = re.compile(
    r"(?:\b(?:Inc|Ltd|Co|Corp|No|Nos|Sec|Art|Mr|Mrs|Ms|Dr|St|vs|v|Jr|Sr|Ave|Blvd|Dept|Bros|Tel"
    r"|Fax|Attn|Ste|approx|cf|al|pp|Ph|Esq|[A-Z]|[A-Z]\.[A-Z]|e\.g|i\.e|[A-Z]\.[A-Z]\.[A-Z]))\.$"
)
_SOFT_BREAK = re.compile(
    r";\s+|,\s+(?=(?:and|or|but|provided|except|including|which)\b)"
    r"|(?<=\S)\s+(?=\([a-z]{1,4}\)\s)"
)
_WORD = re.compile(r"\S{1,400}")
_LINE = re.compile(r"[^\n\r\f\v\x85\u2028\u2029]+|\r\n|[\n\r\f\v\x85\u2028\u2029]")
_LEADING_NUMBER = re.compile(rf"(?i)(?:{_TITLE}\s+)?(\d{{1,3}})\b")
_LINE_ENDS = frozenset("\n\r\f\v\x85\u2028\u2029")
_TITLED = re.compile(rf"(?i){_TITLE}\b")
_INLINE_HEADING = re.compile(r"[^.:;\u2014]{2,90}(?=[.:\u2014])")


class Input(ToolInput):
    """The text of one contract."""

    text: str


class Span(ToolOutput):
    """A stretch of the text: `text[start:end]`."""

    start: int
    end: int


class Clause(Span):
    """A piece of the contract with the nearest heading above or inside it."""

    heading: str = ""


class Output(ToolOutput):
    """The pieces in order, without overlaps; `other` is contents pages, page marks, signatures."""

    clauses: tuple[Clause, ...]
    other: tuple[Span, ...] = ()

    def facts(self) -> dict[str, FactValue]:
        """How many clauses there are."""
        return {"clauses found": len(self.clauses)}


class Settings(ToolSettings):
    """The most words of a piece."""

    max_words: int = Field(default=MAX_WORDS, gt=0)


@dataclass(frozen=True, slots=True)
class _Line:
    start: int
    end: int
    gap: bool
    """A blank line stands before it."""
    other: bool = False


@dataclass(frozen=True, slots=True)
class _Unit:
    """A sentence, a heading, or a part of an overlong sentence."""

    start: int
    end: int
    words: int
    level: int
    """3 section start, 2 item or paragraph start, 1 sentence start, 0 the middle of a sentence."""
    heading: str = ""
    alone: bool = False
    """A heading line: it opens a piece and belongs to what follows."""


async def run(input: Input, context: ToolContext) -> Output:  # noqa: A002
    """The clauses of a contract."""
    return split(input.text, max_words=Settings.of(context.spec).max_words)


def split(text: str, *, max_words: int = MAX_WORDS) -> Output:
    """The clauses of `text`, each at most `max_words` words, and what is not a clause."""
    pieces: list[Clause] = []
    other: list[Span] = []
    held: list[_Unit] = []
    passed: list[Span] = []  # page marks inside a sentence that may go on after them
    heading = ""

    def flush() -> None:
        if held:
            pieces.append(Clause(start=held[0].start, end=held[-1].end, heading=heading))
            held.clear()
        other.extend(passed)
        passed.clear()

    words = 0
    for item in _units(text, max_words):
        if isinstance(item, Span):
            if held and _mid_sentence(text, held[-1]) and item.end - item.start < 12:
                words += len(text[item.start : item.end].split())
                passed.append(item)
                continue
            flush()
            words = 0
            other.append(item)
            continue
        if held and _starts_piece(item, held, words, max_words, text):
            flush()
            words = 0
        if item.heading:
            heading = _heading(heading, item.heading)
        passed.clear()
        held.append(item)
        words += item.words
    flush()
    return Output(clauses=tuple(pieces), other=tuple(other))


def _heading(above: str, found: str) -> str:
    """The heading of what follows: a bare number such as 1.1 stays under the title of 1."""
    if any(ch.isalpha() for ch in found) or not any(ch.isalpha() for ch in above):
        return found
    numbered = _LEADING_NUMBER.match(above)
    same = numbered is None or numbered.group(1) == found.split(".")[0].strip(")")
    return above if same else found


def _starts_piece(unit: _Unit, held: list[_Unit], words: int, max_words: int, text: str) -> bool:
    if words + unit.words > max_words or unit.end - held[0].start > MAX_CHARS:
        return True
    if all(one.alone for one in held):
        return False
    if unit.alone or unit.level == 3:
        return words > HEADING_WORDS or unit.alone
    if unit.level == 2:
        least = MIN_ITEM_WORDS if _ITEM.match(text, unit.start) else MIN_PARAGRAPH_WORDS
        return words >= least and not _mid_sentence(text, held[-1])
    return False


def _mid_sentence(text: str, unit: _Unit) -> bool:
    return not unit.alone and text[unit.end - 1] not in '.!?;:)]"\u201d|'


def _units(text: str, max_words: int) -> Iterator[_Unit | Span]:
    """Sentences and headings of each block, and the spans that are not clauses."""
    block: list[_Line] = []
    for line in _lines(text):
        if line.other:
            yield from _block(text, block, max_words)
            block = []
            yield Span(start=line.start, end=line.end)
            continue
        if block and (line.gap or _opens_block(text, line) or _is_heading(text, block[-1])):
            yield from _block(text, block, max_words)
            block = []
        block.append(line)
    yield from _block(text, block, max_words)


def _opens_block(text: str, line: _Line) -> bool:
    return any(
        pattern.match(text, line.start, line.end) for pattern in (_SECTION, _ITEM, _MARKDOWN)
    )


def _block(text: str, block: list[_Line], max_words: int) -> Iterator[_Unit]:
    if not block:
        return
    start, end = block[0].start, block[-1].end
    if len(block) == 1 and _is_heading(text, block[0]):
        words = len(text[start:end].split())
        if words <= max_words:
            yield _Unit(start, end, words, 3, _title(text[start:end]), alone=True)
            return
    level = 2
    for first, last in _sentences(text, start, end):
        section = _SECTION.match(text, first, last)
        if section:
            level = 3
        elif _ITEM.match(text, first, last):
            level = 2
        title = _inline_title(text, section.end(), last) if section else ""
        if section and not title:
            title = section.group().strip()
        elif section:
            title = f"{section.group().strip()} {title}"
        for a, b, words in _parts(text, first, last, max_words):
            yield _Unit(a, b, words, level, title)
            level, title = 0, ""
        level = 1


def _sentences(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    first = start
    for match in _SENTENCE.finditer(text, start, end):
        stop = match.start() + len(match.group().rstrip())
        head = text[max(first, stop - 12) : stop]
        if match.group()[0] == "." and (_ABBREVIATION.search(head) or stop - first < 8):
            continue
        if _SECTION.fullmatch(text, first, stop):
            continue
        yield first, stop
        first = match.end()
    if first < end:
        yield first, end


def _parts(text: str, start: int, end: int, max_words: int) -> Iterator[tuple[int, int, int]]:
    """An overlong sentence cut at its semicolons, else commas, else words."""
    words = [(m.start(), m.end()) for m in _WORD.finditer(text, start, end)]
    if len(words) <= max_words and end - start <= MAX_CHARS:
        if words:
            yield words[0][0], words[-1][1], len(words)
        return
    breaks = {m.end() for m in _SOFT_BREAK.finditer(text, start, end)}
    first = 0
    while first < len(words):
        last = first + 1
        best = 0
        while (
            last < len(words)
            and last - first < max_words
            and words[last][1] - words[first][0] <= MAX_CHARS
        ):
            if words[last][0] in breaks and last - first >= max_words // 3:
                best = last
            last += 1
        if best and last < len(words):
            last = best
        yield words[first][0], words[last - 1][1], last - first
        first = last


def _is_heading(text: str, line: _Line) -> bool:
    if line.end - line.start > HEADING_CHARS:
        return False
    if _MARKDOWN.match(text, line.start, line.end):
        return True
    body = text[line.start : line.end].strip("*_ \t")
    words = body.split()
    if not words or len(words) > 12 or body[-1] in ",;":
        return False
    section = _SECTION.match(body)
    rest = body[section.end() :].strip(" \t.:-\u2013\u2014") if section else body.rstrip(".:")
    if not rest:
        return section is not None
    if body.isupper():
        return any(ch.isalpha() for ch in rest)
    named = [w for w in rest.split() if w[0].isalpha() and len(w) > 3]
    title = bool(named) and all(w[0].isupper() for w in named)
    return (
        title
        and len(rest.split()) <= HEADING_WORDS
        and body[-1] not in "?!"
        and (section is not None or body[-1] not in ".")
    )


def _title(line: str) -> str:
    return " ".join(line.strip("#*_ \t:").split())[:120]


def _inline_title(text: str, start: int, end: int) -> str:
    match = _INLINE_HEADING.match(text, start, end)
    if not match:
        return ""
    words = match.group().split()
    named = [w for w in words if w[0].isalpha() and len(w) > 3]
    if words and len(words) <= HEADING_WORDS and named and all(w[0].isupper() for w in named):
        return " ".join(words)
    return ""


def _lines(text: str) -> Iterator[_Line]:
    """Non-blank lines without their margins, page furniture marked."""
    repeated = _repeated(text)
    gap = True
    contents = signing = False
    for start, end in _raw_lines(text):
        if start == end:
            gap = True
            continue
        line = text[start:end] if end - start <= 400 else text[start : start + 400]
        words = len(line.split())
        if contents and (words > 20 or not _like_contents(line)):
            contents = False
        if signing and (words > 25 or _opens_part(line, words)):
            signing = False
        if _CONTENTS.match(line):
            contents = True
        if _WITNESS.match(line) and end - start <= SIGNATURE_CHARS:
            signing = True
        other = contents or signing or line in repeated or _is_furniture(line, words)
        yield _Line(start, end, gap, other)
        gap = False


def _opens_part(line: str, words: int) -> bool:
    """A schedule or a further section after the signatures."""
    return bool(
        _MARKDOWN.match(line) or _TITLED.match(line) or (words > 3 and _SECTION.match(line))
    )


def _raw_lines(text: str) -> Iterator[tuple[int, int]]:
    """Lines without their margins; a blank line is an empty span."""
    ended = True
    for match in _LINE.finditer(text):
        line = match.group()
        body = line.strip()
        if body:
            start = match.start() + len(line) - len(line.lstrip())
            yield start, start + len(body)
            ended = False
        elif line[0] in _LINE_ENDS:
            if ended:
                yield match.start(), match.start()
            ended = True


def _repeated(text: str) -> frozenset[str]:
    """Short lines that stand three times or more and are no sentence: running heads and feet."""
    counts: Counter[str] = Counter()
    for start, end in _raw_lines(text):
        if 8 <= end - start <= 200 and text[end - 1] not in ".;:,":
            line = text[start:end]
            if not _SECTION.match(line) and not _MARKDOWN.match(line):
                counts[line] += 1
    return frozenset(line for line, count in counts.items() if count >= 3)


def _like_contents(line: str) -> bool:
    return bool(
        _CONTENTS.match(line)
        or _CONTENTS_LINE.search(line)
        or _LEADER.search(line)
        or (len(line.split()) <= 8 and line[-1] not in ".;,")
    )


def _is_furniture(line: str, words: int) -> bool:
    if _PAGE.match(line) or _RULE.match(line) or _SOURCE.match(line):
        return True
    leaders = len(_LEADER.findall(line))
    if leaders and words < 25 and _CONTENTS_LINE.search(line):
        return True
    return leaders >= 3 or (words <= 15 and bool(_SIGNED.match(line)))
