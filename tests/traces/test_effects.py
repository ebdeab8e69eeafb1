from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import seamline.errors as errors
from seamline.errors import DivergenceError, SeamlineError, ToolCallError, TraceError
from seamline.traces import (
    BaseHooks,
    EffectKey,
    Effects,
    Entry,
    Outcome,
    RecordEffects,
    ReplayEffects,
    RunMeta,
    SqliteTraceStore,
    Trace,
    annotate,
)

Body = Callable[[Effects], Awaitable[Any]]
MetaFactory = Callable[..., RunMeta]


def giving(value: Any) -> Callable[[], Awaitable[Any]]:
    async def live() -> Any:
        await asyncio.sleep(0)
        return value

    return live


def raising(error: BaseException) -> Callable[[], Awaitable[Any]]:
    async def live() -> Any:
        raise error

    return live


async def forbidden() -> Any:
    raise AssertionError("a replay must not do anything")


def record(store: SqliteTraceStore, meta: RunMeta, body: Body) -> tuple[Any, Trace]:
    journal = store.start_run(meta)
    result = asyncio.run(_awaited(body(RecordEffects(journal))))
    journal.finish(Outcome(status="done", ended=2.0))
    return result, store.trace(meta.run_id)


async def _awaited(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


def test_what_was_recorded_is_served_again(store: SqliteTraceStore, meta: MetaFactory) -> None:
    async def body(effects: Effects) -> Any:
        first = await effects.perform("plan/1", "model", {"ask": "rules"}, giving({"b": 1, "a": 2}))
        return [
            list(first),
            await effects.perform("plan/1", "model", {"ask": "rules"}, giving((1, 2))),
            await effects.perform("doc/1", "tool", {"text": "t" * 9000}, giving({"t": "u" * 9000})),
            await effects.now("plan/1"),
            await effects.new_id("plan/1"),
            await effects.random("plan/1"),
        ]

    live, trace = record(store, meta(), body)
    assert live[0] == ["a", "b"], "live code must see the order that a replay sees"
    assert live[1] == [1, 2]
    assert [entry.key.occurrence for entry in trace.entries][:2] == [1, 2]
    replay = ReplayEffects(trace)
    assert asyncio.run(_awaited(body(replay))) == live
    assert replay.unserved() == []


def test_a_replay_never_awaits_live(store: SqliteTraceStore, meta: MetaFactory) -> None:
    async def body(effects: Effects) -> None:
        await effects.perform("plan/1", "model", {"v": 1}, giving(1))

    _, trace = record(store, meta(), body)

    async def ask(path: str, request: Any) -> Any:
        return await ReplayEffects(trace).perform(path, "model", request, forbidden)

    assert asyncio.run(ask("plan/1", {"v": 1})) == 1
    for path, request in (("plan/1", {"v": 2}), ("plan/2", {"v": 1}), ("plan/1", {"v": True})):
        with pytest.raises(DivergenceError):
            asyncio.run(ask(path, request))


def test_another_request_diverges_with_the_key_and_each_field(
    store: SqliteTraceStore, meta: MetaFactory
) -> None:
    policy = {"name": "coder/plan", "version": "1.0.0"}
    document = "long " * 2000

    async def body(effects: Effects) -> None:
        request = {"policy": policy, "ask": "rules", "document": document}
        await effects.perform("plan/2", "model", request, giving(1))

    _, trace = record(store, meta(), body)
    asked = {"policy": {**policy, "version": "1.1.0"}, "ask": "rules", "document": document + "!"}
    with pytest.raises(DivergenceError) as caught:
        asyncio.run(_awaited(ReplayEffects(trace).perform("plan/2", "model", asked, forbidden)))
    message = str(caught.value)
    assert "plan/2#1 (model)" in message
    assert 'policy.version: the journal has "1.0.0", asked was "1.1.0"' in message
    assert "document: " in message
    assert "ask" not in message.split("request:")[1].replace("asked was", "")
    assert len(message) < 600


def test_a_missing_effect_names_what_comes_next(store: SqliteTraceStore, meta: MetaFactory) -> None:
    async def body(effects: Effects) -> None:
        await effects.perform("tool:search/1", "tool", {}, giving(1))

    _, trace = record(store, meta(), body)
    with pytest.raises(DivergenceError, match=r"choose/1#1 \(model\).*tool:search/1#1 \(tool\)"):
        asyncio.run(_awaited(ReplayEffects(trace).perform("choose/1", "model", {}, forbidden)))


@pytest.mark.parametrize("name", errors.__all__)
def test_every_deliberate_error_is_served_as_itself(
    name: str, store: SqliteTraceStore, meta: MetaFactory
) -> None:
    cls: type[SeamlineError] = getattr(errors, name)

    async def body(effects: Effects) -> str:
        try:
            await effects.perform("tool:x/1", "tool", {}, raising(cls("it broke: é")))
        except SeamlineError as error:
            return f"{type(error).__name__} {error}"
        return "nothing"

    live, trace = record(store, meta(), body)
    assert live == f"{name} it broke: é"
    if issubclass(cls, TraceError):
        assert not trace.entries, "the journal's own errors are no outcome of an effect"
    else:
        assert asyncio.run(_awaited(body(ReplayEffects(trace)))) == live


def test_an_error_class_of_a_tool_is_served_as_the_nearest_of_ours(
    store: SqliteTraceStore, meta: MetaFactory
) -> None:
    class QuotaError(ToolCallError):
        pass

    async def body(effects: Effects) -> Any:
        with pytest.raises(ToolCallError) as caught:
            await effects.perform("tool:x/1", "tool", {}, raising(QuotaError("none left")))
        return str(caught.value)

    live, trace = record(store, meta(), body)
    assert trace.entries[0].error is not None
    assert trace.entries[0].error.type == "ToolCallError"
    assert asyncio.run(_awaited(body(ReplayEffects(trace)))) == live


def test_bugs_and_interrupts_pass_through_and_leave_no_entry(
    store: SqliteTraceStore, meta: MetaFactory
) -> None:
    async def body(effects: Effects) -> None:
        for error in (KeyError("bug"), asyncio.CancelledError()):
            with pytest.raises(type(error)):
                await effects.perform("answer/1", "answer", {}, raising(error))

    _, trace = record(store, meta(), body)
    assert not trace.entries


def test_a_resumed_run_does_not_do_things_twice(store: SqliteTraceStore, meta: MetaFactory) -> None:
    done: list[str] = []

    async def node(effects: Effects, answer: str | None) -> Any:
        async def say() -> Any:
            done.append("said")
            return {"question": "which side? " * 500}

        async def wait() -> Any:
            if answer is None:
                raise KeyError("interrupt")
            return answer

        question = await effects.perform("clarify/1", "model", {}, say)
        return [question["question"][:5], await effects.perform("clarify/1", "answer", {}, wait)]

    journal = store.start_run(meta())
    with pytest.raises(KeyError):
        asyncio.run(node(RecordEffects(journal), None))
    journal.finish(Outcome(status="needs_answer", ended=1.0))

    resumed = store.resume_run("run-1")
    result = asyncio.run(node(RecordEffects(resumed), "left"))
    resumed.finish(Outcome(status="done", ended=2.0))
    assert result == ["which", "left"]
    assert done == ["said"]
    trace = store.trace("run-1")
    assert [entry.kind for entry in trace.entries] == ["model", "answer"]
    assert asyncio.run(node(ReplayEffects(trace), None)) == result


def test_notes_are_kept_and_not_compared(store: SqliteTraceStore, meta: MetaFactory) -> None:
    async def inner() -> Any:
        annotate(side="inner")
        return 1

    async def body(effects: Effects) -> None:
        async def outer() -> Any:
            annotate(prefill_s=0.25)
            await effects.perform("tool:x/1/model", "model", {}, inner)
            annotate(rows=3)
            return 2

        await effects.perform("tool:x/1", "tool", {}, outer)

    _, trace = record(store, meta(), body)
    assert [dict(entry.annotations) for entry in trace.entries] == [
        {"side": "inner"},
        {"prefill_s": 0.25, "rows": 3},
    ]
    annotate(outside="does nothing")
    replay = ReplayEffects(trace)
    asyncio.run(_awaited(body(replay)))
    assert replay.unserved() == [], "what lies inside a served tool call is not missing"


@settings(max_examples=40, deadline=None)
@given(order=st.permutations(range(6)), replay_order=st.permutations(range(6)))
def test_parallel_branches_replay_in_any_order(order: list[int], replay_order: list[int]) -> None:
    async def run(effects: Effects, delays: list[int]) -> list[Any]:
        turns = [asyncio.Event() for _ in range(7)]
        turns[0].set()

        async def branch(number: int) -> Any:
            async def live() -> Any:
                await turns[delays[number]].wait()
                turns[delays[number] + 1].set()
                return {"branch": number}

            first = await effects.perform(f"tool:x/{number}", "tool", {"n": number}, live)
            second = await effects.perform(f"tool:x/{number}", "tool", {"n": number}, giving(1))
            return [first, second]

        return list(await asyncio.gather(*(branch(number) for number in range(6))))

    collected: list[Entry] = []

    class Sink:
        def append(self, run_id: str, entry: Entry, blobs: Any) -> None:
            collected.append(entry)

        def finish_run(self, run_id: str, outcome: Any, footer: Any, blobs: Any) -> None:
            pass

        def flush(self, run_id: str) -> None:
            pass

    from seamline.traces import Journal

    header = RunMeta(run_id="r", agent="a", started=0.0)
    journal = Journal(meta=header, header_digest="sha256:0", sink=Sink())
    live = asyncio.run(run(RecordEffects(journal), order))
    firsts = [entry.key.path for entry in collected if entry.key.occurrence == 1]
    assert firsts == [f"tool:x/{order.index(turn)}" for turn in range(6)]
    trace = Trace(header, tuple(collected), None, (), lambda _: b"")
    assert asyncio.run(run(ReplayEffects(trace), replay_order)) == live


def test_what_cannot_be_journaled_is_refused(store: SqliteTraceStore, meta: MetaFactory) -> None:
    async def body(effects: Effects) -> None:
        with pytest.raises(TraceError, match="not plain JSON"):
            await effects.perform("tool:x/1", "tool", {"x": {1}}, giving(1))
        with pytest.raises(TraceError, match="not plain JSON"):
            await effects.perform("tool:x/1", "tool", {}, giving(float("nan")))

    record(store, meta(), body)


def test_a_hook_hears_every_effect_and_cannot_break_the_run(
    store: SqliteTraceStore, meta: MetaFactory, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[str] = []

    class Ear(BaseHooks):
        def on_effect_start(self, meta: RunMeta, key: EffectKey, request: Any) -> None:
            heard.append(f"start {key}")

        def on_effect_end(
            self,
            meta: RunMeta,
            key: EffectKey,
            entry: Entry | None,
            result: Any,
            error: BaseException | None,
        ) -> None:
            heard.append(f"end {key} {result} {type(error).__name__} {entry is not None}")
            raise RuntimeError("a broken exporter")

    journal = store.start_run(meta())
    effects = RecordEffects(journal, hooks=[Ear(), Ear()])
    assert asyncio.run(effects.perform("plan/1", "model", {}, giving(7))) == 7
    with pytest.raises(ToolCallError):
        asyncio.run(effects.perform("tool:x/1", "tool", {}, raising(ToolCallError("no"))))
    asyncio.run(effects.flush())
    assert heard == [
        *["start plan/1#1 (model)"] * 2,
        *["end plan/1#1 (model) 7 NoneType True"] * 2,
        *["start tool:x/1#1 (tool)"] * 2,
        *["end tool:x/1#1 (tool) None ToolCallError True"] * 2,
    ]
    assert "a run hook of Ear failed" in caplog.text


def test_both_implementations_offer_the_protocol() -> None:
    for cls in (RecordEffects, ReplayEffects):
        for name, member in inspect.getmembers(Effects, inspect.isfunction):
            if not name.startswith("_"):
                found = getattr(cls, name)
                assert inspect.iscoroutinefunction(found)
                assert inspect.signature(found) == inspect.signature(member)


def test_identifiers_sort_by_the_time_they_were_made() -> None:
    from seamline.traces.ids import uuid7

    made = [uuid7() for _ in range(10_000)]
    assert made == sorted(set(made))
    assert {text[14] for text in made} == {"7"}
    assert {text[19] for text in made} <= set("89ab")
