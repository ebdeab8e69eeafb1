"""`seamline eval`: one skill, one grid, the same rows, and the gate of a release."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seamline.cli import common
from seamline.cli.eval.measure import Options
from seamline.errors import ConfigError, InputError

__all__ = ["app"]

app = typer.Typer()

_Everything = Annotated[
    bool,
    typer.Option(
        "--all", help="Every skill's production version, as its record says, and compared with it."
    ),
]
_Gate = Annotated[
    bool, typer.Option("--gate", help="Compare with the version labelled production; 8 if worse.")
]
_Work = Annotated[
    Path | None,
    typer.Option(
        help="Evaluate the adapter that `seamline train` left in this folder as if it were "
        "SKILL@VERSION, beside what is recorded of it."
    ),
]
_Limit = Annotated[
    int | None, typer.Option(min=1, help="At most so many rows (or documents), a seeded sample.")
]


@app.command()
@common.handle_errors
def evaluate(
    data: Annotated[
        Path,
        typer.Option(envvar="SEAMLINE_DATA", help="Folder of the outside data."),
    ],
    skill: Annotated[
        str | None, typer.Argument(help="SKILL, SKILL@VERSION or SKILL@LABEL.")
    ] = None,
    everything: _Everything = False,
    on: Annotated[
        str | None, typer.Option(help="Another evaluation that the skill declares, by name.")
    ] = None,
    limit: _Limit = None,
    cells: Annotated[
        str, typer.Option(help="Only these cells, e.g. base,adapter; by default all there are.")
    ] = "",
    endpoint: Annotated[
        str | None, typer.Option(help="Adds the cell of this endpoint's model.")
    ] = None,
    work: _Work = None,
    out: Annotated[
        Path | None, typer.Option(help="Write report.json and report.html into this folder.")
    ] = None,
    png: Annotated[
        bool, typer.Option("--png", help="Plots too, with --out; needs the extra eval.")
    ] = False,
    gate: _Gate = False,
    record: Annotated[
        bool,
        typer.Option("--record", help="Keep the numbers in the skill's folder, card included."),
    ] = False,
    project: common.ProjectOption = None,
    json: common.JsonOption = False,
) -> None:
    """Evaluate a skill against the base, retrieval and an endpoint, on the same rows.

    Exits with 8 where --gate finds a significant regression or a collapsed slice, or where
    --all finds other numbers than are recorded.
    """
    wanted = tuple(name.strip() for name in cells.split(",") if name.strip())
    options = Options(
        data=data, limit=limit, cells=wanted, endpoint=endpoint, gate=gate, record=record
    )
    _check(options, out, png, work)
    if everything:
        if skill or on or endpoint or gate or out or work:
            raise InputError(
                "--all takes --data, --limit, --cells, --record and --json; name a skill without "
                "it for the rest"
            )
        _all(project, options, json=json)
        return
    if skill is None:
        raise InputError("name a skill, e.g. `seamline eval clause_type`, or give --all")
    _one(project, skill, on, options, out, work, png=png, json=json)


def _one(
    project: Path | None,
    reference: str,
    on: str | None,
    options: Options,
    out: Path | None,
    work: Path | None,
    *,
    png: bool,
    json: bool,
) -> None:
    from seamline.cli.eval.measure import record, task
    from seamline.cli.eval.show import show
    from seamline.cli.eval.trained import evaluate_unpackaged
    from seamline.cli.eval.writing import write_report
    from seamline.cli.versions import folder_of

    opened = common.open_project(project)
    if work is not None:
        report = evaluate_unpackaged(opened, folder_of(opened, reference), work, on, options)
    else:
        version = opened.skills.get(reference)
        report = task(version, on, options).run(opened)
        if options.record:
            record(report, version)
    if out is not None:
        write_report(report, out, png=png)
    if json:
        common.emit_json(report)
    else:
        show(report)
    if options.gate and not report["gate"]["passed"]:
        raise typer.Exit(common.GATE_FAILED)


def _all(project: Path | None, options: Options, *, json: bool) -> None:
    from seamline.cli.eval.everything import evaluate_all
    from seamline.cli.eval.show import show_all

    def tell(line: str) -> None:
        common.err().print(line, soft_wrap=True)

    found = evaluate_all(common.open_project(project), options, tell)
    if json:
        common.emit_json(found)
    else:
        show_all(found)
    if found["reproduced"] is False:
        raise typer.Exit(common.GATE_FAILED)


def _check(options: Options, out: Path | None, png: bool, work: Path | None) -> None:
    """Everything that can be told before the work."""
    if not options.data.is_dir():
        raise ConfigError(f"{options.data} is no folder; give --data the folder of outside data")
    if options.record and options.cells and "adapter" not in options.cells:
        raise InputError("--record keeps the adapter's numbers; add adapter to --cells")
    if work is not None:
        if options.record or options.gate:
            raise InputError(
                "--work measures an adapter that is no version, so it takes neither --record nor "
                "--gate; package it first: `seamline train SKILL@VERSION --only package`"
            )
        if not work.is_dir():
            raise InputError(f"--work {work} is no folder; name the one that was trained in")
    if png:
        if out is None:
            raise InputError("--png needs --out FOLDER, where the plots go")
        from seamline.models.evaluation.plots import require_matplotlib

        require_matplotlib()
