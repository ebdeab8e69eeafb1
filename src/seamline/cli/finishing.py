"""The last stages of `seamline train`: calibrate, package, and evaluate."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seamline.cli import common
from seamline.errors import ConfigError, SkillError
from seamline.writing import replace_file

if TYPE_CHECKING:
    from seamline.models.bases import BaseSpec
    from seamline.models.calibrating import CalibrationReport, HeldOut
    from seamline.models.dataset.stage import Prepared
    from seamline.models.recipes import Recipe
    from seamline.models.skills import Skill
    from seamline.project import Project

__all__ = ["base_stage", "calibrate_stage", "evaluate_stage", "package_stage"]

_BUILDING = ".uncalibrated-"
_TOLD = ("command", "file", "measure", "rows", "groups", "rows_digest", "pairs", "recorded",
         "cached")  # fmt: skip
_CURVES = ("reliability", "risk_coverage")
"""Of a report of an evaluation, what only its page shows."""


def calibrate_stage(
    recipe: Recipe, base: BaseSpec, folder: Path, prepared: Prepared, work: Path, limit: int | None
) -> dict[str, Any]:
    """Fit the calibration of the adapter in `work`, or of the packaged one where there is none.

    Raises:
        ConfigError: Too few rows were held out, or the adapter was trained on other rows.
        SkillError: There is no adapter, or it does not fit the base.
    """
    from seamline.models import calibrating
    from seamline.models.making import CALIBRATION

    ref = f"{recipe.skill}@{recipe.version}"
    if recipe.contract.read == "text":
        raise ConfigError(f"{ref} writes text, and only scores are calibrated; leave the stage out")
    if recipe.calibration.fixed is not None:
        common.err().print(f"{ref} is calibrated by hand: calibration.fixed in recipe.yaml")
        return {"fixed": recipe.calibration.fixed.model_dump(mode="json")}
    adapter, digest = _adapter(folder, work, ref)
    _same_data(digest, prepared, folder, work, ref)
    rows = _held_out(recipe, prepared, limit)
    if len(rows) < calibrating.LEAST_ROWS:
        raise ConfigError(
            f"{ref} has {len(rows)} held-out rows, and its calibration needs "
            f"{calibrating.LEAST_ROWS}; hold out more, or set calibration.fixed in recipe.yaml"
        )
    work.mkdir(parents=True, exist_ok=True)
    read = _read(recipe, base, adapter, digest, rows, work)
    report, curves = calibrating.calibrate(
        read,
        recipe.contract,
        skill=ref,
        adapter=digest,
        data=prepared.report.key,
        target_precision=recipe.calibration.target_precision,
    )
    replace_file(work / CALIBRATION, report.model_dump_json(indent=2) + "\n")
    plotted = _plot(curves, work)
    _show(report, plotted)
    return report.model_dump(mode="json") | {"plots": plotted}


def package_stage(
    base: BaseSpec, folder: Path, work: Path, ref: str, *, evaluated_next: bool
) -> dict[str, Any]:
    """Package the adapter in `work`, or the packaged one anew where there is none.

    Raises:
        SkillError: There is no adapter, or the packaged skill does not check.
    """
    from rich.text import Text

    from seamline.models.packaging import package

    adapter, digest = _adapter(folder, work, ref)
    packaged = package(folder, adapter, base, work=work, evaluated_next=evaluated_next)
    for warning in packaged.warnings:
        common.err().print(Text(f"warning: {warning}", style="yellow"), soft_wrap=True)
    return {
        "skill": packaged.skill.ref,
        "adapter": digest,
        "folder": str(folder),
        "warnings": list(packaged.warnings),
    }


def evaluate_stage(
    opened: Project, base: BaseSpec, folder: Path, work: Path, data: Path, *, left: bool
) -> dict[str, Any]:
    """Measure what was made, by the skill's first evaluation.

    A packaged version is recorded, card included. What is `left` in `work`, because the version
    has been production, is measured as if it were that version, beside its record.
    `work/evaluation` gets the report as JSON and HTML.

    Raises:
        SkillError: The skill does not say how it is evaluated, or there is nothing to evaluate.
        InputError: The rows are missing or wrong.
    """
    from seamline.cli.eval.measure import Options
    from seamline.cli.eval.trained import evaluate_packaged, evaluate_unpackaged
    from seamline.cli.eval.writing import write_report

    options = Options(data=data)
    if left:
        report = evaluate_unpackaged(opened, folder, work, None, options)
        report["cached"] = False
    else:
        report = evaluate_packaged(opened, base, _packaged(folder, work), options)
    told = {key: report[key] for key in _TOLD if key in report}
    told["cells"] = {
        name: {key: value for key, value in cell.items() if key not in _CURVES}
        for name, cell in report["cells"].items()
    }
    if not report["cached"]:
        write_report(report, work / "evaluation", png=False)
        told["report"] = str(work / "evaluation" / "report.html")
    return told


def base_stage(recipe: Recipe, base: BaseSpec, work: Path, into: Path) -> dict[str, Any]:
    """Declare the base that `method: full` made, in the project's `models/bases`."""
    from seamline.models.checkpoints import FULL
    from seamline.models.packaging import declare_base

    declared = declare_base(recipe, base, work / FULL, into)
    return {"base": declared.stem, "declared": str(declared)}


def _adapter(folder: Path, work: Path, ref: str) -> tuple[Path, str]:
    from seamline.models.making import adapter_in

    found = adapter_in(work, folder)
    if found is None:
        raise SkillError(
            f"{ref} has no adapter, neither in {work} nor in {folder}; train it with "
            f"`seamline train {ref} --data FOLDER`"
        )
    return found


