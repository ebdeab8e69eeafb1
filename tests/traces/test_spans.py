from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider, sampling
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from seamline.errors import ToolCallError
from seamline.traces import (
    BaseHooks,
    EffectKey,
    NodeInfo,
    Outcome,
    RecordEffects,
    RunMeta,
    SpanHooks,
    SqliteTraceStore,
    combine_hooks,
)
from seamline.traces.span_worker import QUEUE_LIMIT, WORKER

MetaFactory = Callable[..., RunMeta]
PLAN = {
    "policy": {"name": "coder/plan", "version": "1.2.0", "digest": "sha256:plan"},
    "identity": {
        "base": "smollm2-135m",
        "base_digest": "sha256:base",
        "skill": "decide@1.0.0",
        "adapter_digest": "sha256:decide",
    },
    "requests": [{"context": "secret words of the patient"}],
}
PLANNED = {
    "responses": [
        {
            "scores": [0.93],
            "usage": {"input_tokens": 120, "output_tokens": 2},
            "lineage": {
                "tokenizer_digest": "sha256:tokens",
                "chat_template_digest": "sha256:chat",
                "dtype": "float32",
                "device": "cpu",
            },
            "token_ids": [31337],
        }
    ],
    "decision": {"choice": "find candidate codes", "confidence": 0.93},
}


class Spans:
    def __init__(self, provider: TracerProvider | None = None) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = provider or TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))

    def all(self) -> list[ReadableSpan]:
        assert SpanHooks().force_flush()
        return list(self.exporter.get_finished_spans())

    def finished(self) -> dict[str, ReadableSpan]:
        return {span.name: span for span in self.all()}


def parent_of(span: ReadableSpan, among: dict[str, ReadableSpan]) -> str | None:
    ids = {other.context.span_id: name for name, other in among.items() if other.context}
    return None if span.parent is None else ids.get(span.parent.span_id, "?")


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


async def run_agent(store: SqliteTraceStore, meta: RunMeta, spans: Spans, **options: Any) -> None:
    span_hooks = SpanHooks(provider=spans.provider, **options)
    hooks = combine_hooks([span_hooks])
    journal = store.start_run(meta)
    effects = RecordEffects(journal, hooks=[span_hooks])
    tracer = spans.provider.get_tracer("a library inside a tool")

    async def plan() -> Any:
        return PLANNED

    async def search() -> Any:
        with tracer.start_as_current_span("GET"):
            return {"value": {"found": "secret title"}}

    async def ask() -> Any:
        return {"responses": []}

    async def select() -> Any:
        await effects.perform("tool:select/1/model", "model", {"identity": {"name": "m"}}, ask)
        raise ToolCallError("no answer for secret words")

    hooks.on_run_start(meta)
    node = NodeInfo("plan/1", "plan")
    hooks.on_node_start(meta, node)
    await effects.now("plan/1")
    await effects.perform("plan/1", "model", PLAN, plan)
    hooks.on_node_end(meta, node, None)
    for path, kind, live in (("search", "retrieval", search), ("select", "tool", select)):
        node = NodeInfo(f"tool:{path}/1", "tool")
        hooks.on_node_start(meta, node)
        request = {"tool": {"name": path}, "input": {"text": "secret words"}}
        with contextlib.suppress(ToolCallError):
            # Graphs run nodes in tasks of their own, where the run's span is not current.
            await asyncio.create_task(
                effects.perform(f"tool:{path}/1", kind, request, live)  # type: ignore[arg-type]
            )
        hooks.on_node_end(meta, node, None)
    outcome = Outcome(status="failed", ended=meta.started + 1, error="no answer")
    journal.finish(outcome)
    hooks.on_run_end(meta, outcome)


