"""`seamline eval --all`: every released skill measured as its record says, and compared with it."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seamline.cli.eval.measure import Options, Task, record, task
from seamline.errors import InputError
from seamline.writing import replace_file

if TYPE_CHECKING:
    from seamline.models.skills import Skill
    from seamline.project import Project

__all__ = ["TOLERANCE", "evaluate_all"]

TOLERANCE = 0.02
"""How far a number may lie from the recorded one: another kind of processor rounds otherwise, and
turns a row or two."""


@dataclass(frozen=True)
class _Planned:
    """One evaluation of one released version, and the options that reproduce its record."""

    skill: Skill
    on: str
    options: Options


def evaluate_all(project: Project, options: Options, tell: Callable[[str], None]) -> dict[str, Any]:
    """Every evaluation of every skill's production version; the reports as plain data.

    What is found is kept until all is done, so that a run that was cut short goes on. `tell`
    gets a line for each evaluation.

    Raises:
        SkillError: A skill does not say how it is evaluated; told before anything is run.
        InputError: No skill has a version labelled production, rows cannot be read, or a record
            that was measured with something else would be replaced.
    """
    planned = list(_plan(project, options))
    if not planned:
        raise InputError(
            f"{project.skills.root} has no skill with a version labelled production; label one: "
            "`seamline models label SKILL production VERSION`"
        )
    kept = _kept(planned, options)
    reports = []
    for at, one in enumerate(planned, 1):
        ready = task(one.skill, one.on, one.options)
        where = f"{at} of {len(planned)}: {ready.evaluation.file} for {one.skill.ref}"
        file = kept / f"{_key(ready)}.json"
        if file.is_file():
            tell(f"{where}, found earlier")
            report = json.loads(file.read_text(encoding="utf-8"))
        else:
            tell(f"{where}, {len(ready.rows):,} rows, {', '.join(ready.cells)}")
            report = ready.run(project)
            _keep(report, file)
        reports.append(_compared(report, one, options))
    if options.record:
        for report, one in zip(reports, planned, strict=True):
            record(report, one.skill)
    shutil.rmtree(kept, ignore_errors=True)
    verdicts = [one["reproduced"] for one in reports if one["reproduced"] is not None]
    return {
        "command": _command(options),
        "tolerance": TOLERANCE,
        "reproduced": all(verdicts) if verdicts else None,
        "evaluations": reports,
    }


def _plan(project: Project, options: Options) -> Iterator[_Planned]:
    from seamline.evaluations import evaluations
    from seamline.models.evaluation.records import MAIN, Record, require_same_means

    store = project.skills
    for name in store.names():
        if "production" not in store.labels(name):
            continue
        skill = store.get(f"{name}@production")
        for at, (on, evaluation) in enumerate(evaluations(skill).items()):
            own, named = options, on if at else MAIN
            if options.record:
                require_same_means(skill, named, evaluation.measured_with)
            known = Record.read(skill, named)
            if known is not None and not (options.limit or options.cells):
                own = options.like(known)
            yield _Planned(skill, on, own)


def _compared(report: dict[str, Any], one: _Planned, options: Options) -> dict[str, Any]:
    """The report, with what is recorded otherwise.

    Nothing is compared in a trial, or where the record is made anew.
    """
    from seamline.models.evaluation.records import Record, differences

    known = Record.read(one.skill, report["on"])
    found: dict[str, Any] = {"reproduced": None, "differences": {}}
    if known is not None and not (options.limit or options.cells or options.record):
        apart = differences(report, known, tolerance=TOLERANCE)
        found = {
            "reproduced": not apart and report["recorded_with"] is None,
            "differences": {
                name: {"recorded": was, "found": now} for name, (was, now) in apart.items()
            },
        }
    return report | found


def _command(options: Options) -> str:
    return options.command("--all", None)


def _kept(planned: list[_Planned], options: Options) -> Path:
    """The folder of what this very run has found so far."""
    from seamline.models.evaluation.records import behaviour_digest
    from seamline.project import state_home

    told = [
        _command(options),
        str(options.data.resolve()),
        *([one.skill.ref, one.on, behaviour_digest(one.skill)] for one in planned),
    ]
    name = hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]
    return state_home() / "cache" / "evaluations" / name


def _key(ready: Task) -> str:
    """Names a result by what decides it: adapter, rows as they are asked, cells."""
    from seamline.models.evaluation.declared import rows_digest
    from seamline.models.evaluation.records import behaviour_digest

    told = [
        ready.on,
        ready.evaluation.threshold,
        ready.evaluation.measured_with,
        behaviour_digest(ready.skill),
        rows_digest(ready.rows),
        [list(row.retrieved) for row in ready.rows],
        list(ready.cells),
    ]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:32]


def _keep(report: dict[str, Any], file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    replace_file(file, json.dumps(report, ensure_ascii=False, allow_nan=False))
