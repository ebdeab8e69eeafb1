"""The record of an evaluation beside the adapter, and what it allows.

`models/skills/<skill>/<version>/evaluation.json` is written by `seamline eval --record`; that of
a further evaluation of the skill is `evaluation.<name>.json`. A new version gets the label
`production` only with a record of a gate that it passed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from seamline.errors import InputError, SkillError
from seamline.models.declarations import read_json
from seamline.writing import replace_file

if TYPE_CHECKING:
    from seamline.models.skills import Skill

__all__ = [
    "COMPARED",
    "Collapsed",
    "Gate",
    "Judged",
    "Record",
    "behaviour_digest",
    "differences",
    "numbers",
    "recorded_otherwise",
    "require_gate",
    "require_same_means",
]

FILE = "evaluation.json"
MAIN = "main"

COMPARED = (
    "accuracy",
    "macro_f1",
    "micro_f1",
    "exact_match",
    "calibration_error",
    "accuracy_at_80",
)
"""The numbers of a cell that do not depend on the machine's speed."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Collapsed(_Frozen):
    """A slice on which the new version is far worse; accuracies, and p by McNemar's test."""

    slice: str
    rows: int
    before: float
    after: float
    p: float


class Judged(_Frozen):
    """A further number that must not fall: of the released version and of the new one.

    `difference` is new minus released, with the bounds of its 95 % paired bootstrap interval:
    low, found, high.
    """

    name: str
    before: float
    after: float
    difference: tuple[float, float, float]

    @property
    def fell(self) -> bool:
        """Whether the interval lies wholly below 0."""
        return self.difference[2] < 0


class Gate(_Frozen):
    """A version against the released one, `against`, on the same rows, both as `cell` answers.

    `difference` is low, mean and high of new minus released accuracy (95 %, paired bootstrap);
    `numbers` are those that were judged beside it.
    """

    against: str
    against_digest: str
    cell: str = "adapter"
    difference: tuple[float, float, float]
    p: float
    numbers: tuple[Judged, ...] = ()
    collapsed: tuple[Collapsed, ...] = ()
    passed: bool


class Record(_Frozen):
    """What an evaluation found; `sampled` where it saw only a part of the file's rows.

    `groups` counts what the rows belong to, or the rows; `on` names a further evaluation of the
    skill; `measured_with` is that of the `Evaluation`, empty where it does not say; `pairs`,
    `slices` and `base_threshold` are as in the report.
    """

    skill: str
    on: str = MAIN
    adapter_digest: str
    behaviour_digest: str
    command: str
    date: str
    file: str
    measure: str
    measured_with: str = ""
    rows: int
    groups: int
    rows_digest: str
    sampled: bool
    cells: Mapping[str, Mapping[str, Any]]
    pairs: Mapping[str, Mapping[str, float]] = {}
    slices: tuple[Mapping[str, Any], ...] = ()
    base_threshold: Mapping[str, Mapping[str, float]] = {}
    gate: Gate | None = None

    @staticmethod
    def path_in(folder: Path, on: str) -> Path:
        """Where the record of an evaluation lies in a version's folder."""
        return folder / (FILE if on == MAIN else f"evaluation.{on}.json")

    @classmethod
    def read(cls, skill: Skill, on: str = MAIN) -> Record | None:
        """The record of a version as it is now; None where there is none, or one of another.

        Raises:
            SkillError: The file is no record.
        """
        file = cls.path_in(skill.path, on)
        if not file.is_file():
            return None
        record = read_json(cls, file, "a record of an evaluation", error=SkillError)
        own = record.skill == skill.ref and record.behaviour_digest == behaviour_digest(skill)
        return record if own else None

    def write(self, folder: Path) -> Path:
        """Keep it in a skill's folder; an earlier one is replaced whole."""
        file = self.path_in(folder, self.on)
        text = json.dumps(self.model_dump(mode="json"), indent=2, ensure_ascii=False)
        replace_file(file, text + "\n")
        return file


