"""Where two runs part: their effects lined up by key, and the earliest that differs.

Compared is what was asked and what came back. Times, identifiers, digests of the chain and
annotations differ between any two runs and say nothing; clock, id and random effects are left
out unless they are asked for.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from seamline.traces.journal import EffectKey, Entry
from seamline.traces.trace import Trace, TraceEffect
from seamline.traces.values import FieldDiff, Json, canonical_json, diff_fields
from seamline.traces.view import EffectView, view_effect

__all__ = ["StepDiff", "TraceDiff", "answered_by", "diff_traces"]

_QUIET = ("clock", "id", "random")
_CONTAINERS = ("tool", "retrieval")
_LINEAGE = ("identity", "model", "version")
"""Fields of a request that say who answers: a model with its adapter, or a version of a tool."""
_HEADER = (
    "agent", "agent_version", "project", "seamline_version", "policies", "tools", "model", "input",
)  # fmt: skip

_Moment: TypeAlias = tuple[int, int, int, int]
"""A place in the causal order: an effect of A that ends then, and what is just before or after."""


@dataclass(frozen=True)
class StepDiff:
    """One effect of either run, or of both.

    `lineage` (who answers: model, adapter, version of a tool), `request` (what was asked) and
    `result` are the fields that differ, at most ten each: `recorded` is A's side, `asked` is
    B's. They are empty where only one run has the effect.
    """

    key: EffectKey
    a: TraceEffect | None
    b: TraceEffect | None
    lineage: tuple[FieldDiff, ...] = ()
    request: tuple[FieldDiff, ...] = ()
    result: tuple[FieldDiff, ...] = ()

    @property
    def where(self) -> str:
        """In what the runs differ here.

        `only in A`, `only in B`, `same`, or with a comma between them those that differ of:
        `adapter`, `model` or `tool version`; `request`; `result`.
        """
        if self.a is None or self.b is None:
            return "only in B" if self.a is None else "only in A"
        parts = (self.another, "request" * bool(self.request), "result" * bool(self.result))
        return ", ".join(filter(None, parts)) or "same"

    @property
    def another(self) -> str:
        """What of the lineage is another: `adapter`, `model` or `tool version`; empty if none."""
        if not self.lineage or self.a is None or self.b is None:
            return ""
        left, right = answered_by(self.a), answered_by(self.b)
        if (left.adapter_name, left.adapter_digest) != (right.adapter_name, right.adapter_digest):
            return "adapter"
        return "tool version" if self.lineage[0].field == "version" else "model"


@dataclass(frozen=True)
class TraceDiff:
    """What two runs have in common and where they part.

    Attributes:
        steps: Every effect of either run, in causal order: a tool before the model calls in it.
        first: The earliest step in which they differ: one that was asked something else or that
            another adapter, model or version answers, or one that gave something else though
            nothing before or inside it differs; None where all steps are the same.
        header: The fields that differ of what is known at the start: policies, adapters, tools,
            model, input.
        outcome: The fields that differ of how the runs ended.
    """

    a: Trace
    b: Trace
    steps: tuple[StepDiff, ...]
    first: StepDiff | None
    header: tuple[FieldDiff, ...]
    outcome: tuple[FieldDiff, ...]

    @property
    def same(self) -> bool:
        """Whether both runs did the same and came to the same, whatever they started from."""
        return self.first is None and not self.outcome

    @property
    def only_in_a(self) -> list[EffectKey]:
        """The effects that B lacks."""
        return [step.key for step in self.steps if step.b is None]

    @property
    def only_in_b(self) -> list[EffectKey]:
        """The effects that A lacks."""
        return [step.key for step in self.steps if step.a is None]

    def to_json(self) -> dict[str, Json]:
        """The comparison as plain JSON; values are short text, as in `FieldDiff`."""
        return {
            "a": _run_json(self.a),
            "b": _run_json(self.b),
            "same": self.same,
            "first": None if self.first is None else _step_json(self.first),
            "header": _fields_json(self.header),
            "outcome": _fields_json(self.outcome),
            "only_in_a": [str(key) for key in self.only_in_a],
            "only_in_b": [str(key) for key in self.only_in_b],
            "steps": [_step_json(step) for step in self.steps],
        }


def _run_json(trace: Trace) -> dict[str, Json]:
    meta = trace.meta
    return {
        "run_id": meta.run_id,
        "agent": meta.agent,
        "agent_version": meta.agent_version,
        "status": trace.status,
        "parent": meta.parent,
        "forked_at": meta.forked_at,
    }


def _step_json(step: StepDiff) -> dict[str, Json]:
    return {
        "key": step.key.text,
        "kind": step.key.kind,
        "where": step.where,
        "decision_a": step.a.decision if step.a else None,
        "decision_b": step.b.decision if step.b else None,
        "adapter_a": _adapter_json(step.a),
        "adapter_b": _adapter_json(step.b),
        "lineage": _fields_json(step.lineage),
        "request": _fields_json(step.request),
        "result": _fields_json(step.result),
    }


def _fields_json(fields: Sequence[FieldDiff]) -> list[dict[str, str]]:
    return [{"field": diff.field, "a": diff.recorded, "b": diff.asked} for diff in fields]


def answered_by(effect: TraceEffect) -> EffectView:
    """The model and adapter that an effect asks, a tool's for its skill; empty if it asks none."""
    asked = effect.request if isinstance(effect.request, dict) else {}
    identity = asked.get("identity") or asked.get("model")
    return view_effect(effect.key.path, "model", {"identity": identity}, None, {})


