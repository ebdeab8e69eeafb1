"""`seamline train`: an adapter from its recipe, its data prepared first."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from seamline.cli import common
from seamline.errors import ConfigError, SkillError

if TYPE_CHECKING:
    from seamline.models.dataset.stage import Prepared
    from seamline.models.recipes import Recipe
    from seamline.project import Project

__all__ = ["app"]

app = typer.Typer()

_TRAINED_ON = "trained_on.json"


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
        typer.Option(help="Prepared rows and checkpoints; an interrupted training goes on here."),
    ] = None,
    rows: Annotated[int | None, typer.Option(help="At most so many rows, for a trial.")] = None,
    only: Annotated[
        Literal["data"] | None, typer.Option(help="Stop after this stage: data.")
    ] = None,
    show_texts: Annotated[
        bool,
        typer.Option(
            "--show-texts",
            help="Put texts of dropped rows into the report; they may hold personal data.",
        ),
    ] = False,
    project: common.ProjectOption = None,
    json: common.JsonOption = False,
) -> None:
    """Prepare a skill's data, train its adapter, and package it in the skill's folder."""
    from seamline.models.recipes import Recipe

    opened = common.open_project(project)
    name, _, version = skill.partition("@")
    folder = opened.root / "models" / "skills" / name / version
    if not version or not folder.is_dir():
        raise SkillError(
            f"no folder for skill {skill!r}; write SKILL@VERSION, and its recipe.yaml "
            f"under {opened.root / 'models' / 'skills'}"
        )
    if not data.is_dir():
        raise ConfigError(f"{data} is no folder; give --data the folder of outside data")
    recipe = Recipe.load(folder)
    into = work or folder / "work"
    prepared = _prepare(recipe, folder, data, into, show_texts=show_texts)
    if only == "data":
        if json:
            common.emit_json(
                {"folder": str(prepared.folder), "cached": prepared.cached}
                | prepared.report.model_dump(mode="json")
            )
        else:
            common.console().print(str(prepared.folder), soft_wrap=True)
        return
    report = _train(opened, recipe, folder, prepared, into, rows)
    if json:
        common.emit_json(report)
        return
    common.console().print(
        f"{report['skill']}: {report['rows']} rows, {report['tokens']:,} tokens, "
        f"{report['steps']} steps in {report['seconds'] / 60:.0f} min, loss {report['loss']}"
    )


def _prepare(recipe: Recipe, folder: Path, data: Path, work: Path, *, show_texts: bool) -> Prepared:
    from seamline.cli.data_report import show_report
    from seamline.cli.progress import CountProgress
    from seamline.loading import load_module
    from seamline.models.dataset.cleaning import PiiFilter
    from seamline.models.dataset.stage import prepare
    from seamline.policies.pii import PII_KINDS, find_pii, mask_pii

    def find(text: str) -> dict[str, int]:
        found = {kind: sum(1 for _ in find_pii(text, kind)) for kind in PII_KINDS}
        return {kind: number for kind, number in found.items() if number}

    build = None
    if (folder / "data.py").is_file():
        settings = recipe.training
        build = functools.partial(
            load_module(folder / "data.py").build, data, seed=settings.seed, scale=settings.scale
        )
    with CountProgress() as tick:
        prepared = prepare(
            recipe,
            data=data,
            into=work / "data",
            pii=PiiFilter(find=find, mask=mask_pii),
            build=build,
            show_texts=show_texts,
            tick=tick,
        )
    show_report(prepared)
    return prepared


def _train(
    opened: Project,
    recipe: Recipe,
    folder: Path,
    prepared: Prepared,
    work: Path,
    limit: int | None,
) -> dict[str, Any]:
    import itertools

    from seamline.cli.progress import CountProgress
    from seamline.models.bases import path as base_path
    from seamline.models.packaging import package
    from seamline.models.training import examples_from, train

    try:
        base = opened.bases[recipe.base]
    except KeyError as error:
        known = ", ".join(opened.bases) or "none"
        raise ConfigError(
            f"{recipe.skill}@{recipe.version} needs base {recipe.base!r}; declared are: {known}"
        ) from error
    start = opened.skills.get(recipe.continues).path if recipe.continues else None
    weights = base_path(base)
    _same_rows(work, {"data": prepared.report.key, "rows": limit})
    examples = examples_from(itertools.islice(prepared.train_rows(), limit), recipe.contract)
    with CountProgress() as tick:
        report = train(recipe, examples, base=weights, out=work, start_from=start, tick=tick)
    packaged = package(folder, work, base)
    return report | {
        "skill": packaged.ref,
        "adapter": packaged.spec.adapter.digest,
        "data": prepared.report.key,
        "report": str(prepared.folder),
    }


def _same_rows(work: Path, rows: dict[str, Any]) -> None:
    """Notes what is trained on; checkpoints of other rows are not gone on from.

    Raises:
        ConfigError: The checkpoints in `work` are of other rows.
    """
    import json

    noted = work / _TRAINED_ON
    if (work / "checkpoints").is_dir():
        try:
            before = json.loads(noted.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            before = None
        if before != rows:
            raise ConfigError(
                f"the checkpoints in {work} were made on other rows; remove "
                f"{work / 'checkpoints'}, or give another --work"
            )
    noted.write_text(json.dumps(rows) + "\n", encoding="utf-8")
