"""Finding tools, loading them, and what is said when one is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from seamline.errors import ToolCallError, ToolError
from seamline.tools import Tool, ToolContext, ToolRegistry, run_tool, tool
from seamline.tools.decorator import tool_of

YAML = """name: greet
kind: function
description: Greets a person by name.
"""
CODE = """
from seamline.tools.contract import ReviewedOutput, ToolInput, ToolOutput
from .words import GREETING

class Input(ToolInput):
    name: str

class Output(ToolOutput):
    text: str

def run(request, context):
    return Output(text=f"{GREETING} {request.name}")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "tools" / "greet"
    made.mkdir(parents=True)
    (made / "tool.yaml").write_text(YAML)
    (made / "tool.py").write_text(CODE)
    (made / "words.py").write_text("GREETING = 'Hello'\n")
    return made


def test_a_tool_folder_is_a_private_package(folder: Path, tmp_path: Path) -> None:
    registry = ToolRegistry(tmp_path / "tools")
    greet = registry.get("greet")
    assert registry.names() == ["greet"]
    assert asyncio.run(run_tool(greet, {"name": "Ada"})).model_dump() == {"text": "Hello Ada"}
    assert greet.function.__module__.startswith("_seamline_content_")
    assert greet.input_schema()["properties"]["name"]["type"] == "string"
    assert greet.output_schema()["required"] == ["text"]
    assert greet.input_fields() == {"name": True}


def test_two_projects_with_a_tool_of_one_name_do_not_meet(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "tools" / "greet"
    other.mkdir(parents=True)
    for file in ("tool.yaml", "tool.py"):
        (other / file).write_text((folder / file).read_text())
    (other / "words.py").write_text("GREETING = 'Good day'\n")
    outputs = [
        asyncio.run(run_tool(ToolRegistry(root).get("greet"), {"name": "Ada"})).model_dump()
        for root in (tmp_path / "tools", other.parent)
    ]
    assert outputs == [{"text": "Hello Ada"}, {"text": "Good day Ada"}]


def test_code_that_was_edited_is_loaded_anew_by_another_registry(
    folder: Path, tmp_path: Path
) -> None:
    before = ToolRegistry(tmp_path / "tools").get("greet")
    (folder / "words.py").write_text("GREETING = 'Hi there,'\n")
    after = ToolRegistry(tmp_path / "tools").get("greet")
    said = [asyncio.run(run_tool(one, {"name": "Ada"})).model_dump() for one in (before, after)]
    assert said == [{"text": "Hello Ada"}, {"text": "Hi there, Ada"}]
    assert before.digest != after.digest


def test_the_digest_covers_declaration_and_code(folder: Path, tmp_path: Path) -> None:
    before = ToolRegistry(tmp_path / "tools").get("greet").digest
    assert before == ToolRegistry(tmp_path / "tools").get("greet").digest
    (folder / "words.py").write_text("GREETING = 'Hi'\n")
    assert ToolRegistry(tmp_path / "tools").get("greet").digest != before


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        ("tool.yaml", "name: greet", "name: salute", "rename the folder to salute"),
        ("tool.yaml", "kind: function", "kind: skill", "names no skill"),
        ("tool.yaml", "kind: function", "kind: magic", "is not a tool declaration: kind"),
        ("tool.yaml", "kind: function", "kind: [", "line 4: not YAML: expected"),
        ("tool.py", "class Input(ToolInput)", "class Input", "a class Input that derives from"),
        ("tool.py", "(ToolOutput)", "(ReviewedOutput)", "lacks review_items, reviewed"),
        ("tool.py", "def run", "def walk", "a function `run"),
        ("tool.py", "(request, context)", "(request)", "context: too many positional arguments"),
        ("tool.py", "(request, context)", "(a, b, c)", "run(a, b, c) of the tool greet cannot be"),
        ("tool.py", "(request, context)", "(a, *, context)", "write `run(input, context)`"),
        ("tool.py", "from .words", "from .worms", "does not import: ModuleNotFoundError"),
        ("tool.py", "def run(", "def run((", "does not import: SyntaxError"),
    ],
)
def test_what_is_wrong_with_a_tool_is_said(
    folder: Path, tmp_path: Path, file: str, old: str, new: str, says: str
) -> None:
    path = folder / file
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ToolError) as caught:
        ToolRegistry(tmp_path / "tools").get("greet")
    assert says in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "taken", ["request, context", "request, context, more=1", "*both", "request, /, *rest, a=1"]
)
def test_a_run_that_takes_input_and_context_is_a_tools(
    folder: Path, tmp_path: Path, taken: str
) -> None:
    (folder / "tool.py").write_text(CODE.replace("request, context", taken))
    assert ToolRegistry(tmp_path / "tools").get("greet").name == "greet"


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ("{times: often}", "times: expected a whole number, found 'often'"),
        ("{tims: 2}", r"tims: unknown key. Did you mean 'times'\?"),
    ],
)
def test_a_mistyped_setting_is_told_when_the_tool_is_loaded(
    folder: Path, tmp_path: Path, settings: str, told: str
) -> None:
    (folder / "tool.py").write_text(
        CODE.replace("ToolOutput\n", "ToolOutput, ToolSettings\n", 1)
        + "\nclass Settings(ToolSettings):\n    times: int = 1\n"
    )
    (folder / "tool.yaml").write_text(YAML + "settings: {times: 2}\n")
    ToolRegistry(tmp_path / "tools").get("greet")
    (folder / "tool.yaml").write_text(YAML + f"settings: {settings}\n")
    with pytest.raises(ToolError, match=rf"settings are wrong: {told}"):
        ToolRegistry(tmp_path / "tools").get("greet")