def test_a_run_becomes_spans_under_the_hosts_own(
    store: SqliteTraceStore, meta: MetaFactory
) -> None:
    spans = Spans()

    async def host() -> None:
        with spans.provider.get_tracer("host").start_as_current_span("POST /code"):
            await run_agent(
                store, meta(model={"base": "smollm2-135m"}, conversation="visit-7"), spans
            )

    asyncio.run(host())
    found = spans.finished()
    assert {name: parent_of(span, found) for name, span in found.items()} == {
        "POST /code": None,
        "invoke_agent coder": "POST /code",
        "plan coder": "invoke_agent coder",
        "chat smollm2-135m+decide@1.0.0": "plan coder",
        "retrieval search": "invoke_agent coder",
        "GET": "retrieval search",
        "execute_tool select": "invoke_agent coder",
        "chat m": "execute_tool select",
    }
    entries = store.trace("run-1").entries
    assert attributes(found["chat smollm2-135m+decide@1.0.0"]) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "seamline",
        "gen_ai.agent.name": "coder",
        "gen_ai.conversation.id": "visit-7",
        "gen_ai.request.model": "smollm2-135m+decide@1.0.0",
        "gen_ai.prompt.name": "coder/plan",
        "gen_ai.prompt.version": "1.2.0",
        "gen_ai.usage.input_tokens": 120,
        "gen_ai.usage.output_tokens": 2,
        "seamline.run.id": "run-1",
        "seamline.policy.digest": "sha256:plan",
        "seamline.base.name": "smollm2-135m",
        "seamline.base.digest": "sha256:base",
        "seamline.adapter.name": "decide",
        "seamline.adapter.version": "1.0.0",
        "seamline.adapter.digest": "sha256:decide",
        "seamline.tokenizer.digest": "sha256:tokens",
        "seamline.chat_template.digest": "sha256:chat",
        "seamline.dtype": "float32",
        "seamline.device": "cpu",
        "seamline.questions": 1,
        "seamline.decision": "find candidate codes",
        "seamline.confidence": 0.93,
        "seamline.effect.key": "plan/1#1",
        "seamline.effect.digest": entries[1].digest,
    }
    retrieval = attributes(found["retrieval search"])
    assert retrieval["gen_ai.tool.name"] == retrieval["gen_ai.data_source.id"] == "search"
    assert retrieval["gen_ai.tool.type"] == "datastore"
    tool = found["execute_tool select"]
    assert attributes(tool)["error.type"] == "ToolCallError"
    assert tool.status.status_code.name == "ERROR"
    run = found["invoke_agent coder"]
    assert attributes(run)["seamline.run.status"] == "failed"
    assert attributes(run)["gen_ai.request.model"] == "smollm2-135m"
    assert run.status.status_code.name == "ERROR"


def test_content_stays_out_unless_asked_for(
    store: SqliteTraceStore, meta: MetaFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet, asked, told = Spans(), Spans(), Spans()
    given = {"text": "secret note"}
    asyncio.run(run_agent(store, meta("a", input=given), quiet))
    asyncio.run(run_agent(store, meta("b", input=given), asked, capture_content=True))
    monkeypatch.setenv("SEAMLINE_CAPTURE_CONTENT", "1")
    asyncio.run(run_agent(store, meta("c", input=given), told))
    for spans, secret in ((quiet, False), (asked, True), (told, True)):
        texts = [span.to_json() for span in spans.all()]
        assert ("secret" in "".join(texts)) is secret
        assert "31337" not in "".join(texts), "token ids spell out the text"
    found = asked.finished()
    call = attributes(found["retrieval search"])
    assert json.loads(call["gen_ai.tool.call.arguments"]) == {"text": "secret words"}
    assert json.loads(call["gen_ai.tool.call.result"]) == {"found": "secret title"}
    assert found["execute_tool select"].status.description == "no answer for secret words"
    chat = attributes(found["chat smollm2-135m+decide@1.0.0"])
    assert json.loads(chat["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": "secret words of the patient"}]}
    ]
    [answer] = json.loads(chat["gen_ai.output.messages"])
    assert answer["role"] == "assistant"
    assert json.loads(answer["parts"][0]["content"])["choice"] == "find candidate codes"
    [said] = json.loads(attributes(found["invoke_agent coder"])["gen_ai.input.messages"])
    assert said["parts"] == [{"type": "text", "content": "secret note"}]


def test_content_is_text_that_an_exporter_can_encode(
    store: SqliteTraceStore, meta: MetaFactory
) -> None:
    spans = Spans()
    given = {"text": "half a pair: \ud83d"}
    asyncio.run(run_agent(store, meta("a", input=given), spans, capture_content=True))
    said = attributes(spans.finished()["invoke_agent coder"])["gen_ai.input.messages"]
    assert json.loads(said)[0]["parts"][0]["content"] == "half a pair: \ufffd"


