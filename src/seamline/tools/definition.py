"""A tool, ready to be called: its declaration, its types and its function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from seamline.errors import InputError, SeamlineError, ToolCallError, ToolError
from seamline.models.skills import SkillSpec, SkillStore
from seamline.texts import is_whole
from seamline.tools.calling import told
from seamline.tools.contract import FactValue, ToolInput, ToolOutput, ToolSpec
from seamline.tools.plain import JSON_HOLDS, NOT_WHOLE, as_plain

__all__ = ["Tool", "problems"]

_SHOWN_CHARS = 80


def problems(error: ValidationError) -> str:
    """What pydantic objects to, in one line: `field: message; …`."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'the value'}: {e['msg']}" for e in found)


@dataclass(frozen=True, kw_only=True)
class Tool:
    """What an agent may call.

    Attributes:
        spec: Its declaration.
        Input: The model of what it takes.
        Output: The model of what it gives.
        function: `run(input, context)`, async or not.
        digest: `sha256:…` over its declaration and code.
        skills: The folder of skills that its skill is read from.
    """

    spec: ToolSpec
    Input: type[ToolInput]
    Output: type[ToolOutput]
    function: Callable[..., Any]
    digest: str
    skills: Path | None = None

    @property
    def name(self) -> str:
        """Its name, as policies and agents write it."""
        return self.spec.name

    def input_schema(self) -> dict[str, Any]:
        """The JSON schema of what it takes."""
        return self.Input.model_json_schema()

    def output_schema(self) -> dict[str, Any]:
        """The JSON schema of what it gives."""
        return self.Output.model_json_schema(mode="serialization")

    def input_fields(self) -> dict[str, bool]:
        """The fields of its input, and whether each is required."""
        return {name: info.is_required() for name, info in self.Input.model_fields.items()}

    def output_fields(self) -> list[str]:
        """The fields of its output."""
        return list(self.Output.model_fields)

    def parse_input(self, values: Mapping[str, Any] | BaseModel) -> ToolInput:
        """The typed input.

        Raises:
            ToolCallError: The values do not fit the input's schema.
        """
        if isinstance(values, self.Input):
            return values
        try:
            return self.Input.model_validate(values)
        except ValidationError as error:
            raise ToolCallError(
                f"tool {self.name} cannot take this input: {problems(error)}; "
                f"it takes: {', '.join(self.input_fields()) or 'nothing'}"
            ) from error

    def parse_output(self, value: Any) -> ToolOutput:
        """The typed output, also from plain data.

        Raises:
            ToolCallError: The value does not fit the output's schema.
        """
        if isinstance(value, self.Output):
            return value
        try:
            return self.Output.model_validate(value)
        except ValidationError as error:
            raise ToolCallError(
                f"tool {self.name} gave what its Output forbids: {problems(error)}; "
                "fix the tool, or its Output"
            ) from error

    def check_output(self, value: Any) -> None:
        """Nothing, where plain data that is handed in could be what a call gives.

        Raises:
            InputError: It does not fit the output's schema, or tells no facts.
        """
        try:
            output = self.Output.model_validate(value)
            self.facts(output)
        except ValidationError as error:
            shown = repr(value)
            shown = shown if len(shown) <= _SHOWN_CHARS else f"{shown[:_SHOWN_CHARS]}…"
            raise InputError(
                f"{shown} is no output of {self.name}: {problems(error)}; "
                f"an output has: {', '.join(self.output_fields()) or 'nothing'}"
            ) from error
        except ToolCallError as error:
            raise InputError(f"no output of {self.name} can be handed in: {error}") from error

    def plain_input(self, values: ToolInput) -> dict[str, Any]:
        """The input as plain data.

        Raises:
            ToolCallError: JSON cannot hold it.
        """
        try:
            return as_plain(values)
        except ValueError as error:
            raise ToolCallError(
                f"tool {self.name} cannot take this input, which JSON cannot hold: {error}; "
                f"use {JSON_HOLDS}"
            ) from error

    def plain_output(self, output: ToolOutput) -> dict[str, Any]:
        """The output as plain data.

        Raises:
            ToolCallError: JSON cannot hold it.
        """
        try:
            return as_plain(output)
        except ValueError as error:
            raise ToolCallError(
                f"tool {self.name} gave what JSON cannot hold: {error}; give {JSON_HOLDS}"
            ) from error

    def facts(self, output: ToolOutput) -> dict[str, FactValue]:
        """What an output tells policies.

        Raises:
            ToolCallError: Its `facts()` fails, or gives something else than facts.
        """
        try:
            facts: Any = output.facts()
        except (Exception, SystemExit) as error:
            raise ToolCallError(
                f"tool {self.name} failed: facts() of its Output raised {told(error)}"
            ) from error
        if not isinstance(facts, dict):
            raise ToolCallError(
                f"tool {self.name} failed: facts() of its Output gave a {type(facts).__name__}; "
                "give a dict of names to values"
            )
        for name, value in facts.items():
            if not (isinstance(name, str) and isinstance(value, FactValue)):
                raise ToolCallError(
                    f"tool {self.name} failed: facts() of its Output gave {str(name)!r} as a "
                    f"{type(value).__name__}; give a text, a number, or true or false"
                )
            if not is_whole(f"{name}{value}"):
                raise ToolCallError(
                    f"tool {self.name} failed: facts() of its Output gave a {name!r} that is no "
                    f"text: {NOT_WHOLE}"
                )
        return facts

    def output_facts(self, output: Mapping[str, Any]) -> dict[str, FactValue]:
        """The facts that an output, given as plain data, tells policies.

        Raises:
            ToolCallError: The value does not fit the output's schema, or `facts()` fails.
        """
        return self.facts(self.parse_output(output))

    def skill_spec(self) -> SkillSpec:
        """The declaration of the tool's skill.

        Raises:
            ToolError: The tool has no skill, or its skill is not there.
        """
        if self.spec.skill is None or self.skills is None:
            raise ToolError(
                f"tool {self.name} asks a skill, but declares none; add `skill:` to its tool.yaml"
            )
        try:
            return SkillStore(self.skills).get(self.spec.skill).spec
        except SeamlineError as error:
            raise ToolError(f"tool {self.name}: {error}") from error
