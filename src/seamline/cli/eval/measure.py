"""One evaluation of one version: its rows read, its cells run, its report and record."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seamline.errors import ConfigError, InputError

if TYPE_CHECKING:
    from seamline.models.evaluation.declared import EvalRow, Evaluation
    from seamline.models.evaluation.grid import CellRun, Grid
    from seamline.models.evaluation.records import Gate, Record
    from seamline.models.skills import Skill
    from seamline.project import Project

__all__ = ["Options", "Task", "record", "task"]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured, as the command line says.

    Attributes:
        declared_in: The version's folder in the project, where its adapter comes from `--work`.
    """

    data: Path
    limit: int | None = None
    cells: tuple[str, ...] = ()
    endpoint: str | None = None
    gate: bool = False
    record: bool = False
    declared_in: Path | None = None

    def like(self, known: Record) -> Options:
        """These options with the rows and cells of a record, so that it is reproduced."""
        limit = known.groups if known.sampled else None
        # An endpoint answers from elsewhere, and not for certain the same again.
        cells = tuple(cell for cell in known.cells if cell != "endpoint")
        return replace(self, limit=limit, cells=cells)

    def command(self, skill: str, on: str | None) -> str:
        """What to type to get the same numbers again."""
        parts = ["seamline eval", skill, "--data FOLDER"]
        parts += ["--work FOLDER"] if self.declared_in else []
        parts += [f"--on {on}"] if on else []
        parts += [f"--limit {self.limit}"] if self.limit else []
        parts += [f"--cells {','.join(self.cells)}"] if self.cells else []
        parts += [f"--endpoint {self.endpoint}"] if self.endpoint else []
        return " ".join(parts + (["--gate"] if self.gate else []))


@dataclass(frozen=True, kw_only=True)
class Task:
    """One evaluation with its rows read, ready to be run.

    Attributes:
        on: Its name among those of the skill, `main` for the first.
        rows: Those that are answered.
        sampled: Whether the file has more.
        cells: The cells that are run, in order.
    """

    skill: Skill
    on: str
    evaluation: Evaluation
    options: Options
    rows: list[EvalRow]
    sampled: bool
    cells: tuple[str, ...]

    def run(self, project: Project) -> dict[str, Any]:
        """Run the cells and the gate; the report as plain data.

        Raises:
            InputError: The training rows cannot be read, or there is nothing to gate against.
            ModelError: The model could not answer.
        """
        import asyncio
        from datetime import UTC, datetime

        from seamline.models.evaluation.declared import rows_digest
        from seamline.models.evaluation.grid import Grid
        from seamline.models.evaluation.records import MAIN, behaviour_digest, recorded_otherwise
        from seamline.models.evaluation.report import cell_report, pairs, slice_table
        from seamline.project import state_home

        options, evaluation, rows = self.options, self.evaluation, self.rows
        endpoint = project.endpoint(options.endpoint) if options.endpoint is not None else None
        spec = endpoint.spec if endpoint is not None else None
        released = _released(project, self.skill) if options.gate else None
        threshold = self._retrieval_threshold()
        grid = Grid(
            evaluation=evaluation, skill=self.skill.ref, contract=self.skill.spec.contract,
            rows=rows, local=project.local_model, shots=self._shots(),
            endpoint=endpoint, retrieval_threshold=threshold,
            keep=state_home() / "cache" / "answers",
            behaviour=behaviour_digest(self.skill) + (spec.model_dump_json() if spec else ""),
        )  # fmt: skip
        grids = [grid, *([_of_release(grid, released)] if released else [])]
        runs, gate = asyncio.run(_run(grids, self.cells, released))
        report = {
            "skill": self.skill.ref,
            "on": self.on,
            "adapter_digest": self.skill.spec.adapter.digest,
            "command": options.command(self.skill.ref, None if self.on == MAIN else self.on),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "file": evaluation.file,
            "measure": evaluation.measure,
            "measured_with": evaluation.measured_with,
            "recorded_with": recorded_otherwise(self.skill, self.on, evaluation.measured_with),
            "rows": len(rows),
            "groups": len({row.unit for row in rows}),
            "rows_digest": rows_digest(rows),
            "sampled": self.sampled,
            "retrieval_threshold": threshold,
            "base_threshold": _base_thresholds(runs),
            "cells": {
                name: cell_report(
                    evaluation, rows, run, spec.prices if spec and name == "endpoint" else None
                )
                for name, run in runs.items()
            },
            "pairs": pairs(rows, runs),
            "slices": slice_table(rows, runs),
            "gate": gate.model_dump(mode="json") if gate else None,
        }
        for one in grids:
            one.forget()
        return report

    def _shots(self) -> Any:
        own = {"adapter", "adapter_retrieval", "retrieval", "endpoint"}
        if self.evaluation.shots is None or own.issuperset(self.cells):
            return ()
        return _read(self.evaluation.shots, self, "reading the training rows")

    def _retrieval_threshold(self) -> float | None:
        choose = self.evaluation.retrieval_threshold
        if "retrieval" not in self.cells or choose is None:
            return None
        found: float = _read(choose, self, "choosing the threshold of retrieval")
        return found


