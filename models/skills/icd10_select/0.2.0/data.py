"""Training rows of `icd10_select` 0.2.0: as 0.1.0's, and each candidate with its place.

A candidate is told with its rank and its likeness in the search, so that the skill weighs what
the search found against what the words mean. The candidates are those of the search by words and
meaning, so the embedder has to be pulled. Terms come in sentences, alone, or as the last level of
a pick list, under the words of a block or category of the tabular list.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from seamline.errors import ConfigError
from seamline.loading import load_module
from seamline.project import state_home

__all__ = ["build"]

_HERE = Path(__file__).resolve().parent
_TOOLS = _HERE.parents[3] / "tools"
_before = load_module(_HERE.parent / "0.1.0" / "data.py")
_index = load_module(_TOOLS / "icd10_search" / "index.py")
_mentions = load_module(_TOOLS / "icd10_search" / "mentions.py")
_terms = load_module(_TOOLS / "icd10_search" / "terms.py")
_choices = load_module(_TOOLS / "icd10_select" / "choices.py")

Row = dict[str, Any]

_TERMS, _DOCUMENTS, _DENIED = 4200, 1500, 300
"""Rows at scale 1."""
_FOUND = 20
_BRANCHES = 6
_LEFT_OUT = 0.12
_PICKED = 0.45
_QUALIFIED = 0.35
_SHORTENED = 0.5
_HEADED = 0.5
_FAR = 0.3
_ANSWERED = 0.55
_VALID_SHARE = 0.12

_QUALIFIERS = (
    "mild", "moderate", "severe", "known", "suspected", "stable", "recurrent", "new onset",
    "well controlled", "poorly controlled", "untreated", "on treatment", "resolving", "by imaging",
    "by history", "cause unknown", "right", "left", "bilateral", "uncomplicated", "subacute",
)  # fmt: skip


@dataclass(frozen=True)
class _Term:
    words: str
    given: str


def build(data: Path, *, seed: int = 0, scale: float = 1.0) -> Iterator[Row]:
    """Rows `{"context": {"text", "mention"}, "branches": [{"title", "place", "label"}],
    "group", "split"}`; a document's rows are of one split.

    Args:
        data: The folder of outside data, with `icd10/synonyms.jsonl` and `codiesp_train.jsonl`.
        seed: The same seed and data give the same rows.
        scale: 1.0 gives about 6,000 rows.

    Raises:
        ConfigError: The embedder has not been pulled.
    """
    index = _searched()
    terms = _known(data / "icd10" / "synonyms.jsonl", index, seed)
    fillers = [term.words for term in terms if 5 < len(term.words) < 40]
    rows = [
        *_from_terms(terms[: _count(_TERMS, scale)], index, fillers, f"{seed}:terms"),
        *_denied(terms[-_count(_DENIED, scale) :], index, fillers, f"{seed}:denied"),
        *_documents(
            data / "icd10" / "codiesp_train.jsonl",
            index,
            _count(_DOCUMENTS, scale),
            f"{seed}:documents",
        ),
    ]
    random.Random(f"{seed}:order").shuffle(rows)
    for row in rows:
        digest = hashlib.sha256(f"{seed}:{row['group']}".encode()).digest()
        yield {**row, "split": "valid" if digest[0] < 256 * _VALID_SHARE else "train"}


def _count(rows: int, scale: float) -> int:
    return max(1, round(rows * scale))


def _searched() -> Any:
    folder = _TOOLS / "icd10_search"
    name = yaml.safe_load((folder / "tool.yaml").read_text(encoding="utf-8"))["settings"][
        "embedder"
    ]
    embedder = load_module(folder / "meanings.py").pulled_embedder(name)
    if embedder is None:
        raise ConfigError(
            f"the rows of icd10_select need the embedder {name!r} of icd10_search; run "
            f"`seamline models pull {name}`"
        )
    return _index.Icd10Index.open(state_home() / "cache" / "icd10_search", embedder=embedder)


def _known(file: Path, index: Any, seed: int) -> list[_Term]:
    """Terms with the code that they were given, at most four a code; few bare symbols."""
    rng = random.Random(f"{seed}:pick")
    rows = [(row["term"].strip(), row["code"]) for row in _before._read(file)]
    rng.shuffle(rows)
    held: dict[str, int] = defaultdict(int)
    found = []
    for term, code in dict.fromkeys(rows):
        symbol = re.fullmatch(r"[A-Z0-9 .-]{2,9}", term) and rng.random() > 0.1
        if index.default(code) is None or held[code] >= 4 or symbol or not 3 <= len(term) <= 90:
            continue
        held[code] += 1
        found.append(_Term(_shortened(_before._as_written(term, rng), rng), code))
    return found


@cache
def _short() -> list[tuple[str, str]]:
    """Expansions, longest first, and the abbreviations that stand for them."""
    pairs = [(str(long).lower(), short.upper()) for short, long in _terms.ABBREVIATIONS.items()]
    return sorted(pairs, key=lambda pair: -len(pair[0]))


def _shortened(term: str, rng: random.Random) -> str:
    for long, short in _short():
        if long in term.lower() and len(long) > 5:
            if rng.random() < _SHORTENED:
                return re.sub(re.escape(long), short, term, count=1, flags=re.I)
            return term
    return term


def _from_terms(
    terms: Sequence[_Term], index: Any, fillers: Sequence[str], seed: str
) -> Iterator[Row]:
    rng = random.Random(seed)
    texts, mentions, contexts, headed = [], [], [], []
    for term in terms:
        context = ""
        if rng.random() < _PICKED:
            words, context = _picked(term, rng)
            text = mention = words
        else:
            mention = term.words
            text = _before._in_context(term.words, _before._PLAIN, fillers, rng)
        texts.append(text)
        mentions.append(mention)
        contexts.append(context)
        headed.append(rng.random() < _HEADED)
    for heading in (True, False):
        own = [i for i, one in enumerate(headed) if one is heading]
        found = index.candidates_of(
            [_index.normalise(mentions[i]) for i in own],
            _FOUND,
            [_index.normalise(contexts[i]) for i in own],
            headings=heading,
        )
        for i, hits in zip(own, found, strict=True):
            labels = _labels(terms[i].given, hits, index, headings=heading, rng=rng)
            row = _row(texts[i], mentions[i], hits, labels, rng)
            if row is not None:
                yield row


def _picked(term: _Term, rng: random.Random) -> tuple[str, str]:
    """A term as the last level of a pick list, and the levels before it."""
    import simple_icd_10_cm as icd

    above = [icd.get_description(code) for code in icd.get_ancestors(term.given)[::-1]]
    levels = [
        re.sub(r"\s*\([^)]*\)|^(?:other|certain|unspecified) |^diseases of the ", "", one.lower())
        for one in above
    ] or [term.words]
    level = rng.choice(levels)
    short = re.split(r"[,;]| and | due to | not elsewhere", level)[0].strip()
    words = term.words
    if rng.random() < _QUALIFIED:
        words = f"{words} {rng.choice(_QUALIFIERS)}"
    return f"{short} {words}", levels[0]


def _labels(
    given: str, hits: Sequence[Any], index: Any, *, headings: bool, rng: random.Random
) -> dict[str, int]:
    """Right or wrong, of the candidates of which that can be said."""
    right = {index.default(given)} | ({given} if headings else set())
    left_out = rng.random() < _LEFT_OUT
    labels = {}
    for hit in hits:
        if hit.code in right:
            if not left_out:
                labels[hit.code] = 1
        elif hit.code.startswith(given) or (left_out and hit.code[:3] == given[:3]):
            continue
        else:
            labels[hit.code] = 0
    return labels


def _denied(
    terms: Sequence[_Term], index: Any, fillers: Sequence[str], seed: str
) -> Iterator[Row]:
    """Mentions that the sentence denies or gives to a relative: no candidate is right."""
    rng = random.Random(seed)
    found = index.candidates_of([_index.normalise(term.words) for term in terms], _FOUND)
    for term, hits in zip(terms, found, strict=True):
        text = _before._fill(rng.choice(_before._DENIED), term.words, fillers, rng)
        row = _row(text, term.words, hits, {hit.code: 0 for hit in hits}, rng)
        if row is not None:
            yield row


def _documents(file: Path, index: Any, count: int, seed: str) -> Iterator[Row]:
    """Mentions of whole cases: right if the case was given that very code."""
    rng = random.Random(seed)
    right: list[Row] = []
    wrong: list[Row] = []
    positive = round(count * _ANSWERED)
    documents = _before._read(file)
    rng.shuffle(documents)
    for document in documents:
        if len(right) >= positive and len(wrong) >= count - positive:
            break
        text = document["text"]
        gold = {index.default(code) or code for code in document["codes"]} | set(document["codes"])
        kin = {code[:3] for code in gold}
        mentions = [
            one
            for one in _mentions.find_mentions(text, index, limit=14)
            if one.assertion not in ("negated", "family")
        ]
        found = index.candidates_of([one.words for one in mentions], _FOUND)
        for mention, hits in zip(mentions, found, strict=True):
            labels = {
                hit.code: int(hit.code in gold)
                for hit in hits
                if hit.code in gold or hit.code[:3] not in kin
            }
            words = text[mention.start : mention.end]
            around = _mentions.around(text, mention)
            row = _row(around, words, hits, labels, rng, group=str(document["id"]))
            if row is not None:
                (right if any(b["label"] for b in row["branches"]) else wrong).append(row)
    yield from right[:positive]
    yield from wrong[: count - positive]


def _row(
    text: str,
    mention: str,
    hits: Sequence[Any],
    labels: dict[str, int],
    rng: random.Random,
    *,
    group: str = "",
) -> Row | None:
    """At most six branches: the right ones, and wrong ones mostly from the top of the search."""
    told = _choices.told(hits)
    pairs = [
        (choice, labels[hit.code])
        for hit, choice in zip(hits, told, strict=True)
        if hit.code in labels
    ]
    right = [pair for pair in pairs if pair[1]][:2]
    wrong = [pair for pair in pairs if not pair[1]]
    room = _BRANCHES - len(right)
    kept = wrong[:room]
    if len(wrong) > room and rng.random() < _FAR:
        kept[-1] = rng.choice(wrong[room:])
    if not kept:
        return None
    branches = [{**choice, "label": label} for choice, label in right + kept]
    rng.shuffle(branches)
    context = {"text": text, "mention": mention}
    return {"context": context, "branches": branches, "group": group or mention.lower()}
