"""The console that everything for people is printed on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import IO, NoReturn

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from seamline.terminal import plain

__all__ = ["PIPE_CLOSED", "PlainConsole", "end_quietly"]

PIPE_CLOSED = 141
"""As the shell tells of a program that SIGPIPE ended."""


class PlainConsole(Console):
    """Prints no control character but those of its own styles."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        """The segments, each without what a terminal would obey."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(plain(segment.text), segment.style)

    def on_broken_pipe(self) -> NoReturn:
        """End the program: whoever read it has gone."""
        end_quietly(self.file)


def end_quietly(stream: IO[str]) -> NoReturn:
    """End the program without a word, because nobody reads this stream any more.

    Raises:
        SystemExit: Always, with `PIPE_CLOSED`.
    """
    # What is still buffered is written at the interpreter's exit, and must go somewhere.
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    raise SystemExit(PIPE_CLOSED)
