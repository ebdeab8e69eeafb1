"""What reaches a terminal: no control character of others, and nothing where nobody reads."""

from __future__ import annotations

import ast
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from rich.table import Table
from rich.text import Text
from typer.testing import CliRunner

from seamline import Agent, AgentResult
from seamline.cli import common
from seamline.cli.console import PIPE_CLOSED
from seamline.cli.main import app
from seamline.cli.progress import Waiting
from seamline.cli.results import show_result
from seamline.cli.run import _ask  # pyright: ignore[reportPrivateUsage]
from seamline.errors import ModelError

Seamline = Callable[..., "subprocess.CompletedProcess[str]"]

EVIL = "\x1b]0;owned\x1b\\\x9b2J\u202e[link=https://example.org]x[/link]:smile:"
SEEN = " ]0;owned \\ 2J[link=https://example.org]x[/link]:smile:"


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    """All that was printed, once it is known to obey no command."""
    out, err = capsys.readouterr()
    assert not set(out + err) & set("\x1b\x9b\u202e")
    return out + err


@pytest.mark.parametrize("stream", [common.console, common.err])
def test_text_of_others_is_shown_as_it_is(capsys: Any, stream: Any) -> None:
    table = Table(EVIL)
    table.add_row(EVIL)
    stream().print(EVIL, soft_wrap=True)
    stream().print(Text(EVIL), soft_wrap=True)
    stream().print(table, soft_wrap=True)

    assert printed(capsys).count("example.org") == 4


def test_json_escapes_what_a_terminal_would_obey(capsys: pytest.CaptureFixture[str]) -> None:
    common.emit_json({EVIL: [EVIL, "é"]})
    shown = printed(capsys)
    assert json.loads(shown) == {EVIL: [EVIL, "é"]}
    assert "é" in shown