def task(skill: Skill, on: str | None, options: Options) -> Task:
    """The evaluation `on` of a version (the first without), its rows read and sampled.

    Raises:
        SkillError: The skill does not say how it is evaluated.
        InputError: There is no such evaluation, its rows are missing or wrong, or its record was
            measured with something else and would be replaced.
        ConfigError: A cell does not exist, or lacks what it needs.
    """
    from collections import Counter

    from seamline.evaluations import evaluations
    from seamline.models.evaluation.grid import GATED, choose_cells, sample
    from seamline.models.evaluation.records import MAIN, require_same_means

    known = evaluations(skill, options.declared_in)
    first = next(iter(known))
    if on is not None and on not in known:
        raise InputError(
            f"{skill.ref} has no evaluation {on!r}; --on takes one of: {', '.join(known)}"
        )
    evaluation = replace(known[on or first], threshold=skill.spec.calibration.threshold)
    found = Task(
        skill=skill, on=MAIN if on in (None, first) else on, evaluation=evaluation,
        options=options, rows=[], sampled=False, cells=(),
    )  # fmt: skip
    if options.record:
        require_same_means(skill, found.on, evaluation.measured_with)
    rows = _read(evaluation.rows, found, f"reading {evaluation.file}")
    if not rows:
        raise InputError(f"{evaluation.file} has no row to evaluate on; give --data another folder")
    twice = [name for name, times in Counter(row.id for row in rows).items() if times > 1]
    if twice:
        raise InputError(f"{evaluation.file} has two rows with the id {twice[0]!r}; ids are unique")
    chosen = sample(rows, options.limit)
    contract = skill.spec.contract
    endpoint = options.endpoint is not None
    cells = choose_cells(options.cells, chosen, evaluation, contract, endpoint=endpoint)
    if options.gate:
        if evaluation.gate_cell not in GATED:
            raise ConfigError(
                f"gate_cell {evaluation.gate_cell!r} does not ask the skill; declare one of: "
                f"{', '.join(GATED)}"
            )
        choose_cells([evaluation.gate_cell], chosen, evaluation, contract, endpoint=endpoint)
    return replace(found, rows=chosen, sampled=len(chosen) < len(rows), cells=cells)


def record(report: dict[str, Any], skill: Skill) -> None:
    """Keep a report's numbers beside the adapter, in its card and in skill.yaml."""
    from seamline.models.evaluation.cards import refresh
    from seamline.models.evaluation.records import Record, behaviour_digest
    from seamline.models.evaluation.report import COLUMNS

    told = ("skill", "on", "adapter_digest", "command", "date", "file", "measure",
            "measured_with", "rows", "groups", "rows_digest", "sampled", "base_threshold",
            "pairs", "slices", "gate")  # fmt: skip
    cells = {
        name: {key: cell[key] for key in [*COLUMNS, "further"] if key in cell}
        for name, cell in report["cells"].items()
    }
    fields = {key: report[key] for key in told}
    Record(**fields, behaviour_digest=behaviour_digest(skill), cells=cells).write(skill.path)
    refresh(skill)


def _read(what: Any, of: Task, doing: str) -> Any:
    """What a reader of data gives; one error where a file is missing or wrong."""
    from seamline.cli.progress import Waiting

    data = of.options.data
    try:
        with Waiting(doing):
            return what(data)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"the rows of {of.evaluation.file} in {data} cannot be read: "
            f"{type(error).__name__}: {error}; check the folder given as --data"
        ) from error


def _released(project: Project, skill: Skill) -> Skill:
    """The version that `production` points at."""
    name = skill.spec.name
    if "production" not in project.skills.labels(name):
        raise InputError(
            f"{name} has no version labelled production, so there is nothing to gate against; "
            f"the first is labelled without: `seamline models label {name} "
            f"production {skill.spec.version}`"
        )
    found = project.skills.get(f"{name}@production")
    if found.ref == skill.ref:
        raise InputError(
            f"{skill.ref} is the version labelled production itself; name the new version, "
            f"e.g. `seamline eval {name}@VERSION --gate`"
        )
    return found


def _of_release(grid: Grid, released: Skill) -> Grid:
    """The same rows, answered by the released version."""
    from seamline.models.evaluation.records import behaviour_digest

    return replace(
        grid,
        evaluation=replace(grid.evaluation, threshold=released.spec.calibration.threshold),
        skill=released.ref,
        contract=released.spec.contract,
        behaviour=behaviour_digest(released),
    )


def _base_thresholds(runs: dict[str, CellRun]) -> dict[str, dict[str, float]]:
    return {
        name: {"threshold": run.threshold, "rows": run.fitted_on}
        for name, run in runs.items()
        if run.threshold is not None
    }


async def _run(
    grids: list[Grid], names: tuple[str, ...], released: Skill | None
) -> tuple[dict[str, CellRun], Gate | None]:
    from seamline.cli.progress import CountProgress, Waiting
    from seamline.models.evaluation.gate import judge

    grid = grids[0]
    cell = grid.evaluation.gate_cell
    with CountProgress() as tick:
        runs = {name: await grid.run(name, tick) for name in names}
        if released is None:
            return runs, None
        new = runs.get(cell) or await grid.run(cell, tick)
        old = await grids[1].run(cell, tick)
    with Waiting("comparing with the released version"):
        gate = judge(grid.evaluation, grid.rows, new.predictions, old.predictions, released)
    return runs, gate
