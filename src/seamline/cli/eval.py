"""`seamline eval`: one skill, one grid, the same rows, and the gate of a release."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seamline.cli import common
from seamline.errors import ConfigError, InputError, SkillError

if TYPE_CHECKING:
    from rich.table import Table

    from seamline.models.evaluation.declared import Evaluation
    from seamline.models.evaluation.grid import CellRun, Grid
    from seamline.models.evaluation.records import Gate
    from seamline.models.skills import Skill
    from seamline.project import Project

__all__ = ["app"]

app = typer.Typer()


@dataclass(frozen=True, kw_only=True)
class _Options:
    data: Path
    limit: int | None
    cells: tuple[str, ...]
    endpoint: str | None
    gate: bool
    record: bool
    png: bool

    def command(self, skill: str) -> str:
        """What to type to get the same again."""
        parts = ["seamline eval", skill, "--data FOLDER"]
        parts += [f"--limit {self.limit}"] if self.limit else []
        parts += [f"--cells {','.join(self.cells)}"] if self.cells else []
        parts += [f"--endpoint {self.endpoint}"] if self.endpoint else []
        parts += ["--gate"] if self.gate else []
        return " ".join(parts + (["--record"] if self.record else []))


@app.command()
@common.handle_errors
def evaluate(
    skill: Annotated[str, typer.Argument(help="SKILL, SKILL@VERSION or SKILL@LABEL.")],
    data: Annotated[
        Path,
        typer.Option(envvar="SEAMLINE_DATA", help="Folder of the outside data."),
    ],
    limit: Annotated[
        int | None, typer.Option(min=1, help="At most so many rows, a seeded sample.")
    ] = None,
    cells: Annotated[
        str, typer.Option(help="Only these cells, e.g. base,adapter; by default all there are.")
    ] = "",
    endpoint: Annotated[
        str | None, typer.Option(help="Adds the cell of this endpoint's model.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write report.json and report.html into this folder.")
    ] = None,
    png: Annotated[
        bool, typer.Option("--png", help="Plots too, with --out; needs the extra eval.")
    ] = False,
    gate: Annotated[
        bool,
        typer.Option("--gate", help="Compare with the version labelled production; 8 if worse."),
    ] = False,
    record: Annotated[
        bool, typer.Option("--record", help="Keep evaluation.json in the skill's folder.")
    ] = False,
    project: common.ProjectOption = None,
    json: common.JsonOption = False,
) -> None:
    """Evaluate a skill against the base, retrieval and an endpoint, on the same rows.

    Exits with 8 where --gate finds a significant regression or a collapsed slice.
    """
    wanted = tuple(name.strip() for name in cells.split(",") if name.strip())
    options = _Options(
        data=data, limit=limit, cells=wanted, endpoint=endpoint, gate=gate, record=record, png=png
    )
    _check(options, out)
    opened = common.open_project(project)
    version = opened.skills.get(skill)
    report = _evaluate(opened, version, options)
    if record:
        _record(report, version)
    if out is not None:
        _write(report, out, png)
    if json:
        common.emit_json(report)
    else:
        _show(report)
    if gate and not report["gate"]["passed"]:
        raise typer.Exit(common.GATE_FAILED)


def _check(options: _Options, out: Path | None) -> None:
    """Everything that can be told before the work."""
    if not options.data.is_dir():
        raise ConfigError(f"{options.data} is no folder; give --data the folder of outside data")
    if options.record and options.cells and "adapter" not in options.cells:
        raise InputError("--record keeps the adapter's numbers; add adapter to --cells")
    if options.png:
        if out is None:
            raise InputError("--png needs --out FOLDER, where the plots go")
        from seamline.models.evaluation.plots import require_matplotlib

        require_matplotlib()


def _evaluate(project: Project, skill: Skill, options: _Options) -> dict[str, Any]:
    """Run the cells and the gate; the report as plain data."""
    import asyncio
    from datetime import UTC, datetime

    from seamline.models.evaluation.declared import rows_digest
    from seamline.models.evaluation.grid import Grid, choose_cells, sample
    from seamline.models.evaluation.report import cell_report, pairs, slice_table

    released = _released(project, skill) if options.gate else None
    evaluation = _declared(skill)
    rows, shots = _read(evaluation, options)
    chosen = sample(rows, options.limit)
    names = choose_cells(options.cells, chosen, endpoint=options.endpoint is not None)
    model = project.endpoint(options.endpoint) if options.endpoint else None
    grid = Grid(
        evaluation=evaluation, skill=skill.ref, contract=skill.spec.contract, rows=chosen,
        local=project.local_model, endpoint=model,
        shots=shots(options.data) if "base_few_shot" in names else (),
    )  # fmt: skip
    runs, gate = asyncio.run(_run(grid, names, released))
    spec = project.endpoints[options.endpoint] if options.endpoint else None
    return {
        "skill": skill.ref,
        "adapter_digest": skill.spec.adapter.digest,
        "command": options.command(skill.ref),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "file": evaluation.file,
        "measure": evaluation.measure,
        "rows": len(chosen),
        "rows_digest": rows_digest(chosen),
        "sampled": len(chosen) < len(rows),
        "cells": {
            name: cell_report(
                evaluation, chosen, run, spec.prices if spec and name == "endpoint" else None
            )
            for name, run in runs.items()
        },
        "pairs": pairs(chosen, runs),
        "slices": slice_table(chosen, runs),
        "gate": gate.model_dump(mode="json") if gate else None,
    }


def _declared(skill: Skill) -> Evaluation:
    from seamline.loading import load_module
    from seamline.models.evaluation.declared import Evaluation

    file = skill.path / "evaluation.py"
    if not file.is_file():
        raise SkillError(
            f"{skill.ref} does not say how it is evaluated: write {file} with a function "
            "`evaluation(contract) -> Evaluation` (see docs/evaluation.md)"
        )
    make = getattr(load_module(file), "evaluation", None)
    found = make(skill.spec.contract) if callable(make) else None
    if not isinstance(found, Evaluation):
        raise SkillError(f"{file} has no function `evaluation` that gives an Evaluation; add it")
    return replace(found, threshold=skill.spec.calibration.threshold)


def _read(evaluation: Evaluation, options: _Options) -> tuple[Any, Any]:
    """The rows, and the training rows' reader; both told as one error where a file is bad."""
    from collections import Counter

    from seamline.cli.progress import Waiting

    def read(what: Any, data: Path) -> Any:
        try:
            return what(data)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"the rows of {evaluation.file} in {data} cannot be read: "
                f"{type(error).__name__}: {error}; check the folder given as --data"
            ) from error

    with Waiting(f"reading {evaluation.file}"):
        rows = read(evaluation.rows, options.data)
    if not rows:
        raise InputError(f"{evaluation.file} has no row to evaluate on; give --data another folder")
    twice = [name for name, times in Counter(row.id for row in rows).items() if times > 1]
    if twice:
        raise InputError(f"{evaluation.file} has two rows with the id {twice[0]!r}; ids are unique")

    def shots(data: Path) -> Any:
        with Waiting("reading the training rows"):
            return read(evaluation.shots, data)

    return rows, shots


