"""A trace as a tree for people."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from seamline.terminal import cut, plain
from seamline.traces.effects import usage_of
from seamline.traces.journal import Entry
from seamline.traces.store import RunSummary
from seamline.traces.trace import Trace, TraceNode
from seamline.traces.values import Json, canonical_json
from seamline.traces.view import EffectView, inner, short_digest, view_effect

__all__ = ["runs_table", "totals", "trace_tree"]

_WIDTH = 60
_SHORT_ID = 18
_QUIET = ("clock", "id", "random")
_STYLES = {
    "done": "green",
    "failed": "red",
    "refused": "yellow",
    "needs_answer": "yellow",
    "budget_exceeded": "yellow",
    "running": "cyan",
}


def runs_table(runs: list[RunSummary], *, width: int) -> Table:
    """Runs as a table, one line each in so many columns.

    Below 100 columns an id is cut to the beginning that holds its millisecond, which finds the
    run as well as the whole does.

    A fork stands under its parent where both are among `runs`, and says at which effect it was
    forked; a family stands where its newest member would.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("run", no_wrap=True)
    table.add_column("agent", overflow="ellipsis")
    table.add_column("status", no_wrap=True)
    table.add_column("started", no_wrap=True)
    table.add_column("seconds", justify="right", no_wrap=True)
    table.add_column("effects", justify="right", no_wrap=True)
    for run, depth in _families(runs):
        indent = "  " * min(depth - 1, 5) + "└ " if depth else ""
        name = f"at {run.forked_at}" if depth and run.forked_at else run.agent
        status = Text(cut(run.status), style=_STYLES.get(run.status, ""))
        seconds = "" if run.seconds is None else f"{run.seconds:.1f}"
        table.add_row(
            Text(indent + cut(run.run_id, 0)[: None if width >= 100 else _SHORT_ID]),
            Text(cut(name, 0), no_wrap=True, overflow="ellipsis"),
            status,
            _day(run.started),
            seconds,
            str(run.effects),
        )
    return table


def _families(runs: list[RunSummary]) -> list[tuple[RunSummary, int]]:
    """The runs with how deep each is in its tree of forks, a parent before its forks."""
    by_id = {run.run_id: run for run in runs}
    forks: dict[str, list[RunSummary]] = {}
    for run in runs:
        if run.parent in by_id:
            forks.setdefault(run.parent, []).append(run)
    found: dict[str, tuple[RunSummary, int]] = {}
    for run in runs:
        top, climbed = run, {run.run_id}
        # Runs come from elsewhere too, and two of them may name each other as parent.
        while top.parent in by_id and top.parent not in climbed:
            top = by_id[top.parent]
            climbed.add(top.run_id)
        below = [(top, 0)]
        while below:
            one, depth = below.pop()
            if one.run_id not in found:
                found[one.run_id] = (one, depth)
                below += [(fork, depth + 1) for fork in reversed(forks.get(one.run_id, []))]
    return list(found.values())


def trace_tree(trace: Trace, *, full: bool = False) -> Tree:
    """A run as a tree of its tasks.

    `full` adds clock, id and random effects and all fields, and folds what it would cut.
    Raises `TraceError` where a blob is missing.
    """
    meta = trace.meta
    version = f"@{meta.agent_version}" if meta.agent_version else ""
    head = Text.assemble(
        (cut(meta.agent, 0), "bold"),
        cut(f"{version}  ", 0),
        (cut(trace.status, 0), _STYLES.get(trace.status, "")),
        cut(f"  {meta.run_id}", 0),
    )
    tree = Tree(head)
    started = f"started {_clock(meta.started)}, seamline {meta.seamline_version or '?'}"
    tree.add(Text(cut(started, 0)))
    if meta.parent:
        tree.add(Text(cut(f"fork of {meta.parent} at {meta.forked_at or '?'}", 0)))
    for node in trace.tree():
        _add_node(tree, trace, node, full=full)
    if why := _why(trace):
        tree.add(Text(plain(why), style="yellow" if trace.status == "refused" else "red"))
    tree.add(Text(_totals_line(trace), style="bold"))
    return tree


def _why(trace: Trace) -> str:
    """Why a run failed or was refused; nothing where it was not."""
    outcome = trace.outcome
    if outcome is not None and outcome.status == "refused" and isinstance(outcome.result, dict):
        return str(outcome.result.get("message") or "")
    return "" if outcome is None else outcome.error or ""


def totals(trace: Trace) -> dict[str, float]:
    """Effects, model and tool calls, tokens (some `estimated`?) and seconds of a run.

    A model call is one that was answered, if only by what had to be refused.
    """
    views = [(entry, _view(trace, entry)) for entry in trace.entries]
    ended = trace.outcome.ended if trace.outcome is not None else None
    last = max((entry.ended for entry in trace.entries), default=trace.meta.started)
    return {
        "effects": len(trace.entries),
        "model_calls": sum(_answered(entry) for entry, _ in views),
        "tool_calls": sum(entry.kind in ("tool", "retrieval") for entry, _ in views),
        "input_tokens": sum(view.input_tokens for _, view in views),
        "output_tokens": sum(view.output_tokens for _, view in views),
        "estimated": any(view.estimated for _, view in views),
        "seconds": round(max(0.0, (ended or last) - trace.meta.started), 3),
    }


def _answered(entry: Entry) -> bool:
    return entry.kind == "model" and (entry.error is None or usage_of(entry) is not None)