def test_content_goes_through_the_redaction(store: SqliteTraceStore, meta: MetaFactory) -> None:
    def broken(_: str) -> str:
        raise ValueError("cannot")

    masked, withheld = Spans(), Spans()
    given = {"text": "secret note"}

    def redact(text: str) -> str:
        return text.replace("secret", "***")

    options: Any = {"capture_content": True}
    asyncio.run(run_agent(store, meta("a", input=given), masked, redact=redact, **options))
    asyncio.run(run_agent(store, meta("b", input=given), withheld, redact=broken, **options))
    for spans, shown in ((masked, "*** words"), (withheld, "withheld")):
        text = "".join(span.to_json() for span in spans.all())
        assert "secret" not in text
        assert shown in text


def test_runs_at_once_do_not_mix(store: SqliteTraceStore, meta: MetaFactory) -> None:
    spans = Spans()
    hooks = SpanHooks(provider=spans.provider)

    async def one(name: str) -> None:
        run = meta(name)
        hooks.on_run_start(run)
        effects = RecordEffects(store.start_run(run), hooks=[hooks])

        async def live() -> Any:
            await asyncio.sleep(0)
            return 1

        await asyncio.gather(
            *(effects.perform(f"tool:t{at}/1", "tool", {}, live) for at in range(5))
        )
        hooks.on_run_end(run, Outcome(status="done", ended=1.0))

    async def both() -> None:
        await asyncio.gather(one("run-a"), one("run-b"))

    asyncio.run(both())
    done = spans.all()
    roots = {span.context.span_id: span for span in done if span.parent is None and span.context}
    assert len(roots) == 2
    inner = [span for span in done if span.parent is not None]
    assert len(inner) == 10
    for span in inner:
        assert span.parent is not None
        root = roots[span.parent.span_id]
        assert attributes(root)["seamline.run.id"] == attributes(span)["seamline.run.id"]


def test_an_interrupted_node_leaves_no_open_span(meta: MetaFactory) -> None:
    spans = Spans()
    hooks = SpanHooks(provider=spans.provider)
    hooks.on_run_start(meta())
    hooks.on_node_start(meta(), NodeInfo("plan/1", "plan"))
    hooks.on_run_end(meta(), Outcome(status="needs_answer", ended=1.0))
    assert set(spans.finished()) == {"plan coder", "invoke_agent coder"}


def test_runs_in_threads_do_not_mix(store: SqliteTraceStore, meta: MetaFactory) -> None:
    spans = Spans()
    failed: list[BaseException] = []

    def one(name: str) -> None:
        try:
            asyncio.run(run_agent(store, meta(name), spans))
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=one, args=(f"run-{at}",)) for at in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    done = spans.all()
    assert len(done) == 4 * 7
    traces: dict[int, set[Any]] = {}
    for span in done:
        assert span.context is not None
        run = attributes(span).get("seamline.run.id")
        traces.setdefault(span.context.trace_id, set()).add(run)
    assert sorted(str(ids - {None}) for ids in traces.values()) == [
        f"{{'run-{at}'}}" for at in range(4)
    ]


def test_what_a_tool_does_with_its_current_span_stays(
    store: SqliteTraceStore, meta: MetaFactory
) -> None:
    spans = Spans()
    hooks = SpanHooks(provider=spans.provider)
    seen = {}

    async def live() -> Any:
        span = trace.get_current_span()
        assert span.is_recording()
        span.set_attribute("host.cost", 3)
        span.add_event("asked upstream")
        seen["id"] = span.get_span_context().span_id
        with trace.use_span(span, end_on_exit=True):
            return 1

    async def go() -> None:
        hooks.on_run_start(meta())
        effects = RecordEffects(store.start_run(meta()), hooks=[hooks])
        await effects.perform("tool:t/1", "tool", {"tool": "t"}, live)
        assert not trace.get_current_span().get_span_context().is_valid
        hooks.on_run_end(meta(), Outcome(status="done", ended=1.0))

    asyncio.run(go())
    span = spans.finished()["execute_tool t"]
    assert span.context is not None
    assert span.context.span_id == seen["id"]
    assert attributes(span)["host.cost"] == 3
    assert [event.name for event in span.events] == ["asked upstream"]
    assert span.start_time is not None
    assert span.end_time is not None
    assert span.start_time <= span.events[0].timestamp <= span.end_time


