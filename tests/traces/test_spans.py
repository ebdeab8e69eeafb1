from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from seamline.errors import ToolCallError
from seamline.traces import (
    NodeInfo,
    Outcome,
    RecordEffects,
    RunMeta,
    SpanHooks,
    SqliteTraceStore,
    combine_hooks,
)

MetaFactory = Callable[..., RunMeta]
PLAN = {
    "policy": {"name": "coder/plan", "version": "1.2.0", "digest": "sha256:plan"},
    "identity": {"name": "smollm2-135m", "base_digest": "sha256:base"},
    "requests": [{"context": "secret words of the patient"}],
}
PLANNED = {
    "responses": [
        {
            "scores": [0.93],
            "usage": {"input_tokens": 120, "output_tokens": 2},
            "lineage": {"adapter_digest": "sha256:decide", "adapter_name": "decide"},
        }
    ],
    "decision": {"choice": "find candidate codes", "confidence": 0.93},
}


class Spans:
    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))

    def finished(self) -> dict[str, ReadableSpan]:
        return {span.name: span for span in self.exporter.get_finished_spans()}


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
            await run_agent(store, meta(model={"name": "smollm2-135m"}), spans)

    asyncio.run(host())
    found = spans.finished()
    assert {name: parent_of(span, found) for name, span in found.items()} == {
        "POST /code": None,
        "invoke_agent coder": "POST /code",
        "plan coder": "invoke_agent coder",
        "chat coder/plan": "plan coder",
        "retrieval search": "invoke_agent coder",
        "GET": "retrieval search",
        "execute_tool select": "invoke_agent coder",
        "chat m": "execute_tool select",
    }
    entries = store.trace("run-1").entries
    assert attributes(found["chat coder/plan"]) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "seamline",
        "gen_ai.agent.name": "coder",
        "gen_ai.request.model": "smollm2-135m",
        "gen_ai.prompt.name": "coder/plan",
        "gen_ai.prompt.version": "1.2.0",
        "gen_ai.usage.input_tokens": 120,
        "gen_ai.usage.output_tokens": 2,
        "seamline.run.id": "run-1",
        "seamline.policy.digest": "sha256:plan",
        "seamline.base.digest": "sha256:base",
        "seamline.adapter.name": "decide",
        "seamline.adapter.digest": "sha256:decide",
        "seamline.decision": "find candidate codes",
        "seamline.confidence": 0.93,
        "seamline.effect.key": "plan/1#1",
        "seamline.effect.digest": entries[1].digest,
    }
    assert attributes(found["retrieval search"])["gen_ai.tool.name"] == "search"
    tool = found["execute_tool select"]
    assert attributes(tool)["error.type"] == "ToolCallError"
    assert tool.status.status_code.name == "ERROR"
    run = found["invoke_agent coder"]
    assert attributes(run)["seamline.run.status"] == "failed"
    assert run.status.status_code.name == "ERROR"


def test_content_stays_out_unless_asked_for(
    store: SqliteTraceStore, meta: MetaFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet, asked, told = Spans(), Spans(), Spans()
    asyncio.run(run_agent(store, meta("a", input="secret note"), quiet))
    asyncio.run(run_agent(store, meta("b", input="secret note"), asked, capture_content=True))
    monkeypatch.setenv("SEAMLINE_CAPTURE_CONTENT", "1")
    asyncio.run(run_agent(store, meta("c", input="secret note"), told))
    for spans, secret in ((quiet, False), (asked, True), (told, True)):
        texts = [span.to_json() for span in spans.exporter.get_finished_spans()]
        assert ("secret" in "".join(texts)) is secret
    call = attributes(asked.finished()["retrieval search"])
    assert "secret words" in call["gen_ai.tool.call.arguments"]
    assert "secret title" in call["gen_ai.tool.call.result"]
    assert attributes(asked.finished()["invoke_agent coder"])["gen_ai.input.messages"]


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
    done = spans.exporter.get_finished_spans()
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
    environment = {"PYTHONPATH": ":".join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout.strip() == "[]"
