"""`seamline tools` on the checkout and on broken projects."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from seamline.cli.tools import app

RUNNER = CliRunner()


def test_list_tells_every_tool_with_its_schemas(root: Path) -> None:
    found = RUNNER.invoke(app, ["list", "--project", str(root), "--json"])
    assert found.exit_code == 0, found.output
    rows = {row["name"]: row for row in json.loads(found.stdout)}
    assert rows["icd10_select"]["skill"] == "icd10_select"
    assert "selections" in rows["icd10_check"]["input"]["properties"]
    plain = RUNNER.invoke(app, ["list", "--project", str(root)])
    assert "icd10_search" in plain.stdout


def test_a_broken_tool_stands_in_its_row_of_one_json(root: Path, tmp_path: Path) -> None:
    for name in ("agents", "models", "policies", "traces"):
        (tmp_path / name).mkdir()
    shutil.copytree(root / "tools", tmp_path / "tools")
    (tmp_path / "tools/icd10_check/tool.py").write_text("raise SystemExit(9)\n")
    found = RUNNER.invoke(app, ["list", "--project", str(tmp_path), "--json"])
    assert found.exit_code == 2
    rows = {row["name"]: row for row in json.loads(found.stdout)}
    assert "does not import: SystemExit: 9" in rows["icd10_check"]["error"]
    assert "input" in rows["icd10_search"]


def test_call_gives_the_output_as_json(root: Path, tmp_path: Path) -> None:
    values = {"selections": [], "declined": [], "release": "April 2026"}
    file = tmp_path / "input.json"
    file.write_text(json.dumps(values))
    for given, piped in ((json.dumps(values), None), (f"@{file}", None), ("-", json.dumps(values))):
        found = RUNNER.invoke(
            app,
            ["call", "icd10_check", "--input", given, "--project", str(root), "--json"],
            input=piped,
        )
        assert found.exit_code == 0, found.output
        assert json.loads(found.stdout)["codes"] == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nothing"], "there is no tool 'nothing'"),
        (["icd10_check", "--input", "{"], "is not JSON"),
        (["icd10_check", "--input", "[]"], "a tool takes a JSON object"),
        (["icd10_check", "--input", "@/no/such/file"], "cannot be read"),
        (["icd10_check", "--input", "{}"], "selections: Field required"),
    ],
)
def test_bad_input_is_one_line_and_exits_with_2(
    root: Path, arguments: list[str], says: str
) -> None:
    found = RUNNER.invoke(app, ["call", *arguments, "--project", str(root)])
    assert found.exit_code == 2
    assert says in found.stderr
    assert "Traceback" not in found.stderr


TOOL = """
from seamline.tools.contract import ToolContext, ToolInput, ToolOutput


class Input(ToolInput):
    number: float


class Output(ToolOutput):
    share: float


def run(given: Input, context: ToolContext) -> Output:
    return Output(share=float("nan") if given.number < 0 else 1 / given.number)
"""


@pytest.mark.parametrize(
    ("given", "code", "says"),
    [
        ('{"number": 2}', 0, '"share": 0.5'),
        ('{"number": 1e999}', 2, "cannot take this input, which JSON cannot hold: number: inf"),
        ('{"number": 0}', 6, "tool invert failed: ZeroDivisionError"),
        ('{"number": -1}', 6, "tool invert gave what JSON cannot hold: share: nan"),
    ],
)
def test_a_tool_that_fails_exits_with_6_and_bad_input_with_2(
    tmp_path: Path, given: str, code: int, says: str
) -> None:
    (tmp_path / "seamline.yaml").write_text("name: small\n")
    folder = tmp_path / "tools" / "invert"
    folder.mkdir(parents=True)
    about = "name: invert\nkind: function\ndescription: One divided by a number.\n"
    (folder / "tool.yaml").write_text(about)
    (folder / "tool.py").write_text(TOOL)
    line = ["call", "invert", "--input", given, "--project", str(tmp_path), "--json"]
    found = RUNNER.invoke(app, line)
    assert found.exit_code == code, found.output
    assert says in (found.stderr or found.stdout)