def test_effects_of_one_path_close_in_any_order(meta: MetaFactory) -> None:
    spans = Spans()
    hooks = SpanHooks(provider=spans.provider)
    keys = [EffectKey("tool:t/1/model", at, "model") for at in (1, 2, 3)]

    def end(key: EffectKey) -> None:
        hooks.on_effect_end(meta(), key, None, {"text": key.text}, None)

    hooks.on_run_start(meta())
    tool = EffectKey("tool:t/1", 1, "tool")
    hooks.on_effect_start(meta(), tool, {"tool": "t"})
    for key in keys:
        hooks.on_effect_start(meta(), key, {"identity": {"model": key.text}})
    for key in (keys[1], keys[2], keys[0]):
        end(key)
    end(EffectKey("tool:t/1/model", 9, "model"))
    end(tool)
    hooks.on_run_end(meta(), Outcome(status="done", ended=1.0))
    found = spans.finished()
    assert {name: parent_of(span, found) for name, span in found.items()} == {
        "invoke_agent coder": None,
        "execute_tool t": "invoke_agent coder",
        **{f"chat {key.text}": "execute_tool t" for key in keys},
    }


def test_sampling_is_the_hosts(store: SqliteTraceStore, meta: MetaFactory) -> None:
    off = Spans(TracerProvider(sampler=sampling.ALWAYS_OFF))
    asyncio.run(run_agent(store, meta("a"), off))
    assert off.all() == []

    class ByModel(sampling.Sampler):
        """Drops chats, by what is known when they start."""

        def should_sample(self, *args: Any, **named: Any) -> sampling.SamplingResult:
            given = dict(
                zip(("context", "trace", "name", "kind", "attributes"), args, strict=False)
            )
            attributes = (given | named)["attributes"] or {}
            chat = attributes.get("gen_ai.operation.name") == "chat"
            decision = sampling.Decision.DROP if chat else sampling.Decision.RECORD_AND_SAMPLE
            return sampling.SamplingResult(decision, attributes)

        def get_description(self) -> str:
            return "no chats"

    some = Spans(TracerProvider(sampler=ByModel()))
    asyncio.run(run_agent(store, meta("b"), some))
    names = {span.name for span in some.all()}
    assert "execute_tool select" in names
    assert not any(name.startswith("chat") for name in names)


def test_spans_end_where_they_ended_not_when_they_were_made(meta: MetaFactory) -> None:
    spans = Spans()
    hooks = SpanHooks(provider=spans.provider)
    before = time.time_ns()
    hooks.on_run_start(meta())
    key = EffectKey("tool:t/1", 1, "tool")
    hooks.on_effect_start(meta(), key, {"tool": "t"})
    hooks.on_effect_end(meta(), key, None, None, None)
    after = time.time_ns()
    time.sleep(0.02)
    hooks.on_run_end(meta(), Outcome(status="done", ended=1.0))
    span = spans.finished()["execute_tool t"]
    assert span.start_time is not None
    assert span.end_time is not None
    assert before <= span.start_time <= span.end_time <= after


def test_what_does_not_fit_is_dropped_and_counted(
    meta: MetaFactory, caplog: pytest.LogCaptureFixture
) -> None:
    spans = Spans()
    hooks = SpanHooks(provider=spans.provider)
    gate, held = threading.Event(), threading.Event()

    def hold() -> None:
        held.set()
        gate.wait()

    hooks.on_run_start(meta())
    WORKER.call_when_done(hold)
    assert held.wait(5)
    extra = 7
    with caplog.at_level(logging.WARNING, "seamline.traces.span_worker"):
        for at in range(QUEUE_LIMIT + extra):
            key = EffectKey(f"tool:t/{at}", 1, "tool")
            hooks.on_effect_start(meta(), key, {"tool": "t"})
            hooks.on_effect_end(meta(), key, None, None, None)
        gate.set()
        assert hooks.force_flush(60)
        hooks.on_run_end(meta(), Outcome(status="done", ended=1.0))
        assert len(spans.all()) == QUEUE_LIMIT + 1
    [warning] = [one.getMessage() for one in caplog.records if "dropped" in one.getMessage()]
    assert warning.startswith(f"{extra} spans were dropped")


