"""`seamline tools`: list the tools of a project, and call one."""

from __future__ import annotations

import asyncio
import json as jsonlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seamline.cli import common
from seamline.errors import ConfigError, InputError, ToolCallError

if TYPE_CHECKING:
    from seamline.tools import Tool, ToolInput

__all__ = ["app"]

app = typer.Typer(name="tools", help="List tools, call one.", no_args_is_help=True)


@app.command("list")
@common.handle_errors
def list_tools(project: common.ProjectOption = None, json: common.JsonOption = False) -> None:
    """List every tool with its kind and what it does."""
    registry = common.open_project(project).tools
    rows: list[dict[str, Any]] = []
    broken: list[ConfigError] = []
    for name in registry.names():
        try:
            tool = registry.get(name)
        except ConfigError as error:
            broken.append(error)
            rows.append({"name": name, "error": str(error)})
            continue
        rows.append({
            **tool.spec.model_dump(mode="json"),
            "digest": tool.digest,
            "input": tool.input_schema(),
            "output": tool.output_schema(),
        })  # fmt: skip
    if json:
        common.emit_json(rows)
    else:
        _print_table(rows)
    if broken:
        raise common.fail(broken[0])  # as JSON it stands in its row


def _print_table(rows: list[dict[str, Any]]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("tool", "kind", "what it does", box=None, pad_edge=False)
    for row in rows:
        kind = row.get("kind", "broken")
        if row.get("skill"):
            kind = f"{kind} {row['skill']}"
        table.add_row(Text(row["name"]), Text(kind), Text(row.get("description", "")))
    common.console().print(table)


@app.command()
@common.handle_errors
def call(
    name: Annotated[str, typer.Argument(help="The tool's name.")],
    given: Annotated[
        str,
        typer.Option("--input", "-i", help="Its input as JSON, `@file`, or `-` for stdin."),
    ] = "{}",
    project: common.ProjectOption = None,
    json: common.JsonOption = False,
) -> None:
    """Call one tool outside any run; nothing is recorded.

    A tool of kind skill asks the local model. The output is JSON either way; with --json
    nothing else goes to stdout.
    """
    from seamline.tools import run_tool

    opened = common.open_project(project)
    tool = opened.tools.get(name)
    values = _input(tool, _read(given))
    model = opened.local_model if tool.spec.skill else None
    output = asyncio.run(run_tool(tool, values, model=model, progress=_tell))
    plain = tool.plain_output(output)
    if json:
        common.emit_json(plain)
        return
    from rich.json import JSON

    common.console().print(JSON.from_data(plain))


def _tell(done: int, total: int, what: str) -> None:
    common.err().print(f"{what} {done}/{total}", soft_wrap=True)


def _input(tool: Tool, values: dict[str, Any]) -> ToolInput:
    """The typed input; what a person typed wrongly is no failure of the tool."""
    try:
        checked = tool.parse_input(values)
        tool.plain_input(checked)
    except ToolCallError as error:
        raise InputError(str(error)) from error
    return checked


def _read(given: str) -> dict[str, Any]:
    """The input that the option names."""
    source = "--input"
    try:
        if given == "-":
            source, given = "standard input", sys.stdin.buffer.read().decode("utf-8")
        elif given.startswith("@"):
            source = given[1:]
            given = Path(source).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{source} cannot be read as UTF-8 text: {error}") from error
    try:
        values = jsonlib.loads(given)
    except ValueError as error:
        raise InputError(
            f'{source} is not JSON: {error}; give an object such as \'{{"text": "…"}}\''
        ) from error
    if not isinstance(values, dict):
        raise InputError(f"{source} holds {type(values).__name__}; a tool takes a JSON object")
    return values
