"""Functions with typed signatures as tools."""

from __future__ import annotations

import hashlib
import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, overload

from pydantic import BaseModel, Field, PydanticUserError, ValidationError, create_model
from pydantic.errors import PydanticSchemaGenerationError

from seamline.errors import ToolError
from seamline.tools.calling import call_function
from seamline.tools.contract import FactValue, ToolContext, ToolInput, ToolOutput, ToolSpec
from seamline.tools.definition import Tool, problems

__all__ = ["FunctionOutput", "tool", "tool_of"]

F = TypeVar("F", bound=Callable[..., Any])
_MARK = "__seamline_tool__"
_FACT_CHARS = 80


@dataclass(frozen=True)
class _Options:
    name: str | None
    description: str | None
    timeout_s: float
    side_effects: bool


class FunctionOutput(ToolOutput):
    """Base of the output of a function that gives no `ToolOutput` itself: one field, `result`."""

    def facts(self) -> dict[str, FactValue]:
        """The result, where it is a number, a yes or no, or a short text."""
        result = getattr(self, "result", None)
        if isinstance(result, bool | int | float):
            return {"result": result}
        if isinstance(result, str) and len(result) <= _FACT_CHARS:
            return {"result": result}
        return {}


@overload
def tool(function: F, /) -> F: ...


@overload
def tool(
    *,
    name: str | None = None,
    description: str | None = None,
    timeout_s: float = 60.0,
    side_effects: bool = False,
) -> Callable[[F], F]: ...


def tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    timeout_s: float = 60.0,
    side_effects: bool = False,
) -> Any:
    """Mark a function as a tool; it stays callable as before.

    Its parameters become the input and its result the output: a `ToolOutput` as it is,
    anything else under `result`. A parameter of type `ToolContext` receives the context.

    Args:
        function: The function, async or not, every parameter and the result annotated.
        name: Its name as a tool; the function's own by default.
        description: What policies read; the first line of the docstring by default.
        timeout_s: Seconds after which a call fails.
        side_effects: Whether it changes something outside.

    Raises:
        ToolError: The signature or the docstring says too little.

    Example:
        >>> @tool
        ... def count_words(text: str) -> int:
        ...     \"\"\"Counts the words of a text.\"\"\"
        ...     return len(text.split())
    """
    options = _Options(name, description, timeout_s, side_effects)

    def mark(target: Callable[..., Any]) -> Callable[..., Any]:
        built = _build(target, options)
        try:
            setattr(target, _MARK, built)
        except AttributeError as error:
            raise ToolError(
                f"tool {built.name}: a {type(target).__name__} cannot be marked; give it to "
                "project.add_tool"
            ) from error
        return target

    return mark if function is None else mark(function)


def tool_of(function: Callable[..., Any]) -> Tool:
    """The tool that a function is, marked by `@tool` or not.

    Raises:
        ToolError: The signature or the docstring says too little.
    """
    found = getattr(function, _MARK, None)
    if isinstance(found, Tool):
        return found
    return _build(function, _Options(None, None, 60.0, False))


def _build(function: Callable[..., Any], options: _Options) -> Tool:
    called = options.name or str(getattr(function, "__name__", ""))
    _check_kind(function, called)
    spec = _spec(function, called, options)
    hints = _hints(function, called)
    given = hints.pop("return", None)
    if given is None:
        raise ToolError(f"tool {called}: annotate what it gives, e.g. `-> str`")
    parameters = inspect.signature(function).parameters
    wants_context = next((p for p in parameters if hints.get(p) is ToolContext), None)
    taken = [p for p in parameters if p != wants_context]
    output = _output(called, given)

    async def run(values: ToolInput, context: ToolContext) -> ToolOutput:
        arguments: dict[str, Any] = {name: getattr(values, name) for name in taken}
        if wants_context is not None:
            arguments[wants_context] = context
        result = await call_function(function, **arguments)
        if isinstance(result, output):
            return result
        return output.model_validate({"result": result})

    return Tool(
        spec=spec,
        Input=_input(called, [parameters[name] for name in taken], hints),
        Output=output,
        function=run,
        digest=_digest(function),
    )


def _check_kind(function: Callable[..., Any], called: str) -> None:
    """Nothing, where this is a function that gives its result at once."""
    if not callable(function):
        raise ToolError(
            f"{called or repr(function)} is no function but has type {type(function).__name__}; "
            "mark a function, or give a bound method to project.add_tool"
        )
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise ToolError(
            f"tool {called} is a generator, and a tool gives its result once; return a list"
        )


def _spec(function: Callable[..., Any], called: str, options: _Options) -> ToolSpec:
    said = options.description or (inspect.getdoc(function) or "").strip().split("\n\n")[0]
    try:
        return ToolSpec(
            name=called,
            kind="function",
            description=" ".join(said.split()),
            timeout_s=options.timeout_s,
            side_effects=options.side_effects,
        )
    except ValidationError as error:
        raise ToolError(
            f"function {called!r} cannot be a tool: {problems(error)}; its docstring is what "
            "policies read of it"
        ) from error


def _hints(function: Callable[..., Any], called: str) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except (NameError, TypeError) as error:
        raise ToolError(f"tool {called}: an annotation does not resolve: {error}") from error


def _input(
    called: str, parameters: list[inspect.Parameter], hints: dict[str, Any]
) -> type[ToolInput]:
    fields: dict[str, Any] = {}
    for parameter in parameters:
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise ToolError(
                f"tool {called}: parameter {parameter.name!r} must be a plain named parameter"
            )
        if parameter.name in ("self", "cls") and parameter.name not in hints:
            raise ToolError(
                f"tool {called} takes {parameter.name!r}, as a method does; leave out @tool and "
                f"give the bound method to project.add_tool, e.g. add_tool(thing.{called})"
            )
        if parameter.name.startswith("model_") and hasattr(BaseModel, parameter.name):
            raise ToolError(
                f"tool {called}: a parameter cannot be named {parameter.name!r}, which pydantic "
                "keeps for itself; give it another name"
            )
        if parameter.name not in hints:
            raise ToolError(f"tool {called}: annotate the parameter {parameter.name!r}")
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[parameter.name] = (hints[parameter.name], Field(default))
    try:
        return create_model(f"{called}_input", __base__=ToolInput, **fields)
    except (PydanticUserError, PydanticSchemaGenerationError, NameError) as error:
        raise ToolError(
            f"tool {called}: its parameters have no JSON form: {error}; use plain types, "
            "dataclasses or pydantic models"
        ) from error


def _output(called: str, given: Any) -> type[ToolOutput]:
    if isinstance(given, type) and issubclass(given, ToolOutput):
        return given
    fields: dict[str, Any] = {"result": (given, ...)}
    try:
        made: type[BaseModel] = create_model(f"{called}_output", __base__=FunctionOutput, **fields)
    except (PydanticUserError, PydanticSchemaGenerationError) as error:
        raise ToolError(
            f"tool {called}: its result has no JSON form: {error}; give plain types, "
            "dataclasses or pydantic models"
        ) from error
    return typing.cast(type[ToolOutput], made)


def _digest(function: Callable[..., Any]) -> str:
    """`sha256:…` over the function's source, or its name where there is no source."""
    try:
        text = inspect.getsource(function)
    except (OSError, TypeError):
        text = f"{function.__module__}.{getattr(function, '__qualname__', function)}"
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