def test_an_unknown_tool_names_a_near_one(folder: Path, tmp_path: Path) -> None:
    registry = ToolRegistry(tmp_path / "tools")
    with pytest.raises(ToolError, match="did you mean 'greet'"):
        registry.get("great")
    with pytest.raises(ToolError, match="known are: greet"):
        registry.get("zzz")
    (folder / "tool.py").unlink()
    with pytest.raises(ToolError, match=r"has no tool\.py"):
        registry.get("greet")


def test_the_shipped_tools_load(registry: ToolRegistry) -> None:
    kinds = {name: registry.get(name).spec.kind for name in registry.names()}
    assert kinds["icd10_search"] == "retrieval"
    assert kinds["icd10_select"] == "skill"
    assert kinds["icd10_check"] == "function"


def test_a_function_becomes_a_tool(tmp_path: Path) -> None:
    registry = ToolRegistry(tmp_path / "tools")

    @tool
    def count_words(text: str, least: int = 1) -> int:
        """Counts the words of a text that are long enough.

        Not for policies.
        """
        return sum(len(word) >= least for word in text.split())

    made = registry.add(count_words)
    assert count_words("a bb", 2) == 1
    assert made is registry.get("count_words")
    assert made.spec.description == "Counts the words of a text that are long enough."
    assert made.input_fields() == {"text": True, "least": False}
    output = asyncio.run(run_tool(made, {"text": "one two three", "least": 4}))
    assert output.model_dump() == {"result": 1}
    assert output.facts() == {"result": 1}
    with pytest.raises(ToolError, match="is there already"):
        registry.add(count_words)
    with pytest.raises(ToolCallError, match=r"count_words cannot take this input: text:"):
        asyncio.run(run_tool(made, {"text": 3}))


def test_a_function_may_be_async_and_take_the_context(tmp_path: Path) -> None:
    @tool(name="where", description="Tells the folder of its caches.", timeout_s=5)
    async def locate(context: ToolContext) -> str:
        return context.cache_dir.name

    made = ToolRegistry(tmp_path).add(locate)
    assert made.input_fields() == {}
    output = asyncio.run(run_tool(made, {}, cache_dir=tmp_path / "here"))
    assert output.model_dump() == {"result": "here"}


def test_a_function_that_says_too_little_is_refused() -> None:
    def nothing(text: str) -> str:
        return text

    def untyped(text) -> str:  # type: ignore[no-untyped-def]
        """Gives back its text."""
        return str(text)

    def silent(text: str):  # type: ignore[no-untyped-def]
        """Gives back its text."""
        return text

    def starred(*texts: str) -> str:
        """Joins all its texts."""
        return "".join(texts)

    for function, says in (
        (nothing, "docstring is what policies read"),
        (untyped, "annotate the parameter 'text'"),
        (silent, "annotate what it gives"),
        (starred, "must be a plain named parameter"),
    ):
        with pytest.raises(ToolError, match=says):
            tool(function)


class Shop:
    def price(self, item: str) -> int:
        """Tells the price of an item."""
        return len(item)

    @classmethod
    def name(cls, item: str) -> str:
        """Tells the name of an item."""
        return item


def test_what_is_no_plain_function_is_refused() -> None:
    def items(text: str) -> Iterator[str]:
        """Gives the items of a text."""
        yield text

    async def parts(text: str) -> AsyncIterator[str]:
        """Gives the parts of a text."""
        yield text

    def tuned(model_config: int) -> int:
        """Tunes a model by its settings."""
        return model_config

    def dumped(model_dump: int) -> int:
        """Dumps a model to a file."""
        return model_dump

    odd: Any = (
        (items, "tool items is a generator, and a tool gives its result once; return a list"),
        (parts, "tool parts is a generator"),
        (tuned, "tool tuned: a parameter cannot be named 'model_config', which pydantic keeps"),
        (dumped, "tool dumped: a parameter cannot be named 'model_dump'"),
        (Shop.price, r"tool price takes 'self', as a method does; .*add_tool\(thing.price\)"),
        (Shop.__dict__["name"], "name is no function but has type classmethod"),
        (Shop().price, "tool price: a method cannot be marked; give it to project.add_tool"),
        (3, "3 is no function but has type int"),
    )
    for function, says in odd:
        with pytest.raises(ToolError, match=says):
            tool(function)


def test_a_bound_method_becomes_a_tool(tmp_path: Path) -> None:
    registry = ToolRegistry(tmp_path)
    registry.add(Shop().price)
    registry.add(Shop.name)

    output = asyncio.run(run_tool(registry.get("price"), {"item": "soap"}))

    assert output.model_dump() == {"result": 4}
    assert registry.get("name").input_fields() == {"item": True}


def test_a_parameter_may_begin_like_a_name_of_pydantic() -> None:
    @tool
    def ask(model_name: str) -> str:
        """Asks a model by its name."""
        return model_name

    assert tool_of(ask).input_fields() == {"model_name": True}


def test_tool_is_usable_as_a_value() -> None:
    @tool
    def shout(text: str) -> str:
        """Says a text loudly."""
        return text.upper()

    made = ToolRegistry(Path("nowhere")).add(shout)
    assert isinstance(made, Tool)
    assert made.digest.startswith("sha256:")
