"""The names that Seamline gives out."""

from __future__ import annotations

import pytest

import seamline


def test_the_names_are_these_and_sorted() -> None:
    assert seamline.__all__ == sorted(seamline.__all__)
    assert seamline.__all__ == [
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
    assert dir(seamline) == seamline.__all__


@pytest.mark.parametrize("name", seamline.__all__)
def test_every_name_is_there(name: str) -> None:
    assert getattr(seamline, name) is not None


def test_other_names_are_not() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Agents'"):
        _ = seamline.Agents
