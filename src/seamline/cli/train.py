"""`seamline train`: an adapter from its recipe, its data prepared first."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from seamline.cli import common
from seamline.cli.finishing import calibrate_stage, package_stage
from seamline.errors import ConfigError, SkillError

if TYPE_CHECKING:
    from seamline.models.bases import BaseSpec
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
        Path | None,
        typer.Option(envvar="SEAMLINE_DATA", help="Folder of the outside data the recipe names."),
    ] = None,
    work: Annotated[
        Path | None,
        typer.Option(help="Prepared rows and checkpoints; an interrupted training goes on here."),
    ] = None,
    rows: Annotated[int | None, typer.Option(help="At most so many rows, for a trial.")] = None,
    only: Annotated[
        Literal["data", "calibrate", "package"] | None,
        typer.Option(help="Only this stage of an adapter that is trained, or only the data."),
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
    """Prepare a skill's data, train its adapter, calibrate it, and package it in its folder."""
    from seamline.models.recipes import Recipe

    opened = common.open_project(project)
    folder = _folder(opened, skill)
    recipe = Recipe.load(folder)
    into = work or folder / "work"
    if only == "package":
        report = package_stage(_base(opened, recipe), folder, into, skill)
        _tell(report, json, f"{report['skill']} is packaged: {report['folder']}")
        return
    prepared = _prepare(recipe, folder, _data(data), into, show_texts=show_texts)
    if only == "data":
        told = {"folder": str(prepared.folder), "cached": prepared.cached}
        report = told | prepared.report.model_dump(mode="json")
        _tell(report, json, str(prepared.folder))
        return
    base = _base(opened, recipe)
    if only == "calibrate":
        report = calibrate_stage(recipe, base, folder, prepared, into, rows)
        then = f"`seamline train {skill} --only package` puts it into skill.yaml"
        _tell(report, json, f"{skill} is calibrated; {then}")
        return
    report = _train(opened, recipe, base, prepared, into, rows)
    report["calibration"] = _calibrated(recipe, base, folder, prepared, into, rows)
    line = _summary(skill, report)
    reason = _not_packaged(opened, folder, rows)
    if reason is None:
        report |= package_stage(base, folder, into, skill)
    else:
        report |= {"skill": skill, "adapter_folder": str(into)}
        line += f"; {reason}, so its adapter stays in {into}"
    _tell(report, json, line)


def _summary(skill: str, report: dict[str, Any]) -> str:
    return (
        f"{skill}: {report['rows']} rows, {report['tokens']:,} tokens, "
        f"{report['steps']} steps in {report['seconds'] / 60:.0f} min, loss {report['loss']}"
    )


def _not_packaged(opened: Project, folder: Path, rows: int | None) -> str | None:
    """Why the version's folder is left as it is."""
    from seamline.models.skills import Skill

    if rows is not None:
        return "a trial is not packaged"
    if (folder / "skill.yaml").is_file() and opened.skills.released(Skill(folder)):
        return "a version that has been production does not change"
    return None


def _calibrated(*given: Any) -> dict[str, Any] | None:
    """The calibration of an adapter that was just trained; None where there cannot be one."""
    try:
        return calibrate_stage(*given)
    except ConfigError as error:
        # The adapter is worth keeping; that its scores are not calibrated is told, here and later.
        common.err().print(f"warning: {error}", markup=False, style="yellow", soft_wrap=True)
        return None


def _tell(report: dict[str, Any], json: bool, line: str) -> None:
    if json:
        common.emit_json(report)
    else:
        common.console().print(line, markup=False, soft_wrap=True)


def _folder(opened: Project, skill: str) -> Path:
    name, _, version = skill.partition("@")
    folder = opened.root / "models" / "skills" / name / version
    if not version or not folder.is_dir():
        raise SkillError(
            f"no folder for skill {skill!r}; write SKILL@VERSION, and its recipe.yaml "
            f"under {opened.root / 'models' / 'skills'}"
        )
    return folder


def _data(data: Path | None) -> Path:
    if data is None or not data.is_dir():
        told = f"{data} is no folder" if data else "--data is missing"
        raise ConfigError(f"{told}; give --data the folder of outside data")
    return data


def _base(opened: Project, recipe: Recipe) -> BaseSpec:
    try:
        return opened.bases[recipe.base]
    except KeyError as error:
        known = ", ".join(opened.bases) or "none"
        raise ConfigError(
            f"{recipe.skill}@{recipe.version} needs base {recipe.base!r}; declared are: {known}"
        ) from error


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
    base: BaseSpec,
    prepared: Prepared,
    work: Path,
    limit: int | None,
) -> dict[str, Any]:
    import itertools

    from seamline.cli.progress import CountProgress
    from seamline.models.bases import path as base_path
    from seamline.models.digests import weights_digest
    from seamline.models.making import WEIGHTS, DataSummary, Made
    from seamline.models.training import examples_from, train

    start = opened.skills.get(recipe.continues).path if recipe.continues else None
    weights = base_path(base)
    _same_rows(work, {"data": prepared.report.key, "rows": limit})
    examples = examples_from(itertools.islice(prepared.train_rows(), limit), recipe.contract)
    with CountProgress() as tick:
        report = train(recipe, examples, base=weights, out=work, start_from=start, tick=tick)
    made = Made(
        adapter=weights_digest(work / WEIGHTS),
        data=DataSummary.of(prepared.report),
        training=report,
    )
    made.write(work)
    return report | {"data": prepared.report.key, "report": str(prepared.folder)}


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
