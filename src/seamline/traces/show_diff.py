"""A comparison of two runs for people, at 100 columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from seamline.terminal import cut
from seamline.traces.compare import StepDiff, TraceDiff, answered_by
from seamline.traces.trace import Trace, TraceEffect
from seamline.traces.values import FieldDiff, canonical_json
from seamline.traces.view import inner, short_digest

__all__ = ["diff_view"]

_STYLES = {"same": "dim", "only in A": "yellow", "only in B": "yellow"}


def diff_view(diff: TraceDiff) -> Iterator[RenderableType]:
    """The parts of a comparison, to be printed one below the other."""
    yield _run_line("A", diff.a)
    yield _run_line("B", diff.b)
    if diff.header:
        yield Text("\nstarted from", style="bold")
        yield _fields_table(diff.header)
    yield Text("")
    yield _steps_table(diff)
    yield Text("")
    yield _verdict(diff)
    if diff.first is not None:
        step = diff.first
        for part, fields in (("", step.lineage), ("asked ", step.request), ("gave ", step.result)):
            if fields:
                yield _fields_table(fields, prefix=part)
    if diff.outcome:
        yield Text("\noutcome", style="bold")
        yield _fields_table(diff.outcome)


def _run_line(name: str, trace: Trace) -> Text:
    meta = trace.meta
    version = f"@{meta.agent_version}" if meta.agent_version else ""
    line = Text.assemble(
        (f"{name}  ", "bold"), cut(f"{meta.agent}{version}  {trace.status}  {meta.run_id}", 0)
    )
    if meta.parent:
        line.append("\n   " + cut(f"fork of {meta.parent} at {meta.forked_at or '?'}", 0))
    return line


def _verdict(diff: TraceDiff) -> Text:
    if diff.first is None:
        return Text("no step differs", style="bold green")
    step = diff.first
    told = cut(f"{step.key}: {_what(step)}", 0)
    return Text.assemble(("first difference: ", "bold red"), told)


def _what(step: StepDiff) -> str:
    """In what a step differs, in words."""
    if step.a is None or step.b is None:
        return "only B has it" if step.a is None else "only A has it"
    told = "it was asked something else"
    if not step.request:
        told = f"it was asked the same and gave {'something else' if step.result else 'the same'}"
    if not step.another:
        return told
    left, right = (_answerer(effect, step.another) for effect in (step.a, step.b))
    named = "" if left == right else f", A {left}, B {right}"
    return f"its {step.another} is another{named}; {told}"


def _answerer(effect: TraceEffect, kind: str) -> str:
    """The adapter, model or tool version that answers, with the beginning of its digest."""
    if kind == "tool version":
        asked = effect.request if isinstance(effect.request, dict) else {}
        return str(asked.get("version", "none"))
    view = answered_by(effect)
    name, digest = view.adapter_name, view.adapter_digest
    if kind == "model":
        name, digest = view.model, view.base_digest
        name += f" at {view.endpoint}" if view.endpoint else ""
    return (name or "none") + (f" ({short_digest(digest)})" if digest else "")


def _steps_table(diff: TraceDiff) -> Table:
    names = max((len(_name(step)) for step in diff.steps), default=0)
    differ = max((len(step.where) for step in diff.steps), default=0)
    table = Table(box=None, pad_edge=False, header_style="bold", expand=True)
    table.add_column("", width=1)
    table.add_column("step", no_wrap=True, overflow="ellipsis", width=min(max(names, 4), 34))
    table.add_column("A", no_wrap=True, overflow="ellipsis", ratio=1)
    table.add_column("B", no_wrap=True, overflow="ellipsis", ratio=1)
    table.add_column("differs in", no_wrap=True, width=max(differ, 10))
    for step in diff.steps:
        first = step is diff.first
        style = "bold red" if first else _STYLES.get(step.where, "red")
        table.add_row(
            "»" if first else "",
            Text(_name(step)),
            Text(_gave(step.a)),
            Text(_gave(step.b)),
            Text("" if step.where == "same" else step.where),
            style=style,
        )
    return table


def _name(step: StepDiff) -> str:
    name = step.key.path if step.key.occurrence == 1 else step.key.text
    kind = "" if step.key.kind in ("model", "tool") else f" {step.key.kind}"
    return cut(name + kind, 0)


def _gave(effect: TraceEffect | None) -> str:
    if effect is None:
        return "-"
    if effect.error is not None:
        return cut(f"{effect.error.type}: {effect.error.message}")
    if effect.decision:
        return cut(effect.decision)
    value = inner(inner(effect.result, "value"), "output")
    return cut(value if isinstance(value, str) else canonical_json(value))


def _fields_table(fields: Sequence[FieldDiff], prefix: str = "") -> Table:
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 1, 0, 0))
    table.add_column(overflow="fold", max_width=36)
    table.add_column(overflow="fold", ratio=1)
    table.add_column(overflow="fold", ratio=1)
    for diff in fields:
        table.add_row(
            Text(cut(f"  {prefix}{diff.field}", 0)),
            Text(cut(f"A {diff.recorded}", 0)),
            Text(cut(f"B {diff.asked}", 0)),
        )
    return table
