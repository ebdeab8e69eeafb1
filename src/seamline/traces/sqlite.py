"""Traces in one SQLite file."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from seamline.errors import TraceError
from seamline.traces.database import Connection
from seamline.traces.running import RunningRuns
from seamline.traces.sql import SqlTraceStore

__all__ = ["SqliteTraceStore", "WriteLock"]

_VERSION = 1
_BUSY_MS = 10_000
# Writing some gigabytes anew takes as long, and whoever does it holds the lock.
_LOCK_SECONDS = 120.0
_LOG_BYTES = 8 << 20

_TABLES = """
CREATE TABLE runs (
    id INTEGER PRIMARY KEY,
    run_id TEXT NOT NULL UNIQUE,
    agent TEXT NOT NULL,
    agent_version TEXT NOT NULL,
    status TEXT NOT NULL,
    started REAL NOT NULL,
    ended REAL,
    parent TEXT,
    conversation TEXT,
    error TEXT,
    header TEXT NOT NULL,
    footer TEXT
);
CREATE INDEX runs_by_time ON runs (started);
CREATE INDEX runs_by_agent ON runs (agent, started);
CREATE INDEX runs_by_status ON runs (status, started);
CREATE INDEX runs_by_parent ON runs (parent);
CREATE INDEX runs_by_conversation ON runs (conversation);
CREATE TABLE effects (
    run INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    record TEXT NOT NULL,
    PRIMARY KEY (run, seq)
) WITHOUT ROWID;
CREATE TABLE blobs (
    digest TEXT PRIMARY KEY,
    size INTEGER NOT NULL,
    data BLOB NOT NULL
);
CREATE TABLE run_blobs (
    run INTEGER NOT NULL,
    digest TEXT NOT NULL,
    PRIMARY KEY (run, digest)
) WITHOUT ROWID;
CREATE INDEX run_blobs_by_digest ON run_blobs (digest);
"""


class SqliteTraceStore(SqlTraceStore):
    """Traces in one SQLite file, which several processes may write at once.

    The file is made at the first write. Deleting is real: freed pages are overwritten, the
    file is written anew, and its log is emptied.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        super().__init__(_SqliteDatabase(self.path))


