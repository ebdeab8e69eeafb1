"""`seamline policies`: what is printed where, and with which exit code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from seamline.cli import policies as cli
from seamline.policies import PolicyStore

Run = Callable[..., Any]


@pytest.fixture
def run(store: PolicyStore, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in the project of `store`."""
    monkeypatch.setattr(cli, "project_root", lambda path: path or store.root.parent)

    def invoke(*arguments: str) -> Any:
        return CliRunner().invoke(cli.app, list(arguments))

    return invoke


def test_from_draft_to_production(run: Run, put: Callable[..., Path], plan_text: str) -> None:
    assert "1.0.0 (draft)" in run("list").stdout
    assert "locked desk/plan@1.0.0" in run("lock").stdout
    assert run("lock").stdout == "nothing new to lock\n"
    assert run("label", "desk/plan", "production", "1.0.0").exit_code == 0
    put("1.1.0", plan_text.replace("One step.", "Two steps."))
    run("lock")
    moved = run("label", "desk/plan", "production", "1.1.0")
    assert moved.stdout == "desk/plan@production → 1.1.0 (was 1.0.0)\n"
    shown = run("show", "desk/plan").stdout
    assert "desk/plan@1.1.0  plan, locked, production" in shown
    assert "Two steps." in shown
    found = run("diff", "desk/plan@1.0.0", "desk/plan").stdout
    assert "-One step." in found
    assert "+Two steps." in found
    assert "production → 1.1.0" in run("list").stdout


def test_json_is_all_that_stdout_holds(run: Run) -> None:
    assert [row["name"] for row in json.loads(run("lock", "--json").stdout)] == ["desk/plan"]
    label = json.loads(run("label", "desk/plan", "production", "1.0.0", "--json").stdout)
    assert label == {
        "name": "desk/plan", "label": "production", "version": "1.0.0", "before": None,
    }  # fmt: skip
    assert json.loads(run("list", "--json").stdout) == [{
        "name": "desk/plan", "versions": ["1.0.0"], "drafts": [], "edited": [], "deleted": [],
        "labels": {"production": "1.0.0"},
    }]  # fmt: skip
    shown = json.loads(run("show", "desk/plan", "--json").stdout)
    assert (shown["version"], shown["labels"], shown["locked"]) == ("1.0.0", ["production"], True)
    found = json.loads(run("diff", "desk/plan", "desk/plan@1.0.0", "--json").stdout)
    assert found["body"] == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", "desk/paln"),
        ("show", "desk/plan"),
        ("label", "desk/plan", "production", "9.0.0"),
        ("diff", "desk/plan@1.0.0", "desk/plan@2.0.0"),
        ("lock", "--project", "nowhere"),
    ],
)
def test_an_error_is_one_line_on_stderr(run: Run, arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1


def test_with_json_an_error_is_told_on_stdout_too(run: Run) -> None:
    result = run("show", "desk/paln", "--json")
    assert result.exit_code == 2
    assert json.loads(result.stdout)["error_type"] == "PolicyError"
    assert result.stderr.startswith("error: no policy 'desk/paln'")


def test_edited_and_deleted_versions_are_listed(
    run: Run,
    store: PolicyStore,
    put: Callable[..., Path],
    plan_text: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    for version in ("1.1.0", "1.2.0"):
        put(version, plan_text)
    run("lock")
    run("label", "desk/plan", "production", "1.0.0")
    folder = store.root / "desk" / "plan"
    (folder / "1.0.0.md").unlink()
    put("1.1.0", plan_text.replace("One step.", "Two steps."))
    (folder / "1.2.0.md").write_text("no policy")
    put("1.3.0", plan_text)

    listed = " ".join(run("list").stdout.split())
    assert "1.0.0 (deleted), 1.1.0 (edited), 1.2.0 (edited), 1.3.0 (draft)" in listed
    assert "production → 1.0.0" in listed
    assert "deleted: desk/plan@1.0.0; `seamline check` says what to do" in listed
    assert "edited: desk/plan@1.2.0; `seamline check` says what to do" in listed
    assert json.loads(run("list", "--json").stdout) == [{
        "name": "desk/plan", "versions": ["1.1.0", "1.2.0", "1.3.0"], "drafts": ["1.3.0"],
        "edited": ["1.1.0", "1.2.0"], "deleted": ["1.0.0"], "labels": {"production": "1.0.0"},
    }]  # fmt: skip


def test_a_policy_without_files_is_listed(run: Run, store: PolicyStore) -> None:
    run("lock")
    run("label", "desk/plan", "production", "1.0.0")
    (store.root / "desk" / "plan" / "1.0.0.md").unlink()

    listed = " ".join(run("list").stdout.split())
    assert "desk/plan 1.0.0 (deleted) production → 1.0.0" in listed
