"""Training rows of `nda_entailment`: passages of confidentiality agreements and statements.

Rows are `{"context": {"passage": ..., "statement": ...}, "labels": [...], "group": document,
"split": ...}`, from the 17 annotated statements of each agreement.

In the file, statements that an agreement does not mention come with three sentences drawn at
random, so that number, length and topic of the sentences give the answer away. Here every
statement is read in two forms, and both look alike whatever the answer is:

- as annotated: the evidence; for one not mentioned, sentences of the same agreement, as many
  and about as long as some evidence is;
- as found: what the tool's retrieval gives for the statement among the agreement's sentences,
  near in topic whatever the answer is; with evidence only where that was found.

An agreement that does not mention a statement does so in no sentence, so every passage of it is
a right one. A statement that it does mention never becomes "not mentioned".

The statement is the last thing the skill reads, in the data set's wording or one of
`statements.yaml` and the tool; opposite wordings turn the answer round, so that the answer
depends on the statement, and contradictions are no longer rare.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from seamline.loading import load_module

__all__ = ["ANSWERS", "Topic", "build", "topic_of", "topics"]

ANSWERS = ("Entailment", "Contradiction", "Not mentioned")
"""By the file's numbers 0, 1 and 2."""
ROWS = 10_000
AS_WRITTEN = 0.6
"""The share of rows in the data set's own wording; the rest is half same, half opposite."""
PASSAGE_WORDS = (100, 130, 160)
FOUND = 0.5
DRAWS = 12
VALID_SHARE = 0.2

_OPPOSITE = {ANSWERS[0]: ANSWERS[1], ANSWERS[1]: ANSWERS[0], ANSWERS[2]: ANSWERS[2]}
_HERE = Path(__file__).resolve().parent
_TOOL = _HERE.parents[3] / "tools" / "nda_check"
_PASSAGES = load_module(_TOOL / "passages.py")

Row = dict[str, Any]


@dataclass(frozen=True)
class Topic:
    """One annotated statement: what the tool asks and looks for, and its further wordings."""

    name: str
    match: str
    query: str
    same: tuple[str, ...]
    opposite: tuple[str, ...]


@dataclass(frozen=True)
class _Asked:
    """A row of the file."""

    statement: str
    topic: Topic
    answer: str
    evidence: tuple[str, ...]


def build(data: Path, *, seed: int = 7, scale: float = 1.0) -> Iterator[Row]:
    """Training rows from `data/contracts/contractnli_train.jsonl`; the same seed, the same rows.

    Raises:
        FileNotFoundError: The file is missing.
        ValueError: A statement of the file fits no topic of `statements.yaml`.
    """
    rng = random.Random(seed)
    documents = _documents(data / "contracts" / "contractnli_train.jsonl")
    shapes = [asked.evidence for asked_of, _ in documents for asked in asked_of if asked.evidence]
    rows = [
        {**_worded(passage, asked, rng), "group": f"document {number}"}
        for number, (asked_of, pool) in enumerate(documents)
        for asked, passage in _passages(asked_of, pool, shapes, rng)
    ]
    rng.shuffle(rows)
    held = _held_out(len(documents), seed)
    for row in rows[: round(ROWS * scale)]:
        yield {**row, "split": "valid" if row["group"] in held else "train"}


@cache
def topics() -> tuple[Topic, ...]:
    """The topics of the data set, in the order of `statements.yaml`."""
    settings = yaml.safe_load((_TOOL / "tool.yaml").read_text(encoding="utf-8"))["settings"]
    asked = {one["name"]: one for one in settings["statements"]}
    worded = yaml.safe_load((_HERE / "statements.yaml").read_text(encoding="utf-8"))
    return tuple(
        Topic(
            name=one["name"],
            match=one["match"],
            query=f"{own['text']} {own['words']}",
            same=(own["text"], *one["same"]),
            opposite=tuple(one["opposite"]),
        )
        for one in worded
        for own in [asked[one["name"]]]
    )


def topic_of(statement: str, known: Sequence[Topic]) -> Topic:
    """The topic of a statement of the data set. Raises `ValueError` where none fits."""
    for topic in known:
        if topic.match in statement:
            return topic
    raise ValueError(f"statement {statement!r} fits no `match` of statements.yaml; add a topic")


def _documents(file: Path) -> list[tuple[list[_Asked], list[str]]]:
    """Per agreement its statements, and every sentence of it that the file shows.

    An agreement's rows stand together; the same statement again begins the next one.
    """
    known = topics()
    documents: list[tuple[list[_Asked], list[str]]] = []
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            row: Mapping[str, Any] = json.loads(line)
            shown = [one for one in row["concatenated_spans"].split("\n") if one.strip()]
            statement = row["hypothesis"]
            if not documents or any(one.statement == statement for one in documents[-1][0]):
                documents.append(([], []))
            asked_of, pool = documents[-1]
            answer = ANSWERS[int(row["label"])]
            evidence = () if answer == ANSWERS[2] else tuple(shown)
            asked_of.append(_Asked(statement, topic_of(statement, known), answer, evidence))
            pool += [one for one in shown if one not in pool]
    return documents


def _passages(
    asked_of: Sequence[_Asked],
    pool: Sequence[str],
    shapes: Sequence[Sequence[str]],
    rng: random.Random,
) -> Iterator[tuple[_Asked, list[str]]]:
    """Each statement of one agreement with its passages, in both forms."""
    index = _PASSAGES.Sentences(pool)
    for asked in asked_of:
        yield asked, list(asked.evidence) or _shaped(pool, rng.choice(shapes), rng)
        found = {pool[i] for i in index.passage(asked.topic.query, rng.choice(PASSAGE_WORDS))}
        wanted = sum(map(len, asked.evidence))
        if sum(len(one) for one in asked.evidence if one in found) >= FOUND * wanted:
            # Half an item without its opening words proves nothing, so all of the evidence.
            found |= set(asked.evidence)
            yield asked, [one for one in pool if one in found]


def _shaped(pool: Sequence[str], shape: Sequence[str], rng: random.Random) -> list[str]:
    """As many sentences as `shape` has, in order, and about as long."""
    wanted = sum(map(len, shape))
    number = min(len(shape), len(pool))
    draws = [sorted(rng.sample(range(len(pool)), number)) for _ in range(DRAWS)]
    best = min(draws, key=lambda draw: abs(sum(len(pool[i]) for i in draw) - wanted))
    return [pool[i] for i in best]


def _worded(passage: Sequence[str], asked: _Asked, rng: random.Random) -> Row:
    statement, answer = asked.statement, asked.answer
    drawn = rng.random()
    if drawn >= (1 + AS_WRITTEN) / 2:
        statement, answer = rng.choice(asked.topic.opposite), _OPPOSITE[answer]
    elif drawn >= AS_WRITTEN:
        statement = rng.choice(asked.topic.same)
    context = {"passage": _PASSAGES.model_text(passage), "statement": statement}
    return {"context": context, "labels": [answer]}


def _held_out(documents: int, seed: int) -> frozenset[str]:
    names = [f"document {number}" for number in range(documents)]
    order = sorted(names, key=lambda one: hashlib.sha256(f"{seed}:{one}".encode()).digest())
    return frozenset(order[: round(VALID_SHARE * documents)])
