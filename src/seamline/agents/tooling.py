"""A tool as an agent uses it: bound to a model, called through the run's effects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from seamline.agents.runs import Run
from seamline.tools.contract import FactValue, ToolOutput
from seamline.tools.definition import Tool
from seamline.tools.run import run_tool

if TYPE_CHECKING:
    from seamline.models.protocol import Model

__all__ = ["AgentTool"]


class AgentTool:
    """One tool of an agent.

    Args:
        tool: The tool.
        model: Gives the model that its skill runs on; asked only where the tool has a skill.
    """

    def __init__(self, tool: Tool, model: Callable[[], Model]) -> None:
        self._tool = tool
        self._model = model

    @property
    def name(self) -> str:
        """The tool's name."""
        return self._tool.name

    @property
    def description(self) -> str:
        """What it does, as choose policies read it."""
        return self._tool.spec.description

    @property
    def skill(self) -> str | None:
        """The skill it asks, if any."""
        return self._tool.spec.skill

    @property
    def side_effects(self) -> bool:
        """Whether a call changes something outside the run."""
        return self._tool.spec.side_effects

    def identity(self) -> dict[str, Any]:
        """Which version of the tool this is and who answers its skill, for a journal's header."""
        found: dict[str, Any] = {"version": self._tool.spec.version, "digest": self._tool.digest}
        if self.skill is not None:
            found["model"] = dict(self._model().identity(self.skill))
        return found

    def input_fields(self) -> dict[str, bool]:
        """The fields of its input, and whether each is required."""
        return self._tool.input_fields()

    def output_fields(self) -> list[str]:
        """The fields of its output."""
        return self._tool.output_fields()

    async def call(self, run: Run, path: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """The output as plain data, recorded at `path`.

        Raises:
            ToolCallError: The input or output breaks the contract, or the tool failed.
            SeamlineError: What the tool raised on purpose.
        """

        def progress(done: int, total: int, what: str) -> None:
            run.tell("progress", self.name, done=done, total=total, what=what)

        output = await run_tool(
            self._tool,
            values,
            effects=run.effects,
            path=path,
            model=None if self.skill is None else self._model(),
            progress=progress,
        )
        return self._tool.plain_output(output)

    def parse_output(self, output: Mapping[str, Any]) -> ToolOutput:
        """The typed output of plain data.

        Raises:
            ToolCallError: The data does not fit the tool's Output.
        """
        return self._tool.parse_output(output)

    def check_output(self, value: Any) -> None:
        """Nothing, where plain data that is handed in could be what a call gives.

        Raises:
            InputError: It does not fit the tool's Output, or tells no facts.
        """
        self._tool.check_output(value)

    def plain_output(self, output: ToolOutput) -> dict[str, Any]:
        """The output as plain data.

        Raises:
            ToolCallError: JSON cannot hold it.
        """
        return self._tool.plain_output(output)

    def facts(self, output: ToolOutput) -> dict[str, FactValue]:
        """What an output tells policies.

        Raises:
            ToolCallError: Its `facts()` fails.
        """
        return self._tool.facts(output)