class WriteLock:
    """The right to write to a database file, for one holder among all processes.

    Every commit and every checkpoint of Seamline happens under it, so that no checkpoint ever
    meets a commit. SQLite 3.7.0 to 3.51.2 (but 3.44.6 and 3.50.7) can lose committed pages
    when a second checkpoint starts while another connection commits and restarts the log
    (https://sqlite.org/wal.html#walresetbug). Holding the lock always, and not only where this
    process has an affected SQLite, covers processes that come with different ones.
    """

    def __init__(self, path: Path, *, timeout: float) -> None:
        self._path = path
        self._timeout = timeout
        self._lock = FileLock(path, timeout=timeout, thread_local=False)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock. Raises `TraceError` when another process keeps it too long."""
        try:
            self._lock.acquire(poll_interval=0.001)
        except Timeout:
            raise TraceError(
                f"another process has held {self._path} for {self._timeout:g} s; "
                "end it, or use another trace store"
            ) from None
        try:
            yield
        finally:
            self._lock.release()


class _SqliteDatabase:
    errors: tuple[type[Exception], ...] = (sqlite3.Error, OSError)
    refusals: tuple[type[Exception], ...] = (sqlite3.IntegrityError, sqlite3.DataError)

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path
        self._log = Path(f"{path}-wal")
        self._lock_path = Path(f"{path}-lock")
        self._known = False

    def exists(self) -> bool:
        if not self._known and self._path.exists():
            with contextlib.closing(self._open()) as connection:
                # A file without tables is one that another process is making right now.
                self._known = not self._empty(connection)
        return self._known

    def create(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._lock(), contextlib.closing(self._open()) as connection:
            if self._version(connection) == 0:
                if not self._empty(connection):
                    raise self._foreign()
                connection.execute("PRAGMA journal_mode = WAL")
                connection.executescript(
                    f"BEGIN IMMEDIATE;{_TABLES}PRAGMA user_version = {_VERSION};COMMIT;"
                )

    def connect(self, *, write: bool) -> Connection:
        connection = self._open()
        try:
            if self._version(connection) == 0:
                raise self._foreign()
            # A checkpoint that SQLite starts on its own would not be under the WriteLock.
            connection.execute("PRAGMA wal_autocheckpoint = 0")
            if write:
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute("PRAGMA secure_delete = 1")
            else:
                connection.execute("PRAGMA query_only = 1")
                # Garbage is then found by the digest of its record, and named by that.
                connection.text_factory = lambda data: data.decode("utf-8", "replace")
        except BaseException:
            connection.close()
            raise
        return connection

    def _foreign(self) -> TraceError:
        return TraceError(f"{self.name} is another program's database; name another file")

    @staticmethod
    def _empty(connection: sqlite3.Connection) -> bool:
        return connection.execute("SELECT 1 FROM sqlite_master").fetchone() is None

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(
            self._path, timeout=_BUSY_MS / 1000, isolation_level=None, check_same_thread=False
        )

    def _version(self, connection: sqlite3.Connection) -> int:
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if version > _VERSION:
            raise TraceError(
                f"trace store {self.name} is of version {version}, this Seamline reads up to "
                f"{_VERSION}; upgrade with `pip install --upgrade seamline`"
            )
        return version

    def _lock(self) -> contextlib.AbstractContextManager[None]:
        # A lock object for each use: one object lets all threads in that share it.
        return WriteLock(self._lock_path, timeout=_LOCK_SECONDS).held()

    @contextlib.contextmanager
    def transaction(self, connection: Connection) -> Iterator[None]:
        with self._lock():
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                connection.execute("COMMIT")
            except BaseException:
                # A full disk may have rolled back already.
                with contextlib.suppress(sqlite3.OperationalError):
                    connection.execute("ROLLBACK")
                raise

    def settle(self, connection: Connection, *, last: bool = False) -> None:
        """Move a long log into the database; if anybody is in the way, some later time."""
        # What was committed is safe in the log, so a failure here takes nothing from anybody.
        with contextlib.suppress(TraceError, *self.errors):
            if self._log.stat().st_size > (0 if last else _LOG_BYTES):
                with self._lock():
                    self._checkpoint(connection, busy_ms=50)

    def _checkpoint(self, connection: Connection, *, busy_ms: int) -> bool:
        connection.execute(f"PRAGMA busy_timeout = {busy_ms}")
        try:
            busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
        return not busy

    def compact(self, connection: Connection) -> None:
        # `secure_delete` clears what is deleted, but not the copies of rows that SQLite leaves
        # in the free part of a page when it balances its trees; VACUUM writes every page anew.
        with self._lock():
            connection.execute("VACUUM")
            if not self._checkpoint(connection, busy_ms=_BUSY_MS):
                raise sqlite3.OperationalError("another process keeps reading, database is locked")

    def running(self) -> RunningRuns:
        return RunningRuns(Path(f"{self._path}-running"))

    def advice(self, error: Exception) -> str:
        text = str(error)
        if isinstance(error, sqlite3.IntegrityError):
            return "another process is writing the same run, or deleted it; start a new run"
        if "full" in text or "disk I/O" in text or "No space" in text:
            return "free some disk space and run again; what was recorded before is kept"
        if "locked" in text or "busy" in text:
            return "another program holds the trace store; end it and run again"
        if "malformed" in text or "not a database" in text:
            return f"move {self.name} away and run again; `sqlite3 FILE .recover` may save runs"
        if "readonly" in text or "unable to open" in text or isinstance(error, PermissionError):
            return "mend the rights of the file and its folder, or name another place"
        return "see `seamline doctor`"
