"""Where traces are kept: the `TraceStore` protocol, and SQLite as the default."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from seamline.errors import TraceError
from seamline.traces.journal import (
    Entry,
    Journal,
    Outcome,
    RunMeta,
    header_record,
    verify_chain,
)
from seamline.traces.running import RunningRuns
from seamline.traces.trace import Trace
from seamline.traces.values import (
    Blobs,
    Json,
    blob_digests,
    canonical_json,
    compress_blob,
    decompress_blob,
)
from seamline.traces.writer import BUSY_MS, GroupWriter, WriteLock

__all__ = ["RunSummary", "SqliteTraceStore", "TraceStore"]

_STORE_VERSION = 1

_TABLES = """
CREATE TABLE IF NOT EXISTS runs (
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
CREATE INDEX IF NOT EXISTS runs_by_time ON runs (started);
CREATE INDEX IF NOT EXISTS runs_by_agent ON runs (agent, started);
CREATE INDEX IF NOT EXISTS runs_by_status ON runs (status, started);
CREATE INDEX IF NOT EXISTS runs_by_parent ON runs (parent);
CREATE INDEX IF NOT EXISTS runs_by_conversation ON runs (conversation);
CREATE TABLE IF NOT EXISTS effects (
    run INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    record TEXT NOT NULL,
    PRIMARY KEY (run, seq)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS blobs (
    digest TEXT PRIMARY KEY,
    size INTEGER NOT NULL,
    data BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS run_blobs (
    run INTEGER NOT NULL,
    digest TEXT NOT NULL,
    PRIMARY KEY (run, digest)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS run_blobs_by_digest ON run_blobs (digest);
"""

_SUMMARY = """
SELECT run_id, agent, agent_version, status, started, ended, parent, conversation, error,
       COALESCE((SELECT MAX(seq) FROM effects WHERE run = runs.id), 0),
       CASE WHEN parent IS NULL THEN NULL ELSE header END
FROM runs
"""


@dataclass(frozen=True)
class RunSummary:
    """One line of a list of runs; times are seconds since the epoch."""

    run_id: str
    agent: str
    agent_version: str
    status: str
    started: float
    ended: float | None
    parent: str | None
    conversation: str | None
    error: str | None
    effects: int
    forked_at: str | None = None

    @property
    def seconds(self) -> float | None:
        """How long the run took; None while it runs, or when it was killed."""
        return None if self.ended is None else max(0.0, self.ended - self.started)


class TraceStore(Protocol):
    """Keeps runs. What a `flush`, `finish_run` or `delete` returned from has happened for good."""

    def start_run(self, meta: RunMeta) -> Journal:
        """The journal of a new run."""
        ...

    def resume_run(self, ref: str) -> Journal:
        """The journal of a run that waits for an answer or was killed, to go on writing it."""
        ...

    def append(self, run_id: str, entry: Entry, blobs: Blobs) -> None:
        """Take an entry of a run's journal; `Journal.append` calls this."""
        ...

    def finish_run(self, run_id: str, outcome: Outcome, footer: Json, blobs: Blobs) -> None:
        """Seal a run; `Journal.finish` calls this."""
        ...

    def flush(self, run_id: str | None = None) -> None:
        """Return when everything taken so far is committed."""
        ...

    def write_runs(self, traces: Iterable[Trace]) -> int:
        """Copy whole runs into the store; how many."""
        ...

    def runs(
        self,
        *,
        agent: str | None = None,
        status: str | None = None,
        since: float | None = None,
        conversation: str | None = None,
        limit: int = 50,
    ) -> list[RunSummary]:
        """The newest runs, newest first; `since` is seconds since the epoch."""
        ...

    def run(self, ref: str) -> RunSummary:
        """One run by its id, a unique beginning of it, or "last"."""
        ...

    def effects(self, ref: str) -> list[Entry]:
        """A run's effects, in the order they ended."""
        ...

    def trace(self, ref: str) -> Trace:
        """A whole run, its journal verified."""
        ...

    def delete(self, ref: str) -> RunSummary:
        """Delete a run for good, with the blobs that no other run needs."""
        ...

    def close(self) -> None:
        """Commit what is left and let go of the files."""
        ...


class SqliteTraceStore:
    """Traces in one SQLite file, which several processes may write at once.

    Writes are handed to a thread that commits them in groups, so that safety costs a run no
    time: `Journal.flush` and `finish` return when everything is on disk, and a process that is
    killed loses only what came after. The file is made at the first write.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._reading = threading.RLock()
        self._reader: sqlite3.Connection | None = None
        self._writer: GroupWriter | None = None
        self._opening = threading.Lock()
        self._running = RunningRuns(Path(f"{path}-running"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # -- writing

    def start_run(self, meta: RunMeta) -> Journal:
        """The journal of a new run. Raises `TraceError` where the file cannot be made."""
        blobs: Blobs = {}
        header = header_record(meta, blobs)

        def insert(connection: sqlite3.Connection) -> None:
            _insert_run(connection, meta, header)
            _insert_blobs(connection, meta.run_id, blobs)

        writer = self._open_writer()
        self._take(meta.run_id)
        writer.submit(meta.run_id, insert)
        return Journal(
            meta=meta, header_digest=header["digest"], sink=self, read_blob=self._read_blob
        )

    def resume_run(self, ref: str) -> Journal:
        """The journal of a run that waits for an answer or was killed, to go on writing it.

        Raises:
            TraceError: the run is over, damaged, or going on in this or another process.
        """
        run_id = self.run(ref).run_id
        writer = self._open_writer()
        # Before it is read, so that nobody writes it any more.
        self._take(run_id)
        try:
            trace = self.trace(run_id)
            self._reopen(writer, run_id, trace.status)
        except TraceError:
            self._running.let_go(run_id)
            raise
        return Journal(
            meta=trace.meta,
            header_digest=trace.records[0]["digest"],
            sink=self,
            entries=trace.entries,
            read_blob=self._read_blob,
        )

    @staticmethod
    def _reopen(writer: GroupWriter, run_id: str, status: str) -> None:
        if status not in ("needs_answer", "running"):
            raise TraceError(
                f"run {run_id} is over (status {status}) and cannot be resumed; start a new run"
            )

        def reopen(connection: sqlite3.Connection) -> None:
            done = connection.execute(
                "UPDATE runs SET status = 'running', ended = NULL, error = NULL, footer = NULL"
                " WHERE run_id = ? AND status = ?",
                (run_id, status),
            )
            if done.rowcount != 1:
                raise sqlite3.IntegrityError("the run was resumed or deleted elsewhere")

        writer.submit(run_id, reopen)
        writer.wait(run_id)

    def append(self, run_id: str, entry: Entry, blobs: Blobs) -> None:
        """Take an entry, to be committed within milliseconds.

        Raises:
            TraceError: an earlier entry of the run could not be written.
        """
        text = canonical_json(entry.record())

        def insert(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT INTO effects VALUES ((SELECT id FROM runs WHERE run_id = ?), ?, ?)",
                (run_id, entry.seq, text),
            )
            _insert_blobs(connection, run_id, blobs)

        self._open_writer().submit(run_id, insert)

    def finish_run(self, run_id: str, outcome: Outcome, footer: Json, blobs: Blobs) -> None:
        """Commit everything of the run and its end.

        Raises:
            TraceError: something of the run could not be written.
        """

        def update(connection: sqlite3.Connection) -> None:
            _end_run(connection, run_id, outcome, footer)
            _insert_blobs(connection, run_id, blobs)

        writer = self._open_writer()
        try:
            writer.submit(run_id, update)
            writer.wait(run_id)
        finally:
            self._running.let_go(run_id)

    def flush(self, run_id: str | None = None) -> None:
        """Return when everything taken so far, of one run or all, is committed.

        Raises:
            TraceError: something could not be written.
        """
        if self._writer is not None:
            self._writer.wait(run_id)

    def write_runs(self, traces: Iterable[Trace]) -> int:
        """Copy whole runs into the store, one transaction each; how many.

        The records are taken as they are: whoever read the traces has verified them, and so
        does everybody who reads them here.

        Raises:
            TraceError: the store has one of the runs already, or a trace lacks a blob. Runs
                that came before it are in the store.
        """
        count = 0
        for trace in traces:
            digests = {digest for record in trace.records for digest in blob_digests(record)}
            blobs = {digest: trace.read_blob(digest) for digest in sorted(digests)}

            def insert(
                connection: sqlite3.Connection, trace: Trace = trace, blobs: Blobs = blobs
            ) -> None:
                _insert_trace(connection, trace)
                _insert_blobs(connection, trace.run_id, blobs)

            writer = self._open_writer()
            writer.submit(trace.run_id, insert)
            writer.wait(trace.run_id)
            count += 1
        return count

    def delete(self, ref: str) -> RunSummary:
        """Delete a run for good, with the blobs that no other run needs.

        The freed pages are overwritten and the log is emptied, so the content is gone from
        the file. Raises `TraceError` where there is no such run.
        """
        summary = self.run(ref)

        def erase(connection: sqlite3.Connection) -> None:
            _erase(connection, summary.run_id)

        writer = self._open_writer()
        writer.shorten_log()
        writer.submit(f"delete {summary.run_id}", erase)
        writer.wait(f"delete {summary.run_id}")
        self._running.let_go(summary.run_id)
        return summary

    def close(self) -> None:
        """Commit what is left and let go of the files."""
        with self._opening:
            if self._writer is not None:
                self._writer.close()
        self._running.let_go_of_all()
        with self._reading:
            if self._reader is not None:
                self._reader.close()
                self._reader = None

    def _open_writer(self) -> GroupWriter:
        with self._opening:
            if self._writer is None:
                try:
                    self.path.parent.mkdir(parents=True, exist_ok=True)
                    lock = WriteLock(Path(f"{self.path}-lock"), timeout=BUSY_MS / 1000)
                    with lock.held():
                        _connect(self.path, write=True).close()
                except (OSError, sqlite3.Error) as error:
                    raise self._unusable(error) from error
                self._writer = GroupWriter(self.path, lambda: _connect(self.path, write=True), lock)
            return self._writer

    def _take(self, run_id: str) -> None:
        try:
            self._running.take(run_id)
        except OSError as error:
            raise self._unusable(error) from error

    def _unusable(self, error: Exception) -> TraceError:
        return TraceError(
            f"trace store {self.path} cannot be used ({error}); "
            "free the disk, mend the rights, or move the file away and run again"
        )

    # -- reading

    @contextlib.contextmanager
    def _read(self) -> Iterator[sqlite3.Connection]:
        with self._reading:
            try:
                if self._reader is None:
                    self._reader = _connect(self.path, write=False)
                yield self._reader
            except (sqlite3.Error, OSError) as error:
                raise self._unusable(error) from error

    def runs(
        self,
        *,
        agent: str | None = None,
        status: str | None = None,
        since: float | None = None,
        conversation: str | None = None,
        limit: int = 50,
    ) -> list[RunSummary]:
        """The newest runs, newest first; an empty list where nothing was ever recorded."""
        wanted = {
            "agent = ?": agent,
            "status = ?": status,
            "started >= ?": since,
            "conversation = ?": conversation,
        }
        given = {clause: value for clause, value in wanted.items() if value is not None}
        where = " WHERE " + " AND ".join(given) if given else ""
        query = f"{_SUMMARY}{where} ORDER BY started DESC, id DESC LIMIT ?"
        return self._summaries(query, (*given.values(), limit))

    def _summaries(self, query: str, values: tuple[object, ...]) -> list[RunSummary]:
        if not self.path.exists():
            return []
        with self._read() as connection:
            return [_summary(row) for row in connection.execute(query, values)]

    def run(self, ref: str) -> RunSummary:
        """One run by its id, a unique beginning of it, or "last".

        Raises:
            TraceError: no run, or several, match.
        """
        if ref == "last":
            newest = self.runs(limit=1)
            if not newest:
                raise TraceError(f"no run is recorded in {self.path} yet; run an agent first")
            return newest[0]
        # "\U0010ffff" sorts behind every continuation, so this reads one stretch of the index.
        query = f"{_SUMMARY} WHERE run_id >= ? AND run_id < ? ORDER BY run_id LIMIT 6"
        found = self._summaries(query, (ref, ref + "\U0010ffff")) if ref else []
        exact = [summary for summary in found if summary.run_id == ref]
        if len(exact or found) == 1:
            return (exact or found)[0]
        if found:
            ids = ", ".join(summary.run_id for summary in found[:5])
            raise TraceError(f"run {ref!r} is ambiguous: {ids}; give more of the id")
        raise TraceError(f"no run {ref!r} in {self.path}; `seamline traces list` shows the runs")

    def effects(self, ref: str) -> list[Entry]:
        """A run's effects, in the order they ended. Raises `TraceError`."""
        return list(self.trace(ref).entries)

    def trace(self, ref: str) -> Trace:
        """A whole run, its journal verified.

        Raises:
            TraceError: no such run, a damaged record, or a journal of a newer Seamline.
        """
        run_id = self.run(ref).run_id
        with self._read() as connection:
            # One statement, so that a run being written is seen as of one moment.
            rows = connection.execute(
                "SELECT 0, 0, header, status FROM runs WHERE run_id = :run"
                " UNION ALL SELECT 1, seq, record, '' FROM effects"
                " WHERE run = (SELECT id FROM runs WHERE run_id = :run)"
                " UNION ALL SELECT 2, 0, footer, '' FROM runs"
                " WHERE run_id = :run AND footer IS NOT NULL ORDER BY 1, 2",
                {"run": run_id},
            ).fetchall()
        records = [_parse(text, at, run_id) for at, (_, _, text, _) in enumerate(rows)]
        verify_chain(records, run_id=run_id, sealed=rows[0][3] != "running")
        return Trace.from_records(records, self._read_blob)

    def _read_blob(self, digest: str) -> bytes:
        with self._read() as connection:
            row = connection.execute(
                "SELECT size, data FROM blobs WHERE digest = ?", (digest,)
            ).fetchone()
        if row is None:
            raise TraceError(
                f"blob {digest} is missing from {self.path}; restore the file from a copy"
            )
        return decompress_blob(row[1], size=row[0])


def _summary(row: Sequence[Any]) -> RunSummary:
    *columns, header = row
    forked_at = None
    if header is not None:
        # A damaged header must not hide the other runs; reading the trace names the damage.
        with contextlib.suppress(ValueError, TypeError, LookupError):
            forked_at = json.loads(header)["meta"]["forked_at"]
    columns.append(forked_at if isinstance(forked_at, str) else None)
    return RunSummary(*columns)


def _connect(path: Path, *, write: bool) -> sqlite3.Connection:
    if not write and not path.exists():
        raise TraceError(f"no run is recorded in {path} yet; run an agent first")
    connection = sqlite3.connect(
        path, timeout=BUSY_MS / 1000, isolation_level=None, check_same_thread=False
    )
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > _STORE_VERSION:
            raise TraceError(
                f"trace store {path} is of version {version}, this Seamline reads up to "
                f"{_STORE_VERSION}; upgrade with `pip install --upgrade seamline`"
            )
        if not write:
            connection.execute("PRAGMA query_only = 1")
            return connection
        connection.execute("PRAGMA journal_mode = WAL")
        # A checkpoint that SQLite starts on its own would not be under the WriteLock.
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA secure_delete = 1")
        if version == 0:
            connection.executescript(
                f"BEGIN IMMEDIATE;{_TABLES}PRAGMA user_version = {_STORE_VERSION};COMMIT;"
            )
    except BaseException:
        connection.close()
        raise
    return connection


def _insert_run(connection: sqlite3.Connection, meta: RunMeta, header: Json) -> None:
    connection.execute(
        "INSERT INTO runs (run_id, agent, agent_version, status, started, parent,"
        " conversation, header) VALUES (?, ?, ?, 'running', ?, ?, ?, ?)",
        (
            meta.run_id,
            meta.agent,
            meta.agent_version,
            meta.started,
            meta.parent,
            meta.conversation,
            canonical_json(header),
        ),
    )


def _end_run(connection: sqlite3.Connection, run_id: str, outcome: Outcome, footer: Json) -> None:
    connection.execute(
        "UPDATE runs SET status = ?, ended = ?, error = ?, footer = ? WHERE run_id = ?",
        (outcome.status, outcome.ended, outcome.error, canonical_json(footer), run_id),
    )


def _insert_trace(connection: sqlite3.Connection, trace: Trace) -> None:
    _insert_run(connection, trace.meta, trace.records[0])
    connection.executemany(
        "INSERT INTO effects VALUES ((SELECT id FROM runs WHERE run_id = ?), ?, ?)",
        [
            (trace.run_id, entry.seq, canonical_json(record))
            for entry, record in zip(trace.entries, trace.records[1:], strict=False)
        ],
    )
    if trace.outcome is not None:
        _end_run(connection, trace.run_id, trace.outcome, trace.records[-1])


def _insert_blobs(connection: sqlite3.Connection, run_id: str, blobs: Mapping[str, bytes]) -> None:
    for digest, data in blobs.items():
        known = connection.execute("SELECT 1 FROM blobs WHERE digest = ?", (digest,)).fetchone()
        if known is None:
            connection.execute(
                "INSERT INTO blobs VALUES (?, ?, ?)", (digest, len(data), compress_blob(data))
            )
        connection.execute(
            "INSERT OR IGNORE INTO run_blobs VALUES ((SELECT id FROM runs WHERE run_id = ?), ?)",
            (run_id, digest),
        )


def _erase(connection: sqlite3.Connection, run_id: str) -> None:
    row = connection.execute("SELECT id FROM runs WHERE run_id = ?", (run_id,)).fetchone()
    if row is None:
        return
    held = connection.execute("SELECT digest FROM run_blobs WHERE run = ?", row).fetchall()
    connection.execute("DELETE FROM run_blobs WHERE run = ?", row)
    connection.execute("DELETE FROM effects WHERE run = ?", row)
    connection.execute("DELETE FROM runs WHERE id = ?", row)
    connection.executemany(
        "DELETE FROM blobs WHERE digest = ?1"
        " AND NOT EXISTS (SELECT 1 FROM run_blobs WHERE digest = ?1)",
        held,
    )


def _parse(text: str, at: int, run_id: str) -> dict[str, Json]:
    try:
        record = json.loads(text)
    except (ValueError, TypeError) as error:
        raise TraceError(f"journal of run {run_id}, record {at}: not JSON ({error})") from error
    if not isinstance(record, dict):
        raise TraceError(f"journal of run {run_id}, record {at}: not a JSON object")
    return record
