"""`seamline traces diff`: where two runs part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from seamline.cli import common

if TYPE_CHECKING:
    from seamline.traces.store import TraceStore
    from seamline.traces.trace import Trace

__all__ = ["app"]

app = typer.Typer()

_REFERENCE = "Run id, a unique beginning of it, `last`, or the folder of an exported run."


def _trace(reference: str, store: TraceStore) -> Trace:
    from seamline.traces.files import is_trace_folder, read_trace

    if is_trace_folder(reference) or "/" in reference:
        return read_trace(reference)
    return store.trace(reference)


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
        found = _trace(a, store).diff(_trace(b, store), everything=everything)
    if json:
        common.emit_json(found.to_json())
        return
    for part in diff_view(found):
        common.console().print(part)
