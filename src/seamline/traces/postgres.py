"""Traces in a Postgres database; needs psycopg, which comes with `seamline[postgres]`."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from seamline.errors import TraceError
from seamline.traces.database import Connection, Cursor
from seamline.traces.sql import SqlTraceStore

try:
    import psycopg
    from psycopg.conninfo import conninfo_to_dict
except ImportError as missing:
    raise TraceError(
        f"traces in Postgres need psycopg ({missing}): pip install 'seamline[postgres]'"
    ) from missing

__all__ = ["PostgresTraceStore"]

_VERSION = 1
_CONNECT_SECONDS = 10
_EXPECTED = "postgresql://user:password@host:port/database"

# "C" compares code points, as the search for the beginning of a run id needs it. Texts and not
# JSON types: the records' digests are taken of their very characters.
_TABLES = """
CREATE SCHEMA IF NOT EXISTS seamline;
SET LOCAL search_path = seamline;
CREATE TABLE store (version INTEGER NOT NULL);
CREATE TABLE runs (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id TEXT COLLATE "C" NOT NULL UNIQUE,
    agent TEXT NOT NULL,
    agent_version TEXT NOT NULL,
    status TEXT NOT NULL,
    started DOUBLE PRECISION NOT NULL,
    ended DOUBLE PRECISION,
    parent TEXT,
    conversation TEXT,
    error TEXT,
    header TEXT NOT NULL,
    footer TEXT
);
CREATE INDEX runs_by_time ON runs (started, id);
CREATE INDEX runs_by_agent ON runs (agent, started, id);
CREATE INDEX runs_by_status ON runs (status, started, id);
CREATE INDEX runs_by_parent ON runs (parent);
CREATE INDEX runs_by_conversation ON runs (conversation, started, id);
CREATE TABLE effects (
    run BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    record TEXT NOT NULL,
    PRIMARY KEY (run, seq)
);
CREATE TABLE blobs (
    digest TEXT PRIMARY KEY,
    size BIGINT NOT NULL,
    data BYTEA NOT NULL
);
CREATE TABLE run_blobs (
    run BIGINT NOT NULL,
    digest TEXT NOT NULL,
    PRIMARY KEY (run, digest)
);
CREATE INDEX run_blobs_by_digest ON run_blobs (digest);
"""

_LOCK = "SELECT pg_advisory_xact_lock(hashtext('seamline traces'))"


class PostgresTraceStore(SqlTraceStore):
    """Traces in the schema `seamline` of a Postgres database, for many machines at once.

    The schema is made at the first write. A connection that is lost between two transactions
    is made again; one that is lost inside of one fails the runs that were being written.

    Deleting writes the tables anew. What the server keeps elsewhere (its write-ahead log,
    replicas, backups) follows the server's own settings.

    Args:
        url: `postgresql://user:password@host:port/database`, with libpq's parameters.

    Raises:
        TraceError: it is no connection string.
    """

    def __init__(self, url: str) -> None:
        super().__init__(_PostgresDatabase(url))


class _Link:
    """A connection in autocommit mode, made again when it turns out to be lost.

    That is safe for what stands alone: a query, or the BEGIN of a transaction.
    """

    def __init__(self, connect: Callable[[], psycopg.Connection[Any]]) -> None:
        self._connect = connect
        self._raw = connect()
        self.within = False

    def execute(self, query: str, values: Sequence[Any] = (), /) -> Cursor:
        statement = query.replace("?", "%s").encode()
        try:
            return self._raw.execute(statement, values)
        except psycopg.OperationalError:
            if self.within or not self._raw.closed:
                raise
            self._raw = self._connect()
            return self._raw.execute(statement, values)

    def executemany(self, query: str, rows: Iterable[Sequence[Any]], /) -> None:
        with self._raw.cursor() as cursor:
            cursor.executemany(query.replace("?", "%s").encode(), rows)

    def close(self) -> None:
        self._raw.close()


class _PostgresDatabase:
    errors: tuple[type[Exception], ...] = (psycopg.Error, OSError)
    refusals: tuple[type[Exception], ...] = (psycopg.IntegrityError, psycopg.DataError)

    def __init__(self, url: str) -> None:
        self.name, self._options = _parsed(url)
        self._url = url
        self._known = False

    def exists(self) -> bool:
        if not self._known:
            with contextlib.closing(self._open()) as raw:
                self._known = self._version(raw) is not None
        return self._known

    def create(self) -> None:
        with contextlib.closing(self._open()) as raw, raw.transaction():
            raw.execute(_LOCK)
            if self._version(raw) is None:
                raw.execute(_TABLES)
                raw.execute("INSERT INTO store VALUES (%s)", (_VERSION,))

    def connect(self, *, write: bool) -> Connection:
        def connect() -> psycopg.Connection[Any]:
            raw = self._open()
            try:
                if self._version(raw) is None:
                    raise TraceError(f"no run is recorded in {self.name} yet; run an agent first")
                raw.execute("SET search_path = seamline")
                if not write:
                    raw.execute("SET default_transaction_read_only = on")
            except BaseException:
                raw.close()
                raise
            return raw

        return _Link(connect)

    def _open(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self._url, autocommit=True, **self._options)

    def _version(self, raw: psycopg.Connection[Any]) -> int | None:
        """The version of the tables; None where there are none."""
        row = raw.execute("SELECT to_regclass('seamline.store'), getdatabaseencoding()").fetchone()
        assert row is not None
        if row[1] != "UTF8":
            raise TraceError(
                f"the database of {self.name} has the encoding {row[1]}; "
                "make one with `createdb --encoding UTF8 --template template0 NAME`"
            )
        if row[0] is None:
            return None
        found = raw.execute("SELECT version FROM seamline.store").fetchone()
        version = int(found[0]) if found else 0
        if version > _VERSION:
            raise TraceError(
                f"trace store {self.name} is of version {version}, this Seamline reads up to "
                f"{_VERSION}; upgrade with `pip install --upgrade seamline`"
            )
        return version

    @contextlib.contextmanager
    def transaction(self, connection: Connection) -> Iterator[None]:
        assert isinstance(connection, _Link)
        connection.execute("BEGIN")
        connection.within = True
        try:
            # One writer at a time: two that store the same blobs in another order would lock
            # each other out, and a blob must not go while another run comes to need it.
            connection.execute(_LOCK)
            yield
            connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(psycopg.Error):
                connection.execute("ROLLBACK")
            raise
        finally:
            connection.within = False

    def settle(self, connection: Connection, *, last: bool = False) -> None:
        """Nothing: the server does."""

    def compact(self, connection: Connection) -> None:
        connection.execute("VACUUM (FULL, ANALYZE) runs, effects, blobs, run_blobs")

    def running(self) -> _Held:
        return _Held(self._open)

    def advice(self, error: Exception) -> str:
        state = getattr(error, "sqlstate", None) or ""
        if state.startswith("23"):
            return "another process is writing the same run, or deleted it; start a new run"
        if state.startswith("53"):
            return "free what the server is short of and run again; what was recorded is kept"
        if state == "42501":
            return "grant the user CREATE on the database, and the schema `seamline` if it exists"
        if isinstance(error, psycopg.OperationalError):
            return (
                "check that the server runs and that address, database, user and password are "
                "right, and run again"
            )
        return "see the server's log"


class _Held:
    """The runs that this process holds, as advisory locks of a session of their own.

    The server lets go of them when the session ends, however it does. A session that was lost
    holds nothing; its runs go on, and only their rows keep a second writer out then.
    """

    _TAKE = "SELECT pg_try_advisory_lock(hashtext('seamline run'), hashtext(%s))"
    _LET_GO = "SELECT pg_advisory_unlock(hashtext('seamline run'), hashtext(%s))"

    def __init__(self, connect: Callable[[], psycopg.Connection[Any]]) -> None:
        self._connect = connect
        self._raw: psycopg.Connection[Any] | None = None
        self._runs: set[str] = set()
        self._lock = threading.Lock()

    def take(self, run_id: str) -> None:
        with self._lock:
            try:
                taken = self._try(run_id)
            except psycopg.OperationalError:
                if self._raw is not None and not self._raw.closed:
                    raise
                taken = self._try(run_id)
            if not taken:
                raise TraceError(
                    f"run {run_id} is still running; wait for its end, or end its process first"
                )
            self._runs.add(run_id)

    def _try(self, run_id: str) -> bool:
        if self._raw is None or self._raw.closed:
            self._raw = self._connect()
            self._runs.clear()
        # Postgres would give a session its own lock a second time.
        if run_id in self._runs:
            return False
        row = self._raw.execute(self._TAKE, (run_id,)).fetchone()
        return bool(row and row[0])

    def let_go(self, run_id: str) -> None:
        with self._lock:
            if run_id in self._runs and self._raw is not None:
                self._runs.discard(run_id)
                with contextlib.suppress(psycopg.Error):
                    self._raw.execute(self._LET_GO, (run_id,))

    def let_go_of_all(self) -> None:
        with self._lock:
            self._runs.clear()
            if self._raw is not None:
                self._raw.close()
                self._raw = None


def _parsed(url: str) -> tuple[str, dict[str, Any]]:
    """What messages call a store, without the password; options that the URL leaves open.

    Raises:
        TraceError: it is no connection string; the message does not repeat it.
    """
    try:
        given = {key: str(value) for key, value in conninfo_to_dict(url).items()}
    except psycopg.Error:
        # Neither the text nor its cause: both may hold the password.
        raise TraceError(
            f"the connection string of the trace store cannot be read; expected {_EXPECTED}"
        ) from None
    host, port, database = (given.get(key, "") for key in ("host", "port", "dbname"))
    if "@" in host + database or (not port.replace(",", "").isdecimal() and port):
        # A password with such a character spills into what stands behind it.
        raise TraceError(
            f"the connection string of the trace store is garbled; expected {_EXPECTED} with "
            "special characters of the password percent-encoded (@ as %40, / as %2F)"
        )
    user = f"{given['user']}@" if "user" in given else ""
    name = f"postgresql://{user}{host}{':' if port else ''}{port}/{database}"
    defaults = {"connect_timeout": _CONNECT_SECONDS, "application_name": "seamline"}
    options = {key: value for key, value in defaults.items() if key not in given}
    return name, {**options, "client_encoding": "UTF8"}
