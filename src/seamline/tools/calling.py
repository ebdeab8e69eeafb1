"""Calling a function that may be async or not."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

__all__ = ["call_function", "told"]


async def call_function(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """The result of a function; one that is not async gets a thread."""
    if inspect.iscoroutinefunction(function):
        return await function(*args, **kwargs)

    def call() -> Any:
        try:
            return function(*args, **kwargs)
        except (StopIteration, GeneratorExit, asyncio.CancelledError) as error:
            # To the one who waits these would mean something else, or nothing: a future does
            # not take StopIteration. Python itself does the same in coroutines (PEP 479).
            raise RuntimeError(f"the function raised {told(error)}") from error

    result = await asyncio.to_thread(call)
    return await result if inspect.isawaitable(result) else result


def told(error: BaseException) -> str:
    """An error in words, with its class: it is one of the tool's own code."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
