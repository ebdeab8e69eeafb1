"""Served replays: effects a second, and a whole run; recording: what it adds to a run."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from seamline import AgentResult, Project
from seamline.agents.recorded import RecordedRun
from seamline.testing import golden_runs
from seamline.traces import ReplayEffects, RunMeta, read_trace
from seamline.traces.effects import EffectHelpers, RecordEffects
from seamline.traces.journal import Outcome
from seamline.traces.store import SqliteTraceStore
from trace_parts import Row

ROOT = Path(__file__).resolve().parents[2]
EFFECTS, REPEATS = 2000, 9
REQUEST = {"identity": {"base": "b", "skill": "decide@1"}, "requests": [{"context": "x " * 300}]}
RESULT = {"responses": [{"scores": [0.25] * 6, "token_ids": list(range(200))}]}


async def _answer() -> Any:
    return RESULT


def rows() -> Iterator[Row]:
    """The table's lines."""
    yield from _effects()
    yield _whole_run()
    yield from _share_of_a_run()


def _effects() -> Iterator[Row]:
    """One effect recorded and served, asked as a policy call asks."""
    with tempfile.TemporaryDirectory() as folder, SqliteTraceStore(Path(folder) / "t.db") as store:

        async def all_effects(effects: EffectHelpers) -> None:
            for number in range(EFFECTS):
                await effects.perform(f"plan/{number}", "model", REQUEST, _answer)

        journal = store.start_run(RunMeta(run_id="bench", agent="bench", started=1.0))
        started = time.perf_counter()
        asyncio.run(all_effects(RecordEffects(journal)))
        recording = (time.perf_counter() - started) / EFFECTS
        journal.finish(Outcome(status="done", ended=2.0))
        trace = store.trace("bench")
        started = time.perf_counter()
        asyncio.run(all_effects(ReplayEffects(trace)))
        served = EFFECTS / (time.perf_counter() - started)
    yield Row("recording an effect", recording * 1e3, "ms", 0.3, "lower")
    yield Row("served replay", served, "effects/s", 1000, "higher")


def _whole_run() -> Row:
    """The golden run with the most effects, executed again; the first time does not count."""
    folder = max(golden_runs(ROOT), key=lambda one: len(read_trace(one).entries))
    run = RecordedRun.of(read_trace(folder), Project.open(ROOT))
    effects = run.replay().effects
    times = [_seconds(run.replay) for _ in range(REPEATS)]
    what = f"a recorded run of {effects} effects, replayed"
    return Row(what, statistics.median(times) * 1e3, "ms", 100, "lower")


class _Unrecorded(EffectHelpers):
    """Effects that only happen: the peer of recording."""

    def __init__(self, journal: Any, *, hooks: Any = ()) -> None:
        del journal, hooks

    async def perform(
        self, path: str, kind: Any, request: Any, live: Callable[[], Awaitable[Any]]
    ) -> Any:
        del path, kind, request
        return await live()


def _share_of_a_run() -> Iterator[Row]:
    """What recording adds to a run of the ICD-10 agent with the local engine."""
    import seamline.agents.runtime as runtime

    text = (ROOT / "examples/notes/outpatient.txt").read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder, SqliteTraceStore(Path(folder) / "t.db") as store:
        agent = Project.open(ROOT, store=store).agent("icd10_coder", hooks=())
        agent.run(text)
        ratios = []
        for _ in range(5):
            with_it = _seconds(lambda: agent.run(text))
            recorded, runtime.RecordEffects = runtime.RecordEffects, _Unrecorded  # type: ignore[misc,assignment]
            try:
                without = _seconds(lambda: _done(agent.run(text)))
            finally:
                runtime.RecordEffects = recorded  # type: ignore[misc]
            ratios.append((with_it / without - 1) * 100)
    peer = "the same run, its effects not recorded"
    yield Row("recording adds to a run", statistics.median(ratios), "%", 2, "lower", peer)


def _done(result: AgentResult) -> AgentResult:
    assert result.status == "done", result.message
    return result


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
