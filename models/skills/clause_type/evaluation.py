"""How `clause_type` is evaluated, on contracts that were not trained on.

`main`: spans that annotators gave a type, so none is the answer to no row.
`contracts`: whole contracts, cut as the tool cuts them. A piece has the types of the spans that
cover half of it, or that lie half in it; a piece that touches none has no type, and one that
touches a span at its edge alone is left out.
`prompted`: the spans, beside the prompted base.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from seamline.loading import load_module
from seamline.models.contracts import SkillContract
from seamline.models.evaluation.declared import PROMPTED, EvalRow, Evaluation, Shot

__all__ = ["evaluation"]

_FILE = "contracts/cuad_spans_dev.jsonl"
_TRAINING = "contracts/cuad_spans_train.jsonl"
_CONTRACTS = "contracts/cuad_contracts_dev.jsonl"
_TOOLS = Path(__file__).resolve().parents[3] / "tools"
_LEAST_WORDS = 4
_BARE = SkillContract(
    read="branches",
    system="You label contract clauses by type. Answer Yes or No.",
    frames={"options": "Is this a clause of the type {text}?"},
)

Place = tuple[str, int, int]


def evaluation(contract: SkillContract) -> Mapping[str, Evaluation]:
    """On spans, on the pieces of whole contracts, and on spans beside the prompted base."""
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
    contracts = replace(
        main,
        file=_CONTRACTS,
        measure="first told type in the gold set, none told where there is none",
        rows=lambda data: list(_pieces(data, known)),
        cells=("adapter",),
    )
    return {"main": main, "contracts": contracts, "prompted": replace(main, cells=PROMPTED)}


def _pieces(data: Path, known: frozenset[Any]) -> Iterator[EvalRow]:
    """The pieces of whole contracts with the types of the spans in them."""
    typed: dict[str, list[tuple[int, int, frozenset[str]]]] = defaultdict(list)
    for (contract, start, end), _, types in _spans(data / _FILE, known):
        typed[contract].append((start, end, types))
    folder = _TOOLS / "split_clauses"
    split = load_module(folder / "tool.py").split
    words = yaml.safe_load((folder / "tool.yaml").read_text(encoding="utf-8"))["settings"]
    reading = load_module(_TOOLS / "clause_type" / "tool.py").model_text
    with (data / _CONTRACTS).open(encoding="utf-8") as lines:
        for line in lines:
            contract = json.loads(line)
            for piece in split(contract["text"], **words).clauses:
                start, end = piece.start, piece.end
                own: set[str] = set()
                touched = False
                for first, last, types in typed[contract["id"]]:
                    shared = min(end, last) - max(start, first)
                    touched = touched or shared > 0
                    if shared > 0 and 2 * shared >= min(end - start, last - first):
                        own |= types
                text = reading(contract["text"][start:end])
                if own or (not touched and len(text.split()) >= _LEAST_WORDS):
                    yield EvalRow(
                        id=f"{contract['id']}:{start}:{end}",
                        context={"text": text},
                        gold=frozenset(own),
                        text=text,
                        slices=("a type",) if own else ("none",),
                        group=contract["id"],
                    )


def _spans(file: Path, known: frozenset[Any]) -> Iterator[tuple[Place, str, frozenset[str]]]:
    """Every annotated span by place, as the tool would read it, with all its types."""
    reading = load_module(_TOOLS / "clause_type" / "tool.py").model_text
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
