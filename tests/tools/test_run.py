"""One call of a tool: contracts, time, errors, and the effects it leaves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from seamline.errors import InputError, ToolCallError, ToolError
from seamline.models.contracts import SkillContract
from seamline.models.scripted import ScriptedModel
from seamline.models.skills import AdapterSpec, BaseRef, SkillSpec
from seamline.tools import (
    Tool,
    ToolContext,
    ToolInput,
    ToolOutput,
    ToolSpec,
    call_tool,
    run_tool,
    tool,
    tool_of,
)
from seamline.tools.plain import MAX_DEPTH

CONTRACT = SkillContract(
    read="branches", choice="{{ text }}", frames={"options": "{text}?"}, context="{{ text }}"
)
DIGEST = "sha256:0"
SKILL = SkillSpec(
    name="measure",
    version="1.0.0",
    description="Measures.",
    licence="Apache-2.0",
    base=BaseRef(name="tiny", digest=DIGEST, tokenizer_digest=DIGEST, chat_template_digest=DIGEST),
    adapter=AdapterSpec(digest=DIGEST, rank=1),
    contract=CONTRACT,
)


class Input(ToolInput):
    text: str


class Output(ToolOutput):
    length: int

    def facts(self) -> dict[str, str | int | float | bool]:
        return {"length": self.length}


class Journal:
    """Effects that happen and are noted."""

    def __init__(self, served: dict[str, Any] | None = None) -> None:
        self.seen: list[tuple[str, str, Any]] = []
        self.served = served or {}

    async def perform(
        self, path: str, kind: str, request: Any, live: Callable[[], Awaitable[Any]]
    ) -> Any:
        self.seen.append((path, kind, request))
        return self.served[path] if path in self.served else await live()


class SkillTool(Tool):
    def skill_spec(self) -> SkillSpec:
        return SKILL


def made(function: Callable[..., Any], **fields: Any) -> Tool:
    spec = {"name": "measure", "kind": "function", "description": "Measures a text.", **fields}
    kind = SkillTool if fields.get("kind") == "skill" else Tool
    return kind(
        spec=ToolSpec.model_validate(spec),
        Input=Input,
        Output=Output,
        function=function,
        digest="sha256:0",
    )


def go(tool: Tool, values: Any = None, **options: Any) -> ToolOutput:
    return asyncio.run(run_tool(tool, {"text": "four"} if values is None else values, **options))


def measure(request: Input, context: ToolContext) -> Output:
    context.progress(1, 1, "measuring")
    return Output(length=len(request.text))


def test_a_plain_function_runs_in_a_thread_and_an_async_one_awaited(tmp_path: Path) -> None:
    async def later(request: Input, context: ToolContext) -> Output:
        await asyncio.sleep(0)
        return Output(length=len(request.text))

    told: list[Any] = []
    assert go(made(measure), progress=lambda *event: told.append(event)) == Output(length=4)
    assert told == [(1, 1, "measuring")]
    assert go(made(later)) == Output(length=4)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"text": 3}, "text: Input should be a valid string"),
        ({}, "text: Field required"),
        ({"text": "a", "more": 1}, "more: Extra inputs"),
        ([], "the value:"),
    ],
)
def test_input_that_breaks_the_contract_is_refused(values: Any, says: str) -> None:
    with pytest.raises(ToolCallError, match="tool measure cannot take this input") as caught:
        go(made(measure), values)
    assert says in str(caught.value)


def test_output_that_breaks_the_contract_is_refused() -> None:
    with pytest.raises(ToolCallError, match="gave what its Output forbids: length: Field required"):
        go(made(lambda request, context: {"width": 4}))
    with pytest.raises(ToolCallError, match="tool measure gave"):
        go(made(lambda request, context: None))
    assert go(made(lambda request, context: {"length": 4})) == Output(length=4)


class Loose(ToolOutput):
    mean: float = 0.0
    extra: Any = None
    rows: list[dict[str, float]] = []  # noqa: RUF012

    def facts(self) -> dict[str, Any]:
        if self.extra == "raise":
            raise ZeroDivisionError("by naught")
        return {"none": {"mean": None}, "list": ["mean"]}.get(str(self.extra), {})  # type: ignore[return-value]


def nested(deep: int) -> Any:
    value: Any = 1
    for _ in range(deep):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"mean": float("nan")}, "what JSON cannot hold: mean: nan is no finite number; give text"),
        ({"rows": [{}, {"a": 1.0, "b": float("-inf")}]}, r"rows\.1\.b: -inf is no finite number"),
        ({"extra": b"\xff"}, "what JSON cannot hold: extra: .*invalid utf-8"),
        ({"extra": object()}, "what JSON cannot hold: extra: Unable to serialize .*object"),
        ({"extra": nested(MAX_DEPTH)}, f"extra.*: it is nested more than {MAX_DEPTH} deep"),
        ({"extra": "raise"}, r"facts\(\) of its Output raised ZeroDivisionError: by naught"),
        ({"extra": "list"}, r"facts\(\) of its Output gave a list; give a dict"),
        ({"extra": "none"}, r"facts\(\) of its Output gave 'mean' as a NoneType; give a text"),
    ],
)
def test_what_cannot_be_recorded_or_told_is_a_failed_call(
    fields: dict[str, Any], says: str
) -> None:
    tool = replace(made(lambda request, context: Loose(**fields)), Output=Loose)
    with pytest.raises(ToolCallError, match=f"tool measure .*{says}"):
        go(tool)


def test_an_output_as_deep_as_may_be_is_given() -> None:
    tool = replace(made(lambda request, context: Loose(extra=nested(MAX_DEPTH - 1))), Output=Loose)
    assert go(tool) == Loose(extra=nested(MAX_DEPTH - 1))


def test_an_input_that_cannot_be_recorded_is_refused() -> None:
    class Numbers(ToolInput):
        least: float

    tool = replace(made(lambda request, context: Output(length=1)), Input=Numbers)
    says = "cannot take this input, which JSON cannot hold: least: inf is no finite number; use"
    with pytest.raises(ToolCallError, match=says):
        go(tool, {"least": float("inf")})


def test_a_bug_in_a_tool_is_a_tool_call_error_that_names_it() -> None:
    def broken(request: Input, context: ToolContext) -> Output:
        raise ZeroDivisionError("by naught")

    with pytest.raises(ToolCallError, match="tool measure failed: ZeroDivisionError: by naught"):
        go(made(broken))


def test_a_tool_that_exits_has_failed() -> None:
    def leaving(request: Input, context: ToolContext) -> Output:
        raise SystemExit(3)

    with pytest.raises(ToolCallError, match="tool measure failed: SystemExit: 3"):
        go(made(leaving))


@pytest.mark.parametrize("error", [StopIteration, GeneratorExit, asyncio.CancelledError])
def test_what_a_future_does_not_carry_is_a_failure_as_any_other(error: Any) -> None:
    def exhausted(request: Input, context: ToolContext) -> Output:
        raise error("no more")

    @tool
    def first(text: str) -> str:
        """The first of no words."""
        raise error("no more")

    says = f"failed: RuntimeError: the function raised {error.__name__}: no more"
    for failing in (made(exhausted), tool_of(first)):
        with pytest.raises(ToolCallError, match=says):
            go(failing)


def test_a_plain_tool_may_have_a_parameter_of_any_name() -> None:
    @tool
    def named(function: str) -> str:
        """The name of a function."""
        return function

    assert go(tool_of(named), {"function": "f"}).model_dump() == {"result": "f"}


def test_what_a_tool_raises_on_purpose_passes() -> None:
    def refusing(request: Input, context: ToolContext) -> Output:
        raise InputError("not this one")

    with pytest.raises(InputError, match="not this one"):
        go(made(refusing))


def test_a_tool_has_its_time_and_no_more() -> None:
    async def slow(request: Input, context: ToolContext) -> Output:
        await asyncio.sleep(30)
        return Output(length=0)

    async def own_timeout(request: Input, context: ToolContext) -> Output:
        raise TimeoutError("the socket")

    started = time.perf_counter()
    with pytest.raises(ToolCallError, match=r"took longer than 0\.05 s; .* raise timeout_s"):
        go(made(slow, timeout_s=0.05))
    assert time.perf_counter() - started < 10
    with pytest.raises(ToolCallError, match="failed: TimeoutError: the socket"):
        go(made(own_timeout))


async def ask(request: Input, context: ToolContext) -> Output:
    asked = context.contract.request({"text": request.text}, [{"text": "a"}, {"text": "b"}])
    [answer] = await context.decide([asked])
    assert await context.decide([]) == []
    return Output(length=answer.scores.index(max(answer.scores)))


def test_a_skills_question_is_a_model_effect_inside_the_tools_own() -> None:
    tool = made(ask, kind="skill", skill="picker")
    journal, model = Journal(), ScriptedModel({"picker": 1})
    assert go(tool, effects=journal, path="tool:measure/1", model=model) == Output(length=1)
    assert [(path, kind) for path, kind, _ in journal.seen] == [
        ("tool:measure/1", "tool"),
        ("tool:measure/1/model", "model"),
    ]
    outer, inner = journal.seen[0][2], journal.seen[1][2]
    assert outer == {
        "tool": "measure",
        "version": "0.1.0",
        "input": {"text": "four"},
        "model": {"model": "scripted", "skill": "picker"},
    }
    assert inner["identity"] == {"model": "scripted", "skill": "picker"}
    assert inner["identity"] == {"model": "scripted", "skill": "picker"}
    assert inner["requests"][0]["context"] == "four"


def test_a_served_call_runs_nothing() -> None:
    def forbidden(request: Input, context: ToolContext) -> Output:
        raise AssertionError("ran")

    journal = Journal({"tool:measure/1": {"length": 7}})
    found = go(made(forbidden, kind="retrieval"), effects=journal, path="tool:measure/1")
    assert found == Output(length=7)
    assert journal.seen[0][1] == "retrieval"


def test_asking_without_a_skill_or_a_model_is_said() -> None:
    with pytest.raises(ToolError, match="declares none; add `skill:`"):
        go(made(ask))

    async def decide(request: Input, context: ToolContext) -> Output:
        await context.decide([CONTRACT.request({"text": "a"}, [{"text": "b"}])])
        return Output(length=0)

    with pytest.raises(ToolCallError, match="no model was given"):
        go(made(decide, kind="skill", skill="picker"))
    with pytest.raises(ToolCallError, match="it declares no skill"):
        go(made(decide), model=ScriptedModel({}))


def test_call_tool_uses_the_context_it_is_given() -> None:
    class Bare:
        told: list[str] = []  # noqa: RUF012

        def progress(self, done: int, total: int, what: str) -> None:
            self.told.append(what)

    context: Any = Bare()
    assert asyncio.run(call_tool(made(measure), {"text": "four"}, context)) == Output(length=4)
    assert context.told == ["measuring"]
