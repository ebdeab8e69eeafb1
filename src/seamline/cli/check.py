"""`seamline check`: the static check of a project."""

from __future__ import annotations

import dataclasses

import typer
from rich.text import Text

from seamline.cli import common

__all__ = ["app"]

app = typer.Typer(add_completion=False)


@app.command()
@common.handle_errors
def check(project: common.ProjectOption = None, json: common.JsonOption = False) -> None:
    """Check a project without running it: references, schemas, digests, reachable tools.

    Exits with 2 where something is wrong; warnings alone exit with 0.
    """
    from seamline.agents.checking import check_project

    opened = common.open_project(project)
    found = check_project(opened)
    errors = sum(one.level == "error" for one in found)
    if json:
        common.emit_json(
            {
                "project": str(opened.root),
                "ok": errors == 0,
                "findings": [dataclasses.asdict(one) for one in found],
            }
        )
    else:
        out = common.console()
        for one in found:
            style = "red" if one.level == "error" else "yellow"
            line = Text.assemble((one.level, style), f"  {one.where}: {one.message}")
            out.print(line, soft_wrap=True)
        agents = ", ".join(opened.agents()) or "no agents"
        counted = f"{_count(errors, 'error')}, {_count(len(found) - errors, 'warning')}"
        verdict = counted if found else "nothing wrong"
        out.print(f"{opened.root} ({agents}): {verdict}", soft_wrap=True)
    raise typer.Exit(2 if errors else 0)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