def test_styles_are_kept(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")

    common.console().print(Text(f"{EVIL} red", style="red"), soft_wrap=True)

    assert capsys.readouterr().out == f"\x1b[31m{SEEN} red\x1b[0m\n"


@pytest.mark.parametrize("debug", ["", "1"])
@pytest.mark.parametrize("kind", [ModelError, ValueError])
def test_an_error_tells_what_a_server_said(
    capsys: Any, monkeypatch: pytest.MonkeyPatch, kind: type[Exception], debug: str
) -> None:
    monkeypatch.setenv(common.DEBUG_VARIABLE, debug)

    common.fail(kind(f"the endpoint answered {EVIL}\nand more"))

    told = printed(capsys)
    assert f"the endpoint answered {SEEN}\nand more" in told
    assert told.count("example.org") == (2 if debug else 1)


def test_a_result_shows_a_document(capsys: Any) -> None:
    text = f"before {EVIL} after"
    rows = [
        {"text": EVIL, "reason": "said so"},
        {"span": {"start": 0, "end": len(text)}, "reason": EVIL},
    ]
    result = AgentResult(
        run_id="1", agent="a", agent_version="1.0.0", status="needs_answer", message=EVIL,
        output={"rows": rows, f"key {EVIL}": EVIL}, flags=[EVIL], needs_review=True,
        reasons=[f"why {EVIL}"], question=EVIL,
    )  # fmt: skip

    show_result(result, text)

    told = printed(capsys)
    assert f"flag: {SEEN}" in told
    assert f"needs review: why {SEEN}" in told


def test_cells_with_control_characters_stay_in_their_columns(capsys: Any) -> None:
    rows = [{"text": f"a\x1b[31mb{at}", "reason": "r"} for at in range(2)] + [
        {"text": "plain", "reason": "s"}
    ]
    result = AgentResult(
        run_id="1", agent="a", agent_version="1.0.0", status="done", output={"rows": rows}
    )

    show_result(result, "")

    lines = printed(capsys).splitlines()
    ends = {line.rindex(line.strip()[-1]) for line in lines if line.strip().endswith(("r", "s"))}
    assert len(ends) == 1


def test_progress_tells_a_tools_words(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seamline.cli.progress.QUIET_SECONDS", 0.0)
    with Waiting(EVIL) as waiting:
        waiting._thread.join(0.2)  # pyright: ignore[reportPrivateUsage]

    assert SEEN in printed(capsys)


def test_a_tools_output_is_shown(shelf: Path) -> None:
    given = json.dumps({"text": EVIL})
    found = CliRunner().invoke(
        app, ["tools", "call", "find_words", "--input", given, "--project", str(shelf)]
    )

    assert found.exit_code == 0, found.output
    assert not set(found.output) & set("\x1b\x9b\u202e")
    assert "example.org" in found.stdout


def test_everything_for_people_is_printed_on_the_console(root: Path) -> None:
    """`print` and `typer.echo` would let through what the console takes out."""
    source = root / "src" / "seamline" / "cli"
    calls = (
        (file.relative_to(source), ast.unparse(node))
        for file in sorted(source.rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "typer.echo")
    )
    assert [f"{file}: {call}" for file, call in calls] == [
        "main.py: typer.echo(f'seamline {__version__}')",
        "progress.py: print(self._now(), file=sys.stderr, flush=True)",
    ]


def test_a_question_is_asked_in_plain_words(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    result = AgentResult(
        run_id="1", agent="a", agent_version="1.0.0", status="needs_answer", question=EVIL
    )
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))

    _ask(cast(Agent, None), result)

    assert SEEN in printed(capsys)


def unread(shelf: Path, stream: str, *arguments: str) -> tuple[int, str]:
    """The exit code of a command where nobody reads one stream, and what the other got."""
    path = os.pathsep.join(part for part in sys.path if part)
    with subprocess.Popen(
        [sys.executable, "-m", "seamline.cli.main", *arguments],
        cwd=shelf,
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as started:
        assert started.stdout is not None
        assert started.stderr is not None
        closed, other = started.stdout, started.stderr
        if stream == "stderr":
            closed, other = other, closed
        closed.close()
        told = other.read().decode()
    return started.returncode, told


@pytest.mark.parametrize(
    ("stream", "arguments"),
    [
        ("stdout", ["models", "list"]),
        ("stdout", ["models", "list", "--json"]),
        ("stdout", ["policies", "lock"]),
        ("stderr", ["models", "pull", "unknown"]),
    ],
)
def test_a_command_that_nobody_reads_ends_quietly(
    shelf: Path, stream: str, arguments: list[str]
) -> None:
    assert unread(shelf, stream, *arguments) == (PIPE_CLOSED, "")


def test_an_error_is_told_though_nobody_reads_its_json(shelf: Path) -> None:
    code, told = unread(shelf, "stdout", "models", "pull", "unknown", "--json")

    assert code == PIPE_CLOSED
    assert told.startswith("error: no base or embedder 'unknown'")


HELP_CUT_SHORT = """from seamline.cli import main

def gone(*args):
    raise BrokenPipeError

main._load = gone
main.app(["train", "--help"])
"""


def test_help_that_nobody_reads_to_its_end_ends_quietly() -> None:
    ended = subprocess.run([sys.executable, "-c", HELP_CUT_SHORT], capture_output=True, check=False)

    assert (ended.returncode, ended.stderr) == (PIPE_CLOSED, b"")


NOISY = """import sys
import threading
import time

print("noise of the import")


async def run(given: Input, context: ToolContext) -> Output:
    print("noise of a call")
    sys.stdout.buffer.write(b"noise in bytes\\n")
"""
# The loop of a run is in a daemon thread; the process waits for this one all the same.
THREAD = """    late = lambda: (time.sleep(1), print("noise of a thread"))
    threading.Thread(target=late, daemon=False).start()
"""


def noisy(shelf: Path, more: str = "") -> None:
    """A tool that prints when it is imported and when it is called."""
    code = shelf / "tools" / "find_words" / "tool.py"
    start, head, rest = code.read_text().partition(
        "async def run(given: Input, context: ToolContext) -> Output:\n"
    )
    assert head
    code.write_text(start + NOISY + more + rest)


@pytest.mark.parametrize(
    ("arguments", "key", "kinds"),
    [
        (["run", "sorter", "The garden in winter is greenish.", "--json"], "run_id", 4),
        (["tools", "call", "find_words", "--input", '{"text": "a garden"}', "--json"], "words", 4),
        (["tools", "call", "find_words", "--input", "{}", "--json"], "error", 1),
        (["check", "--json"], "findings", 1),
    ],
)
def test_what_a_tool_prints_does_not_stand_in_the_json(
    shelf: Path, seamline: Seamline, arguments: list[str], key: str, kinds: int
) -> None:
    noisy(shelf, THREAD)

    done = seamline(*arguments)

    assert key in json.loads(done.stdout)
    # Progress may be printed into the same line by another thread.
    noises = ("noise of the import", "noise of a call", "noise in bytes", "noise of a thread")
    assert sum(noise in done.stderr for noise in noises) == kinds


def test_what_a_tool_prints_for_people_stays_on_stdout(shelf: Path) -> None:
    noisy(shelf)
    line = ["tools", "call", "find_words", "--input", '{"text": "a garden"}']
    arguments = [*line, "--project", str(shelf)]

    before = sys.stdout
    found = CliRunner().invoke(app, arguments)
    as_json = CliRunner().invoke(app, [*arguments, "--json"])

    assert sys.stdout is before
    assert "noise of a call" in found.stdout
    assert "noise of a call" in as_json.stderr
    assert json.loads(as_json.stdout) == {"words": ["garden"]}
