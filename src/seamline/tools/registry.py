"""The tools of a project: those in its folder `tools`, and functions added in Python."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from seamline.errors import ConfigError, ToolError
from seamline.loading import load_module
from seamline.models.declarations import read_yaml
from seamline.models.objections import objections
from seamline.tools.contract import ToolInput, ToolOutput, ToolSettings, ToolSpec
from seamline.tools.decorator import tool_of
from seamline.tools.definition import Tool

__all__ = ["ToolRegistry", "tool_digest"]

DECLARATION, CODE = "tool.yaml", "tool.py"


class ToolRegistry:
    """Finds tools by name; a tool's Python is loaded when the tool is first asked for.

    Args:
        root: The project's folder `tools`.
        skills: The folder its skills are in; by default `models/skills` beside `root`.
    """

    def __init__(self, root: Path, *, skills: Path | None = None) -> None:
        self.root = root
        self.skills = skills or root.parent / "models" / "skills"
        self._added: dict[str, Tool] = {}
        self._loaded: dict[str, Tool] = {}

    def names(self) -> list[str]:
        """The names of all tools, sorted."""
        found = {file.parent.name for file in self.root.glob(f"*/{DECLARATION}")}
        return sorted(found | set(self._added))

    def spec(self, name: str) -> ToolSpec:
        """The declaration of a tool, without loading its code.

        Raises:
            ToolError: There is no such tool, or its tool.yaml is wrong.
        """
        if name in self._added:
            return self._added[name].spec
        folder = self.root / name
        if name not in self.names():
            raise ToolError(self._unknown(name))
        return _read_spec(folder / DECLARATION)

    def get(self, name: str) -> Tool:
        """A tool, ready to be called.

        Raises:
            ToolError: There is no such tool, its tool.yaml is wrong, or its code does not load.
        """
        if name in self._added:
            return self._added[name]
        if name not in self._loaded:
            spec = self.spec(name)
            self._loaded[name] = _load(self.root / name, spec, self.skills)
        return self._loaded[name]

    def add(self, function: Callable[..., Any] | Tool) -> Tool:
        """Make a function with typed parameters a tool of this project.

        Raises:
            ToolError: Its signature says too little, or the name is taken.
        """
        tool = function if isinstance(function, Tool) else tool_of(function)
        if tool.name in self.names():
            raise ToolError(
                f"a tool {tool.name!r} is there already; give the function another name with "
                f"@tool(name=…)"
            )
        self._added[tool.name] = tool
        return tool

    def _unknown(self, name: str) -> str:
        known = self.names()
        close = get_close_matches(name, known, n=1)
        hint = (
            f"did you mean {close[0]!r}?" if close else f"known are: {', '.join(known) or 'none'}"
        )
        return (
            f"there is no tool {name!r}; {hint} "
            f"(a tool is a folder under {self.root} with {DECLARATION})"
        )


def tool_digest(folder: Path) -> str:
    """`sha256:…` over tool.yaml and every Python file of a tool's folder, names included."""
    digest = hashlib.sha256()
    for file in sorted([folder / DECLARATION, *folder.rglob("*.py")]):
        data = file.read_bytes()
        digest.update(f"{file.relative_to(folder).as_posix()}\0{len(data)}\0".encode())
        digest.update(data)
    return f"sha256:{digest.hexdigest()}"


def _read_spec(file: Path) -> ToolSpec:
    spec = read_yaml(ToolSpec, file, "a tool declaration", error=ToolError)
    if spec.name != file.parent.name:
        raise ToolError(
            f"{file} says name: {spec.name}; rename the folder to {spec.name}, "
            f"or set name: {file.parent.name}"
        )
    if (spec.kind == "skill") != (spec.skill is not None):
        what = "names no skill" if spec.skill is None else f"names the skill {spec.skill}"
        raise ToolError(
            f"{file} is of kind {spec.kind} and {what}; "
            "a tool has `skill:` exactly when it is of kind skill"
        )
    return spec


def _load(folder: Path, spec: ToolSpec, skills: Path) -> Tool:
    code = folder / CODE
    if not code.is_file():
        raise ToolError(
            f"tool {spec.name} of kind {spec.kind} has no {CODE}; "
            f"write {code} with Input, Output and run(input, context)"
        )
    try:
        module = load_module(code)
    except ConfigError as error:
        raise ToolError(str(error)) from error
    types: dict[str, Any] = {"Input": ToolInput, "Output": ToolOutput}
    for name, base in types.items():
        found = getattr(module, name, None)
        if not (isinstance(found, type) and issubclass(found, base)):
            raise ToolError(f"{code} needs a class {name} that derives from {base.__name__}")
        if inspect.isabstract(found):
            lacking = ", ".join(sorted(found.__abstractmethods__))  # type: ignore[attr-defined]
            raise ToolError(f"class {name} of {code} lacks {lacking}")
        types[name] = found
    _check_settings(getattr(module, "Settings", None), folder, spec)
    run = getattr(module, "run", None)
    if not callable(run):
        raise ToolError(f"{code} needs a function `run(input, context)`")
    _check_run(run, code, spec.name)
    return Tool(
        spec=spec,
        Input=types["Input"],
        Output=types["Output"],
        function=run,
        digest=tool_digest(folder),
        skills=skills,
    )


def _check_run(run: Callable[..., Any], code: Path, name: str) -> None:
    """It is called with two arguments by position; whether it takes them is told now."""
    try:
        signature = inspect.signature(run)
    except ValueError:  # Code of another language need not say what it takes.
        return
    try:
        signature.bind(None, None)
    except TypeError as error:
        raise ToolError(
            f"{code}: run{signature} of the tool {name} cannot be called with its input and "
            f"context: {error}; write `run(input, context)`"
        ) from None


def _check_settings(settings: Any, folder: Path, spec: ToolSpec) -> None:
    """Settings that the tool would stumble over when it runs are told now."""
    if not (isinstance(settings, type) and issubclass(settings, ToolSettings)):
        return
    try:
        settings.of(spec)
    except ValidationError as error:
        raise ToolError(
            f"{folder / DECLARATION}: its settings are wrong: {objections(error, settings)}"
        ) from error
