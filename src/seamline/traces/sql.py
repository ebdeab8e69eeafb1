"""A trace store on SQL tables: all of it that is the same for every database."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from seamline.errors import InputError, TraceError
from seamline.texts import whole_text
from seamline.traces.database import Connection, Database
from seamline.traces.journal import (
    Entry,
    Journal,
    Outcome,
    RunMeta,
    header_record,
    verify_chain,
)
from seamline.traces.trace import RunSummary, Trace
from seamline.traces.values import (
    Blobs,
    Json,
    blob_digests,
    canonical_json,
    compress_blob,
    decompress_blob,
    record_text,
)
from seamline.traces.writer import GroupWriter

__all__ = ["SqlTraceStore"]

# A run that still runs is taken for killed after so long.
_ALIVE_SECONDS = 86_400
_BULK_RECORDS = 20_000
_ERASE_RUNS = 200

_SUMMARY = """
SELECT run_id, agent, agent_version, status, started, ended, parent, conversation, error,
       COALESCE((SELECT MAX(seq) FROM effects WHERE run = runs.id), 0),
       CASE WHEN parent IS NULL THEN NULL ELSE header END
FROM runs
"""
_JOURNAL = """
SELECT 0, 0, header, status FROM runs WHERE run_id = ?
UNION ALL
SELECT 1, seq, record, '' FROM effects WHERE run = (SELECT id FROM runs WHERE run_id = ?)
UNION ALL
SELECT 2, 0, footer, '' FROM runs WHERE run_id = ? AND footer IS NOT NULL
ORDER BY 1, 2
"""


class SqlTraceStore:
    """Traces in the tables of a database, which several processes may write at once.

    Entries are handed to a thread that commits them in groups, so that safety costs a run no
    time: `Journal.flush` and `finish` return when everything is committed, and a process that
    is killed loses only what came after. Nothing is made before the first write.
    """

    def __init__(self, database: Database) -> None:
        self.name = database.name
        self._database = database
        self._reading = threading.RLock()
        self._reader: Connection | None = None
        self._reader_pid = 0
        self._writer: GroupWriter | None = None
        self._opening = threading.Lock()
        self._running = database.running()

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
        """The journal of a new run. Raises `TraceError` where the store cannot be made."""
        blobs: Blobs = {}
        header = header_record(meta, blobs)

        def insert(connection: Connection) -> None:
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
        self._open_writer()
        # Before it is read, so that nobody writes it any more.
        self._take(run_id)
        try:
            trace = self.trace(run_id)
            self._reopen(run_id, trace.status)
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

    def _reopen(self, run_id: str, status: str) -> None:
        if status not in ("needs_answer", "running"):
            raise TraceError(
                f"run {run_id} is over (status {status}) and cannot be resumed; start a new run"
            )
        with self._write() as connection, self._database.transaction(connection):
            done = connection.execute(
                "UPDATE runs SET status = 'running', ended = NULL, error = NULL, footer = NULL"
                " WHERE run_id = ? AND status = ?",
                (run_id, status),
            )
            if done.rowcount != 1:
                raise TraceError(
                    f"run {run_id} was resumed or deleted elsewhere just now; look at it with "
                    f"`seamline traces show {run_id}`"
                )

    def _take(self, run_id: str) -> None:
        """Hold a run for this process. Raises `TraceError` where it is going on elsewhere."""
        with self._usable():
            self._running.take(run_id)

    def append(self, run_id: str, entry: Entry, blobs: Blobs) -> None:
        """Take an entry, to be committed within milliseconds.

        Raises:
            TraceError: an earlier entry of the run could not be written.
        """
        text = canonical_json(entry.record())

        def insert(connection: Connection) -> None:
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

        def update(connection: Connection) -> None:
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
        """Copy whole runs into the store, many effects to a transaction; how many runs.

        The records are taken as they are: whoever read the traces has verified them, and so
        does everybody who reads them here.

        Raises:
            TraceError: the store has one of the runs already, or a trace lacks a blob. Runs
                that came long before it are in the store.
        """
        done = size = 0
        batch: list[_Whole] = []
        with self._write() as connection:
            for trace in traces:
                batch.append(_Whole.of(trace))
                size += len(trace.records)
                if size >= _BULK_RECORDS:
                    done, size = done + self._write_whole(connection, batch), 0
                    batch.clear()
            return done + self._write_whole(connection, batch)

    def _write_whole(self, connection: Connection, runs: Sequence[_Whole]) -> int:
        with self._database.transaction(connection):
            for run in runs:
                run.insert(connection)
        self._database.settle(connection)
        return len(runs)

    def close(self) -> None:
        """Commit what is left and let go of the files and connections."""
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
                with self._usable():
                    self._database.create()
                self._writer = GroupWriter(self._database)
            return self._writer

    @contextlib.contextmanager
    def _write(self) -> Iterator[Connection]:
        """A connection of the caller's own, once all that was submitted has been settled."""
        self._open_writer().drain()
        with self._usable():
            connection = self._database.connect(write=True)
            try:
                yield connection
                self._database.settle(connection)
            finally:
                connection.close()

    @contextlib.contextmanager
    def _usable(self) -> Iterator[None]:
        try:
            yield
        except self._database.errors as error:
            text = " ".join(str(error).split())
            raise TraceError(
                f"trace store {self.name} cannot be used ({text}); {self._database.advice(error)}"
            ) from error

    # -- deleting

    def delete(self, *refs: str) -> list[RunSummary]:
        """Delete runs for good, with the blobs that no other run needs.

        The store is compacted afterwards, which takes time in proportion to all of it: delete
        many runs in one call. Forks of a deleted run stay.

        Raises:
            TraceError: there is no such run (then none is deleted), or the store could not be
                compacted.
        """
        self._drain()
        found = {run.run_id: run for run in map(self.run, refs)}
        return self._erase(list(found.values()))

    def delete_conversation(self, conversation: str) -> list[RunSummary]:
        """Delete all runs of a conversation, as `delete` does.

        Raises:
            TraceError: there is none, or the store could not be compacted.
        """
        self._drain()
        found = self._select({"conversation = ?": conversation})
        if not found:
            raise TraceError(
                f"no run of conversation {conversation!r} in {self.name}; "
                "`seamline traces list --json` shows each run's conversation"
            )
        return self._erase(found)

    def prune(
        self,
        *,
        before: float | None = None,
        keep: int | None = None,
        agent: str | None = None,
        dry_run: bool = False,
    ) -> list[RunSummary]:
        """Delete the runs that every given rule gives up, as `delete` does; newest first.

        A run that still runs is left alone until it is a day old: then it was killed.

        Args:
            before: Gives up what started earlier, in seconds since the epoch.
            keep: Gives up all but so many of the newest (of `agent`, where that is given).
            agent: Gives up runs of this agent only.
            dry_run: Only say which runs would be deleted.

        Raises:
            InputError: No rule is given.
            TraceError: The store could not be compacted.
        """
        if before is None and keep is None and agent is None:
            raise InputError("no rule says which runs to prune; give before, keep or agent")
        self._drain()
        alive = time.time() - _ALIVE_SECONDS
        found = [
            run
            for run in self._select({"agent = ?": agent})[keep or 0 :]
            if (before is None or run.started < before)
            and (run.status != "running" or run.started < alive)
        ]
        return found if dry_run else self._erase(found)

    def compact(self) -> None:
        """Write the store anew, so that free parts of it hold nothing that was deleted.

        Deleting does this; it is for a deletion that said it could not.

        Raises:
            TraceError: it is not possible now; the message says why.
        """
        if self._exists():
            with self._write() as connection:
                self._database.compact(connection)

    def _drain(self) -> None:
        if self._writer is not None:
            self._writer.drain()

    def _erase(self, runs: list[RunSummary]) -> list[RunSummary]:
        if not runs:
            return []
        with self._write() as connection:
            for first in range(0, len(runs), _ERASE_RUNS):
                with self._database.transaction(connection):
                    for run in runs[first : first + _ERASE_RUNS]:
                        _erase(connection, run.run_id)
            try:
                self._database.compact(connection)
            except self._database.errors as error:
                text = " ".join(str(error).split())
                raise TraceError(
                    f"what was asked for is deleted, but {self.name} could not be compacted "
                    f"({text}), so that free parts of it may still hold the content; "
                    f"{self._database.advice(error)}, and then `seamline traces compact`"
                ) from error
        for run in runs:
            self._running.let_go(run.run_id)
        return runs

    # -- reading

    def _exists(self) -> bool:
        with self._usable():
            return self._database.exists()

    @contextlib.contextmanager
    def _read(self) -> Iterator[Connection]:
        with self._reading, self._usable():
            if self._reader is None:
                self._reader = self._database.connect(write=False)
                self._reader_pid = os.getpid()
            elif self._reader_pid != os.getpid():
                raise TraceError(
                    "a trace store was carried over a fork; open it in the new process"
                )
            yield self._reader

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
        return self._select(wanted, limit=limit)

    def _select(
        self, wanted: Mapping[str, object], *, limit: int | None = None
    ) -> list[RunSummary]:
        given = {clause: value for clause, value in wanted.items() if value is not None}
        where = " WHERE " + " AND ".join(given) if given else ""
        query = f"{_SUMMARY}{where} ORDER BY started DESC, id DESC"
        values = tuple(given.values())
        if limit is not None:
            query, values = f"{query} LIMIT ?", (*values, limit)
        return self._summaries(query, values)

    def _summaries(self, query: str, values: tuple[object, ...]) -> list[RunSummary]:
        if not self._exists():
            return []
        with self._read() as connection:
            return [_summary(row) for row in connection.execute(query, values).fetchall()]

    def run(self, ref: str) -> RunSummary:
        """One run by its id, a unique beginning of it, or "last".

        Raises:
            TraceError: no run, or several, match.
        """
        if ref == "last":
            newest = self.runs(limit=1)
            if not newest:
                raise TraceError(f"no run is recorded in {self.name} yet; run an agent first")
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
        raise TraceError(f"no run {ref!r} in {self.name}; `seamline traces list` shows the runs")

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
            rows = connection.execute(_JOURNAL, (run_id, run_id, run_id)).fetchall()
        if not rows:
            raise TraceError(f"run {run_id} was deleted from {self.name} just now")
        records = [_parse(text, at, run_id) for at, (_, _, text, _) in enumerate(rows)]
        verify_chain(records, run_id=run_id, sealed=rows[0][3] != "running")
        return Trace.from_records(records, self._read_blob)

    def _read_blob(self, digest: str) -> bytes:
        with self._read() as connection:
            row = connection.execute(
                "SELECT size, data FROM blobs WHERE digest = ?", (digest,)
            ).fetchone()
        if row is None:
            raise TraceError(f"blob {digest} is missing from {self.name}; restore it from a copy")
        return decompress_blob(row[1], size=row[0])


