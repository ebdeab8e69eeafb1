"""Tools: what an agent may call, typed both ways."""

from seamline.tools.contract import (
    FactValue,
    Review,
    ReviewedOutput,
    ReviewItem,
    ToolContext,
    ToolInput,
    ToolOutput,
    ToolSettings,
    ToolSpec,
)
from seamline.tools.decorator import tool, tool_of
from seamline.tools.definition import Tool
from seamline.tools.registry import ToolRegistry
from seamline.tools.run import call_tool, run_tool

__all__ = [
    "FactValue",
    "Review",
    "ReviewItem",
    "ReviewedOutput",
    "Tool",
    "ToolContext",
    "ToolInput",
    "ToolOutput",
    "ToolRegistry",
    "ToolSettings",
    "ToolSpec",
    "call_tool",
    "run_tool",
    "tool",
    "tool_of",
]
