from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from seamline.traces import RunMeta, SqliteTraceStore

STARTED = 1_700_000_000.0

PREAMBLE = """
import sys
from seamline.errors import TraceError
from seamline.traces import EffectKey, Outcome, RunMeta, open_store
from seamline.traces.values import Plain
store = open_store(sys.argv[1])
def add(journal, at, **request):
    journal.append(key=EffectKey(f"plan/{at}", 1, "model"), request=Plain.of(request),
                   result=Plain.of(at), started=1.0, ended=2.0)
"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteTraceStore]:
    with SqliteTraceStore(tmp_path / "traces.sqlite") as opened:
        yield opened


@pytest.fixture
def meta() -> Callable[..., RunMeta]:
    def make(run_id: str = "run-1", **fields: Any) -> RunMeta:
        given: dict[str, Any] = {"agent": "coder", "agent_version": "1.0.0", "started": STARTED}
        return RunMeta(run_id=run_id, **(given | fields))

    return make


@pytest.fixture
def run_sql() -> Callable[[str, str], list[Any]]:
    """Runs a statement on the tables of a store, past Seamline."""

    def run(location: str, statement: str) -> list[Any]:
        if not location.startswith("postgresql:"):
            with contextlib.closing(sqlite3.connect(location)) as connection, connection:
                return connection.execute(statement).fetchall()
        import psycopg

        with psycopg.connect(location, options="-c search_path=seamline") as raw:
            cursor = raw.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    return run


@pytest.fixture
def child() -> Callable[..., subprocess.Popen[str]]:
    """Starts Python code in a process of its own; `store` is the one at its first argument."""

    def start(code: str, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(PREAMBLE) + textwrap.dedent(code), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )

    return start
