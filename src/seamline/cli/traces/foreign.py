"""`seamline traces view`: spans that other programs recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seamline.cli import common

__all__ = ["app"]

app = typer.Typer()


@app.command("view")
@common.handle_errors
def view(
    file: Annotated[
        Path, typer.Argument(help="OTLP as JSON, JSON lines or protobuf, from any program.")
    ],
    limit: Annotated[int, typer.Option(min=1, help="Show at most so many spans a trace.")] = 500,
    json: common.JsonOption = False,
) -> None:
    """Show spans of other programs as trees, without storing them.

    Understands the names of OpenTelemetry's conventions for generative AI, of OpenInference
    and of OpenLLMetry.
    """
    from seamline.traces.foreign import read_spans
    from seamline.traces.foreign_tree import arrange, foreign_tree, traces_as_data

    traces = arrange(read_spans(file))
    if json:
        common.emit_json(traces_as_data(traces))
        return
    for trace in traces:
        common.console().print(foreign_tree(trace, limit=limit))
