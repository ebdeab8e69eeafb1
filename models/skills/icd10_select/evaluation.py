"""How `icd10_select` is evaluated: pick-list entries of intensive care, and whole clinical cases.

`eicu`: one entry and twenty candidates; its code, or one of them where the file gives several.
`prompted`: the same, beside the prompted base.
`codiesp`: a case has the codes of the whole document, so every mention that the search finds is
answered as the agent would, and the codes of a document are compared as a set.

The cell `adapter_retrieval` answers as the tool does, with its settings. The numbers hang on
whether the search's embedder has been pulled, so they say so.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from seamline.loading import load_module
from seamline.models.contracts import SkillContract
from seamline.models.embedders import EmbedderSpec, is_here, is_usable
from seamline.models.evaluation.declared import PROMPTED, EvalRow, Evaluation, Prediction, Shot
from seamline.models.evaluation.metrics import micro_f1
from seamline.project import state_home

__all__ = ["as_the_tool", "evaluation", "mentions", "tool_settings"]

_EICU = "icd10/eicu_open.jsonl"
_CODIESP = "icd10/codiesp_dev.jsonl"
_CODIESP_TRAIN = "icd10/codiesp_train.jsonl"
_TRAINING = "icd10/synonyms.jsonl"
_CANDIDATES = 20
_AFTER = 1e-4
_VAGUE = frozenset({"R69", "R52"})
"""Illness and pain, unspecified: given to most cases, and named by no words of their own."""

_ROOT = Path(__file__).resolve().parents[3]
_TOOLS = _ROOT / "tools"
_TOOL = load_module(_TOOLS / "icd10_select" / "tool.py")
_BARE = SkillContract(
    read="branches",
    system="You assign ICD-10-CM codes to clinical text.",
    frames={"options": "Is {text} the right diagnosis for the mention?"},
)


def evaluation(contract: SkillContract) -> Mapping[str, Evaluation]:  # noqa: ARG001
    """The evaluations for a version with this contract."""
    ranked_with = _ranked_with()
    entries = Evaluation(
        file=_EICU,
        measure="exact code first",
        several=False,
        bare=_BARE,
        rows=_rows,
        shots=_shots,
        further=_first_and_held,
        with_retrieval=as_the_tool,
        gate_cell="adapter_retrieval",
        gate_on=("category_first",),
        measured_with=ranked_with,
    )
    return {
        "eicu": entries,
        "codiesp": Evaluation(
            file=_CODIESP,
            measure="code of a mention among its document's codes",
            several=False,
            bare=_BARE,
            rows=lambda data: mentions(data / _CODIESP),
            further=_documents,
            cells=("retrieval", "adapter", "adapter_retrieval"),
            with_retrieval=as_the_tool,
            retrieval_threshold=_best_threshold,
            measured_with=ranked_with,
        ),
        "prompted": replace(entries, cells=PROMPTED),
    }


def _rows(data: Path) -> Sequence[EvalRow]:
    found = []
    for number, row in enumerate(_read(data / _EICU), start=1):
        system, *path = row["text"].split("|")
        text = " ".join(path[-2:] or [system])
        around = " ".join([system, *path[:-2]] if path else [])
        # A quarter of the file's codes are categories, so these are candidates here too.
        hits = _index().candidates(text, _CANDIDATES, context=around, headings=True)
        found.append(
            EvalRow(
                id=f"line {number}",
                context={"text": text, "mention": text},
                gold=frozenset(row["code"].split(";")),
                text=text,
                slices=(system,),
                choices=tuple({"title": hit.title} for hit in hits),
                names=tuple(hit.code for hit in hits),
                retrieved=tuple(hit.score for hit in hits),
            )
        )
    return found


def _shots(data: Path) -> Sequence[Shot]:
    """Terms of disease terminologies, each with the title of its code."""
    index = _index()
    return [
        Shot(
            text=row["term"],
            context={"text": row["term"], "mention": row["term"]},
            right=(index.title(code),),
        )
        for row in _read(data / _TRAINING)
        if (code := index.default(row["code"])) is not None
    ]


def tool_settings() -> Any:
    """The settings of the tool, as they stand in its `tool.yaml`."""
    return _TOOL.Settings(**_settings("icd10_select"))


def as_the_tool(row: EvalRow, probabilities: Sequence[float], settings: Any = None) -> Prediction:
    """The best candidate by the tool's mean, answered where the tool would give a code.

    The tool proposes a category as its unspecified leaf. So where a row has both as candidates,
    the leaf counts as the better of the two, and the category comes right after it.
    """
    settings = settings or tool_settings()
    pairs = zip(row.names, probabilities, row.retrieved, strict=True)
    counts = {name: settings.mean(probability, alike) for name, probability, alike in pairs}
    for name in row.names:
        leaf = _index().default(name)
        if leaf != name and leaf in counts:
            counts[leaf] = max(counts[leaf], counts[name])
            counts[name] = counts[leaf] - _AFTER
    first = max(counts, key=lambda name: counts[name], default="")
    count = counts.get(first, 0.0)
    given = count >= settings.threshold and settings.fits(probabilities)
    return Prediction(first, settings.confidence(count), frozenset({first} if given else ()))


def _first_and_held(rows: Sequence[EvalRow], said: Sequence[Prediction]) -> Mapping[str, float]:
    """The category is the first three characters; no choice can be right where none holds gold."""
    category = [p.first[:3] in _categories(row.gold) for row, p in zip(rows, said, strict=True)]
    held = [bool(row.gold & set(row.names)) for row in rows]
    return {
        "category_first": sum(category) / len(rows),
        "candidates_hold_gold_at_20": sum(held) / len(rows),
    }


def mentions(file: Path) -> list[EvalRow]:
    """What the search finds in each document, as the agent's two tools hand it to the skill.

    A document in which nothing is found has one row without candidates, whose answer is none.
    """
    finder = load_module(_TOOLS / "icd10_search" / "mentions.py")
    limit = _settings("icd10_search")["max_mentions"]
    candidates = _settings("icd10_select")["candidates"]
    index, found = _index(), []
    for document in _read(file):
        text, gold, group = document["text"], frozenset(document["codes"]), document["id"]
        mentions = [
            one
            for one in finder.find_mentions(text, index, limit=limit)
            if one.assertion not in ("negated", "family")
        ]
        hits = index.candidates_of([one.words for one in mentions], candidates)
        for number, (mention, own) in enumerate(zip(mentions, hits, strict=True), 1):
            words = text[mention.start : mention.end]
            found.append(
                EvalRow(
                    id=f"{group}/{number}",
                    context={"text": finder.around(text, mention), "mention": words},
                    gold=gold,
                    text=words,
                    choices=tuple({"title": hit.title} for hit in own),
                    names=tuple(hit.code for hit in own),
                    retrieved=tuple(hit.score for hit in own),
                    group=group,
                )
            )
        if not mentions:
            context = {"text": "", "mention": ""}
            found.append(EvalRow(id=f"{group}/0", context=context, gold=gold, text="", group=group))
    return found


def _documents(rows: Sequence[EvalRow], said: Sequence[Prediction]) -> Mapping[str, float]:
    """Micro-F1 over the codes of documents: whole, by category, and without the vague ones."""
    gold: dict[str, frozenset[str]] = {}
    codes: dict[str, set[str]] = defaultdict(set)
    for row, prediction in zip(rows, said, strict=True):
        gold[row.group] = row.gold
        codes[row.group] |= prediction.labels
    found = {}
    for name, vague in (("", frozenset[str]()), ("_without_R69_R52", _VAGUE)):
        wanted = [own - vague for own in gold.values()]
        given = [frozenset(codes[group]) - vague for group in gold]
        found[f"code_micro_f1{name}"] = micro_f1(wanted, given)
        found[f"category_micro_f1{name}"] = micro_f1(
            [_categories(own) for own in wanted], [_categories(own) for own in given]
        )
    return found


def _best_threshold(data: Path) -> float:
    """The score from which the first candidate counts that is best on the training documents.

    Best by micro-F1 of categories, over the scores in steps of 0.01.
    """
    rows = mentions(data / _CODIESP_TRAIN)
    gold = {row.group: _categories(row.gold) for row in rows}
    first = [(row.group, row.names[0][:3], row.retrieved[0]) for row in rows if row.names]

    def f1(threshold: float) -> float:
        given: dict[str, set[str]] = defaultdict(set)
        for group, category, score in first:
            if score >= threshold:
                given[group].add(category)
        return micro_f1([*gold.values()], [frozenset(given[group]) for group in gold])

    return max((round(float(step), 2) for step in np.arange(0.0, 1.001, 0.01)), key=f1)


def _categories(codes: Iterable[str]) -> frozenset[str]:
    return frozenset(code[:3] for code in codes)


@cache
def _settings(tool: str) -> Mapping[str, Any]:
    text = (_TOOLS / tool / "tool.yaml").read_text(encoding="utf-8")
    found: Mapping[str, Any] = yaml.safe_load(text)["settings"]
    return found


def _read(file: Path) -> list[dict[str, Any]]:
    with file.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def _ranked_with() -> str:
    """What ranks the candidates beside words: the search tool's embedder, where it is here."""
    name = _settings("icd10_search")["embedder"]
    spec = EmbedderSpec.load(_ROOT / "models" / "embedders" / f"{name}.yaml")
    return f"{spec.name} {spec.digest}" if is_here(spec) and is_usable() else "words alone"


@cache
def _index() -> Any:
    """The index that the search tool uses: with its embedder, where that has been pulled."""
    folder = _TOOLS / "icd10_search"
    name = _settings("icd10_search")["embedder"]
    embedder = load_module(folder / "meanings.py").pulled_embedder(name)
    return load_module(folder / "index.py").Icd10Index.open(
        state_home() / "cache" / "icd10_search", embedder=embedder
    )
