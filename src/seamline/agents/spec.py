"""`agent.yaml`: an agent's bindings, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from seamline.errors import ConfigError, InputError
from seamline.models.declarations import read_yaml
from seamline.models.objections import objections

__all__ = [
    "OPTIONAL_SLOTS",
    "SLOTS",
    "AgentSpec",
    "Budget",
    "InputLimits",
    "ModelBinding",
    "Slot",
    "ToolBinding",
    "load_agent_spec",
]

Slot = Literal["guard_input", "plan", "choose", "review", "clarify", "answer", "guard_output"]
SLOTS: tuple[Slot, ...] = (
    "guard_input",
    "plan",
    "choose",
    "review",
    "clarify",
    "answer",
    "guard_output",
)
OPTIONAL_SLOTS: frozenset[str] = frozenset({"guard_input", "review", "clarify", "guard_output"})


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class InputLimits(_Frozen):
    """What text an agent takes; outside it a run is refused before any model is asked."""

    max_words: int = Field(default=2_000, ge=1)
    max_chars: int = Field(default=1_000_000, ge=1)
    description: str = "a text"


class ModelBinding(_Frozen):
    """Who answers the policies: the local base with the skill `decide`, or an endpoint."""

    orchestrator: str = "local"
    decide: str = "decide@production"


class ToolBinding(_Frozen):
    """Where the fields of a tool's input come from."""

    input: Mapping[str, Any] = Field(default_factory=dict)


class Budget(_Frozen):
    """What a run may use.

    A step is one round of plan, choose and tool. Tokens are those that models read and decoded,
    as local models count them and endpoints tell them, for answers that were refused too; of an
    endpoint that tells none they are estimated, a token per 4 characters. What a failed request
    used that gave no completion is not known and not counted.
    """

    steps: int = Field(default=12, ge=1)
    tokens: int = Field(default=1_000_000, ge=1)
    seconds: float = Field(default=900.0, gt=0)

    def replaced(
        self,
        *,
        steps: int | None = None,
        tokens: int | None = None,
        seconds: float | None = None,
    ) -> Budget:
        """The budget with every limit that was given put in the place of its own.

        Raises:
            InputError: One of them is no limit.
        """
        limits = {"steps": steps, "tokens": tokens, "seconds": seconds}
        given = {name: limit for name, limit in limits.items() if limit is not None}
        try:
            return Budget.model_validate(self.model_dump() | given)
        except ValidationError as error:
            raise InputError(f"this is no budget: {objections(error, Budget)}") from error


class AgentSpec(_Frozen):
    """An agent: policies by slot, tools with their inputs, output, model, budget.

    Attributes:
        policies: Slot to policy reference, e.g. `icd10_coder/plan@production`.
        tools: The tools this agent binds, in the order the policies read them.
        output: The tools whose output can be the result; the first that has run is taken.
        questions: How often a run may ask a person.
        graph: A `graph.py` beside `agent.yaml` with another topology.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")
    version: str = Field(default="0.1.0", pattern=r"^\d+\.\d+\.\d+$")
    description: str = ""
    input: InputLimits = InputLimits()
    policies: Mapping[Slot, str]
    tools: Mapping[str, ToolBinding] = Field(min_length=1)
    output: tuple[str, ...] = Field(min_length=1)
    model: ModelBinding = ModelBinding()
    budget: Budget = Budget()
    questions: int = Field(default=1, ge=0, le=5)
    graph: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_]+\.py$")

    @field_validator("output", mode="before")
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value


def load_agent_spec(path: Path) -> AgentSpec:
    """The agent that the file at `path` declares.

    Raises:
        ConfigError: The file is missing, is no YAML, or does not hold what an agent needs.
    """
    spec = read_yaml(AgentSpec, path, "an agent's declaration")
    _check_references(spec, path)
    return spec


def _check_references(spec: AgentSpec, path: Path) -> None:
    if spec.name != path.parent.name:
        raise ConfigError(
            f"{path}: `name` is {spec.name!r} but its folder is {path.parent.name!r}; "
            "give both the same name"
        )
    missing = [slot for slot in SLOTS if slot not in spec.policies and slot not in OPTIONAL_SLOTS]
    if missing and spec.graph is None:
        raise ConfigError(
            f"{path}: `policies` lacks {', '.join(missing)}; name a policy for each, "
            f"e.g. `{missing[0]}: {spec.name}/{missing[0]}@production`"
        )
    unknown = [name for name in spec.output if name not in spec.tools]
    if unknown:
        raise ConfigError(
            f"{path}: `output` names {', '.join(unknown)}, which is not among `tools`: "
            f"{', '.join(spec.tools)}"
        )
