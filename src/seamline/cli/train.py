"""`seamline train`: an adapter from its recipe, its data prepared first."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from seamline.cli import common
from seamline.cli.finishing import base_stage, calibrate_stage, evaluate_stage, package_stage
from seamline.cli.versions import base_of, folder_to_train
from seamline.errors import ConfigError, InputError
from seamline.models.checkpoints import (
    FULL,
    decisive,
    disk_errors,
    remove_unfinished,
    same_inputs,
)

if TYPE_CHECKING:
    from seamline.models.bases import BaseSpec
    from seamline.models.dataset.stage import Prepared
    from seamline.models.recipes import Recipe
    from seamline.project import Project

__all__ = ["app"]

app = typer.Typer()


@dataclass(frozen=True)
class _Job:
    """One version, where it is made, and of what.

    Attributes:
        data: The folder of outside data, as it was given.
        work: Prepared rows, checkpoints, and what is not packaged.
        rows: At most so many rows, in a trial.
    """

    opened: Project
    recipe: Recipe
    folder: Path
    data: Path | None
    work: Path
    rows: int | None

    @property
    def ref(self) -> str:
        return f"{self.recipe.skill}@{self.recipe.version}"

    @property
    def base(self) -> BaseSpec:
        return base_of(self.opened, self.recipe)


@app.command()
@common.handle_errors
def train(
    skill: Annotated[
        str,
        typer.Argument(
            help="SKILL@VERSION, with a recipe.yaml in its folder; SKILL alone is its newest "
            "version, if that has not been production."
        ),
    ],
    data: Annotated[
        Path | None,
        typer.Option(envvar="SEAMLINE_DATA", help="Folder of the outside data the recipe names."),
    ] = None,
    work: Annotated[
        Path | None,
        typer.Option(help="Prepared rows and checkpoints; an interrupted training goes on here."),
    ] = None,
    rows: Annotated[
        int | None,
        typer.Option(help="At most so many rows, for a trial, which is not evaluated."),
    ] = None,
    only: Annotated[
        Literal["data", "calibrate", "package", "evaluate"] | None,
        typer.Option(help="Only this stage of an adapter that is trained, or only the data."),
    ] = None,
    evaluate: Annotated[
        bool, typer.Option("--evaluate/--no-evaluate", help="Evaluate what was made.")
    ] = True,
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
    """Prepare a skill's data, train its adapter, calibrate, package and evaluate it.

    A version that has been production stays as it is: what was made stays in the work folder,
    and is evaluated beside the recorded numbers. With `method: full` in the recipe all weights
    are trained, and become a base of their own.
    """
    from seamline.models.recipes import Recipe

    opened = common.open_project(project)
    folder = folder_to_train(opened, skill)
    job = _Job(opened, Recipe.load(folder), folder, data, work or folder / "work", rows)
    if only is not None:
        report, line = _alone(only, job, show_texts=show_texts)
    else:
        report, line = _all(job, show_texts=show_texts, evaluate=evaluate and rows is None)
    if json:
        common.emit_json(report)
    else:
        common.console().print(line, soft_wrap=True)


def _all(job: _Job, *, show_texts: bool, evaluate: bool) -> tuple[dict[str, Any], str]:
    """What all stages report, and the lines that tell it."""
    prepared = _prepare(job, show_texts=show_texts)
    with disk_errors(job.work):
        report = _train(job, prepared)
        _warn_of_length(job.recipe, report)
        report |= _finish(job, prepared, evaluate=evaluate)
    return report, _line(job.ref, report)


def _alone(only: str, job: _Job, *, show_texts: bool) -> tuple[dict[str, Any], str]:
    """What one stage reports, and the line that tells it."""
    if only == "package":
        reason = _not_packaged(job.opened, job.folder, job.rows)
        if reason is not None:
            raise ConfigError(
                f"{job.ref} is not packaged: {reason}; package the adapter as a new version, with "
                "a recipe.yaml in a folder of its own"
            )
        with disk_errors(job.folder):
            report = package_stage(job.base, job.folder, job.work, job.ref, evaluated_next=False)
        return report, f"{report['skill']} is packaged: {report['folder']}"
    if only == "evaluate":
        if job.rows is not None:
            raise InputError(
                f"--rows makes a trial, which is not evaluated; `seamline eval {job.ref} --data "
                "FOLDER --limit N` takes a part of the evaluation's rows"
            )
        report = _evaluate(job, left=_not_packaged(job.opened, job.folder, None) is not None)
        return {"skill": job.ref, "evaluation": report}, f"{job.ref}: {_evaluated(report)}"
    prepared = _prepare(job, show_texts=show_texts)
    if only == "data":
        told = {"folder": str(prepared.folder), "cached": prepared.cached}
        return told | prepared.report.model_dump(mode="json"), str(prepared.folder)
    with disk_errors(job.work):
        report = calibrate_stage(job.recipe, job.base, job.folder, prepared, job.work, job.rows)
    then = f"`seamline train {job.ref} --only package` puts it into skill.yaml"
    return report, f"{job.ref} is calibrated; {then}"


def _finish(job: _Job, prepared: Prepared, *, evaluate: bool) -> dict[str, Any]:
    """What comes behind the training: of an adapter a skill, of all weights a base."""
    recipe, base, folder, work = job.recipe, job.base, job.folder, job.work
    reason = _not_packaged(job.opened, folder, job.rows)
    left = {"skill": job.ref, "left_in": str(work), "reason": reason}
    if recipe.method == "full":
        bases = job.opened.root / "models" / "bases"
        return left if reason else base_stage(recipe, base, work, bases)
    report: dict[str, Any] = {"calibration": None, "evaluation": None}
    if recipe.contract.read != "text":
        report["calibration"] = _calibrated(recipe, base, folder, prepared, work, job.rows)
    else:
        evaluate = False
    if reason:
        report |= left
    else:
        report |= package_stage(base, folder, work, job.ref, evaluated_next=evaluate)
    if evaluate:
        try:
            report["evaluation"] = _evaluate(job, left=reason is not None)
        except (ConfigError, InputError) as error:
            # The adapter is worth keeping; that it could not be measured is told, here and later.
            report["evaluation"] = {"left_out": str(error)}
    return report


def _evaluate(job: _Job, *, left: bool) -> dict[str, Any]:
    data = _data(job.data)
    return evaluate_stage(job.opened, job.base, job.folder, job.work, data, left=left)


def _not_packaged(opened: Project, folder: Path, rows: int | None) -> str | None:
    """Why the version's folder is left as it is."""
    if rows is not None:
        return "a trial is not packaged"
    if opened.skills.has_been_production(folder.parent.name, folder.name):
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