def _released(project: Project, skill: Skill) -> Skill | None:
    """The version that `production` points at; None where there is none yet."""
    name = skill.spec.name
    if "production" not in project.skills.labels(name):
        raise InputError(
            f"{name} has no version labelled production, so there is nothing to gate against; "
            f"the first is labelled without: `seamline models label {name} "
            f"{skill.spec.version} production`"
        )
    found = project.skills.get(f"{name}@production")
    if found.ref == skill.ref:
        raise InputError(
            f"{skill.ref} is the version labelled production itself; name the new version, "
            f"e.g. `seamline eval {name}@VERSION --gate`"
        )
    return found


async def _run(
    grid: Grid, names: tuple[str, ...], released: Skill | None
) -> tuple[dict[str, CellRun], Gate | None]:
    from seamline.cli.progress import CountProgress
    from seamline.models.evaluation.gate import judge

    with CountProgress() as tick:
        runs = {name: await grid.run(name, tick) for name in names}
        if released is None:
            return runs, None
        new = runs.get("adapter") or await grid.run("adapter", tick)
        before = replace(
            grid,
            evaluation=replace(grid.evaluation, threshold=released.spec.calibration.threshold),
            skill=released.ref,
            contract=released.spec.contract,
        )
        old = await before.run("adapter", tick)
    return runs, judge(grid.rows, new.predictions, old.predictions, released)


