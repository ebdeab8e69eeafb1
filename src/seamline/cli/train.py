"""`seamline train`: an adapter from its recipe, its data prepared first."""

from __future__ import annotations

import functools
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from seamline.cli import common
from seamline.cli.finishing import base_stage, calibrate_stage, package_stage
from seamline.errors import ConfigError, SkillError
from seamline.models.checkpoints import FULL, disk_errors, remove_unfinished, same_inputs

if TYPE_CHECKING:
    from seamline.models.bases import BaseSpec
    from seamline.models.dataset.stage import Prepared
    from seamline.models.recipes import Recipe
    from seamline.project import Project

__all__ = ["app"]

app = typer.Typer()

_DECIDES = {"method", "objective", "contract", "training"}
"""What of a recipe decides the weights, beside its rows, its base and what it continues."""


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
    """Prepare a skill's data, train its adapter, calibrate it, and package it in its folder.

    With `method: full` in the recipe all weights are trained, and become a base of their own.
    """
    from seamline.models.recipes import Recipe

    opened = common.open_project(project)
    folder = _folder(opened, skill)
    recipe = Recipe.load(folder)
    into = work or folder / "work"
    if only == "package":
        with disk_errors(folder):
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
        with disk_errors(into):
            report = calibrate_stage(recipe, base, folder, prepared, into, rows)
        then = f"`seamline train {skill} --only package` puts it into skill.yaml"
        _tell(report, json, f"{skill} is calibrated; {then}")
        return
    with disk_errors(into):
        report = _train(opened, recipe, base, prepared, into, rows)
        _warn_of_length(recipe, report)
        report |= _finish(opened, recipe, base, folder, prepared, into, rows)
    _tell(report, json, _line(skill, report))


def _finish(
    opened: Project,
    recipe: Recipe,
    base: BaseSpec,
    folder: Path,
    prepared: Prepared,
    work: Path,
    limit: int | None,
) -> dict[str, Any]:
    """What comes behind the training: of an adapter a skill, of all weights a base."""
    skill = f"{recipe.skill}@{recipe.version}"
    reason = _not_packaged(opened, folder, limit)
    left = {"skill": skill, "left_in": str(work), "reason": reason}
    if recipe.method == "full":
        bases = opened.root / "models" / "bases"
        return left if reason else base_stage(recipe, base, work, bases)
    calibration = None
    if recipe.contract.read != "text":
        calibration = _calibrated(recipe, base, folder, prepared, work, limit)
    packaged = left if reason else package_stage(base, folder, work, skill)
    return packaged | {"calibration": calibration}


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
        common.err().print(f"warning: {error}", style="yellow", soft_wrap=True)
        return None


def _tell(report: dict[str, Any], json: bool, line: str) -> None:
    if json:
        common.emit_json(report)
    else:
        common.console().print(line, soft_wrap=True)


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
    from seamline.evaluations import evaluations_in
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
            evaluations=evaluations_in(folder, recipe.contract),
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
    from seamline.cli.progress import StepProgress
    from seamline.models.bases import path as base_path
    from seamline.models.digests import weights_digest
    from seamline.models.making import WEIGHTS, DataSummary, Made

    start = opened.skills.get(recipe.continues) if recipe.continues else None
    parts = [opened.skills.get(reference) for reference in recipe.average]
    digests = [part.spec.adapter.digest for part in parts]
    same = same_inputs(
        work,
        {
            "rows": [prepared.report.key, limit],
            "base": base.digest,
            "recipe": recipe.model_dump(mode="json", include=_DECIDES),
            "adapter to continue": start.spec.adapter.digest if start else digests or None,
        },
    )
    told = {"data": prepared.report.key, "report": str(prepared.folder)}
    if not parts:
        told["curve"] = str(work / "loss.png")
    weights = work / FULL / "model.safetensors" if recipe.method == "full" else work / WEIGHTS
    if same and weights.is_file():
        before = Made.read(weights_digest(weights), work)
        if before.training:
            remove_unfinished(work)
            return {**before.training, **told, "cached": True}
    from seamline.models.averaging import average
    from seamline.models.training import train

    with StepProgress() as tick:
        if parts:
            report = average(recipe, parts, base=base_path(base), out=work, tick=tick)
        else:
            report = train(
                recipe,
                itertools.islice(prepared.train_rows(), limit),
                prepared.held_out_rows(),
                base=base_path(base),
                out=work,
                start_from=start.path if start else None,
                tick=tick,
            )
    made = Made(
        adapter=weights_digest(weights),
        data=DataSummary.of(prepared.report),
        training=report,
    )
    made.write(work)
    remove_unfinished(work)
    return {**report, **told, "cached": False}


def _warn_of_length(recipe: Recipe, report: dict[str, Any]) -> None:
    """Tells of rows that were longer than what is trained on."""
    most, rows = f"training.max_tokens ({recipe.training.max_tokens})", report.get("rows", 0)
    cut, whole, out = (report.get(k, 0) for k in ("cut_rows", "cut_rows_asked_whole", "too_long"))
    told = ""
    if cut:
        told = f"{cut:,} of {rows:,} training rows are longer than {most} and lost their middle"
        if whole:
            told += f"; {whole:,} of them are asked whole, by max_tokens ({recipe.max_tokens})"
    if out:
        told = f"{out:,} of {rows + out:,} pairs are longer than {most} and were left out"
    if told:
        told = f"warning: {told}; raise training.max_tokens, or shorten the texts"
        common.err().print(told, style="yellow", soft_wrap=True)


def _line(skill: str, report: dict[str, Any]) -> str:
    before = "; made before, --work FOLDER makes it again" if report["cached"] else ""
    line = f"{skill}: {_averaged(report) if 'average' in report else _trained(report)}{before}"
    if "left_in" in report:
        line += f"; {report['reason']}, so what was made stays in {report['left_in']}"
    if "declared" in report:
        name = report["base"]
        line += (
            f"\nthe base {name} is declared in {report['declared']}: `seamline models pull {name}` "
            f"takes it into the cache; then recipes name it as `base: {name}`"
        )
    return line


def _averaged(report: dict[str, Any]) -> str:
    parts = ", ".join(report["average"])
    return f"the mean of {parts}, {report['method']} of rank {report['rank']}"


def _trained(report: dict[str, Any]) -> str:
    early = " (stopped early)" if report["stopped_early"] else ""
    held_out = report["held_out_loss"]
    against = "" if held_out is None else f", held out {held_out:.4f}"
    return (
        f"{report['method']}, {report['objective']}, learning rate "
        f"{report['learning_rate']:g}; {report['rows']} rows, {report['tokens']:,} tokens, "
        f"{report['steps']} steps{early} in {report['seconds'] / 60:.0f} min; weights of step "
        f"{report['kept_step']}, loss {report['loss']:.4f}{against}"
    )