def _data(data: Path | None) -> Path:
    if data is None or not data.is_dir():
        told = f"{data} is no folder" if data else "--data is missing"
        raise ConfigError(f"{told}; give --data the folder of outside data")
    return data


def _prepare(job: _Job, *, show_texts: bool) -> Prepared:
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

    recipe, folder, data = job.recipe, job.folder, _data(job.data)
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
            into=job.work / "data",
            pii=PiiFilter(find=find, mask=mask_pii),
            build=build,
            evaluations=evaluations_in(folder, recipe.contract),
            show_texts=show_texts,
            tick=tick,
        )
    show_report(prepared)
    return prepared


def _train(job: _Job, prepared: Prepared) -> dict[str, Any]:
    from seamline.cli.progress import StepProgress
    from seamline.models.bases import path as base_path
    from seamline.models.digests import weights_digest
    from seamline.models.making import WEIGHTS, DataSummary, Made

    recipe, base, work = job.recipe, job.base, job.work
    start = job.opened.skills.get(recipe.continues) if recipe.continues else None
    parts = [job.opened.skills.get(reference) for reference in recipe.average]
    digests = [part.spec.adapter.digest for part in parts]
    same = same_inputs(
        work,
        {
            "rows": [prepared.report.key, job.rows],
            "base": base.digest,
            "recipe": decisive(recipe),
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
                itertools.islice(prepared.train_rows(), job.rows),
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
    if report.get("evaluation"):
        line += f"\n{_evaluated(report['evaluation'])}"
    return line


def _evaluated(report: dict[str, Any]) -> str:
    """The main number with its file, and where the rest stands."""
    if "left_out" in report:
        return f"not evaluated: {report['left_out']}"
    cells = ", ".join(f"{name} {cell['accuracy']:.3f}" for name, cell in report["cells"].items())
    line = f"{report['measure']}: {cells}; {report['rows']:,} rows of {report['file']}"
    recorded = report.get("recorded")
    if recorded and "numbers" in recorded:
        own = recorded["numbers"]["adapter accuracy"]
        low, high = recorded["interval"]
        line += (
            f"; recorded {own['recorded']:.3f}, difference {own['difference']:+.3f} "
            f"(95 % interval of the one found: {low:.3f} to {high:.3f})"
        )
    elif recorded:
        line += f"; the record is of other rows ({recorded['rows']:,}), so nothing is compared"
    before = "as recorded before" if report["cached"] else report["report"]
    return f"{line}; {before}\n{report['command']}"


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
