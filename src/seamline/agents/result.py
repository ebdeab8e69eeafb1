"""What a run gives back."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from seamline.errors import TraceError

if TYPE_CHECKING:
    from seamline.agents.recorded import RecordedRun

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

    It can be pickled; a copy in another process does not know its trace, which
    `project.trace(result.run_id)` finds.

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
    _source: Callable[[], RecordedRun] | None = PrivateAttr(default=None)

    def record_source(self, source: Callable[[], RecordedRun]) -> None:
        """Say where the trace of the run is found; the agent does."""
        self._source = source

    def __getstate__(self) -> dict[Any, Any]:
        """A copy for another process holds what the run gave, and not the way to its trace."""
        state = super().__getstate__()
        return {**state, "__pydantic_private__": {"_source": None}}

    @property
    def trace(self) -> RecordedRun:
        """The recorded run: its effects, to be replayed, forked, compared.

        Raises:
            TraceError: This result was not given by a run of this process; look the run up with
                `project.trace(run_id)`.
        """
        if self._source is None:
            raise TraceError(
                f"this result does not know where run {self.run_id} was recorded; "
                f"look it up with project.trace({self.run_id!r})"
            )
        return self._source()