def _adapter_json(effect: TraceEffect | None) -> dict[str, Json] | None:
    view = EffectView() if effect is None else answered_by(effect)
    if not view.adapter_name and not view.adapter_digest:
        return None
    return {"name": view.adapter_name, "digest": view.adapter_digest}


def diff_traces(a: Trace, b: Trace, *, everything: bool = False) -> TraceDiff:
    """Two runs compared, effect by effect; `everything` includes clock, id and random effects.

    Raises:
        TraceError: a blob is missing.
    """
    left, right = (
        {entry.key: entry for entry in trace.entries if everything or entry.kind not in _QUIET}
        for trace in (a, b)
    )
    opened, closed = _causal_order(left, right)
    ordered = sorted(opened, key=opened.__getitem__)
    steps = [_step(key, a, left.get(key), b, right.get(key)) for key in ordered]
    apart = [
        (closed[step.key] if step.where == "result" else opened[step.key], step)
        for step in steps
        if step.where != "same"
    ]
    first = min(apart, key=lambda found: found[0])[1] if apart else None
    return TraceDiff(
        a=a,
        b=b,
        steps=tuple(steps),
        first=first,
        header=tuple(diff_fields(_header(a), _header(b), limit=50)),
        outcome=tuple(diff_fields(_outcome(a), _outcome(b))),
    )


def _step(key: EffectKey, a: Trace, left: Entry | None, b: Trace, right: Entry | None) -> StepDiff:
    mine = None if left is None else a.effect(left)
    other = None if right is None else b.effect(right)
    if left is None or right is None or mine is None or other is None:
        return StepDiff(key, mine, other)
    lineage: list[FieldDiff] = []
    request: list[FieldDiff] = []
    # Stored forms are equal exactly when the values are, and much smaller.
    if canonical_json(left.request) != canonical_json(right.request):
        (who, asked), (other_who, other_asked) = _parted(mine.request), _parted(other.request)
        lineage, request = diff_fields(who, other_who), diff_fields(asked, other_asked)
    result = diff_fields(_given(mine), _given(other))
    return StepDiff(key, mine, other, tuple(lineage), tuple(request), tuple(result))


def _parted(request: Json) -> tuple[Json, Json]:
    """Who answers, and what is asked."""
    if not isinstance(request, dict):
        return {}, request
    who = {name: request[name] for name in _LINEAGE if name in request}
    return who, {name: value for name, value in request.items() if name not in who}


def _given(effect: TraceEffect) -> Json:
    if effect.error is None:
        return effect.result
    return {"error": {"type": effect.error.type, "message": effect.error.message}}


def _header(trace: Trace) -> dict[str, Json]:
    meta = trace.meta.model_dump()
    adapters: dict[str, Json] = {}
    for effect in trace.effects:
        view = view_effect(effect.key.path, effect.kind, effect.request, effect.result, {})
        if view.adapter_name or view.adapter_digest:
            adapters[view.adapter_name or view.adapter_digest] = view.adapter_digest
    return {**{name: meta[name] for name in _HEADER}, "adapters": adapters}


def _outcome(trace: Trace) -> dict[str, Json]:
    if trace.outcome is None:
        return {"status": trace.status}
    result = trace.outcome.result
    if isinstance(result, dict):
        result = {name: value for name, value in result.items() if name != "run_id"}
        if isinstance(result.get("usage"), dict):
            usage = result["usage"].items()
            result["usage"] = {name: value for name, value in usage if name != "seconds"}
    return {"status": trace.status, "error": trace.outcome.error, "result": result}


# -- the causal order


def _causal_order(
    a: Mapping[EffectKey, Entry], b: Mapping[EffectKey, Entry]
) -> tuple[dict[EffectKey, _Moment], dict[EffectKey, _Moment]]:
    """When each effect was asked and when it gave its result, both on A's axis.

    Journals are in the order in which effects ended, and a clock may be set back; so only that
    order is used, and that a tool was asked before the effects inside it.
    """
    started_a, started_b = _starts(a), _starts(b)
    opened = {key: (started_a[key], 0, _depth(key), 0) for key in a}
    closed = {key: (entry.seq, 1, 0, 0) for key, entry in a.items()}
    common = [entry for key, entry in b.items() if key in a]
    ends = [entry.seq for entry in common]
    by_start = sorted(b, key=lambda key: (started_b[key], _depth(key)))
    for at, key in enumerate(by_start, start=1):
        if key in a:
            continue
        # Behind what had ended in B by then, and inside the tools that were going on.
        started = started_b[key]
        ended = bisect_left(ends, started)
        bounds = [closed[common[ended - 1].key]] if ended else [(0, 0, 0, 0)]
        bounds += [
            opened[other.key]
            for other in common[ended:]
            if started_b[other.key] <= started and _inside(key, other.key)
        ]
        opened[key] = closed[key] = (*max(bounds)[:3], at)
    return opened, closed


def _starts(entries: Mapping[EffectKey, Entry]) -> dict[EffectKey, int]:
    """The number of the first effect to end once each had started: one inside it, or itself."""
    starts: dict[EffectKey, int] = {}
    inside: dict[str, int] = {}
    for key, entry in entries.items():
        start = entry.seq
        if key.kind in _CONTAINERS:
            start = min(start, inside.pop(key.path, start))
        starts[key] = start
        for above in _above(key.path):
            inside[above] = min(start, inside.get(above, start))
    return starts


def _above(path: str) -> Iterator[str]:
    parts = path.split("/")
    return ("/".join(parts[:count]) for count in range(1, len(parts)))


def _inside(key: EffectKey, other: EffectKey) -> bool:
    return other.kind in _CONTAINERS and key.path.startswith(f"{other.path}/")


def _depth(key: EffectKey) -> int:
    return key.path.count("/")
