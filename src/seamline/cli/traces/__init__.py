"""`seamline traces`: what was recorded; one module for each thing that is done with it."""

from __future__ import annotations

import typer

from seamline.cli.traces import compare, files, foreign, look, questions, replay, retention

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Recorded runs: look at them and work with them.")
for part in (look, questions, replay, compare, files, foreign, retention):
    app.add_typer(part.app)
