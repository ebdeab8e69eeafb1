"""`seamline traces replay`: execute a recorded run again: served, verified, or forked."""

from __future__ import annotations

import dataclasses
import json as json_module
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seamline.cli import common
from seamline.errors import InputError

if TYPE_CHECKING:
    from seamline.agents.forking import Fork
    from seamline.agents.recorded import RecordedRun
    from seamline.agents.replaying import Replay
    from seamline.agents.verifying import Candidate, Verification

__all__ = ["app"]

app = typer.Typer()

_NOT_COMPARED = 2
"""Exit code of a verification that found no difference, but did not compare everything."""


class Mode(StrEnum):
    """What a replay does with the effects of a run."""

    SERVED = "served"
    VERIFY = "verify"
    FORK = "fork"


Run = Annotated[
    str, typer.Argument(help="Run id, a unique beginning of it, `last`, or a trace folder.")
]
ModeOption = Annotated[
    Mode,
    typer.Option(
        help="served: everything from the journal, no model; verify: model effects computed "
        "again and compared; fork: live from a step on, with a change."
    ),
]
At = Annotated[
    str | None,
    typer.Option(help="fork: the step, as `traces show` names it: plan/2, or a record number."),
]
PolicyOption = Annotated[
    str | None, typer.Option(help="fork: another policy version, AGENT/NAME@VERSION.")
]
Adapter = Annotated[
    str | None,
    typer.Option(help="fork: another adapter, SKILL@VERSION; SKILL@off or off: none."),
]
Base = Annotated[str | None, typer.Option(help="fork: another base of models/bases.")]
Endpoint = Annotated[str | None, typer.Option(help="fork: an endpoint that answers the policies.")]
ToolResult = Annotated[
    Path | None, typer.Option(help="fork: a JSON file, the output of the tool call at --at.")
]
InputFile = Annotated[
    Path | None, typer.Option("--input", help="fork: a file with another text for the run.")
]
Encoding = Annotated[
    str | None,
    typer.Option(
        callback=common.not_empty,
        help="fork: how the file of --input is encoded, where it is not UTF-8.",
    ),
]
Answer = Annotated[
    str | None, typer.Option(help="fork: given to the question that the run may ask.")
]
AllowSideEffects = Annotated[
    bool, typer.Option("--allow-side-effects", help="fork: run tools with side effects too.")
]
Force = Annotated[bool, typer.Option("--force", help="verify: compare even on another runtime.")]


@app.command("replay")
@common.handle_errors
def replay(
    run: Run,
    mode: ModeOption = Mode.SERVED,
    at: At = None,
    policy: PolicyOption = None,
    adapter: Adapter = None,
    base: Base = None,
    endpoint: Endpoint = None,
    tool_result: ToolResult = None,
    input_file: InputFile = None,
    encoding: Encoding = None,
    answer: Answer = None,
    allow_side_effects: AllowSideEffects = False,
    force: Force = False,
    project: common.ProjectOption = None,
    json: common.JsonOption = False,
) -> None:
    """Execute a recorded run again.

    Exits with 0 when it came out as recorded (or the fork was executed), with 7 when it did not,
    and with 2 when --mode verify could not compare everything and found no difference.
    """
    changes: dict[str, Any] = {
        "at": at,
        "policy": policy,
        "adapter": adapter,
        "base": base,
        "endpoint": endpoint,
        "tool_result": tool_result,
        "input": input_file,
        "encoding": encoding,
        "answer": answer,
        "allow_side_effects": allow_side_effects or None,
    }
    given = {name: value for name, value in changes.items() if value is not None}
    if mode is not Mode.FORK and given:
        names = ", ".join("--" + name.replace("_", "-") for name in given)
        raise typer.BadParameter(f"only a fork takes {names}; add --mode fork")
    if encoding is not None and input_file is None:
        raise typer.BadParameter("--encoding says how a file is encoded; name it with --input")
    if force and mode is not Mode.VERIFY:
        raise typer.BadParameter("--force compares on another runtime; add --mode verify")
    recorded = common.open_run(run, project)
    if mode is Mode.SERVED:
        _served(recorded, json=json)
    elif mode is Mode.VERIFY:
        _verified(recorded, force=force, json=json)
    else:
        _forked(recorded, given, json=json)


