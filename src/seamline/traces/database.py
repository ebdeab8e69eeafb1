"""What a trace store asks of a database: the few things that each does in its own way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

__all__ = ["Connection", "Cursor", "Database", "Running"]


class Cursor(Protocol):
    """The rows a statement gave."""

    @property
    def rowcount(self) -> int:
        """How many rows a statement changed."""
        ...

    def fetchone(self) -> Any:
        """The next row, None behind the last."""
        ...

    def fetchall(self) -> list[Any]:
        """All rows that are left."""
        ...


class Connection(Protocol):
    """A connection in autocommit mode; `?` stands for a value in every statement."""

    def execute(self, query: str, values: Sequence[Any] = (), /) -> Cursor:
        """Run one statement."""
        ...

    def executemany(self, query: str, rows: Iterable[Sequence[Any]], /) -> object:
        """Run one statement for each row of values."""
        ...

    def close(self) -> None:
        """Let go of the connection."""
        ...


class Running(Protocol):
    """The runs that this process holds; who is killed holds none."""

    def take(self, run_id: str) -> None:
        """Hold a run. Raises `TraceError` where it is going on, here or elsewhere."""
        ...

    def let_go(self, run_id: str) -> None:
        """Hold a run no longer."""
        ...

    def let_go_of_all(self) -> None:
        """Hold no run any longer."""
        ...


class Database(Protocol):
    """Where the tables `runs`, `effects`, `blobs` and `run_blobs` are.

    Attributes:
        name: What messages call it; never with a password.
        errors: What using it may raise.
        refusals: Those of `errors` that concern one statement and leave the rest unharmed.
    """

    name: str
    errors: tuple[type[Exception], ...]
    refusals: tuple[type[Exception], ...]

    def exists(self) -> bool:
        """Whether the tables are there."""
        ...

    def create(self) -> None:
        """Make the tables where they are missing. Raises `TraceError` on a newer version."""
        ...

    def connect(self, *, write: bool) -> Connection:
        """A connection to existing tables. Raises `TraceError` on a newer version."""
        ...

    def transaction(self, connection: Connection) -> AbstractContextManager[None]:
        """All or nothing, and no other writer of any process inside at the same time."""
        ...

    def settle(self, connection: Connection, *, last: bool = False) -> None:
        """Tidy up behind a transaction; `last` before a connection that wrote is closed."""
        ...

    def compact(self, connection: Connection) -> None:
        """Write the tables anew, so that no deleted content is left in free parts of them."""
        ...

    def running(self) -> Running:
        """Tells, across processes, which runs are going on."""
        ...

    def advice(self, error: Exception) -> str:
        """What a person can do about an error."""
        ...