def _packaged(folder: Path, work: Path) -> Skill:
    """The packaged version, if what was trained last is packaged.

    Raises:
        SkillError: It is not.
    """
    from seamline.models.skills import Skill

    ref = f"{folder.parent.name}@{folder.name}"
    _, digest = _adapter(folder, work, ref)
    skill = Skill(folder) if (folder / "skill.yaml").is_file() else None
    if skill is None or skill.spec.adapter.digest != digest:
        raise SkillError(
            f"the adapter of {ref} in {work} is not packaged; run `seamline train {ref} --only "
            f"package`, or measure it as it is: `seamline eval {ref} --data FOLDER --work {work}`"
        )
    return skill


def _same_data(digest: str, prepared: Prepared, folder: Path, work: Path, ref: str) -> None:
    """That what is held out now was held out when the adapter was trained.

    Raises:
        ConfigError: It was not, so held-out rows may have been trained on.
    """
    from rich.text import Text

    from seamline.models.making import Made

    made = Made.read(digest, work, folder)
    if made.data is None:
        told = f"warning: it is not recorded which rows {ref} was trained on; take care that no "
        told += "held-out row was among them"
        common.err().print(Text(told, style="yellow"), soft_wrap=True)
    elif made.data.key != prepared.report.key:
        raise ConfigError(
            f"{ref} was trained on the data {made.data.key}, but these are {prepared.report.key}, "
            "whose held-out rows it may have seen; give the same --data and recipe, or train again"
        )


def _held_out(recipe: Recipe, prepared: Prepared, limit: int | None) -> list[HeldOut]:
    """The held-out rows as requests; so many of them that it takes minutes, drawn by the seed."""
    import random

    from seamline.models.calibrating import HeldOut
    from seamline.models.training import examples_from

    rows = list(prepared.held_out_rows())
    most = min(recipe.calibration.rows, limit or recipe.calibration.rows)
    if len(rows) > most:
        places = sorted(random.Random(recipe.training.seed).sample(range(len(rows)), most))
        rows = [rows[place] for place in places]
    examples = examples_from(rows, recipe.contract)
    return [
        HeldOut(example.request, example.gold, str(row.get("group") or f"row {at}"))
        for at, (row, example) in enumerate(zip(rows, examples, strict=True))
    ]


def _read(
    recipe: Recipe, base: BaseSpec, adapter: Path, digest: str, rows: list[HeldOut], work: Path
) -> Any:
    """The adapter's margins on the rows, through the engine that will run it."""
    import shutil
    import tempfile

    from seamline.cli.progress import CountProgress
    from seamline.models.calibrating import read_logits
    from seamline.models.engine import LocalModel
    from seamline.models.packaging import write_skill
    from seamline.models.skills import Calibration, SkillStore

    for left in work.glob(f"{_BUILDING}*"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=_BUILDING, dir=work) as store:
        into = Path(store) / recipe.skill / recipe.version
        skill = write_skill(into, recipe, adapter, base, Calibration(), {})
        model = LocalModel(base, SkillStore(Path(store)))
        try:
            with CountProgress() as tick:
                return read_logits(
                    model,
                    rows,
                    recipe.contract,
                    skill=skill.ref,
                    adapter=digest,
                    work=work,
                    tick=tick,
                )
        finally:
            model.close()


def _plot(curves: Mapping[str, Any], work: Path) -> list[str]:
    """Reliability and risk-coverage, as trained and calibrated; none without matplotlib."""
    import importlib.util

    from seamline.models.evaluation.plots import plots

    if importlib.util.find_spec("matplotlib") is None:
        common.err().print("no plots: they need matplotlib, pip install 'seamline[eval]'")
        return []
    folder = work / "calibration"
    for name, image in plots(curves).items():
        (folder / name).write_bytes(image)
    return [str(folder / name) for name in ("reliability.png", "risk_coverage.png")]


def _show(report: CalibrationReport, plotted: list[str]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    out, found = common.err(), report.calibration
    table = Table(box=box.SIMPLE_HEAD, title="Calibration", title_justify="left")
    for heading in ("", "as trained", "calibrated"):
        table.add_column(heading, justify="right" if heading else "left")
    table.add_row("calibration error", f"{report.error_before:.3f}", f"{report.error:.3f}")
    table.add_row(
        f"{report.measure} at the threshold", f"{report.value_before:.3f}", f"{report.value:.3f}"
    )
    for method, loss in itertools.islice(report.losses.items(), 1, None):
        table.add_row(f"log loss, {method}", f"{report.losses['as trained']:.4f}", f"{loss:.4f}")
    out.print(table)
    kept = "no answer"
    if report.precision is not None:
        low, share, high = report.precision
        kept = f"{report.coverage:.1%} of the answers, {share:.3f} right ({low:.3f} to {high:.3f})"
    out.print(
        f"{report.rows} held-out rows in {report.groups} groups, cross-fitted; method: "
        f"{report.method}, temperature {found.temperature:g}, bias {found.bias:g}, "
        f"threshold {found.threshold:g}; "
        f"from {found.abstain_below:g} on sure, for a precision of {report.target_precision:g}: "
        f"{kept}; first answers {report.accuracy:.3f} right, on the surest 80 % "
        f"{report.accuracy_at_80:.3f}",
        soft_wrap=True,
    )
    for warning in report.warnings:
        out.print(Text(f"warning: {warning}", style="yellow"), soft_wrap=True)
    for file in plotted:
        out.print(Text(file), soft_wrap=True)
