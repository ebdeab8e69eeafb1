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
    ("arguments", "code", "says"),
    [
        (["nothing"], 2, "there is no tool 'nothing'"),
        (["icd10_check", "--input", "{"], 2, "is not JSON"),
        (["icd10_check", "--input", "[]"], 2, "a tool takes a JSON object"),
        (["icd10_check", "--input", "@/no/such/file"], 2, "cannot be read"),
        (["icd10_check", "--input", "{}"], 6, "selections: Field required"),
    ],
)
def test_bad_input_is_one_line_and_the_documented_code(
    root: Path, arguments: list[str], code: int, says: str
) -> None:
    found = RUNNER.invoke(app, ["call", *arguments, "--project", str(root)])
    assert found.exit_code == code
    assert says in found.stderr
    assert "Traceback" not in found.stderr
