"""What is true of SQLite's file only: bytes on disk, locks, bad folders, full disks."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from seamline.errors import TraceError
from seamline.traces import EffectKey, Journal, Outcome, RunMeta, SqliteTraceStore, open_store
from seamline.traces.sqlite import WriteLock
from seamline.traces.values import Plain

MetaFactory = Callable[..., RunMeta]
RunSql = Callable[[str, str], list[Any]]


def add(journal: Journal, at: int, **request: Any) -> None:
    journal.append(
        key=EffectKey(f"plan/{at}", 1, "model"),
        request=Plain.of({"at": at, **request}),
        result=Plain.of({"scores": [0.5]}),
        started=float(at),
        ended=at + 0.25,
    )


def finish(journal: Journal) -> None:
    journal.finish(Outcome(status="done", ended=journal.meta.started + 2))


def bytes_on_disk(store: SqliteTraceStore) -> bytes:
    return b"".join(file.read_bytes() for file in store.path.parent.rglob("*") if file.is_file())


def test_looking_makes_no_file(tmp_path: Path) -> None:
    store = SqliteTraceStore(tmp_path / "none" / "traces.sqlite")
    assert store.runs() == []
    assert store.prune(keep=0) == []
    for look in (store.run, store.trace, store.delete):
        with pytest.raises(TraceError, match="no run is recorded"):
            look("last")
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_means_no_store_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("mysql://host/db", "sqlite:///traces.sqlite", "postgresql+psycopg://host/db"):
        with pytest.raises(TraceError, match="give postgresql://"):
            open_store(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    store = open_store("~/traces.sqlite")
    assert isinstance(store, SqliteTraceStore)
    assert store.path == tmp_path / "traces.sqlite"


# -- deleting is real


def test_deleted_content_is_gone_from_the_files(store: SqliteTraceStore, meta: MetaFactory) -> None:
    """Runs that were written at once share pages, between which SQLite moves their rows."""
    dice = random.Random(1)
    journals = [
        store.start_run(
            meta(f"run-{n}", input=f"INPUT-{n:03}-", conversation=f"TALK-{n:03}-", agent=f"A-{n}-")
        )
        for n in range(40)
    ]
    for at in range(3000):
        n = dice.randrange(40)
        # Blobs are compressed: the digits of this one are found as they are.
        blob = f"BLOB-{n:03}-" + dice.randbytes(5000).hex() if at % 100 == 0 else ""
        add(journals[n], at, text=f"TOKEN-{n:03}-" + "x" * dice.randrange(10, 800), blob=blob)
    for n, journal in enumerate(journals):
        outcome = Outcome(status="failed", ended=9e9, error=f"E-{n:03}-", result=f"R-{n:03}-")
        journal.finish(outcome)
    reader = SqliteTraceStore(store.path)
    assert len(reader.runs()) == 40
    order = dice.sample(range(40), 39)
    for n in order[:30]:
        assert f"TOKEN-{n:03}-".encode() in bytes_on_disk(store)
        store.delete(f"run-{n}")
        data = bytes_on_disk(store)
        for word in ("TOKEN", "INPUT", "TALK", "E", "R"):
            assert f"{word}-{n:03}-".encode() not in data, (word, n)
    assert len(reader.runs()) == 10, "one that reads is not in the way"
    reader.close()
    assert len(store.prune(keep=1)) == 9
    data = bytes_on_disk(store)
    for n in order[:30]:
        assert f'run-{n}"'.encode() not in data
    assert len(store.runs()) == 1


def test_deleted_blobs_are_gone_from_the_files(store: SqliteTraceStore, meta: MetaFactory) -> None:
    journal = store.start_run(meta())
    add(journal, 1, note="".join(random.Random(3).choices("0123456789abcdef", k=40_000)))
    finish(journal)
    with contextlib.closing(sqlite3.connect(store.path)) as connection:
        [(blob,)] = connection.execute("SELECT data FROM blobs").fetchall()
    parts = [blob[at : at + 64] for at in range(0, len(blob) - 64, 4096)]
    assert all(part in bytes_on_disk(store) for part in parts)
    store.delete("run-1")
    data = bytes_on_disk(store)
    assert not any(part in data for part in parts)
    assert len(data) < len(blob) + 100_000, "the space is given back"


def test_a_reader_in_the_way_of_deleting_is_said(
    store: SqliteTraceStore, meta: MetaFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seamline.traces.sqlite._BUSY_MS", 200)
    journal = store.start_run(meta())
    add(journal, 1, text="SECRET")
    finish(journal)
    with contextlib.closing(sqlite3.connect(store.path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT COUNT(*) FROM effects").fetchone()
        with pytest.raises(TraceError, match=r"is deleted, but .*keeps reading.* traces compact"):
            store.delete("run-1")
    assert store.runs() == []
    assert b"SECRET" in bytes_on_disk(store)
    store.compact()
    assert b"SECRET" not in bytes_on_disk(store)


# -- locks and processes


def test_the_write_lock_lets_one_in(tmp_path: Path) -> None:
    mine, other = (WriteLock(tmp_path / "lock", timeout=0.05) for _ in range(2))
    with mine.held(), pytest.raises(TraceError, match="another process has held"), other.held():
        pass
    with other.held():
        pass


def test_every_commit_is_made_under_the_lock(store: SqliteTraceStore, meta: MetaFactory) -> None:
    journal = store.start_run(meta())
    journal.flush()
    with WriteLock(Path(f"{store.path}-lock"), timeout=1).held():
        add(journal, 1)
        time.sleep(0.2)
        assert store.effects("run-1") == []
    finish(journal)
    assert len(store.effects("run-1")) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_store_does_not_survive_a_fork(store: SqliteTraceStore, meta: MetaFactory) -> None:
    journal = store.start_run(meta())
    finish(store.start_run(meta("run-2")))
    assert len(store.runs()) == 2
    uses: list[Callable[[], object]] = [lambda: add(journal, 1), journal.flush, store.runs]
    for use in uses:
        pid = os.fork()
        if pid == 0:
            try:
                use()
            except TraceError as error:
                os._exit(0 if "fork" in str(error) else 2)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    finish(journal)


# -- bad files


def test_a_file_that_is_no_store_is_refused(tmp_path: Path, meta: MetaFactory) -> None:
    path = tmp_path / "traces.sqlite"
    path.write_bytes(b"something else entirely, and long enough to be looked at" * 100)
    with SqliteTraceStore(path) as store:
        for use in (store.runs, lambda: store.run("x"), lambda: store.start_run(meta())):
            with pytest.raises(TraceError, match=r"traces.sqlite cannot be used.*not a database"):
                use()
    assert path.read_bytes().startswith(b"something else")


def test_the_database_of_another_program_is_left_alone(
    tmp_path: Path, meta: MetaFactory, run_sql: RunSql
) -> None:
    path = tmp_path / "notes.sqlite"
    run_sql(str(path), "CREATE TABLE notes (text)")
    before = path.read_bytes()
    with SqliteTraceStore(path) as store:
        for use in (store.runs, lambda: store.start_run(meta())):
            with pytest.raises(TraceError, match=r"notes.sqlite is another program's database"):
                use()
    assert path.read_bytes() == before


def test_an_empty_file_becomes_a_store(tmp_path: Path, meta: MetaFactory) -> None:
    path = tmp_path / "traces.sqlite"
    path.touch()
    with SqliteTraceStore(path) as store:
        assert store.runs() == []
        finish(store.start_run(meta()))
        assert len(store.runs()) == 1


@pytest.fixture
def ten_runs(store: SqliteTraceStore, meta: MetaFactory) -> SqliteTraceStore:
    """A closed store with ten runs of 100 effects, of about 50 kB each."""
    for n in range(10):
        journal = store.start_run(meta(f"run-{n}"))
        for at in range(100):
            add(journal, at, text=f"TEXT-{n}-{at:02}" + "t" * 300)
        finish(journal)
    store.close()
    return store


def test_garbage_in_a_record_is_named(ten_runs: SqliteTraceStore) -> None:
    data = ten_runs.path.read_bytes()
    at = data.index(b"TEXT-3-50")
    ten_runs.path.write_bytes(data[:at] + b"\xff\xfe\x00garbage" + data[at + 10 :])
    with SqliteTraceStore(ten_runs.path) as store:
        with pytest.raises(TraceError, match=r"journal of run run-3, record 51: "):
            store.trace("run-3")
        assert all(store.trace(f"run-{n}") for n in range(10) if n != 3)


def test_garbage_over_a_page_spoils_only_what_was_there(
    ten_runs: SqliteTraceStore, meta: MetaFactory
) -> None:
    data = bytearray(ten_runs.path.read_bytes())
    at = data.index(b"TEXT-3-50") // 4096 * 4096
    data[at : at + 4096] = random.Random(2).randbytes(4096)
    ten_runs.path.write_bytes(data)
    with SqliteTraceStore(ten_runs.path) as store:
        with pytest.raises(TraceError, match=r"traces.sqlite cannot be used.*malformed.*recover"):
            store.trace("run-3")
        assert len(store.runs()) == 10
        assert [len(store.trace(f"run-{n}").entries) for n in (0, 1, 8, 9)] == [100] * 4
        finish(store.start_run(meta("after")))
        assert store.trace("after").status == "done"


def test_a_file_cut_short_is_one_error(ten_runs: SqliteTraceStore) -> None:
    data = ten_runs.path.read_bytes()
    ten_runs.path.write_bytes(data[: len(data) // 2])
    with SqliteTraceStore(ten_runs.path) as store:
        for use in (store.runs, lambda: store.trace("run-9"), lambda: store.delete("run-9")):
            with pytest.raises(TraceError, match=r"traces.sqlite cannot be used.*malformed"):
                use()


# -- bad disks


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="needs POSIX rights")
def test_a_folder_that_cannot_be_written_is_one_error(child: Callable[..., Any]) -> None:
    code = """
    import os
    from pathlib import Path
    folder = Path(sys.argv[1]).parent
    first = store.start_run(RunMeta(run_id="first", agent="a", started=1.0))
    first.finish(Outcome(status="done", ended=2.0))
    store.close()
    for file in folder.iterdir():
        file.chmod(0o444)
    folder.chmod(0o555)
    if os.geteuid() == 0:
        os.seteuid(65534)
    for place in (sys.argv[1], folder / "new" / "traces.sqlite"):
        store = open_store(place)
        try:
            store.start_run(RunMeta(run_id="second", agent="a", started=1.0))
        except TraceError as error:
            print(error)
    if os.getuid() == 0:
        os.seteuid(0)
    folder.chmod(0o755)
    print(len(open_store(sys.argv[1]).runs()))
    """
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        path = Path(folder) / "traces.sqlite"
        stdout, stderr = child(code, str(path)).communicate(timeout=120)
    assert stderr == ""
    here, below, left = stdout.splitlines()
    assert str(path) in here
    assert str(path.parent / "new") in below
    for line in (here, below):
        assert "cannot be used" in line
        assert "mend the rights of the file and its folder" in line
    assert left == "1"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if sys.platform != "linux" or shutil.which("mount") is None:
        pytest.skip("needs Linux's tmpfs")
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"needs the right to mount: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


FILL = """
import random
first = store.start_run(RunMeta(run_id="first", agent="a", started=1.0))
add(first, 1)
first.finish(Outcome(status="done", ended=2.0))
second = store.start_run(RunMeta(run_id="second", agent="a", started=1.0))
fill()
kept = 0
try:
    for at in range(200):
        add(second, at, noise=random.Random(at).randbytes(20_000).hex())
        second.flush()
        kept += 1
