"""`seamline traces prune|delete|compact`: runs that are no longer to be kept."""

from __future__ import annotations

import functools
import sys
from typing import Annotated

import typer

from seamline.cli import common
from seamline.cli.progress import Waiting
from seamline.cli.traces.moments import moment
from seamline.errors import InputError
from seamline.traces.trace import RunSummary

__all__ = ["app"]

app = typer.Typer()


@app.command("prune")
@common.handle_errors
def prune(
    older_than: Annotated[
        str | None, typer.Option(help="What started before: 30d, 12h, 2026-01-31.")
    ] = None,
    keep: Annotated[int | None, typer.Option(min=0, help="All but so many of the newest.")] = None,
    agent: Annotated[str | None, typer.Option(help="Only runs of this agent.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: common.JsonOption = False,
) -> None:
    """Delete the runs that every given rule gives up, and compact the store.

    The content is gone from the files for good, with the large values that no other run needs;
    forks of a deleted run stay. A run that still runs is left alone until it is a day old.
    """
    before = None if older_than is None else moment(older_than, "--older-than")
    if before is None and keep is None and agent is None:
        raise InputError("say what to prune: --older-than 30d, --keep 100 or --agent NAME")
    with common.open_store() as store:
        rules = functools.partial(store.prune, before=before, keep=keep, agent=agent)
        if dry_run:
            found = rules(dry_run=True)
        else:
            if not yes:
                _ask(len(rules(dry_run=True)))
            with Waiting("deleting and compacting"):
                found = rules()
    _tell(found, "would be deleted" if dry_run else "deleted", json=json)


def _ask(count: int) -> None:
    if count and not sys.stdin.isatty():
        raise InputError(f"{count} runs would be deleted; add --yes, or --dry-run to see them")
    if count:
        typer.confirm(f"Delete {count} runs for good?", abort=True, err=True)


@app.command("delete")
@common.handle_errors
def delete(
    runs: Annotated[
        list[str] | None, typer.Argument(help="Run ids, or unique beginnings of them.")
    ] = None,
    conversation: Annotated[
        str | None, typer.Option(help="All runs of this conversation instead.")
    ] = None,
    json: common.JsonOption = False,
) -> None:
    """Delete runs for good, with the large values that no other run needs, without asking.

    Where one of the names is wrong, none is deleted. Forks of a deleted run stay.
    """
    if bool(runs) == (conversation is not None):
        raise InputError("name the runs to delete, or --conversation and its identifier")
    with common.open_store() as store, Waiting("deleting and compacting"):
        if conversation is None:
            found = store.delete(*(runs or ()))
        else:
            found = store.delete_conversation(conversation)
    _tell(found, "deleted", json=json)


@app.command("compact")
@common.handle_errors
def compact(json: common.JsonOption = False) -> None:
    """Write the store anew, so that free parts of it hold nothing that was deleted.

    `prune` and `delete` do this themselves; it is for when they say that they could not.
    """
    with common.open_store() as store, Waiting("compacting"):
        store.compact()
    if json:
        common.emit_json({"compacted": True})


def _tell(runs: list[RunSummary], what: str, *, json: bool) -> None:
    if json:
        common.emit_json({"runs": [run.run_id for run in runs], "deleted": what == "deleted"})
        return
    if runs:
        from seamline.traces.show import runs_table

        console = common.console()
        console.print(runs_table(runs, width=console.width))
    common.err().print(f"{len(runs)} runs {what}")
