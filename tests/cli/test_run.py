"""`seamline run`: what it prints, where, and what it exits with."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from seamline.cli.main import app

GARDEN = "The garden in winter is greenish and quiet."
SPRING = "In spring the gardens bloom."

Seamline = Callable[..., "subprocess.CompletedProcess[str]"]


def run(shelf: Path, *arguments: str, **options: Any) -> Result:
    line = ["run", "sorter", "--project", str(shelf), *arguments]
    return CliRunner().invoke(app, line, **options)


def test_json_alone_on_stdout_in_a_process_of_its_own(seamline: Seamline) -> None:
    done = seamline("run", "sorter", GARDEN, "--json")

    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["status"] == "done"
    assert [word["word"] for word in result["output"]["words"]][:2] == ["garden", "winter"]
    assert "Traceback" not in done.stderr


def test_a_person_gets_tables_the_message_and_the_trace(shelf: Path) -> None:
    found = run(shelf, GARDEN)

    assert found.exit_code == 0, found.output
    assert "4 words were found." in found.stdout
    assert "words (4)" in found.stdout
    assert "greenish" in found.stdout
    assert "needs review: the rating is unsure" in found.stdout
    assert "seamline traces show" in found.stderr
    assert "\x1b[" not in found.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "status"),
    [
        ([GARDEN], 0, "done"),
        (["this is forbidden"], 3, "refused"),
        ([SPRING], 4, "needs_answer"),
        ([SPRING, "--answer", "the season"], 0, "done"),
        ([GARDEN, "--budget-steps", "1"], 5, "budget_exceeded"),
        ([GARDEN, "--budget-seconds", "0.001"], 5, "budget_exceeded"),
        ([GARDEN, "--budget-tokens", "1"], 5, "budget_exceeded"),
        (["The garden breakdown"], 6, "failed"),
        ([GARDEN, "--endpoint", "nowhere"], 6, "failed"),
        ([" "], 2, "refused"),
        (["word " * 60], 2, "refused"),
        (["x" * 5000], 2, "refused"),
    ],
)
def test_exit_codes_of_results(shelf: Path, arguments: list[str], code: int, status: str) -> None:
    found = run(shelf, *arguments, "--json")

    assert found.exit_code == code, found.output
    result = json.loads(found.stdout)
    assert result["status"] == status
    assert result["run_id"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--file", "nowhere.txt"], "no file nowhere.txt"),
        (["--file", ""], "is a folder; pass one file"),
        ([GARDEN, "--endpoint", "gone"], "no endpoint 'gone'"),
        ([GARDEN, "--endpoint", ""], "no endpoint ''"),
        ([GARDEN, "--budget-seconds", "inf"], "seconds: expected a finite number, found inf"),
        (["--resume", "nope", "--answer", "x"], "no run"),
        (["--resume", "nope"], "no run"),
    ],
)
def test_what_is_wrong_before_a_run_exits_with_2(
    shelf: Path, arguments: list[str], says: str
) -> None:
    found = run(shelf, *arguments, "--json")

    assert found.exit_code == 2
    assert says in found.stderr
    assert says in json.loads(found.stdout)["error"]
    assert "Traceback" not in found.output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([GARDEN, "--file", "x.txt"], "not both"),
        ([GARDEN, "--resume", "x", "--answer", "y"], "--resume takes no text"),
        (["--resume", "x", "--conversation", "desk-7"], "--resume takes no --conversation"),
        (["--resume", "x", "--file", "a.txt", "--encoding", "latin-1"], "--file and no --encoding"),
        (["--resume", ""], "'--resume': '' is empty; give a value"),
        (["--resume", " ", "--answer", "y"], "'--resume': ' ' is empty"),
        ([GARDEN, "--conversation", ""], "'--conversation': '' is empty"),
        ([GARDEN, "--answer", ""], "'--answer': '' is empty"),
        ([GARDEN, "--encoding", ""], "'--encoding': '' is empty"),
        ([GARDEN, "--budget-steps", "0"], "budget-steps"),
        (["--nonsense"], "nonsense"),
    ],
)
def test_usage_errors_exit_with_2(shelf: Path, arguments: list[str], says: str) -> None:
    found = run(shelf, *arguments, input=GARDEN)

    assert found.exit_code == 2
    assert says in " ".join(found.stderr.replace("│", " ").split())
    assert CliRunner().invoke(app, ["traces", "list", "--json"]).stdout.strip() == "[]"


def test_a_file_given_as_text_is_noticed(shelf: Path, tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    note.write_text(GARDEN)

    found = run(shelf, str(note))
    assert found.exit_code == 2
    assert "did you mean --file" in found.stderr
    assert run(shelf, "--file", str(note)).exit_code == 0
    red = note.rename(tmp_path / "note\x1b[31m")
    assert "\x1b" not in run(shelf, str(red)).stderr


@pytest.mark.parametrize("arguments", [[], ["-"]])
def test_text_from_stdin(shelf: Path, arguments: list[str]) -> None:
    found = run(shelf, *arguments, "--json", input=GARDEN)

    assert found.exit_code == 0, found.output
    assert len(json.loads(found.stdout)["output"]["words"]) == 4


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\x00\x01\x02\xff\xfe" * 50, ""),
        (b"caf\xe9 garden", "encoding"),
        (b"x" * 10_000_001, "10,000,000 bytes"),
        (b"", ""),
    ],
)
def test_bad_bytes_on_stdin_give_one_line(seamline: Seamline, data: bytes, says: str) -> None:
    done = seamline("run", "sorter", "-", "--json", stdin=data)

    assert done.returncode == 2
    error = json.loads(done.stdout)
    assert says in (error.get("error") or error.get("message"))
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 1


def test_another_encoding_can_be_named(shelf: Path, tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    note.write_bytes("Die Gärten blühen".encode("latin-1"))

    found = run(shelf, "--file", str(note), "--encoding", "latin-1", "--json")
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["output"]["words"][0]["word"] == "Gärten"


def test_a_failed_run_tells_its_error_once_and_on_stderr(shelf: Path) -> None:
    found = run(shelf, "The garden breakdown")

    assert found.exit_code == 6
    assert found.output.count("rate_words cannot rate 'breakdown'") == 1
    assert "error: " in found.stderr
    assert "rate_words cannot rate 'breakdown'" in found.stderr


def test_a_question_can_be_answered_later(shelf: Path) -> None:
    asked = run(shelf, SPRING, "--json")
    run_id = json.loads(asked.stdout)["run_id"]

    found = run(shelf, "--resume", run_id, "--answer", "the season", "--json")
    assert found.exit_code == 0, found.output
    result = json.loads(found.stdout)
    assert (result["status"], result["run_id"]) == ("done", run_id)


def test_every_run_is_in_the_trace_store(shelf: Path) -> None:
    for text in (GARDEN, "forbidden", " "):
        run(shelf, text, "--json")

    listed = CliRunner().invoke(app, ["traces", "list", "--json"])
    assert [row["status"] for row in json.loads(listed.stdout)] == ["refused", "refused", "done"]
    shown = CliRunner().invoke(app, ["traces", "show", "last", "--json"])
    assert shown.exit_code == 0, shown.output


def test_a_bug_is_one_line_and_exit_1(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from seamline.project import Project

    def broken(*arguments: Any, **options: Any) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(Project, "agent", broken)
    found = run(shelf, GARDEN)
    assert found.exit_code == 1
    assert "unexpected ZeroDivisionError: a bug" in found.stderr
    assert "Traceback" not in found.stderr
    monkeypatch.setenv("SEAMLINE_DEBUG", "1")
    assert "Traceback" in run(shelf, GARDEN).stderr
