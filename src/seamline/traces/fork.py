"""Fork: a run again, the same up to one effect, live with a change from there on.

The journal of the fork is whole: what was served from the parent is copied into it, with
where it came from. So a fork replays, is exported and is forked again like any other run.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from seamline.errors import DivergenceError, InputError
from seamline.traces.effects import EffectHelpers, Live, RecordEffects, same_request, serve_entry
from seamline.traces.journal import EffectKey, EffectKind, Entry, Journal
from seamline.traces.replay import is_inside
from seamline.traces.trace import Trace
from seamline.traces.values import Json, Plain, canonical_json, diff_fields, expand

__all__ = ["LINEAGE_FIELDS", "SERVED", "ForkCounts", "ForkEffects", "ForkPlan", "find_step"]

SERVED = "served"
"""The annotation of an effect that was served: `run`, `record`, and `assembly` in the prefix."""

LINEAGE_FIELDS = frozenset({"identity", "model", "policy"})
"""Fields of a request that say who answers; what is asked is the rest."""


def find_step(trace: Trace, step: str) -> Entry:
    """The effect that a person means by a step.

    Args:
        trace: The run.
        step: A record's number, an effect's key (`plan/2#1`), or a task (`plan/2`,
            `tool:icd10_select/1`), which means its last model, tool or answer effect.

    Raises:
        InputError: The run has no such step; the message lists the steps it has.
    """
    if step.isdecimal() and len(step) < 10:
        found = [entry for entry in trace.entries if entry.seq == int(step)]
    elif re.search(r"#\d+$", step):
        found = [entry for entry in trace.entries if entry.key.text == step]
    else:
        found = [entry for entry in trace.entries if entry.key.path == step]
    for entry in reversed(found):
        if entry.kind not in ("clock", "id", "random"):
            return entry
    if found:
        return found[-1]
    named = (e.key.path for e in trace.entries if e.kind not in ("clock", "id", "random"))
    steps = list(dict.fromkeys(named))
    raise InputError(
        f"run {trace.run_id} has no step {step!r}; its steps are: {', '.join(steps) or 'none'}"
    )


@dataclass(frozen=True, kw_only=True)
class ForkPlan:
    """What a fork keeps and changes.

    Attributes:
        parent: The run that is forked.
        at: The effect from which on the fork is live; None for the start of the run.
        given: A result that stands in the place of the effect at `at`, in the form in which
            the effect's kind records it.
        whole: The fork leaves at the end of the journal: where the run waited for an answer.
        answered: The question that the run may ask has another answer now.
        stale: Tools whose code is another one now; their recorded calls are not reused.
        guarded: Tools with side effects, which a fork does not run.
    """

    parent: Trace
    at: Entry | None
    given: Json | None = None
    whole: bool = False
    answered: bool = False
    stale: frozenset[str] = frozenset()
    guarded: frozenset[str] = frozenset()

    def in_prefix(self, entry: Entry) -> bool:
        """Whether an effect of the parent comes before the fork, and is kept as it is."""
        at = self.at
        if self.whole:
            return True
        return at is not None and entry.seq < at.seq and not is_inside(entry.key.path, at.key.path)

    def assemblies(self) -> dict[str, int]:
        """Task to the number of the assembly that asked for it, for the tasks of the prefix."""
        own = len(self.parent.meta.history)
        return {
            entry.key.path: assembly_of(entry, own)
            for entry in self.parent.entries
            # Clocks do not count: that of the forked task lies before the fork, it does not.
            if self.in_prefix(entry) and entry.kind in ("model", "tool", "retrieval")
        }


def assembly_of(entry: Entry, own: int) -> int:
    """Which assembly of a run asked for an effect: 0 is the oldest, `own` the run's own."""
    served = entry.annotations.get(SERVED)
    number = served.get("assembly") if isinstance(served, dict) else None
    return number if isinstance(number, int) and 0 <= number < own else own


@dataclass
class ForkCounts:
    """How many effects of a fork were served from the prefix, reused behind it, done live."""

    prefix: int = 0
    reused: int = 0
    live: int = 0