def test_a_span_that_cannot_be_made_harms_nothing(
    store: SqliteTraceStore, meta: MetaFactory, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(SpanProcessor):
        def on_start(self, span: Any, parent_context: Any = None) -> None:
            if span.name == "plan coder":
                raise ValueError("a host's processor is broken")

    spans = Spans()
    spans.provider.add_span_processor(Broken())
    asyncio.run(run_agent(store, meta(), spans))
    assert "execute_tool select" in spans.finished()
    assert store.run("run-1").effects == 5
    assert "could not be made" in caplog.text


def test_a_failing_hook_does_not_reach_the_run(store: SqliteTraceStore, meta: MetaFactory) -> None:
    class Failing(BaseHooks):
        def on_effect_start(self, meta: RunMeta, key: EffectKey, request: Any) -> None:
            raise ValueError("a host's hook is broken")

    spans = Spans()
    own = SpanHooks(provider=spans.provider)
    hooks = combine_hooks([Failing(), own])
    hooks.on_run_start(meta())
    effects = RecordEffects(store.start_run(meta()), hooks=[Failing(), own])

    async def live() -> Any:
        return 1

    assert asyncio.run(effects.perform("tool:t/1", "tool", {"tool": "t"}, live)) == 1
    hooks.on_run_end(meta(), Outcome(status="done", ended=1.0))
    assert "execute_tool t" in spans.finished()


def test_a_provider_that_is_configured_later_gets_the_next_run() -> None:
    code = """
import asyncio
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from seamline.traces import Outcome, RunMeta, SpanHooks
hooks, exporter = SpanHooks(), InMemorySpanExporter()
def run(name):
    meta = RunMeta(run_id=name, agent=name, started=1.0)
    hooks.on_run_start(meta)
    hooks.on_run_end(meta, Outcome(status="done", ended=2.0))
run("before")
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
run("after")
asyncio.run(hooks.settle())
print([span.name for span in exporter.get_finished_spans()])
"""
    assert python(code) == "['invoke_agent after']"


def test_spans_are_made_before_the_process_goes() -> None:
    code = """
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter
from seamline.traces import Outcome, RunMeta, SpanHooks
provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(ConsoleSpanExporter(formatter=lambda s: s.name)))
hooks = SpanHooks(provider=provider)
meta = RunMeta(run_id="a", agent="coder", started=1.0)
hooks.on_run_start(meta)
hooks.on_run_end(meta, Outcome(status="done", ended=2.0))
"""
    assert python(code) == "invoke_agent coder"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_makes_its_own_spans_only() -> None:
    code = """
import os
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from seamline.traces import Outcome, RunMeta, SpanHooks
exporter, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
hooks = SpanHooks(provider=provider)
def run(name):
    meta = RunMeta(run_id=name, agent=name, started=1.0)
    hooks.on_run_start(meta)
    hooks.on_run_end(meta, Outcome(status="done", ended=2.0))
run("parent")
assert hooks.force_flush()
exporter.clear()
child = os.fork()
run("child" if child == 0 else "parent again")
assert hooks.force_flush()
if child:
    assert os.waitpid(child, 0)[1] == 0
print([span.name for span in exporter.get_finished_spans()], flush=True)
os._exit(0)
"""
    assert python(code).splitlines() == ["['invoke_agent child']", "['invoke_agent parent again']"]


def test_without_a_provider_nothing_happens(store: SqliteTraceStore, meta: MetaFactory) -> None:
    class Unset(Spans):
        def __init__(self) -> None:
            from opentelemetry.trace import NoOpTracerProvider

            self.provider = NoOpTracerProvider()  # type: ignore[assignment]

    asyncio.run(run_agent(store, meta(), Unset()))
    assert store.run("run-1").status == "failed"


def test_importing_traces_loads_no_exporter_and_no_engine() -> None:
    code = (
        "import sys, seamline.traces\n"
        "heavy = {'torch', 'transformers', 'langgraph', 'opentelemetry', 'rich', 'typer'}\n"
        "layers = {'seamline.' + n for n in ('agents', 'tools', 'policies', 'models', 'cli')}\n"
        "print(sorted((heavy | layers) & set(sys.modules)))"
    )
    assert python(code) == "[]"


def python(code: str) -> str:
    """What a process of its own prints."""
    environment = {"PYTHONPATH": ":".join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    return done.stdout.strip()
