"""The one seam between a run and everything that could come out differently.

Nodes and tools reach models, clocks, randomness, networks and people through `Effects` only.
`RecordEffects` does things and journals them. Keys are logical task paths, so parallel branches
may finish in any order.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar
from dataclasses import asdict
from typing import Protocol

import seamline.errors as errors
from seamline.errors import DivergenceError, SeamlineError, TraceError
from seamline.traces.hooks import RunHooks, combine_hooks
from seamline.traces.ids import uuid7
from seamline.traces.journal import EffectKey, EffectKind, Entry, Journal, RecordedError
from seamline.traces.values import (
    Json,
    Plain,
    canonical_json,
    describe_diff,
    diff_fields,
    expand,
    externalise,
)

__all__ = [
    "EffectHelpers",
    "Effects",
    "Live",
    "Occurrences",
    "RecordEffects",
    "annotate",
    "error_of",
    "same_request",
    "serve_entry",
    "usage_of",
]

Live = Callable[[], Awaitable[Json]]

_ERROR_CLASSES: dict[str, type[SeamlineError]] = {
    name: getattr(errors, name) for name in errors.__all__
}

_annotations: ContextVar[dict[str, Json] | None] = ContextVar("annotations", default=None)


def annotate(**fields: Json) -> None:
    """Add fields to the entry of the effect that is being performed: timings, usage, shapes.

    They are kept in the journal and never compared at replay. Outside an effect, and while
    effects are served, this does nothing.
    """
    current = _annotations.get()
    if current is not None:
        current.update(fields)


class Effects(Protocol):
    """What a run may do that could come out differently."""

    async def perform(self, path: str, kind: EffectKind, request: Json, live: Live) -> Json:
        """The result of one effect, as plain JSON with sorted keys.

        `path` names the task in the run ("plan/2", "tool:icd10_select/1/model"), not the
        moment; parallel branches use different paths. `request` is what is asked, complete
        enough that an equal request deserves the same answer. `live` does it.

        Raises:
            SeamlineError: what `live` raised, now or when it was recorded.
            TraceError: the journal cannot be written, or does not hold this effect.
        """
        ...

    async def now(self, path: str) -> float:
        """Seconds since the epoch."""
        ...

    async def new_id(self, path: str) -> str:
        """A fresh identifier that sorts by time."""
        ...

    async def random(self, path: str) -> float:
        """A random number in 0..1, 1 excluded."""
        ...


class EffectHelpers(ABC):
    """The small effects, in terms of `perform`."""

    @abstractmethod
    async def perform(self, path: str, kind: EffectKind, request: Json, live: Live) -> Json:
        """See `Effects.perform`."""

    async def now(self, path: str) -> float:
        """Seconds since the epoch."""

        async def live() -> Json:
            return time.time()

        return float(await self.perform(path, "clock", {}, live))

    async def new_id(self, path: str) -> str:
        """A fresh identifier that sorts by time."""

        async def live() -> Json:
            return uuid7()

        return str(await self.perform(path, "id", {}, live))

    async def random(self, path: str) -> float:
        """A random number in 0..1, 1 excluded."""

        async def live() -> Json:
            return secrets.randbits(53) / (1 << 53)

        return float(await self.perform(path, "random", {}, live))


class Occurrences:
    """Counts the effects of a kind at a path."""

    def __init__(self) -> None:
        self._seen: Counter[tuple[str, EffectKind]] = Counter()
        self._lock = threading.Lock()

    def key(self, path: str, kind: EffectKind) -> EffectKey:
        """The key of the next effect of a kind at a path."""
        with self._lock:
            self._seen[path, kind] += 1
            return EffectKey(path, self._seen[path, kind], kind)


class RecordEffects(EffectHelpers):
    """Effects that happen, and are journaled.

    A `SeamlineError` is an outcome and is journaled as one. Anything else that `live` raises
    (a bug, a cancellation, the interrupt by which a graph waits for a person) passes through
    and leaves no entry.

    A resumed run re-executes the node it stopped in; what that node had already done is in
    the journal's past and is served from there, not done twice.
    """

    def __init__(self, journal: Journal, *, hooks: Iterable[RunHooks] = ()) -> None:
        self.journal = journal
        self._hooks = combine_hooks(hooks)
        self._past = {entry.key: entry for entry in journal.past}
        self.occurrences = Occurrences()

    async def perform(self, path: str, kind: EffectKind, request: Json, live: Live) -> Json:
        """The result of `live`, journaled; see `Effects.perform`."""
        key = self.occurrences.key(path, kind)
        asked = Plain.of(request)
        done = self._past.get(key)
        if done is not None:
            return serve_entry(done, asked, self.journal.read_blob)
        return await self.perform_live(key, asked, live)

    async def perform_live(self, key: EffectKey, asked: Plain, live: Live) -> Json:
        """The result of `live`, journaled under a key that the caller has counted."""
        meta, hooks = self.journal.meta, self._hooks
        fields: dict[str, Json] = {}
        token = _annotations.set(fields)
        entry: Entry | None = None
        hooks.on_effect_start(meta, key, asked.value)
        started, clock = time.time(), time.perf_counter()

        def journaled(result: Plain | None, error: RecordedError | None) -> Entry:
            return self.journal.append(
                key=key,
                request=asked,
                result=result,
                error=error,
                started=round(started, 6),
                ended=round(started + time.perf_counter() - clock, 6),
                annotations=fields,
            )

        result: Json = None
        failed: BaseException | None = None
        try:
            plain = Plain.of(await live())
            result = plain.value
            entry = journaled(plain, None)
            return result
        except TraceError as error:
            failed = error
            raise
        except SeamlineError as error:
            failed = error
            if error.usage is not None:
                fields["usage"] = dict(error.usage)
            entry = journaled(None, error_as_data(error))
            raise
        except BaseException as error:
            failed = error
            raise
        finally:
            _annotations.reset(token)
            hooks.on_effect_end(meta, key, entry, result, failed)

    async def flush(self) -> None:
        """Return when everything performed so far is safe on disk.

        To be awaited before anything that cannot be undone. Raises `TraceError`.
        """
        await asyncio.to_thread(self.journal.flush)


def same_request(entry: Entry, asked: Plain) -> bool:
    """Whether an effect is asked what its entry was asked."""
    # Compared as text: to Python 1, 1.0 and True are equal, to the journal they are not.
    return canonical_json(externalise(asked, {})) == canonical_json(entry.request)


def serve_entry(entry: Entry, asked: Plain, read_blob: Callable[[str], bytes]) -> Json:
    """The recorded result of an effect.

    Raises:
        SeamlineError: the error that was recorded.
        DivergenceError: it was asked something else, field by field.
    """
    if not same_request(entry, asked):
        differences = diff_fields(expand(entry.request, read_blob), asked.value)
        raise DivergenceError(
            f"effect {entry.key}, record {entry.seq}, was asked with another request:\n"
            + describe_diff(differences),
            effect=entry.key.text,
            record=entry.seq,
            fields=[asdict(one) for one in differences],
        )
    if entry.error is not None:
        raise error_of(entry)
    return expand(entry.result, read_blob)


def error_as_data(error: SeamlineError) -> RecordedError:
    for cls in type(error).__mro__:
        if _ERROR_CLASSES.get(cls.__name__) is cls:
            return RecordedError(cls.__name__, str(error))
    return RecordedError("SeamlineError", str(error))


def error_of(entry: Entry) -> SeamlineError:
    """The recorded error, by a closed map: a name in a journal never picks a class to load."""
    assert entry.error is not None
    cls = _ERROR_CLASSES.get(entry.error.type)
    if cls is None:
        raise TraceError(
            f"record {entry.seq} ({entry.key}) holds an error of unknown type "
            f"{entry.error.type!r}; expected one of {', '.join(sorted(_ERROR_CLASSES))}"
        )
    error = cls(entry.error.message)
    error.usage = usage_of(entry)
    return error


def usage_of(entry: Entry) -> dict[str, int] | None:
    """What models used before the error of an effect; None where nothing was noted."""
    noted = entry.annotations.get("usage")
    if not isinstance(noted, dict):
        return None
    return {name: count for name, count in noted.items() if isinstance(count, int)}
