"""The spans of whole runs: where they nest, what they name, and what they keep to themselves."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from seamline import Agent, Project, ScriptedModel
from seamline.agents.build import build_agent
from seamline.traces import SpanHooks
from seamline.traces.store import SqliteTraceStore

GARDEN = "The garden in winter is greenish and quiet."


class Host:
    """A host application with a provider of its own."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))

    def spans(self) -> list[ReadableSpan]:
        """What is with the host's exporter, without waiting for anything."""
        return list(self.exporter.get_finished_spans())


@pytest.fixture
def host() -> Host:
    return Host()


def agent(
    root: Path, store: SqliteTraceStore, model: ScriptedModel, host: Host, **options: Any
) -> Agent:
    hooks = [SpanHooks(provider=host.provider, **options)]
    return build_agent(Project.open(root, store=store), "sorter", model=model, hooks=hooks)


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def test_a_run_is_one_trace_under_the_hosts_span(
    project_root: Path, store: SqliteTraceStore, model: ScriptedModel, host: Host
) -> None:
    sorter = agent(project_root, store, model, host)
    with host.provider.get_tracer("host").start_as_current_span("POST /sort") as request:
        result = sorter.run(GARDEN, conversation="visit-7")
    # The run has waited for its spans, so they are there already.
    spans = host.spans()
    by_id = {span.context.span_id: span for span in spans if span.context}
    assert result.status == "done"
    assert {span.context.trace_id for span in spans if span.context} == {
        request.get_span_context().trace_id
    }
    [run] = [span for span in spans if span.name == "invoke_agent sorter"]
    assert run.parent is not None
    assert by_id[run.parent.span_id].name == "POST /sort"
    chats = [span for span in spans if attributes(span).get("gen_ai.operation.name") == "chat"]
    trace = store.trace(result.run_id)
    assert len(chats) == sum(entry.kind == "model" for entry in trace.entries) > 4
    plans = [span for span in chats if attributes(span)["gen_ai.prompt.name"] == "sorter/plan"]
    assert {by_id[span.parent.span_id].name for span in plans if span.parent} == {"plan sorter"}
    tools = [span.name for span in spans if span.name.startswith("execute_tool")]
    assert "execute_tool find_words" in tools


def test_every_policy_call_names_its_policy(
    project_root: Path, store: SqliteTraceStore, model: ScriptedModel, host: Host
) -> None:
    sorter = agent(project_root, store, model, host)
    result = sorter.run(GARDEN, conversation="visit-7")
    bound = {
        str(policy["ref"]).partition("@")[0]: policy
        for policy in store.trace(result.run_id).meta.policies.values()
    }
    for span in host.spans():
        said = attributes(span)
        assert said["seamline.run.id"] == result.run_id
        if said["gen_ai.operation.name"] != "chat":
            continue
        assert span.name == f"chat {said['gen_ai.request.model']}"
        assert said["gen_ai.provider.name"] == "seamline"
        assert said["gen_ai.conversation.id"] == "visit-7"
        name, version = said["gen_ai.prompt.name"], said["gen_ai.prompt.version"]
        assert bound[name]["ref"] == f"{name}@{version}"
        assert said["seamline.policy.digest"] == bound[name]["digest"]
        assert said["seamline.adapter.name"] == "decide"
        assert said["seamline.questions"] > 1 or said["seamline.decision"]


def test_personal_data_is_masked_where_content_is_captured(
    project_root: Path, store: SqliteTraceStore, model: ScriptedModel, host: Host
) -> None:
    text = "Write the garden to jane.doe@example.org in winter."
    quiet, own = Host(), Host()
    agent(project_root, store, model, quiet).run(text)
    agent(project_root, store, model, host, capture_content=True).run(text)
    agent(project_root, store, model, own, capture_content=True, redact=str.upper).run(text)

    def told(of: Host) -> str:
        return "".join(span.to_json() for span in of.spans())

    assert "winter" not in told(quiet)
    assert "in winter" in told(host)
    assert "[email]" in told(host)
    assert "jane.doe" not in told(host)
    assert "JANE.DOE" in told(own)


def test_a_failed_run_says_so_without_its_message(
    project_root: Path, store: SqliteTraceStore, model: ScriptedModel, host: Host
) -> None:
    result = agent(project_root, store, model, host).run("The garden breakdown")
    assert result.status == "failed"
    [run] = [span for span in host.spans() if span.name == "invoke_agent sorter"]
    assert run.status.status_code.name == "ERROR"
    assert run.status.description is None
    assert attributes(run)["error.type"] == result.error_type


def test_runs_at_once_and_a_batch_processor(
    project_root: Path, store: SqliteTraceStore, model: ScriptedModel
) -> None:
    host = Host()
    batched = InMemorySpanExporter()
    host.provider.add_span_processor(BatchSpanProcessor(batched))
    sorter = agent(project_root, store, model, host)
    results = asyncio.run(sorter.abatch([GARDEN] * 3, concurrency=3))
    host.provider.force_flush()
    spans = list(batched.get_finished_spans())
    assert len(spans) == len(host.spans())
    for result in results:
        own = [s for s in spans if attributes(s)["seamline.run.id"] == result.run_id]
        assert len({s.context.trace_id for s in own if s.context}) == 1
        assert len(own) == len(spans) // 3


CONTRACT = """1. Governing law. This Agreement is governed by the laws of the State of New York.

2. Insurance. The Supplier shall keep general liability insurance of two million dollars.
"""


@pytest.mark.model
@pytest.mark.slow
@pytest.mark.usefixtures("resident")
def test_a_call_to_a_skill_carries_its_lineage(
    root: Path, store: SqliteTraceStore, host: Host
) -> None:
    project = Project.open(root, store=store)
    reviewer = project.agent("contract_review", hooks=[SpanHooks(provider=host.provider)])
    result = reviewer.run(CONTRACT)
    spans = host.spans()
    by_id = {span.context.span_id: span for span in spans if span.context}
    chats = [attributes(s) for s in spans if attributes(s)["gen_ai.operation.name"] == "chat"]
    for name in ("decide", "clause_type"):
        found = [said for said in chats if said["seamline.adapter.name"] == name]
        assert found, f"no call to {name} in a run that is {result.status}"
        for said in found:
            identity = project.local_model.identity(f"{name}@{said['seamline.adapter.version']}")
            assert said["seamline.adapter.digest"] == identity["adapter_digest"]
            assert said["seamline.base.name"] == project.base.name
            assert said["seamline.base.digest"] == project.base.digest
            assert said["seamline.tokenizer.digest"] == project.base.tokenizer_digest
            assert said["seamline.chat_template.digest"] == project.base.chat_template_digest
            assert said["gen_ai.request.model"].startswith(f"{project.base.name}+{name}@")
            assert said["seamline.device"] == "cpu"
            assert said["gen_ai.usage.input_tokens"] > 0
    inner = [s for s in spans if attributes(s).get("seamline.adapter.name") == "clause_type"]
    above = {by_id[s.parent.span_id].name for s in inner if s.parent}
    assert above == {"execute_tool clause_type"}
