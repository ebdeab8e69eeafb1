"""`seamline traces prune|delete`, and which store the command line and a project use."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from seamline.errors import TraceError
from seamline.project import Project
from seamline.traces import Outcome, RunMeta, SqliteTraceStore, open_store

MetaFactory = Callable[..., RunMeta]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def location(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    meta: MetaFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    """A store with six runs, a day apart, that `SEAMLINE_TRACES` names."""
    if request.param == "postgres":
        location = str(request.getfixturevalue("postgres").new_database())
    else:
        location = str(tmp_path / "elsewhere" / "traces.sqlite")
    store = open_store(location)
    for at in range(6):
        agent, talk = ("coder", "talk") if at % 2 else ("reviewer", None)
        started = time.time() - 86_400 * (5 - at) - 60
        journal = store.start_run(
            meta(f"run-{at}", agent=agent, started=started, conversation=talk)
        )
        journal.finish(Outcome(status="done", ended=started + 1))
    store.close()
    monkeypatch.setenv("SEAMLINE_TRACES", location)
    return location


def cli(*arguments: str, columns: int = 100) -> Result:
    from seamline.cli.traces import app

    env = {"COLUMNS": str(columns), "NO_COLOR": "1"}
    return CliRunner().invoke(app, list(arguments), env=env)


def left(location: str) -> list[str]:
    store = open_store(location)
    found = [run.run_id[-1] for run in store.runs()]
    store.close()
    return found


def deleted(*arguments: str) -> Any:
    done = cli(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_prune_says_first_what_would_go(location: str) -> None:
    found = deleted("prune", "--older-than", "3d", "--dry-run")
    assert found == {"runs": ["run-2", "run-1", "run-0"], "deleted": False}
    shown = cli("prune", "--keep", "4", "--dry-run")
    assert "run-1" in shown.stdout
    assert "run-2" not in shown.stdout
    assert "2 runs would be deleted" in shown.stderr
    refused = cli("prune", "--keep", "4")
    assert refused.exit_code == 2
    assert "2 runs would be deleted; add --yes, or --dry-run" in refused.stderr
    assert left(location) == list("543210")


@pytest.mark.parametrize(("columns", "whole"), [(80, False), (100, True)])
@pytest.mark.parametrize("command", [("prune", "--agent", "auditor", "--dry-run"), ("delete",)])
def test_what_goes_fits_the_terminal(
    location: str, meta: MetaFactory, command: tuple[str, ...], columns: int, whole: bool
) -> None:
    run_id = "01a2016a-2e7f-7000-a511-ddec2efd1d00"
    with contextlib.closing(open_store(location)) as store:
        fields = {"agent": "auditor", "parent": "run-1", "forked_at": "tool:icd10_select/1/model#1"}
        journal = store.start_run(meta(run_id, **fields))
        journal.finish(Outcome(status="budget_exceeded", ended=journal.meta.started + 1))

    done = cli(*command, *([run_id] if command == ("delete",) else []), columns=columns)

    assert done.exit_code == 0, done.output
    assert max(map(len, done.stdout.splitlines())) <= columns
    assert (run_id in done.stdout) is whole
    assert run_id[:18] in done.stdout
    assert "budget_exceeded" in done.stdout
    assert "auditor" in done.stdout


def test_prune_deletes_by_age_number_and_agent(location: str) -> None:
    assert deleted("prune", "--older-than", "5d", "--yes")["runs"] == ["run-0"]
    assert deleted("prune", "--agent", "coder", "--keep", "1", "-y")["runs"] == ["run-3", "run-1"]
    assert deleted("prune", "--keep", "2", "--yes")["runs"] == ["run-2"]
    assert deleted("prune", "--agent", "reviewer", "--yes")["runs"] == ["run-4"]
    assert deleted("prune", "--keep", "2") == {"runs": [], "deleted": True}, "no need to ask"
    assert left(location) == list("5")


def test_delete_takes_runs_or_a_conversation(location: str) -> None:
    wrong = cli("delete", "run-4", "run-9")
    assert wrong.exit_code == 2
    assert "no run 'run-9'" in wrong.stderr
    done = cli("delete", "run-4", "last")
    assert done.exit_code == 0
    assert "2 runs deleted" in done.stderr
    assert left(location) == list("3210")
    assert deleted("delete", "--conversation", "talk")["runs"] == ["run-3", "run-1"]
    assert left(location) == list("20")


def test_compact_keeps_every_run(location: str) -> None:
    assert deleted("compact") == {"compacted": True}
    assert len(left(location)) == 6


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("prune",), "say what to prune"),
        (("prune", "--dry-run", "--yes"), "say what to prune"),
        (("prune", "--older-than", "soon"), "--older-than 'soon' is neither an age"),
        (("delete",), "name the runs to delete"),
        (("delete", "x", "--conversation", "y"), "name the runs to delete"),
        (("delete", "--conversation", "y"), "no run of conversation 'y'"),
        (("delete", "run-"), "ambiguous"),
    ],
)
def test_bad_arguments_are_one_line_and_delete_nothing(
    location: str, arguments: tuple[str, ...], says: str
) -> None:
    done = cli(*arguments)
    assert done.exit_code == 2
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert len(left(location)) == 6


def test_the_command_line_lists_the_named_store(location: str) -> None:
    listed = json.loads(cli("list", "--limit", "2", "--json").stdout)
    assert [run["run_id"] for run in listed] == ["run-5", "run-4"]


def test_the_doctor_looks_at_the_named_store(
    location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from seamline.cli.doctor import examine

    def traces() -> Any:
        [found] = [one for one in examine() if one.name == "traces"]
        return found

    found = traces()
    assert (found.state, "last run of coder" in found.detail) == ("ok", True)
    assert "pass" not in found.detail
    monkeypatch.setenv("SEAMLINE_TRACES", "mysql://user:secret@host/db")
    found = traces()
    assert found.state == "error"
    assert "secret" not in found.detail


def test_a_project_records_where_it_is_told(
    location: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(Project.open(root).store.runs()) == 6
    monkeypatch.delenv("SEAMLINE_TRACES")
    assert len(Project.open(root, store=location).store.runs()) == 6
    other = Project.open(root, store=tmp_path / "other.sqlite")
    assert other.store.runs() == []
    assert other.store is other.store
    default = Project.open(root).store
    assert isinstance(default, SqliteTraceStore)
    assert default.path == tmp_path / "home" / "seamline.sqlite"
    with pytest.raises(TraceError, match="give postgresql://"):
        _ = Project.open(root, store="redis://host").store
