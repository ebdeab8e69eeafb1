"""Group commit: one thread writes what many threads and tasks hand over, a batch at a time."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable

from seamline.errors import TraceError
from seamline.traces.database import Connection, Database

__all__ = ["FLUSH_SECONDS", "GroupWriter"]

FLUSH_SECONDS = 0.005
"""How long a first write waits for others to share its commit."""

_BATCH = 1000
_QUEUE = 20_000

Operation = Callable[[Connection], None]


class GroupWriter:
    """Runs operations on one connection, in order, many to a transaction.

    `submit` returns at once; what was submitted before a `wait` that returned is committed.
    An operation that fails takes down its own run only.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._pid = os.getpid()
        self._changed = threading.Condition()
        self._queue: list[tuple[str, Operation]] = []
        self._submitted = 0
        self._settled = 0
        self._hurry = False
        self._closing = False
        self._failed: dict[str, str] = {}
        self._thread: threading.Thread | None = None

    def submit(self, run_id: str, operation: Operation) -> None:
        """Queue an operation; a failure of it spoils the run.

        Raises:
            TraceError: an earlier operation of the run failed, or the store is closed.
        """
        self._same_process()
        with self._changed:
            self._check(run_id)
            while len(self._queue) >= _QUEUE:
                self._changed.wait(0.1)
                self._check(run_id)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="seamline-trace-writer", daemon=True
                )
                self._thread.start()
            self._queue.append((run_id, operation))
            self._submitted += 1
            if len(self._queue) == 1 or len(self._queue) == _BATCH:
                self._changed.notify_all()

    def _same_process(self) -> None:
        # Asked before the lock: in a forked child a thread that is not there may hold it.
        if os.getpid() != self._pid:
            raise TraceError("a trace store was carried over a fork; open it in the new process")

    def _check(self, run_id: str) -> None:
        if run_id in self._failed:
            raise TraceError(self._failed[run_id])
        if self._closing:
            raise TraceError("the trace store is closed; open it again to write")

    def drain(self) -> None:
        """Return when everything submitted so far was committed or has failed."""
        self._same_process()
        with self._changed:
            target = self._submitted
            if self._settled < target:
                self._hurry = True
                self._changed.notify_all()
            while self._settled < target:
                self._changed.wait()

    def wait(self, run_id: str | None = None) -> None:
        """Return when everything submitted so far has been committed.

        Raises:
            TraceError: an operation failed: of `run_id`, or of any run if that is None.
        """
        self.drain()
        with self._changed:
            for failed, reason in self._failed.items():
                if run_id in (None, failed):
                    raise TraceError(reason)

    def close(self) -> None:
        """Commit what is left and end the thread."""
        with self._changed:
            if self._closing:
                return
            self._closing = True
            self._changed.notify_all()
        if self._thread is not None and self._pid == os.getpid():
            self._thread.join()

    def _run(self) -> None:
        connection: Connection | None = None
        while True:
            batch = self._next_batch()
            if not batch:
                break
            try:
                connection = connection or self._database.connect(write=True)
                self._commit(connection, batch)
                self._database.settle(connection)
            except Exception as error:
                # Whatever it was: if this thread ended, everybody who waits would wait forever.
                self._fail(batch, error)
            finally:
                with self._changed:
                    self._settled += len(batch)
                    self._changed.notify_all()
        if connection is not None:
            with contextlib.suppress(TraceError, *self._database.errors):
                self._database.settle(connection, last=True)
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

    def _commit(self, connection: Connection, batch: list[tuple[str, Operation]]) -> None:
        try:
            with self._database.transaction(connection):
                for run_id, operation in batch:
                    with self._changed:
                        spoiled = run_id in self._failed
                    if not spoiled:
                        operation(connection)
        except self._database.refusals as error:
            # One run breaks a rule of the tables (two processes resumed it); the others in
            # the batch have nothing to do with it and are committed on their own.
            if len(batch) == 1:
                self._fail(batch, error)
                return
            for one in batch:
                self._commit(connection, [one])

    def _fail(self, batch: list[tuple[str, Operation]], error: Exception) -> None:
        text = " ".join(str(error).split()) or type(error).__name__
        if not isinstance(error, TraceError):
            text = f"{text}; {self._database.advice(error)}"
        with self._changed:
            for run_id in {run_id for run_id, _ in batch}:
                self._failed.setdefault(
                    run_id, f"run {run_id} cannot be recorded any further: {text}"
                )
