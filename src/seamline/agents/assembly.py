"""What fills an agent's slots: policies by reference, the models that answer, the tools.

A project's agent is assembled from what its files say now; a replay from what the header of a
journal says; a fork from that, with a change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from seamline.agents.decisions import Decider
from seamline.agents.spec import AgentSpec, Slot
from seamline.agents.tooling import AgentTool
from seamline.errors import ConfigError
from seamline.policies.model import Policy, PolicyKind

if TYPE_CHECKING:
    from seamline.models.protocol import Model
    from seamline.project import Project

__all__ = ["KINDS", "Assembly", "Parts", "assemble", "bind_policies", "bind_tools"]

KINDS: Mapping[Slot, PolicyKind] = {
    "guard_input": "guard",
    "plan": "plan",
    "choose": "choose",
    "review": "review",
    "clarify": "clarify",
    "answer": "answer",
    "guard_output": "guard",
}


@dataclass(frozen=True, kw_only=True)
class Assembly:
    """What an agent is put together from.

    Attributes:
        policies: Slot to policy reference.
        orchestrator: Answers the policies.
        skill: The adapter that follows policies; None where the orchestrator needs none.
        tool_model: Gives the model that the skill of a tool, by the tool's name, runs on.
    """

    policies: Mapping[Slot, str]
    orchestrator: Model
    skill: str | None
    tool_model: Callable[[str], Model]


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What the nodes of an agent work with, put together."""

    decider: Decider
    tools: Mapping[str, AgentTool]

    def header(self) -> dict[str, Any]:
        """Policies, tools and model by version and digest, as a journal's header notes them."""
        decider = self.decider
        return {
            "policies": {
                slot: {"ref": policy.ref, "digest": policy.digest}
                for slot, policy in decider.policies.items()
            },
            "tools": {name: tool.identity() for name, tool in self.tools.items()},
            "model": dict(decider.model.identity(decider.skill)),
        }


def assemble(project: Project, spec: AgentSpec, assembly: Assembly) -> Parts:
    """The parts of an agent.

    Raises:
        PolicyError: A reference leads nowhere, or a policy is wrong or edited.
        ConfigError: A slot is bound to a policy of another kind.
        ToolError: A tool does not exist or does not load.
    """
    tools = bind_tools(project, spec, assembly.tool_model)
    decider = Decider(
        policies=bind_policies(project, spec.name, assembly.policies),
        model=assembly.orchestrator,
        skill=assembly.skill,
        tools={tool.name: tool.description for tool in tools.values()},
    )
    return Parts(decider=decider, tools=tools)


def bind_policies(
    project: Project, agent: str, references: Mapping[Slot, str]
) -> dict[str, Policy]:
    """The policy of each slot.

    Raises:
        PolicyError: A reference leads nowhere, or a policy is wrong or edited.
        ConfigError: A slot is bound to a policy of another kind.
    """
    found: dict[str, Policy] = {}
    for slot, reference in references.items():
        policy = project.policies.get(reference)
        if policy.kind != KINDS[slot]:
            raise ConfigError(
                f"agent {agent}: slot {slot!r} needs a policy of kind {KINDS[slot]!r}, but "
                f"{policy.ref} is of kind {policy.kind!r}"
            )
        found[slot] = policy
    return found


def bind_tools(
    project: Project, spec: AgentSpec, model: Callable[[str], Model]
) -> dict[str, AgentTool]:
    """The tools that the agent binds, each with the model that its skill runs on.

    Raises:
        ToolError: A tool does not exist or does not load.
    """
    return {name: _bound(project, name, model) for name in spec.tools}


def _bound(project: Project, name: str, model: Callable[[str], Model]) -> AgentTool:
    return AgentTool(project.tools.get(name), lambda: model(name))
