"""A trace: what a run was, did, and came to; and one line about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from pydantic import ValidationError

from seamline.errors import TraceError
from seamline.traces.journal import (
    EffectKey,
    EffectKind,
    Entry,
    Outcome,
    RecordedError,
    RunMeta,
)
from seamline.traces.values import Json, expand
from seamline.traces.view import view_effect

if TYPE_CHECKING:
    from seamline.traces.compare import TraceDiff

__all__ = ["RunSummary", "Trace", "TraceEffect", "TraceNode"]


@dataclass(frozen=True)
class TraceEffect:
    """One effect of a run in full, for programs.

    `seq` counts from 1 in the order in which effects ended. `decision` is what a model chose,
    empty where it chose nothing; `result` is None where there is an `error`.
    """

    seq: int
    key: EffectKey
    request: Json
    result: Json
    error: RecordedError | None
    seconds: float
    input_tokens: int
    output_tokens: int
    decision: str

    @property
    def kind(self) -> EffectKind:
        """The kind of the effect."""
        return self.key.kind


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
    forked_at: str | None = None

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

    @classmethod
    def from_records(
        cls,
        records: Sequence[Mapping[str, Json]],
        read_blob: Callable[[str], bytes],
    ) -> Self:
        """The trace of a journal whose records `verify_chain` has found good.

        Raises:
            TraceError: a record lacks a field, or a blob of the header or footer is missing.
        """
        header, footer = records[0], records[-1] if records[-1]["record"] == "end" else None
        effects = records[1:] if footer is None else records[1:-1]
        try:
            meta = RunMeta.model_validate(expand(header["meta"], read_blob))
            outcome = None
            if footer is not None:
                outcome = Outcome.model_validate(expand(footer["outcome"], read_blob))
        except (KeyError, ValidationError) as error:
            raise TraceError(
                f"journal of run {header.get('run_id')}: the header or footer does not have the "
                f"fields that this Seamline knows ({_first_line(error)}); it may be of a newer "
                "one: upgrade with `pip install --upgrade seamline`"
            ) from error
        if meta.run_id != header.get("run_id"):
            raise TraceError(
                f"record 0 is the header of run {header.get('run_id')} and describes {meta.run_id}"
            )
        entries = tuple(Entry.from_record(record) for record in effects)
        return cls(meta, entries, outcome, tuple(records), read_blob)

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

    @property
    def effects(self) -> list[TraceEffect]:
        """The effects in full, in the order they ended. Raises `TraceError` as `request` does."""
        return [self.effect(entry) for entry in self.entries]

    def effect(self, entry: Entry) -> TraceEffect:
        """One effect in full. Raises `TraceError` where a blob is missing."""
        request, result = self.request(entry), self.result(entry)
        view = view_effect(entry.key.path, entry.kind, request, result, entry.annotations)
        return TraceEffect(
            seq=entry.seq,
            key=entry.key,
            request=request,
            result=result,
            error=entry.error,
            seconds=entry.seconds,
            input_tokens=view.input_tokens,
            output_tokens=view.output_tokens,
            decision=view.decision,
        )

    def diff(self, other: Trace, *, everything: bool = False) -> TraceDiff:
        """Where another run went a different way; see `seamline.traces.compare.diff_traces`."""
        from seamline.traces.compare import diff_traces

        return diff_traces(self, other, everything=everything)

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


def _first_line(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return f"{error} is missing"
    first = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


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
