"""`seamline models`: bases, embedders, skills and endpoints of a project."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from seamline.cli import common
from seamline.cli.export import export, lint
from seamline.errors import ConfigError, SeamlineError

if TYPE_CHECKING:
    from seamline.models.bases import BaseSpec
    from seamline.models.embedders import EmbedderSpec
    from seamline.project import Project

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="List, pull and check bases, skills, endpoints.")
app.command()(export)
app.command()(lint)


@app.command("list")
@common.handle_errors
def list_models(project: common.ProjectOption = None, json: common.JsonOption = False) -> None:
    """List the bases, embedders, skills and endpoints that a project declares."""
    from seamline.models import embedders
    from seamline.models.bases import status

    opened = common.open_project(project)
    bases = [status(spec).model_dump(mode="json") for spec in opened.bases.values()]
    told = [
        {"name": spec.name, "digest": spec.digest, "pulled": embedders.is_here(spec)}
        for spec in opened.embedders.values()
    ]
    known = opened.skills
    skills: list[dict[str, Any]] = [
        {"name": name, "versions": known.versions(name), "labels": known.labels(name)}
        for name in known.names()
    ]
    endpoints = [
        {"name": spec.name, "model": spec.model, "base_url": spec.base_url}
        for spec in opened.endpoints.values()
    ]
    if json:
        common.emit_json(
            {"bases": bases, "embedders": told, "skills": skills, "endpoints": endpoints}
        )
        return
    table = Table("kind", "name", "state", box=None, pad_edge=False)
    for base in bases:
        state = f"pulled, {base['size'] / 1e6:,.0f} MB" if base["pulled"] else base["why"]
        table.add_row("base", Text(base["name"]), Text(state))
    for embedder in told:
        state = "pulled" if embedder["pulled"] else "it has not been pulled"
        table.add_row("embedder", Text(str(embedder["name"])), Text(state))
    for skill in skills:
        labels = "".join(f", {label} → {to}" for label, to in skill["labels"].items())
        table.add_row("skill", Text(skill["name"]), Text(", ".join(skill["versions"]) + labels))
    for endpoint in endpoints:
        state = f"{endpoint['model']} at {endpoint['base_url']}"
        table.add_row("endpoint", Text(endpoint["name"]), Text(state))
    common.console().print(table)


@app.command()
@common.handle_errors
def pull(
    name: Annotated[
        str | None, typer.Argument(help="A base or an embedder; by default the project's base.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Fetch it anew.")] = False,
    project: common.ProjectOption = None,
    json: common.JsonOption = False,
) -> None:
    """Fetch a base or an embedder, check it against its digests, and keep it in the cache."""
    from seamline.cli.progress import TransferProgress
    from seamline.models import bases, embedders

    spec = _base_or_embedder(common.open_project(project), name)
    with TransferProgress() as progress:
        if isinstance(spec, embedders.EmbedderSpec):
            folder = embedders.pull(spec, progress=progress, force=force)
        else:
            folder = bases.pull(spec, progress=progress, force=force)
    if json:
        common.emit_json({"name": spec.name, "digest": spec.digest, "path": str(folder)})
    else:
        common.console().print(f"{spec.name} is ready: {folder}", soft_wrap=True)


@app.command()
@common.handle_errors
def check(project: common.ProjectOption = None, json: common.JsonOption = False) -> None:
    """Compute every digest anew: of the pulled base, and of each skill and what it needs.

    Exits with 6 where the base is missing or damaged, with 2 where a skill does not fit.
    """
    from seamline.agents.checking import check_skills
    from seamline.cli.progress import TransferProgress
    from seamline.models import bases

    opened = common.open_project(project)
    rows: list[dict[str, Any]] = []
    code = 0
    for spec in opened.bases.values():
        try:
            with TransferProgress() as progress:
                bases.verify(spec, progress=progress)
            rows.append({"kind": "base", "name": spec.name, "ok": True, "problem": ""})
        except SeamlineError as error:
            code = common.exit_code(error)
            rows.append({"kind": "base", "name": spec.name, "ok": False, "problem": str(error)})
    for reference, problem in check_skills(opened):
        code = max(code, 2) if problem else code
        rows.append({"kind": "skill", "name": reference, "ok": not problem, "problem": problem})
    if json:
        common.emit_json({"ok": code == 0, "checked": rows})
    else:
        out = common.console()
        for row in rows:
            state = ("ok", "green") if row["ok"] else ("wrong", "red")
            line = Text.assemble(state, f"  {row['kind']} {row['name']}  {row['problem']}")
            out.print(line, soft_wrap=True)
    raise typer.Exit(code)


@app.command()
@common.handle_errors
def label(
    skill: Annotated[str, typer.Argument(help="The skill's name.")],
    name: Annotated[str, typer.Argument(metavar="LABEL", help="E.g. production.")],
    version: Annotated[str, typer.Argument(help="The version that the label shall point at.")],
    project: common.ProjectOption = None,
    json: common.JsonOption = False,
) -> None:
    """Point a label at a version of a skill.

    The label production moves to a version whose folder holds the record of a passed gate
    against the version it points at now (see `seamline eval --gate --record`), or back to one
    that it has pointed at before.
    """
    store = common.open_project(project).skills
    before = store.labels(skill).get(name)
    store.label(skill, name, version)
    if json:
        common.emit_json({"skill": skill, "label": name, "version": version, "before": before})
    else:
        was = f" (was {before})" if before else ""
        common.console().print(f"{skill}@{name} is now {version}{was}", soft_wrap=True)


def _base_or_embedder(project: Project, name: str | None) -> BaseSpec | EmbedderSpec:
    if name is None:
        return project.base
    known: dict[str, BaseSpec | EmbedderSpec] = {**project.bases, **project.embedders}
    if name not in known:
        raise ConfigError(
            f"no base or embedder {name!r}; the project declares: {', '.join(known) or 'none'}"
        )
    return known[name]
