"""A trace: what a run was, did, and came to; and one line about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from seamline.traces.journal import Entry, Outcome, RunMeta
from seamline.traces.values import Json, expand

__all__ = ["RunSummary", "Trace", "TraceNode"]


@dataclass(frozen=True)
class RunSummary:
    """One line of a list of runs; times are seconds since the epoch."""

    run_id: str
    agent: str
    agent_version: str
    status: str
    started: float
    ended: float | None
    parent: str | None
    conversation: str | None
    error: str | None
    effects: int

    @property
    def seconds(self) -> float | None:
        """How long the run took; None while it runs, or when it was killed."""
        return None if self.ended is None else max(0.0, self.ended - self.started)


@dataclass
class TraceNode:
    """A task of the run: its effects, and the tasks inside it, in the order they started.

    `name` is the part of the path that this node adds to its parent's.
    """

    name: str
    path: str
    entries: list[Entry] = field(default_factory=list)
    children: list[TraceNode] = field(default_factory=list)

    @property
    def started(self) -> float:
        """When the first effect in the node started."""
        own = [entry.started for entry in self.entries]
        return min(own + [child.started for child in self.children])


@dataclass(frozen=True)
class Trace:
    """One run: its meta, effects and outcome (None while it runs, or when it was killed).

    `records` are the journal's records as they stand in the store.
    """

    meta: RunMeta
    entries: Sequence[Entry]
    outcome: Outcome | None
    records: Sequence[Mapping[str, Json]]
    read_blob: Callable[[str], bytes]

    @property
    def run_id(self) -> str:
        """The run's identifier."""
        return self.meta.run_id

    @property
    def status(self) -> str:
        """The outcome's status, `running` where there is none."""
        return "running" if self.outcome is None else self.outcome.status

    def request(self, entry: Entry) -> Json:
        """What the effect was asked, in full. Raises `TraceError` where a blob is missing."""
        return expand(entry.request, self.read_blob)

    def result(self, entry: Entry) -> Json:
        """What the effect gave, in full. Raises `TraceError` where a blob is missing."""
        return expand(entry.result, self.read_blob)

    def tree(self) -> list[TraceNode]:
        """The run's tasks, nested as their paths are.

        A name and the number behind it ("plan/2", "tool:icd10_select/1") are one task; a
        further name ("…/model") is a task inside it.
        """
        roots: list[TraceNode] = []
        known: dict[str, TraceNode] = {}
        for entry in self.entries:
            node = _node(entry.key.path, known, roots)
            node.entries.append(entry)
        _sort(roots)
        return roots

    def to_json(self, *, full: bool = False) -> dict[str, Any]:
        """The trace as plain JSON; `full` reads large values in, else they stay references."""
        records: list[Json] = [dict(record) for record in self.records]
        if full:
            records = [expand(record, self.read_blob) for record in records]
        ended = self.outcome is not None
        return {
            "run": records[0],
            "status": self.status,
            "effects": records[1 : len(records) - 1 if ended else len(records)],
            "end": records[-1] if ended else None,
        }


def _node(path: str, known: dict[str, TraceNode], roots: list[TraceNode]) -> TraceNode:
    if path in known:
        return known[path]
    parts = path.split("/")
    numbered = len(parts) > 1 and parts[-1].isdecimal()
    own = 2 if numbered else 1
    above = "/".join(parts[:-own])
    node = known[path] = TraceNode("/".join(parts[-own:]), path)
    if above:
        _node(above, known, roots).children.append(node)
    else:
        roots.append(node)
    return node


def _sort(nodes: list[TraceNode]) -> None:
    # A task's record is written when it ends, after those of the tasks inside it.
    nodes.sort(key=lambda node: node.started)
    for node in nodes:
        _sort(node.children)
