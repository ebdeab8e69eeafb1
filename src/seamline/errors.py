"""Everything Seamline raises on purpose.

SeamlineError
├── ConfigError            a file of the project is wrong
│   ├── PolicyError        a policy does not parse, resolve, render, or match its lock
│   ├── SkillError         an adapter, its contract or its base do not fit together
│   └── ToolError          a tool declaration or binding is wrong
├── InputError             what the caller handed in cannot be worked on
├── ModelError             a model could not answer
│   ├── BaseNotPulledError the base is not on this machine yet
│   └── EndpointError      an endpoint timed out, refused, or answered out of contract
├── ToolCallError          a tool failed, timed out, or broke its output contract
├── BudgetExceededError    a run reached its steps, tokens or seconds
└── TraceError             a journal is missing, damaged, or of another version
    └── DivergenceError    a replay asked for an effect that the journal does not hold

A message names the offending value, what was expected, and the fix.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from seamline.texts import whole_text

__all__ = [
    "BaseNotPulledError",
    "BudgetExceededError",
    "ConfigError",
    "DivergenceError",
    "EndpointError",
    "InputError",
    "ModelError",
    "PolicyError",
    "SeamlineError",
    "SkillError",
    "ToolCallError",
    "ToolError",
    "TraceError",
]


class SeamlineError(Exception):
    """Base of every deliberate error; catch it to show `str(error)` to a person.

    Attributes:
        usage: What models used before it was raised: `input_tokens`, `output_tokens`, and
            `calls` where a tool failed. It is counted like that of answers, and journaled.
    """

    usage: Mapping[str, int] | None = None

    def __str__(self) -> str:
        """The message as text that any file, terminal or database takes."""
        return whole_text(super().__str__())


class ConfigError(SeamlineError):
    """A file of the project is wrong."""


class PolicyError(ConfigError):
    """A policy does not parse, resolve, render, or match `policies.lock`."""


class SkillError(ConfigError):
    """An adapter, its contract and its base do not fit together; raised at load."""


class ToolError(ConfigError):
    """A tool declaration or an agent's binding to it is wrong."""


class InputError(SeamlineError):
    """What the caller handed in cannot be worked on: empty, binary, too large."""


class ModelError(SeamlineError):
    """A model could not answer."""


class BaseNotPulledError(ModelError):
    """The base is not on this machine; `seamline models pull` fetches it."""


class EndpointError(ModelError):
    """An endpoint timed out, refused, or answered out of contract."""


class ToolCallError(SeamlineError):
    """A tool failed, timed out, or returned what its output contract forbids."""


class BudgetExceededError(SeamlineError):
    """A run reached its budget of steps, tokens or seconds."""


class TraceError(SeamlineError):
    """A journal is missing, damaged, or of another version."""


class DivergenceError(TraceError):
    """A replay asked for an effect that the journal does not hold as asked.

    Attributes:
        effect: The effect's key as text, e.g. `plan/2#1`; empty where there is none.
        record: Its record in the journal, counted from 1; None where there is none.
        fields: What differs: `field`, `recorded` and `asked`, as short texts.
    """

    def __init__(
        self,
        message: str,
        *,
        effect: str = "",
        record: int | None = None,
        fields: Sequence[Mapping[str, str]] = (),
    ) -> None:
        super().__init__(message)
        self.effect = effect
        self.record = record
        self.fields = list(fields)
