"""What is true of Postgres only: connections, passwords, rights."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from seamline.errors import SeamlineError, TraceError
from seamline.traces import EffectKey, Journal, Outcome, RunMeta, TraceStore, open_store
from seamline.traces.values import Plain

MetaFactory = Callable[..., RunMeta]

pytestmark = pytest.mark.postgres


@pytest.fixture
def url(postgres: Any) -> str:
    return str(postgres.new_database())


@pytest.fixture
def store(url: str) -> Iterator[TraceStore]:
    opened = open_store(url)
    yield opened
    opened.close()


@pytest.fixture
def admin(url: str) -> Iterator[Any]:
    """A connection past Seamline."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


def add(journal: Journal, at: int) -> None:
    journal.append(
        key=EffectKey(f"plan/{at}", 1, "model"),
        request=Plain.of({"at": at}),
        result=Plain.of(at),
        started=1.0,
        ended=2.0,
    )


def finish(journal: Journal) -> None:
    journal.finish(Outcome(status="done", ended=journal.meta.started + 2))


def whole_text(error: BaseException | None) -> str:
    """An error's text with those of everything that caused it."""
    text = ""
    while error is not None:
        text, error = f"{text}{error}\n", error.__cause__ or error.__context__
    return text


def drop_connections(admin: Any, within: str = "%") -> int:
    """End the store's connections (those whose last statement is like `within`); how many."""
    return len(
        admin.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname ="
            " current_database() AND application_name = 'seamline' AND query LIKE %s",
            (within,),
        ).fetchall()
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("pass%2Fword", "secret"), "password authentication failed"),
        ((r":\d+/", ":1/"), "refused"),
        (("127.0.0.1", "nowhere.invalid"), "nowhere.invalid"),
        (("/test_", "/none_"), 'database "none_[0-9a-f]+" does not exist'),
    ],
)
def test_a_server_that_cannot_be_reached_is_one_error(
    url: str, meta: MetaFactory, change: tuple[str, str], says: str
) -> None:
    store = open_store(re.sub(*change, url))
    for use in (store.runs, lambda: store.run("x"), lambda: store.start_run(meta())):
        with pytest.raises(TraceError, match=says) as caught:
            use()
        message = str(caught.value)
        assert message.startswith("trace store postgresql://seam@")
        assert "check that the server runs and that address, database" in message
        assert "\n" not in message
        for secret in ("pass/word", "pass%2Fword", "secret"):
            assert secret not in whole_text(caught.value)
    store.close()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://seam:secret@host:port/db",
        "postgresql://seam:secret@host:99/db?nothing=1",
        "postgresql://seam:sec@ret@host/db",
        "postgresql://seam:sec/ret@host/db",
        "postgresql://seam:sec%ret@host/db",
        "postgres://[secret",
    ],
)
def test_a_garbled_connection_string_is_not_repeated(url: str) -> None:
    with pytest.raises(TraceError, match="expected postgresql://user:password@host") as caught:
        open_store(url)
    assert caught.value.__cause__ is None
    assert "ret" not in str(caught.value)


def test_without_psycopg_the_extra_is_named() -> None:
    code = """
import sys
sys.modules["psycopg"] = None
from seamline.errors import TraceError
from seamline.traces import open_store
try:
    open_store("postgresql://seam:secret@host/db")
except TraceError as error:
    print(error)
"""
    path = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "pip install 'seamline[postgres]'" in done.stdout
    assert "secret" not in done.stdout


def test_a_connection_lost_between_writes_is_made_again(
    store: TraceStore, admin: Any, meta: MetaFactory
) -> None:
    journal = store.start_run(meta())
    add(journal, 1)
    journal.flush()
    assert len(store.runs()) == 1
    # That of readers, that of the writer, and that which holds the run.
    assert drop_connections(admin) == 3
    assert len(store.runs()) == 1
    add(journal, 2)
    finish(journal)
    assert len(store.trace("run-1").entries) == 2