def behaviour_digest(skill: Skill) -> str:
    """The sha256 over what decides a skill's answers: adapter, base, contract, calibration."""
    spec = skill.spec
    told = {
        "adapter": spec.adapter.digest,
        "base": spec.base.digest,
        "kind": spec.kind,
        # Without what is left at its default: a setting that is new here changes no digest.
        "contract": spec.contract.model_dump(mode="json", exclude_defaults=True),
        "calibration": spec.calibration.model_dump(mode="json", exclude_defaults=True),
        "max_tokens": spec.max_tokens,
    }
    text = json.dumps(told, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def numbers(report: Mapping[str, Any]) -> dict[str, float]:
    """Every number of a report or a dumped record that does not depend on the machine's speed.

    The names are `cell accuracy`, `cell further name` and `cell slice name`.
    """
    found: dict[str, float] = {}
    for cell, own in report["cells"].items():
        found |= {f"{cell} {key}": own[key] for key in COMPARED}
        found |= {f"{cell} {name}": value for name, value in own["further"].items()}
    for one in report["slices"]:
        for cell, accuracy in one["accuracy"].items():
            found[f"{cell} slice {one['slice']}"] = accuracy
    return found


def differences(
    report: Mapping[str, Any], record: Record, *, tolerance: float
) -> dict[str, tuple[float | None, float | None]]:
    """The numbers of the reported cells that are recorded otherwise, as (recorded, found)."""
    told = record.model_dump(mode="json")
    cells = {name: cell for name, cell in told["cells"].items() if name in report["cells"]}
    slices = [
        {**one, "accuracy": {name: one["accuracy"][name] for name in cells}}
        for one in told["slices"]
    ]
    known, found = numbers({"cells": cells, "slices": slices}), numbers(report)
    return {
        name: (known.get(name), found.get(name))
        for name in sorted(known.keys() | found.keys())
        if name not in known or name not in found or abs(known[name] - found[name]) > tolerance
    }


def recorded_otherwise(skill: Skill, on: str, measured_with: str) -> str | None:
    """What the record was measured with, where it says so and that is something else."""
    known = Record.read(skill, on)
    if known is None or known.measured_with in ("", measured_with):
        return None
    return known.measured_with


def require_same_means(skill: Skill, on: str, measured_with: str) -> None:
    """Let a record be replaced only by one that was measured with the same.

    Raises:
        InputError: The record was measured with something else.
    """
    recorded = recorded_otherwise(skill, on, measured_with)
    if recorded is None:
        return
    name, _, digest = recorded.partition(" ")
    pull = f"run `seamline models pull {name}`, or " if digest.startswith("sha256:") else ""
    raise InputError(
        f"{Record.path_in(skill.path, on)} was measured with {recorded}, and --record would put "
        f"numbers with {measured_with or 'nothing of the kind'} in its place; {pull}remove that "
        "file first"
    )


def require_gate(skill: Skill, released: Skill) -> None:
    """Let `skill` take the place of `released` only with the record of a passed gate.

    Raises:
        SkillError: There is no such record; or it is of other weights or another contract, of a
            sample, against another version, or of a gate that was not passed.
    """
    file = Record.path_in(skill.path, MAIN)
    fix = f"run `seamline eval {skill.ref} --data FOLDER --gate --record`"
    told = f"{skill.ref} cannot take the label production from {released.ref}: "
    if not file.is_file():
        raise SkillError(f"{told}it has no record of a passed gate ({file.name}); {fix}")
    record = read_json(Record, file, "a record of an evaluation", error=SkillError)
    gate = record.gate
    if record.skill != skill.ref or record.behaviour_digest != behaviour_digest(skill):
        raise SkillError(
            f"{told}{file} is of {record.skill} with another adapter, contract or calibration "
            f"than skill.yaml declares; {fix}"
        )
    if gate is None or gate.against_digest != behaviour_digest(released):
        other = f"was gated against {gate.against}" if gate else "was evaluated without --gate"
        raise SkillError(f"{told}it {other}; {fix}")
    if record.sampled:
        raise SkillError(f"{told}its gate saw only {record.rows} rows of {record.file}; {fix}")
    if not gate.passed:
        low, mean, high = gate.difference
        worse = ", ".join(one.slice for one in gate.collapsed) or "none"
        fell = ", ".join(one.name for one in gate.numbers if one.fell) or "none"
        raise SkillError(
            f"{told}its gate was not passed: difference {mean:+.3f} ({low:+.3f} to {high:+.3f}), "
            f"collapsed slices: {worse}, numbers that fell: {fell}; train a better version"
        )
