"""Replay keeps the order that parallel branches had, and never waits for what will not come."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any, TypedDict

import pytest

from seamline.errors import DivergenceError
from seamline.traces import (
    Effects,
    Outcome,
    RecordEffects,
    ReplayEffects,
    RunMeta,
    SqliteTraceStore,
    Trace,
)

INTERLEAVINGS = 1000


class State(TypedDict, total=False):
    nothing: str


async def forbidden() -> Any:
    raise AssertionError("a replay called live")


async def race(effects: Effects, branches: int, length: int, dice: random.Random) -> list[str]:
    """Branches that step in an order of chance, and note who came when: a racy program."""
    came: list[str] = []

    async def branch(number: int) -> None:
        for step in range(length):
            for _ in range(dice.randrange(4)):
                await asyncio.sleep(0)
            value = round(dice.random(), 6)

            async def live(value: float = value) -> float:
                for _ in range(dice.randrange(4)):
                    await asyncio.sleep(0)
                return value

            given = await effects.perform(f"branch/{number}", "model", {"step": step}, live)
            came.append(f"{number}:{step}:{given}")

    await asyncio.gather(*(branch(number) for number in range(branches)))
    return came


def recorded(store: SqliteTraceStore, name: str, body: Any) -> tuple[Any, Trace]:
    journal = store.start_run(RunMeta(run_id=name, agent="racy", started=1.0))
    result = asyncio.run(body(RecordEffects(journal)))
    journal.finish(Outcome(status="done", ended=2.0))
    return result, store.trace(name)


def test_a_thousand_interleavings_replay_in_the_order_they_had(tmp_path: Path) -> None:
    orders = set()
    with SqliteTraceStore(tmp_path / "traces.sqlite") as store:
        for seed in range(INTERLEAVINGS):
            dice = random.Random(seed)
            branches, length = dice.randrange(2, 5), dice.randrange(1, 4)
            live, trace = recorded(
                store,
                f"run-{seed}",
                lambda e, b=branches, n=length, d=dice: race(e, b, n, d),
            )
            # Another pace than the recorded one: the journal decides, not the scheduler.
            other = random.Random(-seed - 1)
            replay = ReplayEffects(trace)
            assert asyncio.run(race(replay, branches, length, other)) == live, f"seed {seed}"
            assert replay.unserved() == []
            orders.add(tuple(one.rpartition(":")[0] for one in live))
    assert len(orders) > INTERLEAVINGS // 4


def test_branches_of_a_graph_replay(tmp_path: Path) -> None:
    """Parallel LangGraph nodes whose last writer wins: the outcome hangs on their order."""
    from langgraph.graph import END, START, StateGraph

    def graph(effects: Effects, dice: random.Random, came: list[str]) -> Any:
        def node(name: str) -> Any:
            async def run(state: dict[str, Any]) -> dict[str, Any]:
                await asyncio.sleep(dice.random() / 100)

                async def live() -> str:
                    await asyncio.sleep(dice.random() / 100)
                    return name

                came.append(await effects.perform(name, "model", {}, live))
                return {}

            return run

        built: Any = StateGraph(State)
        for name in "abcd":
            built.add_node(name, node(name))
            built.add_edge(START, name)
            built.add_edge(name, END)
        return built.compile()

    async def body(effects: Effects, seed: int = 5) -> list[str]:
        came: list[str] = []
        await graph(effects, random.Random(seed), came).ainvoke({})
        return came

    with SqliteTraceStore(tmp_path / "traces.sqlite") as store:
        live, trace = recorded(store, "graph", body)
        for seed in range(8):
            assert asyncio.run(body(ReplayEffects(trace), seed)) == live


def test_a_branch_does_not_wait_for_an_effect_that_nobody_asks_for(tmp_path: Path) -> None:
    async def body(effects: Effects) -> None:
        async def one() -> int:
            return 1

        await effects.perform("first", "model", {}, one)
        await effects.perform("second", "model", {}, one)

    with SqliteTraceStore(tmp_path / "traces.sqlite") as store:
        _, trace = recorded(store, "run", body)

    async def skips(effects: Effects) -> None:
        await effects.perform("second", "model", {}, forbidden)

    with pytest.raises(DivergenceError, match=r"asked for effect second#1 .* has effect first#1"):
        asyncio.run(skips(ReplayEffects(trace, patience=0.2)))


def test_a_killed_run_replays_as_far_as_it_came(tmp_path: Path) -> None:
    async def one() -> int:
        return 1

    with SqliteTraceStore(tmp_path / "traces.sqlite") as store:
        journal = store.start_run(RunMeta(run_id="killed", agent="racy", started=1.0))
        asyncio.run(_awaited(RecordEffects(journal).perform("first", "model", {}, one)))
        store.flush()
        replay = ReplayEffects(store.trace("killed"))
    assert asyncio.run(_awaited(replay.perform("first", "model", {}, forbidden))) == 1
    with pytest.raises(DivergenceError, match="the run was killed here"):
        asyncio.run(_awaited(replay.perform("second", "model", {}, forbidden)))


async def _awaited(work: Any) -> Any:
    return await work
