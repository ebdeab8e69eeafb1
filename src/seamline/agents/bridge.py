"""Async code for sync callers: one event loop in a thread of its own.

It works where a loop already runs (notebooks, servers), since nothing waits inside that loop's
thread but the caller itself. Context variables of the caller, such as its current span, travel.
"""

from __future__ import annotations

import asyncio
import os
import queue
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import Future
from typing import Any, TypeVar

__all__ = ["iterate", "wait_for"]

T = TypeVar("T")

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None


def _after_fork() -> None:
    """A child has neither the loop's thread nor whoever held the lock."""
    global _lock, _loop
    _lock, _loop = threading.Lock(), None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _background() -> asyncio.AbstractEventLoop:
    global _loop
    with _lock:
        if _loop is None or _loop.is_closed():
            _loop = asyncio.new_event_loop()
            threading.Thread(target=_loop.run_forever, name="seamline", daemon=True).start()
        return _loop


def _inside() -> bool:
    """Whether the caller is on the background loop itself."""
    try:
        return asyncio.get_running_loop() is _loop
    except RuntimeError:
        return False


def _submit(work: Coroutine[Any, Any, T]) -> Future[T]:
    """Run it on the background loop.

    Raises:
        RuntimeError: The caller is on that loop itself, and would wait for its own end.
    """
    if _inside():
        work.close()
        raise RuntimeError(
            "a run cannot be waited for from inside a run, whose loop it would stop; "
            "use `await agent.arun(...)` there"
        )
    return asyncio.run_coroutine_threadsafe(work, _background())


def wait_for(work: Coroutine[Any, Any, T]) -> T:
    """What the coroutine returns or raises; it is cancelled when the caller is interrupted."""
    future = _submit(work)
    try:
        return future.result()
    except BaseException:
        if not future.done():
            future.cancel()
            # The run still has to seal its trace before the process may go.
            _settle(future)
        raise


def _settle(future: Any) -> None:
    try:
        future.exception(timeout=5)
    except BaseException:
        return


_END = object()


def iterate(items: AsyncIterator[T]) -> Iterator[T]:
    """The items of an async iterator, as they come; leaving early closes it."""
    found: queue.SimpleQueue[Any] = queue.SimpleQueue()

    async def pump() -> None:
        try:
            async for item in items:
                found.put(item)
        finally:
            close = getattr(items, "aclose", None)
            if close is not None:
                await close()
            found.put(_END)

    future = _submit(pump())
    try:
        while (item := found.get()) is not _END:
            yield item
    except BaseException:
        # Only a loop that was left early; after the end the future is about to be done.
        future.cancel()
        raise
    future.result()
