"""The thread that makes spans of what the hooks noted, so that a run need not wait for it.

One queue and one daemon thread serve the whole process. The queue is bounded: what does not
fit is dropped, counted, and told in one warning. A forked child starts with an empty queue and
a thread of its own; what its parent had noted, the parent makes spans of.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from typing import Protocol

__all__ = ["QUEUE_LIMIT", "WORKER", "Finishes", "SpanWorker"]

QUEUE_LIMIT = 8192
"""So many noted spans may wait; the SDK's own batch processor keeps 2048."""

_EVERY_S = 1.0
_AT_EXIT_S = 2.0

_log = logging.getLogger(__name__)


class Finishes(Protocol):
    """Something noted that becomes a span."""

    def finish(self) -> None:
        """Make the span and end it."""
        ...


class _Marker:
    """Says that everything queued before it is done."""

    def __init__(self, tell: Callable[[], object]) -> None:
        self._tell = tell

    def finish(self) -> None:
        self._tell()


class SpanWorker:
    """A bounded queue and the thread that works it off; the thread starts when first needed.

    Attributes:
        queue: What waits; at most `QUEUE_LIMIT`, which whoever appends has to hold.
    """

    def __init__(self) -> None:
        self.queue: deque[Finishes] = deque()
        self._reset()

    def _reset(self) -> None:
        self.queue.clear()
        self._wake = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._running = 0
        self._dropped = 0
        self._failed: list[Exception] = []

    # -- inside a run

    def run_started(self) -> None:
        """While any run goes on, the queue is looked at every second."""
        with self._lock:
            self._running += 1
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._work, name="seamline-spans", daemon=True
                )
                self._thread.start()
                # Now, since the last registered is called first: before the shutdown of the
                # host's provider. Bounded, so that a hanging exporter does not keep the process.
                atexit.register(self.force_flush, _AT_EXIT_S)
        self._wake.set()

    def run_ended(self) -> None:
        """Work off the queue now."""
        with self._lock:
            self._running -= 1
        self._wake.set()

    def add(self, noted: Finishes) -> None:
        """Queue one noted span, or drop it where too many wait; never blocks."""
        if len(self.queue) < QUEUE_LIMIT:
            self.queue.append(noted)
        else:
            self.drop()

    def drop(self) -> None:
        """Count one that found no place."""
        with self._lock:
            self._dropped += 1

    # -- outside

    def call_when_done(self, tell: Callable[[], object]) -> None:
        """Have the worker call `tell` once it has done all that is queued now."""
        if self._thread is None:
            tell()
            return

        def done() -> None:
            self._warn()
            tell()

        self.queue.append(_Marker(done))
        self._wake.set()

    def force_flush(self, timeout_s: float) -> bool:
        """Whether all that is queued now became spans within so many seconds."""
        if threading.current_thread() is self._thread:
            return False
        done = threading.Event()
        self.call_when_done(done.set)
        return done.wait(timeout_s)

    # -- the thread

    def _work(self) -> None:
        while True:
            self._wake.wait(_EVERY_S if self._running > 0 else None)
            self._wake.clear()
            self._drain()

    def _drain(self) -> None:
        while self.queue:
            try:
                self.queue.popleft().finish()
            except Exception as error:
                self._failed.append(error)
        self._warn()

    def _warn(self) -> None:
        """Tell of what was lost since the last time."""
        failed, self._failed = self._failed, []
        if failed:
            _log.warning("%d spans could not be made", len(failed), exc_info=failed[-1])
        with self._lock:
            dropped, self._dropped = self._dropped, 0
        if dropped:
            _log.warning(
                "%d spans were dropped: more than %d were waiting to be made; "
                "a span processor or exporter of the host is too slow",
                dropped,
                QUEUE_LIMIT,
            )

    def after_fork(self) -> None:
        """Start anew in a forked child, where the thread does not exist."""
        self._reset()


WORKER = SpanWorker()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=WORKER.after_fork)
