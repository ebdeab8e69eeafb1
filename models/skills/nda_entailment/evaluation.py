"""How `nda_entailment` is evaluated: annotated evidence, and whole agreements.

`evaluation` reads the evidence that annotators marked. Statements that are not mentioned come
with sentences drawn at random there, so `documents` is the honest one: the passage for each
statement is found in the whole agreement as the tool finds it, whatever the answer is.

Both tell what the number of words alone would answer.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from seamline.loading import load_module
from seamline.models.contracts import SkillContract
from seamline.models.evaluation.declared import PROMPTED, EvalRow, Evaluation, Prediction, Shot
from seamline.models.evaluation.metrics import micro_f1
from seamline.tools.text import sentences

__all__ = ["evaluation"]

_FILE = "contracts/contractnli_dev.jsonl"
_DOCUMENTS = "contracts/contractnli_dev_documents.json"
_TRAINING = "contracts/contractnli_train.jsonl"
_TOOLS = Path(__file__).resolve().parents[3] / "tools"
_TOOL = _TOOLS / "nda_check"
_PASSAGES = load_module(_TOOL / "passages.py")
_SPLIT = load_module(_TOOLS / "split_clauses" / "tool.py")
_TRAINED = load_module(Path(__file__).with_name("0.1.0") / "data.py")
_BINS = 10
_CHOICES = {"NotMentioned": "Not mentioned"}
_BARE = SkillContract(
    read="branches",
    system="You check statements against agreements. Answer Yes or No.",
    frames={"options": "Is the relation of the passage to the statement: {text}?"},
)

Rows = Callable[[Path], list[EvalRow]]


def evaluation(contract: SkillContract) -> Mapping[str, Evaluation]:  # noqa: ARG001
    """On annotated evidence, and on whole agreements with passages found as the tool finds them.

    The evidence once more beside the prompted base.
    """
    evidence = _evaluation(_FILE, _evidence_rows)
    return {
        "evidence": evidence,
        "documents": _evaluation(_DOCUMENTS, _document_rows),
        "prompted": replace(evidence, cells=PROMPTED),
    }


def _evaluation(file: str, read: Rows) -> Evaluation:
    guessed: dict[str, str] = {}

    def rows(data: Path) -> list[EvalRow]:
        found = read(data)
        guess = _guess_by_length(data)
        guessed.update((row.id, guess(row.context["passage"])) for row in found)
        return found

    def further(rows: Sequence[EvalRow], said: Sequence[Prediction]) -> Mapping[str, float]:
        by_length = [guessed[row.id] in row.gold for row in rows]
        return {**_each_class(rows, said), "by_length_alone": sum(by_length) / len(rows)}

    return Evaluation(
        file=file,
        measure="right answer of three",
        several=False,
        bare=_BARE,
        rows=rows,
        shots=_shots,
        further=further,
        gate_on=("macro_f1", "f1_contradiction"),
    )


def _evidence_rows(data: Path) -> list[EvalRow]:
    return [
        _row(
            f"line {number}",
            [row["concatenated_spans"]],
            row["hypothesis"],
            _TRAINED.ANSWERS[int(row["label"])],
            # The rows of an agreement stand together, one for each statement.
            f"agreement {(number - 1) // len(_TRAINED.topics()) + 1}",
        )
        for number, row in enumerate(_read(data / _FILE), start=1)
    ]


def _document_rows(data: Path) -> list[EvalRow]:
    known = _TRAINED.topics()
    settings = yaml.safe_load((_TOOL / "tool.yaml").read_text(encoding="utf-8"))["settings"]
    told = json.loads((data / _DOCUMENTS).read_text(encoding="utf-8"))
    rows = []
    for document in told["documents"]:
        text = document["text"]
        pieces = _SPLIT.split(text).clauses
        places = [place for one in pieces for place in sentences(text, one.start, one.end)]
        index = _PASSAGES.Sentences([text[start:end] for start, end in places])
        for key, noted in document["annotation_sets"][0]["annotations"].items():
            statement = told["labels"][key]["hypothesis"]
            topic = _TRAINED.topic_of(statement, known)
            found = sorted(index.passage(topic.query, settings["passage_words"]))
            passage = [text[start:end] for start, end in (places[i] for i in found)]
            answer = _CHOICES.get(noted["choice"]) or str(noted["choice"])
            name = f"agreement {document['id']}"
            rows.append(_row(f"{name} {key}", passage, statement, answer, name))
    return rows


def _row(name: str, passage: Sequence[str], statement: str, answer: str, agreement: str) -> EvalRow:
    read = _PASSAGES.model_text(passage)
    topic = _TRAINED.topic_of(statement, _TRAINED.topics())
    return EvalRow(
        id=name,
        context={"passage": read, "statement": statement},
        gold=frozenset({answer}),
        text=f"{statement} {read}",
        slices=(answer, topic.name),
        group=agreement,
    )


def _shots(data: Path) -> Sequence[Shot]:
    """The training rows, in the data set's own wording."""
    found = []
    for row in _read(data / _TRAINING):
        context = {
            "passage": _PASSAGES.model_text([row["concatenated_spans"]]),
            "statement": row["hypothesis"],
        }
        right = _TRAINED.ANSWERS[int(row["label"])]
        text = f"{context['statement']} {context['passage']}"
        found.append(Shot(text=text, context=context, right=(right,)))
    return found


def _each_class(rows: Sequence[EvalRow], said: Sequence[Prediction]) -> Mapping[str, float]:
    """The F1 of each answer."""
    found = {}
    for answer in _TRAINED.ANSWERS:
        one = frozenset({answer})
        gold = [row.gold & one for row in rows]
        given = [prediction.labels & one for prediction in said]
        found[f"f1_{answer.lower().replace(' ', '_')}"] = micro_f1(gold, given)
    return found


def _guess_by_length(data: Path) -> Callable[[str], str]:
    """The commonest answer of training passages of about the same number of words."""
    rows = list(_TRAINED.build(data))
    lengths = np.array([len(row["context"]["passage"].split()) for row in rows])
    edges = np.quantile(lengths, np.linspace(0, 1, _BINS + 1)[1:-1])
    counts = [Counter[str]() for _ in range(_BINS)]
    for place, row in zip(np.searchsorted(edges, lengths), rows, strict=True):
        counts[int(place)].update(row["labels"])
    commonest = [count.most_common(1)[0][0] if count else "" for count in counts]
    return lambda passage: commonest[int(np.searchsorted(edges, len(passage.split())))]


def _read(file: Path) -> list[dict[str, Any]]:
    with file.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]