class ForkEffects(EffectHelpers):
    """Effects of a fork: the prefix served, the rest live unless nothing changed for it.

    Behind the fork an effect with the same key and the same request gets the answer that the
    parent got, so an untouched branch costs nothing, and a change without consequence reuses
    the whole suffix.
    """

    def __init__(
        self,
        plan: ForkPlan,
        journal: Journal,
        record: RecordEffects,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.plan = plan
        self.counts = ForkCounts()
        self._journal, self._record = journal, record
        self._entries = {entry.key: entry for entry in plan.parent.entries}
        self._occurrences = record.occurrences
        self._reached = plan.at is None
        self._on_track = True
        self._monotonic = clock
        self._ticked = clock()
        self._now = plan.parent.meta.started

    async def perform(self, path: str, kind: EffectKind, request: Json, live: Live) -> Json:
        """The recorded result while nothing changed, else the result of `live`.

        Raises:
            SeamlineError: what was recorded, or what `live` raised.
            DivergenceError: an effect before the fork is not in the journal, or was asked
                something else.
            InputError: a tool with side effects would run.
        """
        key, asked = self._occurrences.key(path, kind), Plain.of(request)
        entry = self._entries.get(key)
        if entry is not None and self.plan.in_prefix(entry):
            return self._serve_prefix(entry, asked)
        if entry is None and not self._reached:
            raise DivergenceError(
                f"before its step the fork asked for effect {key}, which the journal does not "
                "hold; the project has changed since the run: fork an earlier step",
                effect=key.text,
            )
        if self.plan.at is not None and key == self.plan.at.key:
            self._reached = True
            return await self._at_fork(key, asked, live)
        if entry is not None and self._reusable(entry, asked):
            self.counts.reused += 1
            self._copy(entry, {})
            return serve_entry(entry, asked, self.plan.parent.read_blob)
        return await self._live(key, asked, live)

    async def now(self, path: str) -> float:
        """Seconds since the epoch, as if the fork had gone on where the parent was."""

        async def live() -> Json:
            return self._virtual_now()

        return float(await self.perform(path, "clock", {}, live))

    def _serve_prefix(self, entry: Entry, asked: Plain) -> Json:
        parent = self.plan.parent
        if self._is_around_fork(entry) and _same_question(entry, asked, parent):
            # The call around a forked effect is made anew, perhaps with another adapter; what
            # it asked before the fork is kept.
            asked = Plain.of(parent.request(entry))
        if same_request(entry, asked):
            self.counts.prefix += 1
            self._copy(entry, {"assembly": assembly_of(entry, len(parent.meta.history))})
        return serve_entry(entry, asked, parent.read_blob)

    def _is_around_fork(self, entry: Entry) -> bool:
        """Whether an effect lies in the same tool call as the effect at the fork."""
        at = self.plan.at
        return at is not None and any(
            is_inside(at.key.path, call.key.path) and is_inside(entry.key.path, call.key.path)
            for call in self.plan.parent.entries
            if call.kind in ("tool", "retrieval")
        )

    async def _at_fork(self, key: EffectKey, asked: Plain, live: Live) -> Json:
        given = self.plan.given
        if given is None:
            return await self._live(key, asked, live)

        async def hand_in() -> Json:
            return given

        return await self._live(key, asked, hand_in, guard=False)

    async def _live(self, key: EffectKey, asked: Plain, live: Live, *, guard: bool = True) -> Json:
        name = self._tool_of(asked)
        if guard and key.kind in ("tool", "retrieval") and name in self.plan.guarded:
            live = _refusing(name)
        elif key.kind not in ("clock", "id", "random"):
            self.counts.live += 1
        try:
            result = await self._record.perform_live(key, asked, live)
        except BaseException:
            self._on_track = False
            raise
        entry = self._entries.get(key)
        if entry is None or canonical_json(self.plan.parent.result(entry)) != canonical_json(
            result
        ):
            self._on_track = False
        return result

    @staticmethod
    def _tool_of(asked: Plain) -> Json:
        return asked.value.get("tool") if isinstance(asked.value, dict) else None

    def _reusable(self, entry: Entry, asked: Plain) -> bool:
        if entry.kind == "clock":
            return self._on_track
        if entry.kind == "answer" and self.plan.answered:
            return False
        at = self.plan.at
        if at is not None and is_inside(at.key.path, entry.key.path):
            return False
        return self._tool_of(asked) not in self.plan.stale and same_request(entry, asked)

    def _copy(self, entry: Entry, extra: Mapping[str, Json]) -> None:
        """Take an effect over from the parent, and with a tool call what happened inside it."""
        parent = self.plan.parent
        inner = [
            other
            for other in parent.entries
            if entry.kind in ("tool", "retrieval") and is_inside(other.key.path, entry.key.path)
        ]
        for one in [*inner, entry]:
            served: dict[str, Json] = {"run": parent.run_id, "record": one.seq, **extra}
            self._journal.append(
                key=one.key,
                request=Plain.of(parent.request(one)),
                result=None if one.error else Plain.of(parent.result(one)),
                error=one.error,
                started=one.started,
                ended=one.ended,
                annotations={**expand(dict(one.annotations), parent.read_blob), SERVED: served},
            )
        if entry.kind == "clock":
            self._now = float(parent.result(entry))
        else:
            self._now = self._virtual_now() + entry.seconds
        self._ticked = self._monotonic()

    def _virtual_now(self) -> float:
        return round(self._now + self._monotonic() - self._ticked, 6)


def _same_question(entry: Entry, asked: Plain, parent: Trace) -> bool:
    """Whether two requests differ at most in who answers."""
    recorded = parent.request(entry)
    if not isinstance(recorded, dict) or not isinstance(asked.value, dict):
        return False
    left = {key: value for key, value in recorded.items() if key not in LINEAGE_FIELDS}
    right = {key: value for key, value in asked.value.items() if key not in LINEAGE_FIELDS}
    return not diff_fields(left, right, limit=1)


def _refusing(tool: Json) -> Live:
    """Refuses a call as an outcome of its own, so that the fork replays with its refusal."""

    async def refuse() -> Json:
        raise InputError(
            f"the tool {tool} has side effects and a fork does not run it; hand in its result "
            "with --tool-result, or allow it with --allow-side-effects"
        )

    return refuse
