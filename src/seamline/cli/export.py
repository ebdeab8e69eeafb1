"""`seamline models export` and `lint`: a skill for use elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seamline.cli import common
from seamline.errors import ConfigError, InputError

if TYPE_CHECKING:
    from seamline.models.bases import BaseSpec
    from seamline.models.protocol import DecideRequest
    from seamline.models.skills import Skill
    from seamline.project import Project

__all__ = ["export", "lint"]

_SkillArgument = Annotated[str, typer.Argument(help="SKILL, SKILL@VERSION or SKILL@LABEL.")]


@common.handle_errors
def export(
    skill: _SkillArgument,
    to: Annotated[Path, typer.Option(help="The folder to make.")],
    merged: Annotated[
        bool, typer.Option("--merged", help="Base and adapter as one float32 model.")
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option(help="With --merged: compare on rows of the skill's evaluation file."),
    ] = None,
    prompts: Annotated[int, typer.Option(min=1, help="With --merged: prompts to compare on.")] = 16,
    project: common.ProjectOption = None,
    json: common.JsonOption = False,
) -> None:
    """Write a skill as a plain PEFT folder, or merged into its base, with licence and card.

    A merged model is kept only where its answer logits are those of the adapter.
    """
    from seamline.cli.progress import CountProgress
    from seamline.models.exporting import export_adapter, export_merged

    opened = common.open_project(project)
    version = opened.skills.get(skill)
    base = _base(opened, version)
    told: dict[str, Any] = {"skill": version.ref, "folder": str(to), "merged": merged}
    if not merged:
        if data is not None:
            raise InputError("--data is for the comparison of --merged; add --merged, or leave it")
        export_adapter(version, base, to)
        line = f"{version.ref} is in {to}, a PEFT folder for the base {base.name}"
    else:
        requests, of = _requests(version, data, prompts)
        with CountProgress() as tick:
            parity = export_merged(version, base, opened.skills, to, requests=requests, tick=tick)
        told |= {
            "prompts": parity.prompts,
            "prompts_of": of,
            "logits": parity.logits,
            "difference": parity.difference,
        }
        line = (
            f"{version.ref} merged into {base.name} is in {to}; {parity.logits} logits of answer "
            f"tokens on {parity.prompts} prompts of {of} differ by at most {parity.difference:.1e}"
        )
    if json:
        common.emit_json(told)
    else:
        common.console().print(line, soft_wrap=True)


@common.handle_errors
def lint(
    skill: _SkillArgument,
    project: common.ProjectOption = None,
    json: common.JsonOption = False,
) -> None:
    """Say whether vLLM serves a skill's adapter as it was trained.

    Exits with 2 where it would refuse the adapter, or serve it wrongly without a word.
    """
    from rich.text import Text

    from seamline.models.vllm import lint as findings_of

    opened = common.open_project(project)
    version = opened.skills.get(skill)
    findings = findings_of(version.path, version.spec, opened.bases.get(version.spec.base.name))
    wrong = any(one.level == "error" for one in findings)
    if json:
        told = [one.model_dump(mode="json") for one in findings]
        common.emit_json({"skill": version.ref, "ok": not wrong, "findings": told})
    else:
        out = common.console()
        for one in findings:
            level = (one.level, "red" if one.level == "error" else "yellow")
            line = Text.assemble(level, f"  {one.rule}: {one.message}. Fix: {one.fix}.")
            out.print(line, soft_wrap=True)
        verdict = "is not for vLLM" if wrong else "is for vLLM"
        out.print(f"{version.ref} {verdict}", soft_wrap=True)
    raise typer.Exit(2 if wrong else 0)


def _base(project: Project, skill: Skill) -> BaseSpec:
    name = skill.spec.base.name
    if name not in project.bases:
        raise ConfigError(
            f"{skill.ref} needs base {name!r}; the project declares: "
            f"{', '.join(project.bases) or 'none'}"
        )
    return project.bases[name]


def _requests(skill: Skill, data: Path | None, count: int) -> tuple[list[DecideRequest], str]:
    """The prompts to compare on, and what they are of."""
    from seamline.loading import load_module
    from seamline.models.evaluation.grid import sample
    from seamline.models.exporting import card_requests

    if data is None:
        return card_requests(skill, count), "its own card"
    file = skill.path / "evaluation.py"
    if not file.is_file():
        raise InputError(f"{skill.ref} declares no evaluation, so --data holds no rows for it")
    contract = skill.spec.contract
    evaluation = load_module(file).evaluation(contract)
    try:
        rows = sample(evaluation.rows(data), count)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"the rows of {evaluation.file} in {data} cannot be read: "
            f"{type(error).__name__}: {error}; check the folder given as --data"
        ) from error
    if not rows:
        raise InputError(f"{evaluation.file} in {data} has no row to compare on")
    return [contract.request(row.context, row.choices) for row in rows], evaluation.file
