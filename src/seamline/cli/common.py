"""What the commands share: where the project is, how to print, what an error exits with.

JSON goes to stdout and is the only thing there; logs, progress and errors go to stderr.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec, TextIO, TypeVar

import typer

from seamline.errors import (
    BudgetExceededError,
    ConfigError,
    DivergenceError,
    InputError,
    ModelError,
    SeamlineError,
    ToolCallError,
    TraceError,
)

if TYPE_CHECKING:
    from rich.console import Console

    from seamline.agents.recorded import RecordedRun
    from seamline.project import Project
    from seamline.traces.store import TraceStore
    from seamline.traces.trace import Trace

__all__ = [
    "DEBUG_VARIABLE",
    "DIVERGED",
    "EXIT_CODES",
    "GATE_FAILED",
    "JsonOption",
    "ProjectOption",
    "console",
    "emit_json",
    "err",
    "exit_code",
    "fail",
    "find_trace",
    "handle_errors",
    "not_empty",
    "open_project",
    "open_run",
    "open_store",
    "project_root",
]

DEBUG_VARIABLE = "SEAMLINE_DEBUG"
_OBEYED = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")

EXIT_CODES = {
    0: "done",
    1: "something unexpected",
    2: "usage, bad input, or a file of the project is wrong",
    3: "refused by a guard",
    4: "needs an answer from a person",
    5: "budget exceeded",
    6: "a model, an endpoint or a tool failed",
    7: "a replay did not come out as recorded",
    8: "an evaluation's gate was not passed, or its numbers are not those recorded",
    130: "interrupted by Ctrl-C",
    141: "whoever read the output closed the pipe",
}
DIVERGED = 7
GATE_FAILED = 8

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

_json_stream: ContextVar[TextIO | None] = ContextVar("json_stream", default=None)
"""The stdout that is kept for JSON while a command with `--json` works."""

P = ParamSpec("P")
R = TypeVar("R")


def console() -> Console:
    """Where results for people go; colours only on a terminal and without NO_COLOR."""
    return _console(sys.stdout)


def err() -> Console:
    """Where everything else goes."""
    return _console(sys.stderr)


def _console(stream: TextIO) -> Console:
    from seamline.cli.console import PlainConsole

    # A document may hold what the terminal's encoding lacks; that is no reason to fail.
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="replace")
    return PlainConsole(file=stream, highlight=False, markup=False, emoji=False)


def emit_json(value: Any) -> None:
    """Print a value as JSON on stdout, also where everything else is kept away from it."""
    out = _json_stream.get() or sys.stdout
    text = json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False, default=str)
    # JSON itself escapes no more than the first 32 of what a terminal would obey.
    text = _OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    try:
        # Bytes, so that a terminal or pipe of another encoding does not break the output.
        out.flush()
        stream = getattr(out, "buffer", None)
        if stream is None:
            out.write(text + "\n")
        else:
            # Half of a surrogate pair has no UTF-8; escaped like this it is JSON again.
            stream.write(text.encode("utf-8", "backslashreplace") + b"\n")
        out.flush()
    except BrokenPipeError:
        from seamline.cli.console import end_quietly

        end_quietly(out)


def exit_code(error: BaseException) -> int:
    """The documented exit code of an error."""
    if isinstance(error, DivergenceError):
        return DIVERGED
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
        err().print("".join(traceback.format_exception(error)), soft_wrap=True)
    told = str(error)
    if not isinstance(error, SeamlineError):
        what = f"{type(error).__name__}: {told}" if told else type(error).__name__
        told = (
            f"unexpected {what}; run again with {DEBUG_VARIABLE}=1 for the details, and report it"
        )
    err().print(f"error: {told}", soft_wrap=True)
    return typer.Exit(exit_code(error))


def handle_errors(command: Callable[P, R]) -> Callable[P, R]:
    """The command, with every error told in one line and exited with its documented code.

    With `--json`, whatever is printed while it works goes to stderr; `emit_json` alone writes
    to stdout.
    """

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        json = kwargs.get("json") is True
        with _stdout_for_json() if json else contextlib.nullcontext():
            try:
                return command(*args, **kwargs)
            except (typer.Exit, typer.Abort):
                raise
            except Exception as error:
                # Usage errors of the command-line parser know how to print themselves.
                if hasattr(error, "format_message"):
                    raise
                ending = fail(error)
                if json:
                    emit_json(_as_json(error))
                raise ending from None

    return run


@contextlib.contextmanager
def _stdout_for_json() -> Iterator[None]:
    """What tools and other code of a project print goes to stderr meanwhile."""
    real = sys.stdout
    token = _json_stream.set(real)
    sys.stdout = sys.stderr
    try:
        yield
    finally:
        # A thread that a tool left behind may print until the process, now done, has ended.
        if real is not sys.__stdout__:
            _json_stream.reset(token)
            sys.stdout = real


def _as_json(error: Exception) -> dict[str, Any]:
    told: dict[str, Any] = {"error": str(error), "error_type": type(error).__name__}
    if isinstance(error, DivergenceError):
        told["divergence"] = {
            "effect": error.effect,
            "record": error.record,
            "fields": error.fields,
        }
    return told


def not_empty(value: str | None) -> str | None:
    """An option's value, for its callback; an empty one (an unset `"$RUN"`) is not no value.

    Raises:
        typer.BadParameter: It is empty.
    """
    if value is not None and not value.strip():
        raise typer.BadParameter(f"{value!r} is empty; give a value, or leave the option out")
    return value


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


def open_run(ref: str, project: Path | None = None) -> RecordedRun:
    """A recorded run by its reference, or in a trace folder, with the project to execute it.

    Raises:
        TraceError: There is no such run, or its journal is damaged.
    """
    return open_project(project).trace(ref)


def find_trace(ref: str, store: TraceStore) -> Trace:
    """A recorded run to be read: in a trace folder, or of a store by its reference.

    Raises:
        TraceError: There is no such run or folder, or its journal is damaged.
    """
    from seamline.traces.files import is_trace_folder, read_trace

    # No id of a run holds a slash: a path that leads nowhere is told as one.
    if is_trace_folder(ref) or "/" in ref:
        return read_trace(ref)
    return store.trace(ref)


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
