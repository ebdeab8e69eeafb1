"""Which runs are going on, as locks that the system lets go of when a process ends."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

from filelock import FileLock, Timeout

from seamline.errors import TraceError

__all__ = ["RunningRuns"]


class RunningRuns:
    """The runs that this process has taken, each by a lock on a file of its own.

    A process that is killed holds no lock, so a run that is marked as running and whose lock
    is free will not go on by itself; no clock and no process number has to be trusted.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[str, FileLock] = {}

    def take(self, run_id: str) -> None:
        """Hold the run for this process.

        Raises:
            TraceError: It is going on, here or in another process.
            OSError: The folder of the locks cannot be written.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self._file(run_id), timeout=0, thread_local=False)
        try:
            lock.acquire()
        except Timeout:
            raise TraceError(
                f"run {run_id} is still running; wait for its end, or end its process first"
            ) from None
        self._held[run_id] = lock

    def let_go(self, run_id: str) -> None:
        """Hold the run no longer; its file goes too, whether it was held here or was left over."""
        lock = self._held.pop(run_id, None)
        # While it is still locked, so that nobody has locked the file that goes.
        with contextlib.suppress(OSError):
            self._file(run_id).unlink()
        if lock is not None:
            lock.release()

    def let_go_of_all(self) -> None:
        """Hold no run any longer; what was not finished can be resumed elsewhere."""
        for run_id in list(self._held):
            self.let_go(run_id)

    def _file(self, run_id: str) -> Path:
        return self._folder / hashlib.sha256(run_id.encode()).hexdigest()[:32]
