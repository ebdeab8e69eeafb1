"""`seamline train`: an adapter from its recipe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seamline.cli import common
from seamline.errors import ConfigError, SkillError

if TYPE_CHECKING:
    from seamline.models.recipes import Recipe

__all__ = ["app"]

app = typer.Typer()


@app.command()
@common.handle_errors
def train(
    skill: Annotated[str, typer.Argument(help="SKILL@VERSION, with a recipe.yaml in its folder.")],
    data: Annotated[
        Path,
        typer.Option(envvar="SEAMLINE_DATA", help="Folder of the outside data the recipe names."),
    ],
    work: Annotated[
        Path | None,
        typer.Option(help="Checkpoints; an interrupted training goes on from here."),
    ] = None,
    rows: Annotated[int | None, typer.Option(help="At most so many rows, for a trial.")] = None,
    project: common.ProjectOption = None,
    json: common.JsonOption = False,
) -> None:
    """Train a skill's adapter from its recipe and package it in the skill's folder."""
    from seamline.models.bases import path as base_path
    from seamline.models.packaging import package
    from seamline.models.recipes import Recipe

    opened = common.open_project(project)
    name, _, version = skill.partition("@")
    folder = opened.root / "models" / "skills" / name / version
    if not version or not folder.is_dir():
        raise SkillError(
            f"no folder for skill {skill!r}; write SKILL@VERSION, and its recipe.yaml and data.py "
            f"under {opened.root / 'models' / 'skills'}"
        )
    if not data.is_dir():
        raise ConfigError(f"{data} is no folder; give --data the folder of outside data")
    recipe = Recipe.load(folder)
    try:
        base = opened.bases[recipe.base]
    except KeyError as error:
        known = ", ".join(opened.bases) or "none"
        raise ConfigError(f"{skill} needs base {recipe.base!r}; declared are: {known}") from error
    start = opened.skills.get(recipe.continues).path if recipe.continues else None
    into = work or folder / "work"
    report = _train(recipe, folder, data, rows, base_path(base), into, start)
    packaged = package(folder, into, base)
    report |= {"skill": packaged.ref, "adapter": packaged.spec.adapter.digest}
    if json:
        common.emit_json(report)
        return
    common.console().print(
        f"{packaged.ref}: {report['rows']} rows, {report['tokens']:,} tokens, "
        f"{report['steps']} steps in {report['seconds'] / 60:.0f} min, loss {report['loss']}"
    )


def _train(
    recipe: Recipe,
    folder: Path,
    data: Path,
    limit: int | None,
    base: Path,
    work: Path,
    start: Path | None,
) -> dict[str, Any]:
    import itertools
    import random

    from seamline.loading import load_module
    from seamline.models.training import examples_from, train

    settings = recipe.training
    common.err().print(f"building the rows of {recipe.skill}@{recipe.version} …")
    built = load_module(folder / "data.py").build(data, seed=settings.seed, scale=settings.scale)
    found = [row for row in built if row.get("split") != "valid"]
    random.Random(settings.seed).shuffle(found)
    examples = examples_from(itertools.islice(found, limit), recipe.contract)
    return train(recipe, examples, base=base, out=work, start_from=start)
