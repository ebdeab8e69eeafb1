"""Spans from elsewhere as trees, for people and as data."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from rich.text import Text
from rich.tree import Tree

from seamline.terminal import cut
from seamline.traces.foreign import ForeignSpan

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ForeignTrace", "arrange", "foreign_tree", "traces_as_data"]

# Deeper spans stand side by side: their names would leave an ordinary terminal.
_SHOWN_DEPTH = 12
_NAME_WIDTH = 80


@dataclass
class Placed:
    """A span where it belongs; `note` says why it stands where it does not seem to."""

    span: ForeignSpan
    depth: int
    note: str = ""


@dataclass
class ForeignTrace:
    """One trace: its spans in the order of a tree, each before those inside it."""

    trace_id: str
    spans: list[Placed] = field(default_factory=list)
    duplicates: int = 0


def arrange(spans: Sequence[ForeignSpan]) -> list[ForeignTrace]:
    """The traces of a file by the start of their first span.

    Siblings stand by their start. A span whose parent is not in the file stands at the top, and
    so does the earliest of spans that claim to lie in each other. Of several with one
    identifier the first counts.
    """
    by_trace: dict[str, list[ForeignSpan]] = defaultdict(list)
    for span in spans:
        by_trace[span.trace_id].append(span)
    traces = [_arrange_one(trace_id, members) for trace_id, members in by_trace.items()]
    return sorted(traces, key=lambda trace: min(map(_start, (p.span for p in trace.spans))))


def _arrange_one(trace_id: str, members: list[ForeignSpan]) -> ForeignTrace:
    known: dict[str, ForeignSpan] = {}
    unnamed = 0
    for span in members:
        if not span.span_id:
            unnamed += 1
        known.setdefault(span.span_id or f"no id {unnamed}", span)
    inside: dict[str, list[tuple[str, ForeignSpan]]] = defaultdict(list)
    tops: list[tuple[str, ForeignSpan, str]] = []
    for key, span in known.items():
        if span.parent_id in known and span.parent_id != key:
            inside[span.parent_id].append((key, span))
        else:
            own = "its own parent" if span.parent_id == key else "its parent is not in the file"
            tops.append((key, span, own if span.parent_id else ""))
    trace = ForeignTrace(trace_id, duplicates=len(members) - len(known))
    seen: set[str] = set()
    for key, span, note in sorted(tops, key=lambda top: _start(top[1])):
        trace.spans += _walk(key, span, note, inside, seen)
    # What is left hangs together in loops only; each pass cuts one open.
    for key, span in sorted(known.items(), key=lambda item: _start(item[1])):
        if key not in seen:
            trace.spans += _walk(key, span, "its parents go in a circle", inside, seen)
    return trace


def _walk(
    key: str,
    span: ForeignSpan,
    note: str,
    inside: Mapping[str, list[tuple[str, ForeignSpan]]],
    seen: set[str],
) -> Iterator[Placed]:
    waiting = [(key, span, 0)]
    while waiting:
        key, span, depth = waiting.pop()
        if key in seen:
            continue
        seen.add(key)
        yield Placed(span, depth, note)
        note = ""
        below = sorted(inside.get(key, ()), key=lambda member: _start(member[1]), reverse=True)
        waiting += [(child, one, depth + 1) for child, one in below]


def _start(span: ForeignSpan) -> float:
    return span.started if span.started is not None else float("inf")


def foreign_tree(trace: ForeignTrace, *, limit: int) -> Tree:
    """A trace as a tree of at most `limit` spans."""
    title = trace.trace_id or "no trace id"
    services = sorted({placed.span.service for placed in trace.spans} - {""})
    root = Tree(Text(f"trace {title}  {', '.join(services)[:_NAME_WIDTH]}".rstrip(), style="bold"))
    branches = [root]
    for placed in trace.spans[:limit]:
        depth = min(placed.depth, _SHOWN_DEPTH)
        del branches[depth + 1 :]
        branch = branches[-1].add(_headline(placed))
        branches.append(branch)
        for line in _details(placed.span):
            branch.add(Text(line, style="dim", no_wrap=True, overflow="ellipsis"))
    for line in _totals(trace, limit):
        root.add(Text(line, style="bold"))
    return root


def _headline(placed: Placed) -> Text:
    span = placed.span
    head = Text(no_wrap=True, overflow="ellipsis")
    head.append(cut(span.name, _NAME_WIDTH) or "(no name)", style="bold")
    if span.kind != "span":
        head.append(f" {span.kind}", style="dim")
    if span.facts.decision:
        head.append(f" → {cut(span.facts.decision, _NAME_WIDTH)}", style="cyan")
    if span.status == "error":
        head.append(f" {cut(span.facts.error, _NAME_WIDTH) or 'error'}", style="red")
    if span.seconds is not None:
        head.append(f"  {span.seconds:.2f} s", style="dim")
    if placed.note:
        head.append(f"  ({placed.note})", style="yellow")
    return head


def _details(span: ForeignSpan) -> list[str]:
    facts = span.facts
    prompt = f"{facts.prompt}@{facts.prompt_version}" if facts.prompt_version else facts.prompt
    parts = [
        f"prompt {prompt}" if facts.prompt else "",
        f"agent {facts.agent}" if facts.agent and facts.agent not in span.name else "",
        f"tool {facts.tool}" if facts.tool and facts.tool not in span.name else "",
        f"model {facts.model}" if facts.model and facts.model not in span.name else "",
        f"{facts.input_tokens}+{facts.output_tokens} tokens"
        if facts.input_tokens or facts.output_tokens
        else "",
    ]
    lines = [", ".join(filter(None, parts)), span.message if span.status == "error" else ""]
    return [cut(line, 2 * _NAME_WIDTH) for line in lines if line]


def _totals(trace: ForeignTrace, limit: int) -> list[str]:
    spans = [placed.span for placed in trace.spans]
    models = [span for span in spans if span.kind == "model"]
    lines = []
    if len(spans) > limit:
        lines.append(f"{len(spans) - limit} more spans; --limit shows them")
    if trace.duplicates:
        lines.append(f"{trace.duplicates} spans with the identifier of another are left out")
    # Agents often repeat the sum of their model calls, so only those count.
    lines.append(
        f"{len(spans)} spans, {len(models)} model calls, "
        f"{sum(span.kind == 'tool' for span in spans)} tool calls, "
        f"{sum(span.facts.input_tokens for span in models)} tokens read, "
        f"{sum(span.facts.output_tokens for span in models)} decoded"
    )
    return lines


def traces_as_data(traces: Sequence[ForeignTrace]) -> list[dict[str, Any]]:
    """The traces as JSON: spans flat, in the order of the tree, with their depth."""
    return [
        {
            "trace_id": trace.trace_id,
            "duplicates": trace.duplicates,
            "spans": [_as_data(placed) for placed in trace.spans],
        }
        for trace in traces
    ]


def _as_data(placed: Placed) -> dict[str, Any]:
    fields = asdict(placed.span)
    facts = fields.pop("facts")
    del fields["trace_id"]
    return {"depth": placed.depth, "note": placed.note, **fields, **facts}