@dataclass(frozen=True)
class _Whole:
    """A run as rows, spelled out before the transaction that inserts them."""

    trace: Trace
    effects: tuple[tuple[int, str], ...]
    blobs: Blobs

    @classmethod
    def of(cls, trace: Trace) -> _Whole:
        effects, digests = [], set[str]()
        for record in trace.records:
            text = record_text(record)
            if '"$blob"' in text:
                digests.update(blob_digests(record))
            if record["record"] == "effect":
                effects.append((record["seq"], text))
        blobs = {digest: trace.read_blob(digest) for digest in sorted(digests)}
        return cls(trace, tuple(effects), blobs)

    def insert(self, connection: Connection) -> None:
        run_id, outcome = self.trace.run_id, self.trace.outcome
        if _row_id(connection, run_id) is not None:
            raise TraceError(f"run {run_id} is in the store already; delete it there first")
        _insert_run(connection, self.trace.meta, self.trace.records[0])
        run = _row_id(connection, run_id)
        connection.executemany(
            "INSERT INTO effects VALUES (?, ?, ?)", [(run, *effect) for effect in self.effects]
        )
        _insert_blobs(connection, run_id, self.blobs)
        if outcome is not None:
            _end_run(connection, run_id, outcome, self.trace.records[-1])


def _summary(row: Sequence[Any]) -> RunSummary:
    *columns, header = row
    forked_at = None
    if header is not None:
        # A damaged header must not hide the other runs; reading the trace names the damage.
        with contextlib.suppress(ValueError, TypeError, LookupError):
            forked_at = json.loads(header)["meta"]["forked_at"]
    columns.append(forked_at if isinstance(forked_at, str) else None)
    return RunSummary(*columns)


