"""Group commit: one thread writes what many threads and tasks hand over, a batch at a time."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from seamline.errors import TraceError

__all__ = ["BUSY_MS", "FLUSH_SECONDS", "GroupWriter", "WriteLock"]

FLUSH_SECONDS = 0.005
"""How long a first write waits for others to share its commit."""

BUSY_MS = 10_000
"""How long a connection waits for another one."""

_BATCH = 1000
_QUEUE = 20_000
_LOG_BYTES = 8 << 20

Operation = Callable[[sqlite3.Connection], None]


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


class GroupWriter:
    """Runs operations on one connection, in order, many to a transaction.

    `submit` returns at once; what was submitted before a `flush` that returned is on disk.
    An operation that fails takes down its own run only: see `failed`.
    """

    def __init__(
        self, database: Path, connect: Callable[[], sqlite3.Connection], lock: WriteLock
    ) -> None:
        self._log = Path(f"{database}-wal")
        self._connect = connect
        self._lock = lock
        self._log_limit = _LOG_BYTES
        self._pid = os.getpid()
        self._changed = threading.Condition()
        self._queue: list[tuple[str, Operation]] = []
        self._submitted = 0
        self._settled = 0
        self._hurry = False
        self._closing = False
        self._failed: dict[str, str] = {}
        self._thread: threading.Thread | None = None

    def submit(self, group: str, operation: Operation) -> int:
        """The operation's number; `group` is the run that a failure of it spoils.

        Raises:
            TraceError: an earlier operation of the group failed, or the store is closed.
        """
        # Before the lock: in a forked child it may be held by a thread that is not there.
        self._same_process()
        with self._changed:
            self._check(group)
            while len(self._queue) >= _QUEUE:
                self._changed.wait(0.1)
                self._check(group)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="seamline-trace-writer", daemon=True
                )
                self._thread.start()
            self._queue.append((group, operation))
            self._submitted += 1
            if len(self._queue) == 1 or len(self._queue) == _BATCH:
                self._changed.notify_all()
            return self._submitted

    def _same_process(self) -> None:
        if os.getpid() != self._pid:
            raise TraceError("a trace store was carried over a fork; open it in the new process")

    def _check(self, group: str) -> None:
        if group in self._failed:
            raise TraceError(self._failed[group])
        if self._closing:
            raise TraceError("the trace store is closed; open it again to write")

    def wait(self, group: str | None = None) -> None:
        """Return when everything submitted so far has been committed.

        Raises:
            TraceError: an operation failed: of `group`, or of any group if that is None.
        """
        with self._changed:
            target = self._submitted
            if self._settled < target:
                self._hurry = True
                self._changed.notify_all()
            while self._settled < target:
                self._changed.wait()
            for failed, reason in self._failed.items():
                if group in (None, failed):
                    raise TraceError(reason)

    def shorten_log(self) -> None:
        """Empty the log after the next batch: deleted content must not live on in it."""
        self._log_limit = 0

    def close(self) -> None:
        """Commit what is left, end the thread, move the log into the database."""
        with self._changed:
            if self._closing:
                return
            self._closing = True
            self._changed.notify_all()
        if self._thread is not None and self._pid == os.getpid():
            self._thread.join()

    def _run(self) -> None:
        connection: sqlite3.Connection | None = None
        while True:
            batch = self._next_batch()
            if not batch:
                break
            try:
                connection = connection or self._connect()
                self._commit(connection, batch)
                self._checkpoint(connection)
            except (sqlite3.Error, OSError, TraceError) as error:
                self._fail(batch, error)
            finally:
                with self._changed:
                    self._settled += len(batch)
                    self._changed.notify_all()
        if connection is not None:
            self._log_limit = 0
            self._checkpoint(connection)
            connection.close()

    def _next_batch(self) -> list[tuple[str, Operation]]:
        with self._changed:
            while not self._queue and not self._closing:
                self._changed.wait()
            deadline = time.monotonic() + FLUSH_SECONDS
            while len(self._queue) < _BATCH and not (self._hurry or self._closing):
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            batch, self._queue = self._queue[:_BATCH], self._queue[_BATCH:]
            self._hurry = self._hurry and bool(self._queue)
            return batch

    def _commit(self, connection: sqlite3.Connection, batch: list[tuple[str, Operation]]) -> None:
        try:
            with self._lock.held(), _transaction(connection):
                for group, operation in batch:
                    with self._changed:
                        spoiled = group in self._failed
                    if not spoiled:
                        operation(connection)
        except sqlite3.IntegrityError as error:
            # One run breaks a rule of the tables (two processes resumed it); the others in
            # the batch have nothing to do with it and are committed on their own.
            if len(batch) == 1:
                self._fail(batch, error)
                return
            for one in batch:
                self._commit(connection, [one])

    def _fail(self, batch: list[tuple[str, Operation]], error: Exception) -> None:
        with self._changed:
            for group in {group for group, _ in batch}:
                self._failed.setdefault(group, _explain(group, error))

    def _checkpoint(self, connection: sqlite3.Connection) -> None:
        """Move a long log into the database; if anybody is in the way, after a later batch."""
        # What was committed is safe in the log, so a failure here takes nothing from anybody.
        with contextlib.suppress(OSError, sqlite3.Error, TraceError):
            if self._log.stat().st_size <= self._log_limit:
                return
            with self._lock.held():
                connection.execute("PRAGMA busy_timeout=50")
                try:
                    busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                finally:
                    connection.execute(f"PRAGMA busy_timeout={BUSY_MS}")
            if not busy:
                self._log_limit = _LOG_BYTES


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _explain(group: str, error: Exception) -> str:
    text = str(error)
    if isinstance(error, TraceError):
        return text
    if "full" in text or "disk I/O" in text or "No space" in text:
        fix = "free some disk space and run again; what was recorded before is kept"
    elif isinstance(error, sqlite3.IntegrityError):
        fix = "another process is writing the same run; start a new run"
    elif "locked" in text or "busy" in text:
        fix = "another program holds the trace store; end it and run again"
    else:
        fix = "see `seamline doctor`"
    return f"run {group} cannot be recorded any further ({text}); {fix}"
