"""`seamline run`: an agent on a text."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seamline.cli import common, telemetry
from seamline.cli.progress import RunProgress
from seamline.terminal import plain

if TYPE_CHECKING:
    from seamline.agents.agent import Agent
    from seamline.agents.result import AgentResult
    from seamline.agents.spec import Budget

__all__ = ["app"]

app = typer.Typer(add_completion=False)

_STATUS_CODES = {"done": 0, "refused": 3, "needs_answer": 4, "budget_exceeded": 5, "failed": 6}
_BAD_INPUT = ("InputError", "ConfigError", "PolicyError", "SkillError", "ToolError")

Text = Annotated[
    str | None, typer.Argument(help="The text; `-`, or nothing, reads standard input.")
]
File = Annotated[Path | None, typer.Option("--file", "-f", help="Read the text from a file.")]
Endpoint = Annotated[str | None, typer.Option(help="An endpoint that answers the policies.")]
Answer = Annotated[
    str | None,
    typer.Option(callback=common.not_empty, help="Given to the question that the agent may ask."),
]
Resume = Annotated[
    str | None,
    typer.Option(
        callback=common.not_empty,
        help="Go on with a run that asked a question, with --answer, or that was killed.",
    ),
]
Conversation = Annotated[
    str | None, typer.Option(callback=common.not_empty, help="An identifier that groups runs.")
]
Encoding = Annotated[
    str | None,
    typer.Option(callback=common.not_empty, help="How the text is encoded, where it is not UTF-8."),
]


@app.command()
@common.handle_errors
def run(
    agent: Annotated[str, typer.Argument(help="The agent's name.")],
    text: Text = None,
    file: File = None,
    project: common.ProjectOption = None,
    endpoint: Endpoint = None,
    answer: Answer = None,
    resume: Resume = None,
    conversation: Conversation = None,
    budget_steps: Annotated[int | None, typer.Option(min=1, help="At most so many tools.")] = None,
    budget_tokens: Annotated[
        int | None, typer.Option(min=1, help="At most so many tokens.")
    ] = None,
    budget_seconds: Annotated[
        float | None, typer.Option(min=0.001, help="At most so many seconds.")
    ] = None,
    encoding: Encoding = None,
    otlp: telemetry.OtlpOption = None,
    otlp_file: telemetry.OtlpFileOption = None,
    json: common.JsonOption = False,
) -> None:
    """Run an agent on a text, and show what came out.

    Exits with 0 when done, 3 when refused, 4 when it needs an answer, 5 when its budget is
    used up, 6 when a model, an endpoint or a tool failed, 2 on bad input.
    """
    if resume is not None:
        kept = {"text": text, "--file": file, "--encoding": encoding}
        _refuse_with_resume({**kept, "--conversation": conversation})
    source = _text(text, file, encoding) if resume is None else ""
    runner = common.open_project(project).agent(agent, endpoint=endpoint)
    budget = runner.spec.budget.replaced(
        steps=budget_steps, tokens=budget_tokens, seconds=budget_seconds
    )
    with telemetry.exporting(otlp, otlp_file):
        if resume is not None:
            result = _resumed(runner, resume, answer, budget)
        else:
            result = _ran(runner, source, answer, conversation, budget)
            if result.question is not None and not json and _can_ask():
                result = _ask(runner, result)
    _tell(runner, result, json=json)
    raise typer.Exit(status_code(result))


def status_code(result: AgentResult) -> int:
    """The documented exit code of a result."""
    if result.error_type in _BAD_INPUT:
        return 2
    return _STATUS_CODES[result.status]


def _text(text: str | None, file: Path | None, encoding: str | None) -> str:
    """What to work on, from the argument, a file, or standard input."""
    from seamline.documents import read_document

    if text is not None and text != "-":
        if file is not None:
            raise typer.BadParameter("give the text or --file, not both")
        if _names_a_file(text):
            raise typer.BadParameter(plain(f"{text} is a file; did you mean --file {text}?"))
        return text
    if file is not None:
        return read_document(file, encoding=encoding).text
    if text is None and sys.stdin.isatty():
        raise typer.BadParameter("no text; give it as an argument, with --file, or on stdin")
    return read_document("-", encoding=encoding).text


def _names_a_file(text: str) -> bool:
    """Whether somebody gave a path where the text belongs; a long text is no path."""
    return 0 < len(text) < 256 and not any(c.isspace() for c in text) and Path(text).is_file()


def _ran(
    runner: Agent, source: str, answer: str | None, conversation: str | None, budget: Budget
) -> AgentResult:
    with RunProgress() as progress:
        return runner.run(
            source, answer=answer, on_progress=progress, conversation=conversation, budget=budget
        )


def _can_ask() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _ask(runner: Agent, result: AgentResult) -> AgentResult:
    """The result once the person at the terminal has answered, or as it is if they will not."""
    asked = plain(result.question or "")
    said = typer.prompt(asked, default="", show_default=False, err=True)
    if not said.strip():
        return result
    with RunProgress() as progress:
        return runner.resume(result.run_id, said, on_progress=progress)


def _refuse_with_resume(options: Mapping[str, object]) -> None:
    """Nothing, where none of what only a new run takes is given."""
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise typer.BadParameter(
            f"--resume takes no {' and no '.join(given)}; the run keeps what it began with"
        )


def _resumed(runner: Agent, run_id: str, answer: str | None, budget: Budget) -> AgentResult:
    if budget != runner.spec.budget:
        raise typer.BadParameter("--resume takes no budget; the run keeps the one it began with")
    with RunProgress() as progress:
        return runner.resume(run_id, answer, on_progress=progress)


def _tell(runner: Agent, result: AgentResult, *, json: bool) -> None:
    if json:
        common.emit_json(result.model_dump(mode="json"))
        return
    from seamline.cli.results import show_result

    given = runner.trace(result.run_id).meta.input
    show_result(result, str(given["text"] or ""))