def _record(report: dict[str, Any], skill: Skill) -> None:
    from seamline.models.evaluation.records import Record, behaviour_digest
    from seamline.models.evaluation.report import COLUMNS

    told = ("skill", "adapter_digest", "command", "date", "file", "measure", "rows",
            "rows_digest", "sampled", "gate")  # fmt: skip
    cells = {
        name: {key: cell[key] for key in [*COLUMNS, "further"] if key in cell}
        for name, cell in report["cells"].items()
    }
    fields = {key: report[key] for key in told}
    Record(**fields, behaviour_digest=behaviour_digest(skill), cells=cells).write(skill.path)


def _write(report: dict[str, Any], out: Path, png: bool) -> None:
    import base64
    import json

    from seamline.models.evaluation.plots import plots
    from seamline.models.evaluation.report import page

    images = plots(report["cells"]) if png else {}
    shown = {
        name.removesuffix(".png").replace("_", " "): base64.b64encode(image).decode()
        for name, image in images.items()
    }
    text = json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / "report.json").write_text(text, encoding="utf-8")
        (out / "report.html").write_text(page(report, shown), encoding="utf-8")
        for name, image in images.items():
            (out / name).write_bytes(image)
    except OSError as error:
        raise InputError(f"--out {out} cannot be written: {error}; name another folder") from error


def _show(report: dict[str, Any]) -> None:
    from rich.text import Text

    from seamline.models.evaluation.report import COLUMNS

    out = common.console()
    of = "a sample of the" if report["sampled"] else "all"
    out.print(
        f"{report['skill']}: {report['measure']}; {report['rows']} rows, {of} rows of "
        f"{report['file']}",
        markup=False, soft_wrap=True,
    )  # fmt: skip
    cells = report["cells"]
    table = _table("measure", *cells)
    for key, title in COLUMNS.items():
        if any(key in cell for cell in cells.values()):
            table.add_row(title, *(_number(cell.get(key)) for cell in cells.values()))
    for key in next(iter(cells.values()))["further"]:
        table.add_row(Text(key), *(_number(cell["further"][key]) for cell in cells.values()))
    out.print(table)
    for name, pair in report["pairs"].items():
        out.print(
            f"{name}: {pair['mean']:+.3f} ({pair['low']:+.3f} to {pair['high']:+.3f}), "
            f"p {pair['p']:.4f}",
            markup=False, soft_wrap=True,
        )  # fmt: skip
    slices = _table("slice", "rows", *cells)
    for one in report["slices"]:
        told = (_number(one["accuracy"][name]) for name in cells)
        slices.add_row(Text(one["slice"]), str(one["rows"]), *told)
    out.print(slices)
    if report["gate"]:
        _show_gate(report["gate"])


def _show_gate(gate: dict[str, Any]) -> None:
    low, mean, high = gate["difference"]
    passed = "passed" if gate["passed"] else "not passed"
    out = common.console()
    out.print(
        f"gate {passed}: against {gate['against']} {mean:+.3f} ({low:+.3f} to {high:+.3f}), "
        f"p {gate['p']:.4f}",
        markup=False, soft_wrap=True,
    )  # fmt: skip
    for one in gate["collapsed"]:
        out.print(
            f"  slice {one['slice']} ({one['rows']} rows): {one['before']:.3f} to "
            f"{one['after']:.3f}, p {one['p']:.4f}",
            markup=False, soft_wrap=True,
        )  # fmt: skip


def _table(*titles: str) -> Table:
    """A table whose words are folded in a narrow terminal, and never cut."""
    from rich.table import Column, Table

    columns = (Column(title, overflow="fold") for title in titles)
    return Table(*columns, box=None, pad_edge=False)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
