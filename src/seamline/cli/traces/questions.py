"""`seamline traces questions`: what a run asked its skills, and rows of what was wrong."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seamline.cli import common
from seamline.errors import InputError

if TYPE_CHECKING:
    from rich.table import Table

    from seamline.traces.questions import Question

__all__ = ["app"]

app = typer.Typer()

_BETWEEN = "|"


@app.command("questions")
@common.handle_errors
def questions(
    run: Annotated[
        str,
        typer.Argument(
            help="Run id, a unique beginning of it, `last`, or the folder of an exported run."
        ),
    ],
    skill: Annotated[
        str | None, typer.Option(help="Only questions to this skill, `name` or `name@version`.")
    ] = None,
    right: Annotated[
        list[str] | None,
        typer.Option(
            metavar="N=ANSWER",
            help="What would have been right for question N: labels, or choices by text or "
            "number, `|` between several, nothing for none of them. Once for each question.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="JSONL that the training rows are added to."),
    ] = None,
    project: common.ProjectOption = None,
    json: common.JsonOption = False,
) -> None:
    """Show what a run asked its skills; make training rows of what was answered wrongly."""
    from seamline.traces.questions import add_rows

    answers: dict[int, list[str]] = {}
    for number, said in map(_answer, right or ()):
        if number in answers:
            raise InputError(f"--right names question {number} twice; put | between two answers")
        answers[number] = said
    if bool(answers) != (out is not None):
        raise InputError("--right and --out belong together: what is right, and where it goes")
    recorded = common.open_run(run, project)
    if out is not None:
        rows = recorded.corrections(answers)
        total = add_rows(out, rows)
        if json:
            common.emit_json({"file": str(out), "rows": total, "added": rows})
            return
        common.console().print(
            f"{len(rows)} corrected of run {recorded.run_id}; {out} has {total} rows",
            soft_wrap=True,
        )
        return
    found = recorded.questions(skill)
    if json:
        common.emit_json([_plain(one) for one in found])
    elif not found:
        common.err().print(f"run {recorded.run_id} asked no skill such a question")
    else:
        common.console().print(_table(found))


def _answer(text: str) -> tuple[int, list[str]]:
    number, equals, said = text.partition("=")
    if not equals or not number.strip().isdecimal():
        raise InputError(f"--right {text!r} is not N=ANSWER; write e.g. --right '3=Governing Law'")
    return int(number), [one.strip() for one in said.split(_BETWEEN) if one.strip()]


def _plain(question: Question) -> dict[str, Any]:
    return {
        "number": question.number,
        "id": question.id,
        "effect": question.key.text,
        "policy": question.policy,
        "skill": question.skill,
        "context": question.request.context,
        "question": question.request.question,
        "answered": [{"name": name, "score": score} for name, score in question.answered],
        "choices": [{"number": at, "name": name} for at, name in enumerate(question.names, 1)],
    }


def _table(found: list[Question]) -> Table:
    from rich.table import Table
    from rich.text import Text

    from seamline.terminal import cut

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("#", justify="right", no_wrap=True)
    for name in ("skill", "asked", "best answer"):
        table.add_column(name, overflow="fold", no_wrap=name == "skill")
    table.add_column("score", justify="right", no_wrap=True)
    for one in found:
        asked = " ".join(part for part in (one.request.context, one.request.question) if part)
        names = "; ".join(cut(name) for name, _ in one.answered) or "none of them"
        best = max(one.response.scores, default=0.0)
        table.add_row(
            str(one.number),
            Text(cut(one.skill)),
            Text(cut(asked, 160)),
            Text(names),
            f"{best:.2f}",
        )
    return table
