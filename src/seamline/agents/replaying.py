"""A recorded run executed again, every effect served from its journal."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from seamline.agents.assembly import Assembly, Parts, assemble
from seamline.agents.build import agent_of, agent_spec
from seamline.agents.spec import AgentSpec, Budget, Slot
from seamline.errors import ConfigError, DivergenceError, PolicyError
from seamline.models.pinned import AbsentModel
from seamline.traces.fork import assembly_of
from seamline.traces.replay import PATIENCE, ReplayEffects, is_inside, unwritten_journal
from seamline.traces.values import FieldDiff, canonical_json, diff_fields, expand

if TYPE_CHECKING:
    from seamline.agents.result import AgentResult
    from seamline.project import Project
    from seamline.traces.trace import Trace

__all__ = ["Replay", "budget_of", "header_of", "recorded_parts", "replay", "switch_by_task"]


@dataclass(frozen=True, kw_only=True)
class Replay:
    """What came of a replay.

    Attributes:
        result: The result of this execution; None where the recorded run ended before it had one.
        identical: Whether it is byte for byte the recorded one.
        differences: The fields in which it is not.
        unserved: Effects of the journal that nobody asked for.
        ended_early: Why the recorded run has no end to compare with, where it has none.
        effects: How many effects were served.
        seconds: How long it took.
    """

    run_id: str
    result: AgentResult | None
    identical: bool
    differences: list[FieldDiff] = field(default_factory=list)
    unserved: list[str] = field(default_factory=list)
    ended_early: str = ""
    effects: int
    seconds: float


async def replay(project: Project, trace: Trace) -> Replay:
    """Execute a run again from its journal: no model, no tool, no network, no clock.

    The graph, the bindings and the tools' own arithmetic are those of today; policies and
    adapters are those that the journal names.

    Raises:
        DivergenceError: The graph asked for an effect that the journal does not hold as asked;
            the message names it, and what differs field by field.
        ConfigError: The project has no such agent, or lacks a recorded policy version.
    """
    started = time.perf_counter()
    spec = agent_spec(project, trace.meta.agent)
    # The graph of an agent without a graph.py of its own runs one node at a time.
    effects = ReplayEffects(trace, patience=0.0 if spec.graph is None else PATIENCE)
    agent = agent_of(project, spec, recorded_parts(project, spec, header_of(trace)))
    run = agent.runtime.take_up(
        unwritten_journal(trace),
        effects,
        budget=budget_of(trace, spec),
        parts_at=_parts_at(project, spec, trace),
    )
    early = "the run was killed before it could end" if trace.outcome is None else ""
    try:
        await agent.execute(run, None)
    except DivergenceError as error:
        ended = trace.outcome is not None and not _was_broken_off(trace)
        if ended or _left_behind(effects, error):
            raise
        early = "the run was killed here" if trace.outcome is None else trace.outcome.error or ""
    except Exception:
        # A bug ended the recorded run as well if it comes out the same.
        if run.result is None:
            raise
    if early:
        return Replay(
            run_id=trace.run_id,
            result=None,
            identical=False,
            ended_early=early,
            effects=effects.served,
            seconds=time.perf_counter() - started,
        )
    assert run.result is not None
    recorded = None if trace.outcome is None else expand(trace.outcome.result, trace.read_blob)
    found = run.result.model_dump(mode="json")
    unserved = [str(key) for key in effects.unserved()]
    return Replay(
        run_id=trace.run_id,
        result=run.result,
        identical=canonical_json(found) == canonical_json(recorded) and not unserved,
        differences=diff_fields(recorded, found),
        unserved=unserved,
        effects=effects.served,
        seconds=time.perf_counter() - started,
    )


def _was_broken_off(trace: Trace) -> bool:
    """Whether something outside the run's own logic ended it: a bug, a cancellation."""
    import seamline.errors as errors

    result = trace.outcome.result if trace.outcome is not None else None
    kind = result.get("error_type") if isinstance(result, dict) else None
    if kind in ("TraceError", "DivergenceError"):
        return True
    return kind is not None and kind not in errors.__all__


def _left_behind(effects: ReplayEffects, error: DivergenceError) -> bool:
    """Whether effects are left that do not lie in the call at which the journal ends."""
    asked = error.effect.rpartition("#")[0]
    return any(not is_inside(key.path, asked) for key in effects.unserved())


def header_of(trace: Trace) -> dict[str, Any]:
    """What a run ran with: `policies`, `tools`, `model`."""
    meta = trace.meta
    return {"policies": meta.policies, "tools": meta.tools, "model": meta.model}


def budget_of(trace: Trace, spec: AgentSpec) -> Budget:
    """What the run might use."""
    return Budget.model_validate(trace.meta.budget) if trace.meta.budget else spec.budget


def recorded_parts(project: Project, spec: AgentSpec, header: Mapping[str, Any]) -> Parts:
    """The parts that a header names: those policies by digest, and models that only had a name.

    Raises:
        PolicyError: The project lacks a policy version, or has another one under its number.
    """
    references: dict[Slot, str] = {}
    for slot, named in header["policies"].items():
        reference = str(named["ref"])
        policy = project.policies.get(reference)
        if policy.digest != named["digest"]:
            raise PolicyError(
                f"policy {reference} has digest {policy.digest}, but the run was recorded with "
                f"{named['digest']}; bring that version back to replay the run"
            )
        references[slot] = reference
    tools = header["tools"]
    missing = [name for name in spec.tools if name not in tools]
    if missing:
        raise ConfigError(
            f"agent {spec.name} binds the tools {', '.join(missing)}, which it did not when the "
            f"run was recorded; it bound: {', '.join(tools)}"
        )

    def tool_model(name: str) -> AbsentModel:
        return AbsentModel(tools[name].get("model") or {})

    # Who followed the policies is part of the recorded identity; the name only asks for it.
    assembly = Assembly(
        policies=references,
        orchestrator=AbsentModel(header["model"]),
        skill=None,
        tool_model=tool_model,
    )
    return assemble(project, spec, assembly)


def _parts_at(project: Project, spec: AgentSpec, trace: Trace) -> Callable[[str], Parts] | None:
    """What each task of a fork was done with; None for a run that is no fork."""
    history = trace.meta.history
    if not history:
        return None
    headers = [*history, header_of(trace)]
    parts = [recorded_parts(project, spec, header) for header in headers]
    numbers = {
        entry.key.path: assembly_of(entry, len(history))
        for entry in trace.entries
        if entry.kind in ("model", "tool", "retrieval")
    }
    return switch_by_task(parts, numbers)


def switch_by_task(parts: list[Parts], numbers: Mapping[str, int]) -> Callable[[str], Parts]:
    """The parts of a task by its path; tasks without a number have the last ones."""

    def parts_at(path: str) -> Parts:
        return parts[numbers.get(path, len(parts) - 1)]

    return parts_at
