"""What a training made, evaluated: a packaged version, or an adapter that is left in a folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seamline.cli.eval.measure import Options, Task, record, task
from seamline.cli.unpackaged import answering, unpackaged

if TYPE_CHECKING:
    from seamline.models.bases import BaseSpec
    from seamline.models.evaluation.records import Record
    from seamline.models.skills import Skill
    from seamline.project import Project

__all__ = ["evaluate_packaged", "evaluate_unpackaged"]

_UNPROMPTED = ("retrieval", "adapter", "adapter_retrieval")
"""Cells that cost one question a row; the prompted base is asked one a choice."""


def evaluate_packaged(
    opened: Project, base: BaseSpec, skill: Skill, options: Options
) -> dict[str, Any]:
    """The report of a version's first evaluation, which is recorded.

    A record that is there already, of this very version and of all these rows, is given as it
    is; `cached` says so.

    Raises:
        SkillError: The skill does not say how it is evaluated.
        InputError: Its rows are missing or wrong.
    """
    from seamline.models.evaluation.declared import rows_digest
    from seamline.models.evaluation.records import Record

    ready = _unprompted(task(skill, None, options))
    known = Record.read(skill)
    if known is not None:
        same = known.rows_digest == rows_digest(ready.rows)
        if same and set(ready.cells) <= known.cells.keys():
            return known.model_dump(mode="json") | {"cached": True}
    with answering(opened, base, opened.skills) as project:
        report = ready.run(project)
    record(report, skill)
    return report | {"cached": False}


def evaluate_unpackaged(
    opened: Project, folder: Path, work: Path, on: str | None, options: Options
) -> dict[str, Any]:
    """The report of the adapter in `work` as that of the version in `folder`, beside its record.

    Without rows or cells of the caller's own they are those of the record.

    Raises:
        SkillError: There is no such adapter, or the skill does not say how it is evaluated.
        InputError: There is no such evaluation, or its rows are missing or wrong.
    """
    with unpackaged(opened, folder, work) as (project, skill):
        known = _record_of_version(folder, on)
        own = replace(options, declared_in=folder)
        if known is not None and not (own.limit or own.cells):
            own = own.like(known)
        ready = task(skill, on, own)
        report = (ready if own.cells else _unprompted(ready)).run(project)
    return report | {"recorded": _beside(report, known)}


def _unprompted(ready: Task) -> Task:
    cells = tuple(cell for cell in ready.cells if cell in _UNPROMPTED) or ready.cells
    return replace(ready, cells=cells, options=replace(ready.options, cells=cells))


def _record_of_version(folder: Path, on: str | None) -> Record | None:
    """What is recorded of the version as it is packaged; None where it is not."""
    from seamline.evaluations import evaluations
    from seamline.models.evaluation.records import MAIN, Record
    from seamline.models.skills import Skill

    if not (folder / "skill.yaml").is_file():
        return None
    skill = Skill(folder)
    first = next(iter(evaluations(skill)))
    return Record.read(skill, MAIN if on in (None, first) else str(on))


def _beside(report: dict[str, Any], known: Record | None) -> dict[str, Any] | None:
    """The recorded numbers, those found and their differences; None without a record.

    `interval` is that of the adapter's accuracy as it was found.
    """
    from seamline.models.evaluation.records import numbers

    if known is None:
        return None
    told: dict[str, Any] = {"command": known.command, "date": known.date, "rows": known.rows}
    told["same_rows"] = known.rows_digest == report["rows_digest"]
    if not told["same_rows"]:
        return told
    was, now = (
        numbers({"cells": cells, "slices": ()})
        for cells in (known.model_dump(mode="json")["cells"], report["cells"])
    )
    told["numbers"] = {
        name: {"recorded": was[name], "found": value, "difference": value - was[name]}
        for name, value in now.items()
        if name in was
    }
    if "adapter accuracy" in told["numbers"]:
        told["interval"] = _interval(now["adapter accuracy"], known.groups)
    return told


def _interval(accuracy: float, units: int) -> tuple[float, float]:
    """The 95 % interval (Wilson) of an accuracy on so many rows, or groups of them."""
    from scipy.stats import binomtest

    found: Any = binomtest(round(accuracy * units), units).proportion_ci(method="wilson")
    return float(found.low), float(found.high)
