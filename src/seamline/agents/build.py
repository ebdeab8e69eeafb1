"""From a project's files to an agent: references resolved, bindings held against schemas."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from seamline.agents.agent import Agent
from seamline.agents.assembly import Assembly, Parts, assemble
from seamline.agents.bindings import references
from seamline.agents.nodes import Nodes
from seamline.agents.runtime import Runtime
from seamline.agents.spec import AgentSpec, load_agent_spec
from seamline.agents.tooling import AgentTool
from seamline.errors import ConfigError, ToolError
from seamline.loading import load_module
from seamline.policies.model import Policy
from seamline.policies.pii import mask_pii
from seamline.traces.spans import SpanHooks

if TYPE_CHECKING:
    from seamline.models.protocol import Model
    from seamline.project import Project
    from seamline.traces.hooks import RunHooks
    from seamline.traces.store import TraceStore

__all__ = ["agent_of", "agent_spec", "build_agent", "check_bindings", "run_header"]


def build_agent(
    project: Project,
    name: str,
    *,
    model: Model | None = None,
    endpoint: str | None = None,
    store: TraceStore | None = None,
    hooks: Iterable[RunHooks] | None = None,
) -> Agent:
    """The agent `name` of a project; see `Project.agent`.

    Raises:
        ConfigError: There is no such agent, or one of its files is wrong.
    """
    spec = agent_spec(project, name)
    parts = assemble(project, spec, _as_declared(project, spec, model, endpoint))
    check_bindings(spec, parts.decider.policies, parts.tools)
    return agent_of(
        project, spec, parts, store=store, hooks=[SpanHooks()] if hooks is None else hooks
    )


def agent_of(
    project: Project,
    spec: AgentSpec,
    parts: Parts,
    *,
    store: TraceStore | None = None,
    hooks: Iterable[RunHooks] = (),
) -> Agent:
    """The agent that has these parts."""
    runtime = Runtime(
        spec=spec,
        store=store or project.store,
        hooks=_redacting(hooks),
        meta=run_header(project, parts),
    )
    nodes = Nodes(spec=spec, parts=parts, runs=runtime)
    return Agent(project=project, nodes=nodes, runtime=runtime, topology=_topology(project, spec))


def agent_spec(project: Project, name: str) -> AgentSpec:
    """What an agent's `agent.yaml` says.

    Raises:
        ConfigError: There is no such agent, or the file is wrong.
    """
    known = project.agents()
    if name not in known:
        close = get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"it has: {', '.join(known) or 'none'}"
        raise ConfigError(
            f"project {project.root} has no agent {name!r}; {hint} "
            "(name the folder of another project with `--project`, or open that one)"
        )
    return load_agent_spec(project.root / "agents" / name / "agent.yaml")


def check_bindings(
    spec: AgentSpec, policies: Mapping[str, Policy], tools: Mapping[str, AgentTool]
) -> None:
    """Nothing, where every input of every tool comes from somewhere that exists.

    Raises:
        ToolError: A binding names a field, tool, policy or value that does not exist, or a
            required field is not bound.
        ConfigError: A choose policy names a tool that the agent does not bind.
    """
    for name, binding in spec.tools.items():
        fields = tools[name].input_fields()
        unknown = [field for field in binding.input if field not in fields]
        if unknown:
            raise ToolError(
                f"agent {spec.name}: {name} has no input {', '.join(unknown)}; "
                f"it takes: {', '.join(fields) or 'nothing'}"
            )
        missing = [f for f, required in fields.items() if required and f not in binding.input]
        if missing:
            raise ToolError(
                f"agent {spec.name}: {name} needs the input {', '.join(missing)}; "
                f"bind it under tools.{name}.input in agent.yaml"
            )
        for field, value in binding.input.items():
            _check_references(spec, policies, tools, f"tools.{name}.input.{field}", value)
    choose = policies.get("choose")
    unbound = [tool for tool in choose.tools if tool not in spec.tools] if choose else []
    if choose is not None and unbound:
        raise ConfigError(
            f"agent {spec.name}: {choose.ref} names the tools {', '.join(unbound)}, which "
            f"agent.yaml does not bind; it binds: {', '.join(spec.tools)}"
        )


def _check_references(
    spec: AgentSpec,
    policies: Mapping[str, Policy],
    tools: Mapping[str, AgentTool],
    where: str,
    value: Any,
) -> None:
    for reference in references(value):
        if reference.kind == "tool":
            if reference.source not in tools:
                raise ToolError(
                    f"agent {spec.name}, {where}: {reference.text!r} names no tool of the agent; "
                    f"it binds: {', '.join(tools)}"
                )
            outputs = tools[reference.source].output_fields()
            if reference.path and reference.path[0] not in outputs:
                raise ToolError(
                    f"agent {spec.name}, {where}: {reference.source} gives no "
                    f"{reference.path[0]!r}; it gives: {', '.join(outputs)}"
                )
        elif reference.kind == "policy":
            policy = policies.get(reference.source)
            if policy is None or reference.path[0] not in policy.values:
                has = ", ".join(policy.values) or "none" if policy else "no policy in that slot"
                raise ToolError(
                    f"agent {spec.name}, {where}: {reference.text!r} is not there; "
                    f"{policy.ref if policy else reference.source} has: {has}"
                )


def _as_declared(
    project: Project, spec: AgentSpec, model: Model | None, endpoint: str | None
) -> Assembly:
    """What the project's files say, unless a model or an endpoint is named instead."""
    if model is not None and endpoint is not None:
        raise ConfigError("give `model` or `endpoint`, not both; each would answer the policies")

    def tool_model(_: str) -> Model:
        return project.local_model if model is None else model

    named = spec.model.orchestrator if endpoint is None else endpoint
    on_endpoint = model is None and named != "local"
    return Assembly(
        policies=spec.policies,
        orchestrator=project.endpoint(named) if on_endpoint else tool_model(""),
        skill=None if on_endpoint else spec.model.decide,
        tool_model=tool_model,
    )


def _redacting(hooks: Iterable[RunHooks]) -> list[RunHooks]:
    """The hooks; spans that capture content mask personal data, unless told how to redact."""
    found = list(hooks)
    for hook in found:
        if isinstance(hook, SpanHooks) and hook.redact is None:
            hook.redact = mask_pii
    return found


def run_header(project: Project, parts: Parts) -> dict[str, Any]:
    """What the journal of every run notes of what it ran with."""
    from seamline import __version__

    return {
        "project": project.spec.name or project.root.name,
        "seamline_version": __version__,
        **parts.header(),
    }


def _topology(project: Project, spec: AgentSpec) -> Callable[[Nodes], Any]:
    """The default graph, or the one of the agent's own `graph.py`."""
    from seamline.agents.graph import build_graph

    if spec.graph is None:
        return build_graph
    path = project.root / "agents" / spec.name / spec.graph
    build = getattr(load_module(path), "build", None)
    if not callable(build):
        raise ConfigError(
            f"{path} has no function `build(nodes)`; it takes the agent's nodes and gives a "
            "LangGraph StateGraph, not yet compiled"
        )
    return build  # type: ignore[no-any-return]
