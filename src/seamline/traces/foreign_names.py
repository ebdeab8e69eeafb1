"""What spans of other programs say, by the names of three conventions.

OpenTelemetry's for generative AI, OpenInference (Phoenix and others), and OpenLLMetry
(Traceloop); old names beside new ones, since recorded spans do not change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from seamline.terminal import cut
from seamline.traces import constants as names
from seamline.traces.values import Json

__all__ = ["KINDS", "Facts", "read_facts"]

KINDS = (
    "agent",
    "plan",
    "model",
    "tool",
    "retrieval",
    "embedding",
    "reranker",
    "guardrail",
    "evaluation",
    "memory",
    "workflow",
    "span",
)
"""What a span may be of; `span` where it says nothing."""

_BY_OPERATION = {
    "chat": "model",
    "text_completion": "model",
    "generate_content": "model",
    "completion": "model",
    "embeddings": "embedding",
    "retrieval": "retrieval",
    "execute_tool": "tool",
    "invoke_agent": "agent",
    "create_agent": "agent",
    "invoke_workflow": "workflow",
    "plan": "plan",
}
_BY_OPENINFERENCE = {
    "llm": "model",
    "agent": "agent",
    "tool": "tool",
    "retriever": "retrieval",
    "embedding": "embedding",
    "reranker": "reranker",
    "guardrail": "guardrail",
    "evaluator": "evaluation",
    "chain": "workflow",
}
_BY_TRACELOOP = {"workflow": "workflow", "task": "workflow", "agent": "agent", "tool": "tool"}
_BY_REQUEST = {"chat": "model", "completion": "model", "embedding": "embedding"}
_SOURCES = (
    (names.GEN_AI_OPERATION_NAME, _BY_OPERATION),
    ("openinference.span.kind", _BY_OPENINFERENCE),
    ("traceloop.span.kind", _BY_TRACELOOP),
    ("llm.request.type", _BY_REQUEST),
)

_MODEL = (
    names.GEN_AI_RESPONSE_MODEL,
    names.GEN_AI_REQUEST_MODEL,
    "llm.model_name",
    "embedding.model_name",
    "reranker.model_name",
    "llm.response.model",
    "llm.request.model",
)
_PROMPT = (names.GEN_AI_PROMPT_NAME, "traceloop.prompt.key", "prompt.name", "prompt.id")
_PROMPT_VERSION = (
    names.GEN_AI_PROMPT_VERSION,
    "traceloop.prompt.version",
    "llm.prompt_template.version",
)
_TOOL = (names.GEN_AI_TOOL_NAME, "tool.name", "tool_call.function.name")
_AGENT = (names.GEN_AI_AGENT_NAME, "agent.name")
_ENTITY = "traceloop.entity.name"
_INPUT_TOKENS = (
    names.GEN_AI_USAGE_INPUT_TOKENS,
    "gen_ai.usage.prompt_tokens",
    "llm.token_count.prompt",
    "llm.usage.prompt_tokens",
)
_OUTPUT_TOKENS = (
    names.GEN_AI_USAGE_OUTPUT_TOKENS,
    "gen_ai.usage.completion_tokens",
    "llm.token_count.completion",
    "llm.usage.completion_tokens",
)


@dataclass(frozen=True)
class Facts:
    """What a span says of itself; empty or zero where it does not."""

    kind: str
    model: str = ""
    prompt: str = ""
    prompt_version: str = ""
    tool: str = ""
    agent: str = ""
    decision: str = ""
    error: str = ""
    input_tokens: int = 0
    output_tokens: int = 0


def read_facts(name: str, attributes: Mapping[str, Json]) -> Facts:
    """The facts behind a span's name and attributes."""
    kind = _kind(name, attributes)
    entity = _text(attributes, _ENTITY)
    return Facts(
        kind=kind,
        model=_text(attributes, *_MODEL),
        prompt=_text(attributes, *_PROMPT),
        prompt_version=_text(attributes, *_PROMPT_VERSION),
        tool=_text(attributes, *_TOOL) or (entity if kind == "tool" else ""),
        agent=_text(attributes, *_AGENT) or (entity if kind == "agent" else ""),
        decision=_text(attributes, names.SEAMLINE_DECISION),
        error=_text(attributes, names.ERROR_TYPE, "exception.type"),
        input_tokens=_count(attributes, *_INPUT_TOKENS),
        output_tokens=_count(attributes, *_OUTPUT_TOKENS),
    )


def _kind(name: str, attributes: Mapping[str, Json]) -> str:
    for attribute, kinds in _SOURCES:
        said = _text(attributes, attribute).lower()
        if said in kinds:
            return kinds[said]
        if said.endswith(("_memory", "_memory_store")):
            return "memory"
    # Early spans of OpenLLMetry and our own conventions start with the operation.
    return _BY_OPERATION.get(name.partition(" ")[0], "span")


def _text(attributes: Mapping[str, Json], *wanted: str) -> str:
    for name in wanted:
        value = attributes.get(name)
        if isinstance(value, (str, int)) and not isinstance(value, bool) and value != "":
            return cut(str(value)[:200], 0)
    return ""


def _count(attributes: Mapping[str, Json], *wanted: str) -> int:
    for name in wanted:
        value = attributes.get(name)
        # Some exporters write counts as floats; no real count is near the bound.
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1 << 53:
            return int(value)
    return 0
