"""Where traces are kept: the `TraceStore` protocol, and which store a name means."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from seamline.errors import TraceError
from seamline.traces.journal import Entry, Journal, Outcome, RunMeta
from seamline.traces.sqlite import SqliteTraceStore
from seamline.traces.trace import RunSummary, Trace
from seamline.traces.values import Blobs, Json

__all__ = ["RunSummary", "SqliteTraceStore", "TraceStore", "open_store"]


class TraceStore(Protocol):
    """Keeps runs. What a `flush`, `finish_run` or `delete` returned from has happened for good.

    `name` is what messages call it; never with a password.
    """

    name: str

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

    def delete(self, *refs: str) -> list[RunSummary]:
        """Delete runs for good, with the blobs that no other run needs."""
        ...

    def delete_conversation(self, conversation: str) -> list[RunSummary]:
        """Delete all runs of a conversation, as `delete` does."""
        ...

    def prune(
        self,
        *,
        before: float | None = None,
        keep: int | None = None,
        agent: str | None = None,
        dry_run: bool = False,
    ) -> list[RunSummary]:
        """Delete what started before a time, all but the newest, or an agent's runs."""
        ...

    def compact(self) -> None:
        """Write the store anew, so that free parts of it hold nothing that was deleted."""
        ...

    def close(self) -> None:
        """Commit what is left and let go of the files and connections."""
        ...


def open_store(location: str | Path) -> TraceStore:
    """The store at `postgresql://user@host:port/database`, or in a SQLite file.

    Nothing is opened or made before the store is used; `close` it afterwards.

    Raises:
        TraceError: The connection string is not one of Postgres, or psycopg is not installed.
    """
    scheme, separator, _ = str(location).partition("://")
    if isinstance(location, Path) or not separator:
        return SqliteTraceStore(Path(location).expanduser())
    if scheme not in ("postgresql", "postgres"):
        raise TraceError(
            f"a trace store cannot be at {scheme}://; "
            "give postgresql://user@host:port/database, or the path of a SQLite file"
        )
    from seamline.traces.postgres import PostgresTraceStore

    return PostgresTraceStore(str(location))