def _served(recorded: RecordedRun, *, json: bool) -> None:
    found = recorded.replay()
    if json:
        told = {f.name: getattr(found, f.name) for f in dataclasses.fields(found)}
        told["result"] = None if found.result is None else found.result.model_dump(mode="json")
        told["differences"] = [dataclasses.asdict(one) for one in found.differences]
        common.emit_json(told)
    else:
        _tell_served(found)
    if not found.identical:
        raise typer.Exit(common.DIVERGED)


def _tell_served(found: Replay) -> None:
    out = common.console()
    served = f"{found.effects} effects served in {found.seconds:.2f} s"
    if found.identical:
        out.print(f"{found.run_id}: identical; {served}")
        return
    if found.ended_early:
        out.print(
            f"{found.run_id}: {served}, then {found.ended_early}; there is no result to compare",
        )
        return
    out.print(f"{found.run_id}: NOT identical; {served}")
    for one in found.differences:
        out.print(f"  {one.field}: recorded {one.recorded}, now {one.asked}")
    for key in found.unserved:
        out.print(f"  nobody asked for {key}")


def _verified(recorded: RecordedRun, *, force: bool, json: bool) -> None:
    from seamline.cli.progress import CountProgress

    with CountProgress() as progress:
        found = recorded.verify(force=force, on_progress=progress)
    if json:
        told = {"verdict": found.verdict, "identical": found.identical}
        common.emit_json({**dataclasses.asdict(found), **told})
    else:
        _tell_verified(recorded, found)
    if found.verdict == "different":
        raise typer.Exit(common.DIVERGED)
    if found.verdict != "identical":
        raise typer.Exit(_NOT_COMPARED)


def _tell_verified(recorded: RecordedRun, found: Verification) -> None:
    out = common.console()
    bits = "the same scores to the last digit" if found.same_bits else "scores differ in digits"
    how = {
        "identical": f"identical ({bits})",
        "different": "NOT identical",
        "incomplete": f"identical where it could be compared ({bits})",
        "nothing compared": "nothing could be compared",
    }[found.verdict]
    if found.effects:
        how += f"; {found.effects} model effects, {found.tokens} tokens compared"
    elif not found.refused:
        how += ": the run asked no model"
    out.print(f"{found.run_id}: {how}")
    for note in found.notes:
        out.print(f"  note: {note}")
    for effect, why in found.refused.items():
        out.print(f"  {effect} was not compared: {why}")
    one = found.difference
    if one is not None:
        words = recorded.project.local_model.token_text
        out.print(
            f"  first difference: {one.effect}, request {one.request}, {one.part} token "
            f"{one.position}\n    recorded {_side(one.recorded, words)}\n"
            f"    computed {_side(one.computed, words)}",
        )


def _side(candidates: Any, words: Any) -> str:
    found: list[Candidate] = list(candidates)
    if not found:
        return "nothing"
    return ", ".join(f"{words(one.token)!r} ({one.logprob:+.4f})" for one in found)


def _forked(recorded: RecordedRun, changes: dict[str, Any], *, json: bool) -> None:
    from seamline.cli.progress import RunProgress

    if "tool_result" in changes:
        changes["tool_result"] = _json_file(changes["tool_result"])
    if "input" in changes:
        from seamline.documents import read_document

        encoding = changes.pop("encoding", None)
        changes["input"] = read_document(changes["input"], encoding=encoding).text
    with RunProgress() as progress:
        found = recorded.fork(on_progress=progress, **changes)
    if json:
        common.emit_json(
            {
                "parent": found.parent,
                "at": found.at,
                "counts": dataclasses.asdict(found.counts),
                "result": found.result.model_dump(mode="json"),
            }
        )
        return
    _tell_forked(recorded, found)


def _tell_forked(recorded: RecordedRun, found: Fork) -> None:
    from seamline.cli.results import show_result

    given = found.result.trace.meta.input
    show_result(found.result, str(given["text"] or ""))
    counts = found.counts
    common.err().print(
        f"forked at {found.at}: {counts.prefix} effects served, {counts.reused} reused, "
        f"{counts.live} live; compare with `seamline traces diff {recorded.run_id} "
        f"{found.result.run_id}`",
    )


def _json_file(path: Path) -> Any:
    try:
        found = json_module.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise InputError(f"{path} cannot be read as JSON: {error}; give a tool's output") from error
    if not isinstance(found, dict):
        raise InputError(f"{path} holds no JSON object; a tool's output is one")
    return found
