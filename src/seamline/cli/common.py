"""What the commands share: where the project is, how to print, what an error exits with.

JSON goes to stdout and is the only thing there; logs, progress and errors go to stderr.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec, TypeVar

import typer

from seamline.errors import (
    BudgetExceededError,
    ConfigError,
    InputError,
    ModelError,
    SeamlineError,
    ToolCallError,
    TraceError,
)

if TYPE_CHECKING:
    from rich.console import Console

    from seamline.project import Project
    from seamline.traces.store import TraceStore

__all__ = [
    "DEBUG_VARIABLE",
    "EXIT_CODES",
    "JsonOption",
    "ProjectOption",
    "console",
    "emit_json",
    "err",
    "exit_code",
    "fail",
    "handle_errors",
    "open_project",
    "open_store",
    "project_root",
]

DEBUG_VARIABLE = "SEAMLINE_DEBUG"

EXIT_CODES = {
    0: "done",
    1: "something unexpected",
    2: "usage, bad input, or a file of the project is wrong",
    3: "refused by a guard",
    4: "needs an answer from a person",
    5: "budget exceeded",
    6: "a model, an endpoint or a tool failed",
}

JsonOption = Annotated[bool, typer.Option("--json", help="JSON on stdout and nothing else.")]
ProjectOption = Annotated[
    Path | None,
    typer.Option(
        "--project",
        "-p",
        envvar="SEAMLINE_PROJECT",
        help="The project's folder; by default the one around the current folder, "
        "else the packaged one.",
    ),
]

P = ParamSpec("P")
R = TypeVar("R")


def console() -> Console:
    """Where results for people go; colours only on a terminal and without NO_COLOR."""
    from rich.console import Console

    return Console(file=sys.stdout, highlight=False)


def err() -> Console:
    """Where everything else goes."""
    from rich.console import Console

    return Console(file=sys.stderr, highlight=False)


def emit_json(value: Any) -> None:
    """Print a value as JSON on stdout."""
    text = json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False, default=str)
    # Bytes, so that a terminal or pipe of another encoding does not break the output.
    sys.stdout.flush()
    stream = getattr(sys.stdout, "buffer", None)
    if stream is None:
        sys.stdout.write(text + "\n")
    else:
        stream.write(text.encode() + b"\n")
    sys.stdout.flush()


def exit_code(error: BaseException) -> int:
    """The documented exit code of an error."""
    if isinstance(error, (ConfigError, InputError, TraceError)):
        return 2
    if isinstance(error, BudgetExceededError):
        return 5
    if isinstance(error, (ModelError, ToolCallError)):
        return 6
    return 1


def fail(error: BaseException) -> typer.Exit:
    """The error told on stderr in plain words; raise what this gives."""
    if os.environ.get(DEBUG_VARIABLE) == "1":
        traceback.print_exception(error)
    if isinstance(error, SeamlineError):
        typer.echo(f"error: {error}", err=True)
    else:
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        typer.echo(
            f"error: unexpected {what}; run again with {DEBUG_VARIABLE}=1 for the details, "
            "and report it",
            err=True,
        )
    return typer.Exit(exit_code(error))


def handle_errors(command: Callable[P, R]) -> Callable[P, R]:
    """The command, with every error told in one line and exited with its documented code."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except (typer.Exit, typer.Abort):
            raise
        except Exception as error:
            # Usage errors of the command-line parser know how to print themselves.
            if hasattr(error, "format_message"):
                raise
            if kwargs.get("json") is True:
                emit_json({"error": str(error), "error_type": type(error).__name__})
            raise fail(error) from None

    return run


def project_root(project: Path | None = None) -> Path:
    """The folder of the project a command works on.

    Raises:
        ConfigError: The folder that was named is no project.
    """
    from seamline.project import find_root

    return find_root(project)


def open_project(project: Path | None = None) -> Project:
    """The project a command works on.

    Raises:
        ConfigError: It is no project, or one of its files is wrong.
    """
    from seamline.project import Project

    return Project.open(project_root(project))


@contextlib.contextmanager
def open_store() -> Iterator[TraceStore]:
    """The trace store that runs are recorded in by default, closed afterwards.

    Raises:
        TraceError: `SEAMLINE_TRACES` names none.
    """
    from seamline.project import trace_location
    from seamline.traces import store

    with contextlib.closing(store.open_store(trace_location())) as opened:
        yield opened