def _row_id(connection: Connection, run_id: str) -> Any:
    row = connection.execute("SELECT id FROM runs WHERE run_id = ?", (run_id,)).fetchone()
    return None if row is None else row[0]


def _insert_run(connection: Connection, meta: RunMeta, header: Mapping[str, Json]) -> None:
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


def _end_run(
    connection: Connection, run_id: str, outcome: Outcome, footer: Mapping[str, Json]
) -> None:
    # The line for lists; the footer has it in full. Postgres has no NUL in its texts.
    error = None if outcome.error is None else whole_text(outcome.error).replace("\0", "\ufffd")
    connection.execute(
        "UPDATE runs SET status = ?, ended = ?, error = ?, footer = ? WHERE run_id = ?",
        (outcome.status, outcome.ended, error, canonical_json(footer), run_id),
    )


def _insert_blobs(connection: Connection, run_id: str, blobs: Mapping[str, bytes]) -> None:
    for digest, data in blobs.items():
        known = connection.execute("SELECT 1 FROM blobs WHERE digest = ?", (digest,)).fetchone()
        if known is None:
            connection.execute(
                "INSERT INTO blobs VALUES (?, ?, ?)", (digest, len(data), compress_blob(data))
            )
        connection.execute(
            "INSERT INTO run_blobs VALUES ((SELECT id FROM runs WHERE run_id = ?), ?)"
            " ON CONFLICT DO NOTHING",
            (run_id, digest),
        )


def _erase(connection: Connection, run_id: str) -> None:
    run = _row_id(connection, run_id)
    if run is None:
        return
    held = connection.execute("SELECT digest FROM run_blobs WHERE run = ?", (run,)).fetchall()
    connection.execute("DELETE FROM run_blobs WHERE run = ?", (run,))
    connection.execute("DELETE FROM effects WHERE run = ?", (run,))
    connection.execute("DELETE FROM runs WHERE id = ?", (run,))
    connection.executemany(
        "DELETE FROM blobs WHERE digest = ?"
        " AND NOT EXISTS (SELECT 1 FROM run_blobs WHERE run_blobs.digest = blobs.digest)",
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
