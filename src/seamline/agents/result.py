"""What a run gives back."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["AgentResult", "RunUsage", "Status"]

Status = Literal["done", "needs_answer", "refused", "budget_exceeded", "failed"]


class RunUsage(BaseModel):
    """What a run used."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = 0
    model_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    seconds: float = 0.0


class AgentResult(BaseModel):
    """The result of one run, typed for programs and with a message for people.

    Attributes:
        output: The output tool's `Output` as plain data, or None where no tool gave one.
        needs_review: A person should look at it; `reasons` says why.
        question: What the agent asks a person; answer with `agent.resume(run_id, answer)`.
        flags: What the guards found without refusing.
        error: What went wrong, in words; `error_type` names its class in `seamline.errors`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    run_id: str
    agent: str
    agent_version: str
    status: Status
    message: str = ""
    output: dict[str, Any] | None = None
    needs_review: bool = False
    reasons: list[str] = Field(default_factory=list)
    question: str | None = None
    flags: list[str] = Field(default_factory=list)
    usage: RunUsage = RunUsage()
    error: str | None = None
    error_type: str | None = None
