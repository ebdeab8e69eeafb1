"""Tools: what an agent may call, typed both ways."""

from seamline.tools.chunks import decide_in_chunks, stopped_at
from seamline.tools.contract import (
    FactValue,
    PartialOutput,
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
    "PartialOutput",
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
    "decide_in_chunks",
    "run_tool",
    "stopped_at",
    "tool",
    "tool_of",
]
