"""How `clause_type` is evaluated: annotated spans of contracts that were not trained on."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from seamline.loading import load_module
from seamline.models.contracts import SkillContract
from seamline.models.evaluation.declared import PROMPTED, EvalRow, Evaluation, Shot

__all__ = ["evaluation"]

_FILE = "contracts/cuad_spans_dev.jsonl"
_TRAINING = "contracts/cuad_spans_train.jsonl"
_TOOL = Path(__file__).resolve().parents[3] / "tools" / "clause_type"
_BARE = SkillContract(
    read="branches",
    system="You label contract clauses by type. Answer Yes or No.",
    frames={"options": "Is this a clause of the type {text}?"},
)

Place = tuple[str, int, int]


def evaluation(contract: SkillContract) -> Mapping[str, Evaluation]:
    """On spans; and on a sample of them, beside the prompted base."""
    known = frozenset(contract.labels) - {contract.none_label}
    main = Evaluation(
        file=_FILE,
        measure="first told type in the gold set",
        several=True,
        as_told=True,
        bare=_BARE,
        rows=lambda data: [
            EvalRow(
                id=":".join(map(str, place)),
                context={"text": text},
                gold=types,
                text=text,
                slices=tuple(sorted(types)),
            )
            for place, text, types in _spans(data / _FILE, known)
        ],
        shots=lambda data: [
            Shot(text=text, context={"text": text}, right=tuple(sorted(types)), group=place[0])
            for place, text, types in _spans(data / _TRAINING, known)
        ],
        gate_on=("micro_f1", "macro_f1"),
    )
    return {"main": main, "prompted": replace(main, cells=PROMPTED)}


def _spans(file: Path, known: frozenset[Any]) -> Iterator[tuple[Place, str, frozenset[str]]]:
    """Every annotated span by place, as the tool would read it, with all its types."""
    reading = load_module(_TOOL / "tool.py").model_text
    types: dict[Place, set[str]] = defaultdict(set)
    texts: dict[Place, str] = {}
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if row["category"] in known:
                place = (row["contract_id"], row["start"], row["end"])
                types[place].add(row["category"])
                texts[place] = reading(row["text"])
    for place in sorted(types):
        yield place, texts[place], frozenset(types[place])
