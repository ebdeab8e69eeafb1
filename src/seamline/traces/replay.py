"""Replay: every effect of a run served from its journal; nothing is done, no model loaded."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from seamline.errors import DivergenceError
from seamline.traces.effects import EffectHelpers, Live, Occurrences, serve_entry
from seamline.traces.journal import EffectKey, EffectKind, Entry, Journal, Outcome
from seamline.traces.trace import Trace
from seamline.traces.values import Blobs, Json, Plain

__all__ = ["PATIENCE", "ReplayEffects", "is_inside", "outer_entries", "unwritten_journal"]

PATIENCE = 60.0
"""Seconds that a parallel branch waits for one that the journal has before it."""


def is_inside(path: str, outer: str) -> bool:
    """Whether a task lies inside another: `tool:pick/1/model` does in `tool:pick/1`."""
    return path.startswith(outer + "/")


def outer_entries(entries: Sequence[Entry]) -> list[Entry]:
    """The effects that a replay asks for: those inside a tool call come with the call."""
    calls = {entry.key.path for entry in entries if entry.kind in ("tool", "retrieval")}

    def comes_with_a_call(path: str) -> bool:
        parts = path.split("/")
        return any("/".join(parts[:count]) in calls for count in range(1, len(parts)))

    return [entry for entry in entries if not comes_with_a_call(entry.key.path)]


class ReplayEffects(EffectHelpers):
    """Effects served from a trace's journal, in the order in which the run had them.

    `live` is never called, but for one effect: the answer that the recorded run still waited
    for when it stopped, whose `live` waits as it did then. Parallel branches that ask early
    wait until it is their turn, so that what depends on their order comes out the same.

    Args:
        trace: The run.
        patience: Seconds without anything being served after which an effect that the journal
            has first is taken to be missing; 0 where nothing runs in parallel.
    """

    def __init__(self, trace: Trace, *, patience: float = PATIENCE) -> None:
        self._trace = trace
        self._patience = patience
        self._entries = {entry.key: entry for entry in trace.entries}
        self._order = [entry.key for entry in outer_entries(trace.entries)]
        self._outer = set(self._order)
        self._served: set[EffectKey] = set()
        self._next = 0
        self._waiting: dict[EffectKey, asyncio.Event] = {}
        self._occurrences = Occurrences()

    @property
    def served(self) -> int:
        """How many effects have been served, those inside served tool calls included."""
        return len(self._entries) - len(self.unserved()) if self._served else 0

    async def perform(self, path: str, kind: EffectKind, request: Json, live: Live) -> Json:
        """The recorded result or error of the same effect.

        Raises:
            SeamlineError: the error that was recorded.
            DivergenceError: the journal has no such effect, has another one before it, or was
                asked something else.
        """
        key = self._occurrences.key(path, kind)
        entry = self._entries.get(key)
        if entry is None:
            if kind == "answer" and self._trace.status == "needs_answer":
                return await live()
            raise self._missing(key)
        await self._turn(key)
        self._served.add(key)
        self._advance()
        return serve_entry(entry, Plain.of(request), self._trace.read_blob)

    async def _turn(self, key: EffectKey) -> None:
        if key not in self._outer or self._order[self._next] == key:
            return
        event = self._waiting[key] = asyncio.Event()
        before = self._next
        while True:
            try:
                await asyncio.wait_for(event.wait(), self._patience)
                return
            except TimeoutError:
                if self._next > before:
                    before = self._next
                    continue
                expected = self._order[self._next]
                record = self._entries[expected].seq
                raise DivergenceError(
                    f"the replay asked for effect {key}, but the journal has effect {expected}, "
                    f"record {record}, before it, for which nobody asks now",
                    effect=expected.text,
                    record=record,
                ) from None

    def _advance(self) -> None:
        while self._next < len(self._order) and self._order[self._next] in self._served:
            self._next += 1
        if self._next < len(self._order):
            event = self._waiting.pop(self._order[self._next], None)
            if event is not None:
                event.set()

    def _missing(self, key: EffectKey) -> DivergenceError:
        left = self.unserved()
        near = next((other for other in left if other.path == key.path), left[0] if left else None)
        if near is not None:
            what = f"the next effect in it is {near}"
        elif self._trace.outcome is None:
            what = "the run was killed here, or is still going on"
        else:
            what = "everything in it was served already"
        return DivergenceError(
            f"the replay asked for effect {key}, which the journal does not hold; {what}",
            effect=key.text,
            record=None if near is None else self._entries[near].seq,
        )

    def unserved(self) -> list[EffectKey]:
        """What the journal holds and nobody asked for, in its order; see `outer_entries`."""
        return [key for key in self._order if key not in self._served]


class _Nowhere:
    """The sink of a journal that nobody keeps."""

    def append(self, run_id: str, entry: Entry, blobs: Blobs) -> None:
        """Nothing."""

    def finish_run(self, run_id: str, outcome: Outcome, footer: Json, blobs: Blobs) -> None:
        """Nothing."""

    def flush(self, run_id: str) -> None:
        """Nothing."""


def unwritten_journal(trace: Trace) -> Journal:
    """A journal with the header of a run, for executing it again without recording."""
    return Journal(meta=trace.meta, header_digest=trace.records[0]["digest"], sink=_Nowhere())
