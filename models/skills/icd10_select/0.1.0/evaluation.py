"""How `icd10_select` is evaluated: pick-list entries of intensive care with their codes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

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
    return Evaluation(
        file=_FILE,
        measure="exact code first",
        several=False,
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
        hits = _index().candidates(text, _CANDIDATES)
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


def _further(rows: Sequence[EvalRow], said: Sequence[Prediction]) -> Mapping[str, float]:
    """The category is the first three characters; no choice can be right where none holds gold."""
    category = [
        one.first[:3] in {code[:3] for code in row.gold}
        for row, one in zip(rows, said, strict=True)
    ]
    held = [bool(row.gold & set(row.names)) for row in rows]
    return {
        "category_first": sum(category) / len(rows),
        "candidates_hold_gold_at_20": sum(held) / len(rows),
    }


def _read(file: Path) -> list[dict[str, Any]]:
    with file.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


@cache
def _index() -> Any:
    module = load_module(_TOOLS / "icd10_search" / "index.py")
    return module.Icd10Index.open(state_home() / "cache" / "icd10_search")
