"""A version's numbers where people read them: its card and `skill.yaml`, both from its records."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from seamline.models.evaluation.records import COMPARED, Gate, Record
from seamline.models.evaluation.report import COLUMNS, told_p, told_threshold
from seamline.models.skills import Skill, write_spec
from seamline.writing import replace_file

__all__ = ["numbers_of", "records_of", "refresh", "summaries", "with_numbers"]

_BEGIN = "<!-- numbers, written by `seamline eval --record` -->"
_END = "<!-- end of the numbers -->"
_MARKED = re.compile(f"{re.escape(_BEGIN)}.*?{re.escape(_END)}", re.DOTALL)
_MOST_SLICES = 12
"""A table of more slices than this stays in the record."""


def refresh(skill: Skill) -> None:
    """Write the numbers of a version's records into its card, where it has one, and skill.yaml.

    Raises:
        SkillError: A record cannot be read.
    """
    records = records_of(skill)
    write_spec(skill.path, skill.spec.model_copy(update={"evaluation": summaries(records)}))
    card = skill.path / "README.md"
    if card.is_file():
        replace_file(card, with_numbers(card.read_text(encoding="utf-8"), records))


def with_numbers(card: str, records: Sequence[Record]) -> str:
    """The card with these records' numbers: in its marked part, else in a part at its end."""
    told = numbers_of(records)
    if _MARKED.search(card):
        return _MARKED.sub(lambda _: told, card)
    return f"{card.rstrip()}\n\n## Numbers\n{told}\n"


def numbers_of(records: Sequence[Record]) -> str:
    """The marked part of a card, without a line break at its end."""
    told = [line for one in records for line in _part(one)]
    return "\n".join([_BEGIN, *(told or ["Not evaluated as it is now.", ""]), _END])


def summaries(records: Sequence[Record]) -> dict[str, Any]:
    """What `skill.yaml` tells of records, by the name of the evaluation."""
    return {record.on: _summary(record) for record in records}


def _summary(record: Record) -> dict[str, Any]:
    """One record to three digits."""
    return {
        "command": record.command,
        "file": record.file,
        "measure": record.measure,
        "rows": record.rows,
        "cells": {
            name: {key: round(value, 3) for key, value in _values(cell).items()}
            for name, cell in record.cells.items()
        },
    }


def records_of(skill: Skill) -> list[Record]:
    """The records of a version as it is now, the main one first."""
    names = (file.name.split(".")[1:-1] for file in sorted(skill.path.glob("evaluation*.json")))
    found = (Record.read(skill, *own) for own in sorted(names))
    return [record for record in found if record is not None]


def _values(cell: Mapping[str, Any]) -> dict[str, float]:
    return {key: cell[key] for key in COMPARED} | dict(cell["further"])


def _part(record: Record) -> list[str]:
    cells = record.cells
    of = "a sample of the" if record.sampled else "all"
    within = f" in {record.groups:,} groups" if record.groups < record.rows else ""
    head = (
        f"`{record.command}` ({record.date[:10]}): {record.measure}; "
        f"{record.rows:,} rows{within}, {of} rows of `{record.file}`."
    )
    lines = [head, "", *_header("", *cells)]
    keys = {key: COLUMNS.get(key, key.replace("_", " ")) for key in _values(_first(cells))}
    for key, title in keys.items():
        lines.append(_line(title, *(f"{_values(cell)[key]:.3f}" for cell in cells.values())))
    lines.append("")
    if record.pairs:
        lines += [
            f"- {name}: {_interval(pair['low'], pair['mean'], pair['high'], pair['p'])}"
            for name, pair in record.pairs.items()
        ]
        lines.append("")
    for name, found in record.base_threshold.items():
        lines += [f"{told_threshold(f'`{name}`', found)}.", ""]
    if record.gate:
        lines += [_of_gate(record.gate), ""]
    if 0 < len(record.slices) <= _MOST_SLICES:
        lines += _header("accuracy on", "rows", *cells)
        for one in record.slices:
            told = (f"{one['accuracy'][name]:.3f}" for name in cells)
            lines.append(_line(str(one["slice"]), f"{one['rows']:,}", *told))
        lines.append("")
    return lines


def _of_gate(gate: Gate) -> str:
    """One line: against whom, the differences, and the verdict."""
    passed = "passed" if gate.passed else "not passed"
    cell = "" if gate.cell == "adapter" else f" (cell `{gate.cell}`)"
    numbers = "".join(
        f"; {one.name.replace('_', ' ')} {_interval(*one.difference)}" for one in gate.numbers
    )
    found = f"{_interval(*gate.difference, gate.p)}{numbers}, gate {passed}."
    return f"Against {gate.against}{cell}: {found}"


def _interval(low: float, mean: float, high: float, p: float | None = None) -> str:
    told = f", {told_p(p)}" if p is not None else ""
    return f"{mean:+.3f} (95 % interval {low:+.3f} to {high:+.3f}{told})"


def _first(cells: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    return next(iter(cells.values()))


def _header(*titles: str) -> list[str]:
    return [_line(*titles), "|" + "---|" * len(titles)]


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
