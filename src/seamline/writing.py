"""Files that others read: replaced whole, and changed by one writer at a time."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["exclusive", "replace_file", "sync"]


def replace_file(file: Path, content: str | Iterable[bytes], *, mode: int = 0o644) -> None:
    """Write a file in one step: a reader sees the old content or the new, never half.

    It is on the disk when this returns. A file that is there keeps its mode; a new one gets
    `mode`. Text is written as UTF-8.

    Raises:
        OSError: The folder cannot be written, or the disk is full; the file is as it was.
    """
    chunks = (content.encode(),) if isinstance(content, str) else content
    if file.exists():
        mode = file.stat().st_mode & 0o777
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.writelines(chunks)
            stream.flush()
            os.fsync(stream.fileno())
        part.chmod(mode)  # mkstemp makes files that their owner alone reads.
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
    sync(file.parent)


def sync(target: Path) -> None:
    """Force a file, or the names in a folder, to disk."""
    if sys.platform == "win32" and target.is_dir():
        return  # a folder cannot be opened there
    handle = os.open(target, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """One writer at a time for read, change, write; a second one waits.

    Raises:
        OSError: The folder cannot be opened.
    """
    if sys.platform == "win32":
        yield  # no advisory lock on folders there; the replacement is still one step
        return
    import fcntl

    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
