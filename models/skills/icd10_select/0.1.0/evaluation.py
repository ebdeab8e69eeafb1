"""How `icd10_select` is evaluated: pick-list entries of intensive care with their codes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from seamline.loading import load_module
from seamline.models.contracts import SkillContract
from seamline.models.evaluation.declared import EvalRow, Evaluation, Prediction, Shot
from seamline.project import state_home

__all__ = ["evaluation"]

_FILE = "icd10/eicu_open.jsonl"
_TRAINING = "icd10/synonyms.jsonl"
_CANDIDATES = 20
_TOOLS = Path(__file__).resolve().parents[4] / "tools"
_BARE = SkillContract(
    read="branches",
    system="You assign ICD-10-CM codes to clinical text.",
    frames={"options": "Is {text} the right diagnosis for the mention?"},
)


def evaluation(contract: SkillContract) -> Evaluation:  # noqa: ARG001
    """The evaluation for a version with this contract."""
    tool = yaml.safe_load((_TOOLS / "icd10_select" / "tool.yaml").read_text(encoding="utf-8"))
    return Evaluation(
        file=_FILE,
        measure="exact code first",
        several=False,
        threshold=tool["settings"]["choose"],
        bare=_BARE,
        rows=_rows,
        shots=_shots,
        further=_further,
    )


def _rows(data: Path) -> Sequence[EvalRow]:
    found = []
    for number, row in enumerate(_read(data / _FILE), start=1):
        system, *path = row["text"].split("|")
        text = " ".join(path[-2:] or [system])
        around = " ".join([system, *path[:-2]] if path else [])
        # A quarter of the file's codes are categories, so these are candidates here too.
        hits = _index().candidates(text, _CANDIDATES, context=around, headings=True)
        found.append(
            EvalRow(
                id=f"line {number}",
                context={"text": text, "mention": text},
                gold=frozenset({row["code"]}),
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


def _further(row: EvalRow, prediction: Prediction) -> Mapping[str, float]:
    """The category is the first three characters; no choice can be right where none holds gold."""
    categories = {code[:3] for code in row.gold}
    return {
        "category_first": float(prediction.first[:3] in categories),
        "candidates_hold_gold_at_20": float(bool(row.gold & set(row.names))),
    }


def _read(file: Path) -> list[dict[str, Any]]:
    with file.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


@cache
def _index() -> Any:
    module = load_module(_TOOLS / "icd10_search" / "index.py")
    return module.Icd10Index.open(state_home() / "cache" / "icd10_search")
