"""How `unfair_term` is evaluated: sentences of terms of service that were not trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from seamline.loading import load_module
from seamline.models.contracts import SkillContract
from seamline.models.evaluation.declared import PROMPTED, EvalRow, Evaluation, Prediction, Shot
from seamline.models.evaluation.metrics import micro_f1

__all__ = ["evaluation"]

_FILE = "contracts/unfair_tos_dev.jsonl"
_TRAINING = "contracts/unfair_tos_train.jsonl"
_TRAINED = load_module(Path(__file__).with_name("0.1.0") / "data.py")
_BARE = SkillContract(
    read="branches",
    system="You find unfair sentences in terms of service. Answer Yes or No.",
    frames={"options": "Is this sentence an unfair term of the type {text}?"},
)


def evaluation(contract: SkillContract) -> Mapping[str, Evaluation]:  # noqa: ARG001
    """On sentences; and on a sample of them, beside the prompted base."""
    main = Evaluation(
        file=_FILE,
        measure="best type right, or rightly none",
        several=True,
        bare=_BARE,
        rows=_rows,
        shots=_shots,
        further=_detection,
        # Most sentences are fair, so that accuracy says little of finding the unfair ones.
        gate_on=("detection_f1", "macro_f1"),
    )
    return {"main": main, "prompted": replace(main, cells=PROMPTED)}


def _rows(data: Path) -> Sequence[EvalRow]:
    return [
        EvalRow(
            id=f"line {number}",
            context={"text": text},
            gold=frozenset(types),
            text=text,
            slices=(document, *(types or ["Fair"])),
        )
        for number, (text, tags, document) in enumerate(_TRAINED.read(data / _FILE), start=1)
        for types in [_TRAINED.types_of(tags)]
    ]


def _shots(data: Path) -> Sequence[Shot]:
    """Unfair sentences and fair ones; a fair one is right for no type."""
    return [
        Shot(
            text=text,
            context={"text": text},
            right=tuple(_TRAINED.types_of(tags)),
            group=document,
        )
        for text, tags, document in _TRAINED.read(data / _TRAINING)
    ]


def _detection(rows: Sequence[EvalRow], said: Sequence[Prediction]) -> Mapping[str, float]:
    """F1 of unfair or not, whatever the type."""
    one = frozenset({"unfair"})
    gold = [one if row.gold else frozenset[str]() for row in rows]
    found = [one if prediction.labels else frozenset[str]() for prediction in said]
    return {"detection_f1": micro_f1(gold, found)}
