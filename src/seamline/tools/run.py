"""One call of a tool: input held against its schema, time against its limit, output too."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import BaseModel

from seamline.errors import SeamlineError, ToolCallError
from seamline.models.contracts import SkillContract
from seamline.models.protocol import DecideRequest, DecideResponse, Model
from seamline.models.skills import Marks, SkillSpec
from seamline.tools.calling import call_function, told
from seamline.tools.contract import ToolContext, ToolInput, ToolOutput, ToolSpec
from seamline.tools.definition import Tool

__all__ = ["CallContext", "Performs", "Progress", "call_tool", "run_tool"]

Progress = Callable[[int, int, str], None]


class Performs(Protocol):
    """What a call needs of a run's effects: to do and journal, or to serve from a journal."""

    async def perform(
        self,
        path: str,
        kind: Literal["model", "tool", "retrieval"],
        request: Any,
        live: Callable[[], Awaitable[Any]],
    ) -> Any:
        """The result of `live`, or the recorded one."""
        ...


class _Directly:
    """Effects that just happen, for a call outside any run."""

    async def perform(
        self,
        path: str,  # noqa: ARG002
        kind: str,  # noqa: ARG002
        request: Any,  # noqa: ARG002
        live: Callable[[], Awaitable[Any]],
    ) -> Any:
        return await live()


@dataclass(frozen=True, kw_only=True)
class CallContext:
    """The `ToolContext` of one call; `skill_of` gives the skill's declaration when asked."""

    spec: ToolSpec
    cache_dir: Path
    path: str
    effects: Performs
    model: Model | None
    skill_of: Callable[[], SkillSpec]
    tell: Progress | None

    @property
    def contract(self) -> SkillContract:
        """The prompt contract of the tool's skill. Raises `ToolError` where it has none."""
        return self.skill_of().contract

    @property
    def marks(self) -> Marks:
        """How the scores of the tool's skill are read. Raises `ToolError` where it has none."""
        return self.skill_of().marks

    async def decide(self, requests: Sequence[DecideRequest]) -> list[DecideResponse]:
        """Ask the tool's skill; one model effect under the tool's own path.

        Raises:
            ToolCallError: There is no model, or the tool has no skill.
            ModelError: The model could not answer.
            BudgetExceededError: The run has nothing left for it.
        """
        model, skill = self.model, self.spec.skill
        if model is None or skill is None:
            lacks = "no model was given to the call" if skill else "it declares no skill"
            raise ToolCallError(f"tool {self.spec.name} asks a skill, but {lacks}")
        if not requests:
            return []

        async def live() -> Any:
            answers = await model.decide(requests, skill=skill)
            return {"responses": [answer.model_dump(mode="json") for answer in answers]}

        asked = {
            "identity": dict(model.identity(skill)),
            "requests": [request.model_dump(mode="json") for request in requests],
        }
        result = await self.effects.perform(f"{self.path}/model", "model", asked, live)
        return [DecideResponse.model_validate(one) for one in result["responses"]]

    def progress(self, done: int, total: int, what: str) -> None:
        """Tell a waiting person how far the tool is."""
        if self.tell is not None:
            self.tell(done, total, what)


async def run_tool(
    tool: Tool,
    values: Mapping[str, Any] | BaseModel,
    *,
    effects: Performs | None = None,
    path: str | None = None,
    model: Model | None = None,
    progress: Progress | None = None,
    cache_dir: Path | None = None,
) -> ToolOutput:
    """The output of one call, recorded by the run's `effects` where it has any.

    The call is one effect at `path` (kind `retrieval` for such a tool, else `tool`), and
    each question to the tool's skill one at `path/model` inside it.

    Raises:
        ToolCallError: The input or output breaks the contract, or the tool failed or timed out.
        SeamlineError: What the tool raised on purpose.
    """
    checked = tool.parse_input(values)
    where = path or f"tool:{tool.name}"
    doing = effects or _Directly()
    context = CallContext(
        spec=tool.spec,
        cache_dir=cache_dir or _default_cache_dir(),
        path=where,
        effects=doing,
        model=model,
        skill_of=functools.cache(tool.skill_spec),
        tell=progress,
    )

    async def live() -> Any:
        plain = tool.plain_output(await call_tool(tool, checked, context))
        tool.output_facts(plain)  # Where these fail the call has failed, and is recorded so.
        return plain

    asked = {
        "tool": tool.name,
        "version": tool.spec.version,
        "input": tool.plain_input(checked),
    }
    if model is not None and tool.spec.skill is not None:
        # With another adapter the same input is another question.
        asked["model"] = dict(model.identity(tool.spec.skill))
    kind: Literal["tool", "retrieval"] = "retrieval" if tool.spec.kind == "retrieval" else "tool"
    return tool.parse_output(await doing.perform(where, kind, asked, live))


async def call_tool(
    tool: Tool, values: Mapping[str, Any] | ToolInput, context: ToolContext
) -> ToolOutput:
    """The output of the tool's function in a given context; a plain function gets a thread.

    Raises:
        ToolCallError: The input or output breaks the contract, or the tool failed or timed out.
        SeamlineError: What the tool raised on purpose.
    """
    checked = tool.parse_input(values)
    limit = tool.spec.timeout_s
    clock = asyncio.timeout(limit)
    try:
        async with clock:
            result = await call_function(tool.function, checked, context)
    except SeamlineError:
        raise
    except TimeoutError as error:
        if not clock.expired():
            raise _failed(tool, error) from error
        raise ToolCallError(
            f"tool {tool.name} took longer than {limit:g} s; "
            "give it less to do, or raise timeout_s in its tool.yaml"
        ) from error
    except (Exception, SystemExit) as error:  # an exit would end the loop, and not the program
        raise _failed(tool, error) from error
    return tool.parse_output(result)


def _failed(tool: Tool, error: BaseException) -> ToolCallError:
    return ToolCallError(f"tool {tool.name} failed: {told(error)}")


def _default_cache_dir() -> Path:
    from seamline.models.bases import default_cache

    return default_cache() / "tools"