def _totals_line(trace: Trace) -> str:
    sums = totals(trace)
    about = " (in part estimated)" if sums["estimated"] else ""
    return (
        f"{sums['model_calls']} model calls, {sums['tool_calls']} tool calls, "
        f"{sums['input_tokens']} tokens read, {sums['output_tokens']} decoded{about}, "
        f"{sums['seconds']:.2f} s"
    )


def _day(seconds: float) -> str:
    """Day and minute; day and year where that is long ago."""
    when = dt.datetime.fromtimestamp(seconds, dt.UTC).astimezone()
    recent = dt.datetime.now(dt.UTC) - when < dt.timedelta(days=300)
    return when.strftime("%m-%d %H:%M" if recent else "%Y-%m-%d")


def _clock(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _view(trace: Trace, entry: Entry) -> EffectView:
    return view_effect(
        entry.key.path, entry.kind, trace.request(entry), trace.result(entry), entry.annotations
    )


def _add_node(above: Tree, trace: Trace, node: TraceNode, *, full: bool) -> None:
    shown = [entry for entry in node.entries if full or entry.kind not in _QUIET]
    branch = above
    for entry in shown:
        branch = above.add(_headline(trace, entry, name=node.name, full=full))
        for line in _details(trace, entry, full=full):
            branch.add(line)
    if not shown and node.children:
        branch = above.add(Text(cut(node.name, 0)))
    for child in node.children:
        _add_node(branch, trace, child, full=full)


def _headline(trace: Trace, entry: Entry, *, name: str, full: bool) -> Text:
    view = _view(trace, entry)
    width = 0 if full else _WIDTH
    head = _laid_out(Text.assemble((cut(name, width), "bold")), full=full)
    if entry.key.occurrence > 1:
        head.append(f" #{entry.key.occurrence}")
    if entry.kind not in ("model", "tool"):
        head.append(f" {entry.kind}", style="dim")
    if view.decision:
        head.append(f" → {cut(view.decision, width)}", style="cyan")
    if view.confidence is not None:
        head.append(f" {view.confidence:.2f}")
    if entry.error is not None:
        head.append(f" {cut(entry.error.type, width)}", style="red")
    head.append(f"  {entry.seconds:.2f} s", style="dim")
    return head


def _laid_out(text: Text, *, full: bool) -> Text:
    """A text that is folded over lines, or cut at the end of its line."""
    text.no_wrap = not full
    text.overflow = "fold" if full else "ellipsis"
    return text


def _details(trace: Trace, entry: Entry, *, full: bool) -> list[Text]:
    request, result = trace.request(entry), trace.result(entry)
    lines: list[str] = []
    if entry.kind == "model":
        lines += _model_lines(_view(trace, entry), full=full)
    elif entry.kind in ("tool", "retrieval"):
        lines += _value_lines("in", inner(request, "input"), full=full)
        request = _further(request, "input")
        if entry.error is None:
            output = inner(inner(result, "value"), "output")
            lines += _value_lines("out", output, full=full)
        result = _further(result, "value")
    elif entry.error is None:
        lines.append(_show(result, full=full))
        result = None
    for label, value in (("asked", request), ("given", result)):
        if full and value:
            lines += _value_lines(label, value, full=True)
    if entry.error is not None:
        lines.append(cut(entry.error.message, 0 if full else _WIDTH + 20))
    return [_laid_out(Text(cut(line, 0), style="dim"), full=full) for line in lines]


def _further(value: Json, shown: str) -> dict[str, Json]:
    """The fields of an object but one, which stands elsewhere."""
    fields = value if isinstance(value, dict) else {}
    return {name: member for name, member in fields.items() if name != shown}


def _model_lines(view: EffectView, *, full: bool) -> list[str]:
    lines: list[str] = []
    if view.policy_name:
        digest = f" ({short_digest(view.policy_digest)})" if view.policy_digest else ""
        lines.append(f"policy {view.policy_name}@{view.policy_version}{digest}")
    if view.reason:
        lines.append(f"because {cut(view.reason, 0 if full else _WIDTH + 10)}")
    parts = []
    if view.adapter_name or view.adapter_digest:
        digest = f" ({short_digest(view.adapter_digest)})" if view.adapter_digest else ""
        parts.append(f"adapter {view.adapter_name}{digest}")
    if view.model:
        base = f" ({short_digest(view.base_digest)})" if view.base_digest else ""
        parts.append(f"model {view.model}{base}")
    if view.questions > 1:
        parts.append(f"{view.questions} questions")
    if view.input_tokens or view.output_tokens:
        about = " (estimated)" if view.estimated else ""
        parts.append(f"{view.input_tokens}+{view.output_tokens} tokens{about}")
    return lines + ([", ".join(parts)] if parts else [])


def _value_lines(label: str, value: Json, *, full: bool) -> list[str]:
    """An object as `label field: value` lines, anything else as one line."""
    if not isinstance(value, Mapping):
        return [f"{label}: {_show(value, full=full)}"]
    facts = [f"{label} {key}: {_show(member, full=full)}" for key, member in value.items()]
    shown = facts if full or len(facts) <= 8 else [*facts[:7], f"{label}: {len(facts) - 7} more"]
    return shown or [f"{label}: nothing"]


def _show(value: Json, *, full: bool) -> str:
    if isinstance(value, str):
        return cut(value, 0 if full else _WIDTH)
    if isinstance(value, list) and not full and len(canonical_json(value)) > _WIDTH:
        return f"{len(value)} items"
    if isinstance(value, dict) and not full and len(canonical_json(value)) > _WIDTH:
        return f"{len(value)} fields ({cut(', '.join(value), _WIDTH - 14)})"
    return canonical_json(value)
