"""What a policy is, as plain frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "NONE",
    "ChangelogEntry",
    "Check",
    "CheckKind",
    "Example",
    "ExampleSelection",
    "Policy",
    "PolicyConfig",
    "PolicyKind",
    "Rule",
]

NONE = "none"  # what a choose policy answers when no option is right

PolicyKind = Literal["guard", "plan", "choose", "clarify", "review", "answer"]
CheckKind = Literal[
    "allow_list",
    "control_chars",
    "language",
    "max_chars",
    "pattern",
    "pii",
    "script",
    "word_count",
]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Rule(_Frozen):
    """One row of a policy: if the condition is met, this is the choice.

    `because` is the reason for people; `say` is a template of text for people.
    """

    when: str
    then: str
    because: str = ""
    say: str = ""


class Check(_Frozen):
    """A deterministic check of a guard; it yields one fact, `name: value`."""

    name: str
    kind: CheckKind
    pattern: str = ""
    ignore_case: bool = False
    kinds: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    min: int | None = Field(default=None, ge=0)
    max: int | None = Field(default=None, ge=1)


class Example(_Frozen):
    """A worked case: the variables of the prompt and the right choice."""

    id: str
    input: Mapping[str, Any]
    output: str
    note: str = ""


class ExampleSelection(_Frozen):
    """Which examples a prompt shows: the first `k`, or the `k` most similar to the input."""

    select: Literal["static", "similar"] = "static"
    k: int = Field(default=4, ge=0, le=50)


class PolicyConfig(_Frozen):
    """How a policy is resolved: first rule met, or best option, at a threshold."""

    resolve: Literal["first_match", "best"] = "first_match"
    threshold: float = Field(default=0.5, gt=0.0, le=1.0)
    examples: ExampleSelection = ExampleSelection()


class ChangelogEntry(_Frozen):
    """What changed in one version."""

    version: str
    note: str


class Policy(_Frozen):
    """One version of one policy, parsed and checked.

    `digest` covers the front matter, the body and the examples, not `path`. `otherwise`
    is the choice when no rule is met; `otherwise_because` and `otherwise_say` are its
    reason and its text for people.
    """

    name: str
    version: str
    kind: PolicyKind
    description: str
    input_schema: Mapping[str, Any]
    output_schema: Mapping[str, Any]
    config: PolicyConfig = PolicyConfig()
    tools: tuple[str, ...] = ()
    values: Mapping[str, Any] = Field(default_factory=dict)
    checks: tuple[Check, ...] = ()
    rules: tuple[Rule, ...] = ()
    otherwise: str
    otherwise_because: str = ""
    otherwise_say: str = ""
    examples: tuple[Example, ...] = ()
    changelog: tuple[ChangelogEntry, ...] = ()
    system: str
    user: str
    path: str
    digest: str

    @property
    def ref(self) -> str:
        """`agent/name@version`."""
        return f"{self.name}@{self.version}"

    @property
    def choices(self) -> tuple[str, ...]:
        """The closed set of what the policy may answer."""
        return tuple(self.output_schema["enum"])
