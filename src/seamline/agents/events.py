"""What a run tells while it goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from seamline.agents.result import AgentResult

__all__ = ["AgentEvent", "Listener"]


class AgentEvent(BaseModel):
    """One thing that happened in a run.

    Attributes:
        kind: `node_started`, `node_ended` (with its decision), `progress` of a tool, `final`.
        node: The node of the graph, or the tool for `progress`.
        detail: E.g. `{"decision": "find candidate codes"}` or `{"done": 3, "total": 12}`.
        result: Only with `final`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["node_started", "node_ended", "progress", "final"]
    run_id: str
    node: str
    detail: dict[str, Any] = Field(default_factory=dict)
    result: AgentResult | None = None


Listener = Callable[[AgentEvent], None]