except TraceError as error:
    print(kept, error)
try:
    second.finish(Outcome(status="done", ended=2.0))
except TraceError as error:
    print(error)
relieve()
third = store.start_run(RunMeta(run_id="third", agent="a", started=1.0))
third.finish(Outcome(status="done", ended=2.0))
store.close()
"""
LIMITED = """
import resource
def fill():
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
def relieve():
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
"""
FULL = """
from pathlib import Path
ballast = Path(sys.argv[1]).with_name("ballast")
def fill():
    ballast.write_bytes(bytes(1_000_000))
def relieve():
    ballast.unlink()
"""


def check_full_disk(stdout: str, stderr: str, path: Path) -> None:
    assert stderr == ""
    first, second, *_ = stdout.splitlines()
    kept = int(first.split()[0])
    assert kept > 0
    for line in (first, second):
        assert "run second cannot be recorded any further" in line
        assert "free some disk space" in line
    with SqliteTraceStore(path) as store:
        runs = {run.run_id: run.status for run in store.runs()}
        assert runs == {"first": "done", "second": "running", "third": "done"}
        assert len(store.trace("second").entries) >= kept
        assert len(store.trace("first").entries) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="needs resource limits")
def test_a_file_at_its_limit_loses_nothing_earlier(
    tmp_path: Path, child: Callable[..., Any]
) -> None:
    path = tmp_path / "traces.sqlite"
    stdout, stderr = child(LIMITED + FILL, str(path)).communicate(timeout=120)
    check_full_disk(stdout, stderr, path)


def test_a_full_disk_loses_nothing_earlier(small_disk: Path, child: Callable[..., Any]) -> None:
    path = small_disk / "traces.sqlite"
    stdout, stderr = child(FULL + FILL, str(path)).communicate(timeout=120)
    check_full_disk(stdout, stderr, path)


def test_deleting_on_a_full_disk_says_what_is_left(small_disk: Path, meta: MetaFactory) -> None:
    store = SqliteTraceStore(small_disk / "traces.sqlite")
    for name in ("keep", "drop"):
        journal = store.start_run(meta(name))
        add(journal, 1, text=f"SECRET-{name}", noise=random.Random(1).randbytes(600_000).hex())
        finish(journal)
    store.close()
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(1_000_000))
    with SqliteTraceStore(store.path) as store:
        with pytest.raises(TraceError, match=r"is deleted, but .* could not be compacted .*full"):
            store.delete("drop")
        ballast.unlink()
        store.compact()
        assert [run.run_id for run in store.runs()] == ["keep"]
        data = bytes_on_disk(store)
        assert b"SECRET-keep" in data
        assert b"SECRET-drop" not in data
