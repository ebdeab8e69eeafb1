"""Seamline: agents whose prompts orchestrate, whose adapters know, whose traces remember.

Everything here is loaded when it is first used, so that `import seamline` is quick and needs
neither torch nor langgraph.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seamline.agents.agent import Agent
    from seamline.agents.events import AgentEvent
    from seamline.agents.result import AgentResult
    from seamline.agents.spec import Budget
    from seamline.errors import (
        BaseNotPulledError,
        BudgetExceededError,
        ConfigError,
        DivergenceError,
        EndpointError,
        InputError,
        ModelError,
        PolicyError,
        SeamlineError,
        SkillError,
        ToolCallError,
        ToolError,
        TraceError,
    )
    from seamline.models.scripted import ScriptedModel
    from seamline.project import Project
    from seamline.tools import tool

__version__ = "0.1.0"

__all__ = [
    "Agent",
    "AgentEvent",
    "AgentResult",
    "BaseNotPulledError",
    "Budget",
    "BudgetExceededError",
    "ConfigError",
    "DivergenceError",
    "EndpointError",
    "InputError",
    "ModelError",
    "PolicyError",
    "Project",
    "ScriptedModel",
    "SeamlineError",
    "SkillError",
    "ToolCallError",
    "ToolError",
    "TraceError",
    "__version__",
    "tool",
]

_HOMES = {
    "Agent": "seamline.agents.agent",
    "AgentEvent": "seamline.agents.events",
    "AgentResult": "seamline.agents.result",
    "Budget": "seamline.agents.spec",
    "Project": "seamline.project",
    "ScriptedModel": "seamline.models.scripted",
    "tool": "seamline.tools",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'seamline' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES.get(name, "seamline.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