def test_a_connection_lost_while_writing_is_one_error(
    store: TraceStore, admin: Any, meta: MetaFactory
) -> None:
    journal = store.start_run(meta())
    journal.flush()
    admin.execute("SELECT pg_advisory_lock(hashtext('seamline traces'))")
    add(journal, 1)
    until = time.monotonic() + 30
    while not drop_connections(admin, "SELECT pg_advisory_xact_lock%"):
        assert time.monotonic() < until, "nobody waits to write"
    admin.execute("SELECT pg_advisory_unlock_all()")
    says = r"run-1 cannot be recorded any further: terminating .* check that the server runs"
    with pytest.raises(TraceError, match=says) as caught:
        finish(journal)
    assert "pass/word" not in whole_text(caught.value)
    finish(store.start_run(meta("run-2")))
    assert [(run.run_id, run.status) for run in store.runs()] == [
        ("run-2", "done"),
        ("run-1", "running"),
    ]


def test_a_server_that_comes_back_is_used_again(
    postgres: Any, store: TraceStore, meta: MetaFactory
) -> None:
    finish(store.start_run(meta()))
    assert len(store.runs()) == 1
    postgres.stop()
    try:
        with pytest.raises(TraceError, match="check that the server runs"):
            store.runs()
        with pytest.raises(TraceError, match="check that the server runs"):
            finish(store.start_run(meta("run-2")))
    finally:
        postgres.start()
    finish(store.start_run(meta("run-3")))
    assert [run.run_id for run in store.runs()] == ["run-3", "run-1"]


def test_stores_made_at_once_are_one(url: str, meta: MetaFactory) -> None:
    failed: list[SeamlineError] = []

    def record(number: int) -> None:
        store = open_store(url)
        try:
            finish(store.start_run(meta(f"run-{number}")))
        except SeamlineError as error:
            failed.append(error)
        store.close()

    threads = [threading.Thread(target=record, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    store = open_store(url)
    assert len(store.runs()) == 6
    store.close()


def test_missing_rights_are_named(postgres: Any, url: str, admin: Any, meta: MetaFactory) -> None:
    admin.execute("CREATE ROLE guest LOGIN PASSWORD 'guest-word'")
    try:
        store = open_store(url.replace("seam:pass%2Fword", "guest:guest-word"))
        assert store.runs() == []
        with pytest.raises(TraceError, match=r"permission denied.*grant the user CREATE"):
            store.start_run(meta())
        store.close()
    finally:
        admin.execute("DROP ROLE guest")


def test_other_tables_of_the_database_are_left_alone(
    store: TraceStore, admin: Any, meta: MetaFactory
) -> None:
    admin.execute("CREATE TABLE runs (mine TEXT)")
    finish(store.start_run(meta()))
    assert admin.execute("SELECT COUNT(*) FROM runs").fetchall() == [(0,)]
    assert admin.execute("SELECT run_id FROM seamline.runs").fetchall() == [("run-1",)]


def test_a_database_of_another_encoding_is_refused(postgres: Any, admin: Any) -> None:
    admin.execute("CREATE DATABASE ascii ENCODING 'SQL_ASCII' TEMPLATE template0")
    store = open_store(postgres.url("ascii"))
    with pytest.raises(TraceError, match=r"encoding SQL_ASCII.*createdb --encoding UTF8"):
        store.runs()
    store.close()
    admin.execute("DROP DATABASE ascii WITH (FORCE)")


def test_deleted_content_is_gone_from_the_tables(
    postgres: Any, store: TraceStore, admin: Any, meta: MetaFactory
) -> None:
    for name in ("keep", "drop"):
        journal = store.start_run(meta(name, input=f"SECRET-{name}"))
        finish(journal)

    def on_disk() -> bytes:
        admin.execute("CHECKPOINT")
        [(folder,)] = admin.execute(
            "SELECT 'base/' || oid FROM pg_database WHERE datname = current_database()"
        ).fetchall()
        return b"".join(file.read_bytes() for file in Path(postgres.data, folder).iterdir())

    assert b"SECRET-drop" in on_disk()
    store.delete("drop")
    assert b"SECRET-drop" not in on_disk()
    assert b"SECRET-keep" in on_disk()
