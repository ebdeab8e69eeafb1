"""Progress on stderr: a live line on a terminal, a plain line every ten seconds elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from seamline.terminal import cut

if TYPE_CHECKING:
    from seamline.agents.events import AgentEvent

__all__ = [
    "QUIET_SECONDS",
    "CountProgress",
    "RunProgress",
    "StepProgress",
    "TransferProgress",
    "Waiting",
]

QUIET_SECONDS = 2.0
"""What takes no longer than this tells nothing."""

PLAIN_EVERY = 10.0
_WORDS = {
    "guard_input": "checking the input",
    "plan": "planning",
    "choose": "choosing a tool",
    "review": "reviewing",
    "clarify": "writing a question",
    "answer": "writing the answer",
    "guard_output": "checking the output",
}


class _Ticker:
    """Shows one changing line from a thread of its own, once there is something to wait for."""

    def __init__(self) -> None:
        self._line = "starting"
        self._started = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="seamline-progress", daemon=True)
        self._status: Any = None
        self._terminal = sys.stderr.isatty()

    def __enter__(self) -> Self:
        self._started = time.monotonic()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        if self._status is not None:
            self._status.stop()

    def _run(self) -> None:
        wait = QUIET_SECONDS
        while not self._stop.wait(wait):
            if self._terminal:
                self._live()
                wait = 0.2
            else:
                print(self._now(), file=sys.stderr, flush=True)
                wait = PLAIN_EVERY

    def _bar(self, done: int, total: int) -> str:
        """A bar where there is a terminal to draw it on."""
        if not total or not self._terminal:
            return ""
        full = round(24 * done / total)
        return " " + "█" * full + "░" * (24 - full)

    def _now(self) -> str:
        return cut(f"{self._line} ({time.monotonic() - self._started:.0f} s)", 0)

    def _live(self) -> None:
        from rich.text import Text

        if self._status is None:
            from rich.status import Status

            from seamline.cli.common import err

            self._status = Status("", console=err())
            self._status.start()
        # A plain string would be read as markup.
        self._status.update(Text(self._now()))


class Waiting(_Ticker):
    """Tells what is being done, where it takes its time."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self._line = what


class RunProgress(_Ticker):
    """Listens to a run's events and tells a waiting person where it is."""

    def __call__(self, event: AgentEvent) -> None:
        """Take one event."""
        if event.kind == "progress":
            done, total = event.detail.get("done", 0), event.detail.get("total", 0)
            count = f" {done}/{total}" if total else ""
            self._line = f"{event.node}: {event.detail.get('what', '')}{count}"
        elif event.kind == "node_started":
            self._line = _WORDS.get(event.node, self._line)
        elif event.kind == "node_ended" and event.node == "choose":
            self._line = f"{event.detail.get('decision', 'a tool')}: running"


class CountProgress(_Ticker):
    """Tells how many of how many are done, and which is being done."""

    def __call__(self, done: int, total: int, what: str) -> None:
        """Take one report."""
        self._line = f"{done} of {total}: {what}"


class TransferProgress(_Ticker):
    """Tells how far a pull is: bytes of bytes, and of what."""

    def __call__(self, done: int, total: int, what: str) -> None:
        """Take one report."""
        share = f" {done / total:.0%} of {total / 1e6:,.0f} MB" if total else ""
        self._line = f"{what}{self._bar(done, total)}{share}"


class StepProgress(_Ticker):
    """Tells how many of how many are done, of what, and about how long the rest takes."""

    def __init__(self) -> None:
        super().__init__()
        self._since = (0, 0, 0.0)

    def __call__(self, done: int, total: int, what: str) -> None:
        """Take one report."""
        # What goes on starts at a later step, and its speed is that of its own steps.
        now = time.monotonic()
        first, of, started = self._since
        if of != total or done < first:
            first, of, started = self._since = done, total, now
        left = ""
        if done > first:
            left = f", {(now - started) / (done - first) * (total - done) / 60:.0f} min left"
        self._line = f"{self._bar(done, total)} {done} of {total}: {what}{left}".strip()
