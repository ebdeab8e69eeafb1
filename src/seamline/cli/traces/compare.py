"""`seamline traces diff`: where two runs part."""

from __future__ import annotations

from typing import Annotated

import typer

from seamline.cli import common

__all__ = ["app"]

app = typer.Typer()

_REFERENCE = "Run id, a unique beginning of it, `last`, or the folder of an exported run."


@app.command("diff")
@common.handle_errors
def diff(
    a: Annotated[str, typer.Argument(help=_REFERENCE)],
    b: Annotated[str, typer.Argument(help="The other run, named in the same way.")],
    everything: Annotated[
        bool, typer.Option("--all", help="Compare clock, id and random effects too.")
    ] = False,
    json: common.JsonOption = False,
) -> None:
    """Compare two runs step by step, and name the first step in which they differ."""
    from seamline.traces.show_diff import diff_view

    with common.open_store() as store:
        other = common.find_trace(b, store)
        found = common.find_trace(a, store).diff(other, everything=everything)
    if json:
        common.emit_json(found.to_json())
        return
    for part in diff_view(found):
        common.console().print(part)
