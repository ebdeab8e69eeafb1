"""`seamline traces`: what was recorded; one module for each thing that is done with it."""

from __future__ import annotations

import typer

from seamline.cli.traces import look, retention

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Recorded runs: look at them and work with them.")
for part in (look, retention):
    app.add_typer(part.app)
