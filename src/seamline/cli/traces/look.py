"""`seamline traces list|show`: look at what was recorded."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from seamline.cli import common
from seamline.cli.traces.moments import moment
from seamline.errors import InputError
from seamline.traces.journal import RunStatus

__all__ = ["app"]

app = typer.Typer()


def _status(text: str) -> str:
    known = RunStatus.__args__  # type: ignore[attr-defined]
    if text not in known:
        raise InputError(f"--status {text!r} is unknown; use one of {', '.join(known)}")
    return text


@app.command("list")
@common.handle_errors
def list_runs(
    agent: Annotated[str | None, typer.Option(help="Only runs of this agent.")] = None,
    status: Annotated[
        str | None,
        typer.Option(help="Only runs with this status: done, failed, needs_answer, …"),
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="Only runs started since: 90m, 12h, 7d, 2026-01-31.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many runs.")] = 20,
    json: common.JsonOption = False,
) -> None:
    """List recorded runs, newest first."""
    with common.open_store() as store:
        runs = store.runs(
            agent=agent,
            status=None if status is None else _status(status),
            since=None if since is None else moment(since, "--since"),
            limit=limit,
        )
    if json:
        common.emit_json([{**dataclasses.asdict(run), "seconds": run.seconds} for run in runs])
        return
    if not runs:
        common.err().print("no recorded run matches")
        return
    from seamline.traces.show import runs_table

    console = common.console()
    console.print(runs_table(runs, width=console.width))


@app.command("show")
@common.handle_errors
def show(
    run: Annotated[
        str,
        typer.Argument(
            help="Run id, a unique beginning of it, `last`, or the folder of an exported run."
        ),
    ],
    full: Annotated[bool, typer.Option("--full", help="Every effect, and nothing cut.")] = False,
    json: common.JsonOption = False,
) -> None:
    """Show one run as a tree: policies, decisions, tools, adapters, tokens, seconds."""
    from seamline.traces.show import totals, trace_tree

    with common.open_store() as store:
        trace = common.find_trace(run, store)
        if json:
            common.emit_json({**trace.to_json(full=full), "totals": totals(trace)})
        else:
            common.console().print(trace_tree(trace, full=full))
