"""Names, kinds and attributes of spans, from what a run asked and got. No content."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from opentelemetry.trace import SpanKind

from seamline.traces import constants as names
from seamline.traces.hooks import NodeInfo
from seamline.traces.journal import EffectKey, Entry, RunMeta
from seamline.traces.values import Json
from seamline.traces.view import EffectView, model_name, view_effect

__all__ = [
    "OPERATIONS",
    "Start",
    "end_of_effect",
    "start_of_effect",
    "start_of_plan",
    "start_of_run",
]

OPERATIONS: Mapping[str, str] = {
    "model": names.OPERATION_CHAT,
    "tool": names.OPERATION_EXECUTE_TOOL,
    "retrieval": names.OPERATION_RETRIEVAL,
}
"""Effect kind to the operation its span is named by; other kinds have no span."""


@dataclass(frozen=True)
class Start:
    """What a span starts with."""

    name: str
    attributes: Mapping[str, Any]
    kind: SpanKind = SpanKind.INTERNAL


def start_of_run(meta: RunMeta) -> Start:
    """`invoke_agent <agent>`."""
    attributes = {
        names.GEN_AI_OPERATION_NAME: names.OPERATION_INVOKE_AGENT,
        names.GEN_AI_PROVIDER_NAME: _provider(meta.model),
        names.GEN_AI_AGENT_NAME: meta.agent,
        names.GEN_AI_AGENT_VERSION: meta.agent_version,
        names.GEN_AI_CONVERSATION_ID: meta.conversation,
        names.GEN_AI_REQUEST_MODEL: model_name(meta.model),
        names.SEAMLINE_RUN_ID: meta.run_id,
        names.SEAMLINE_PARENT_RUN_ID: meta.parent,
    }
    return Start(f"{names.OPERATION_INVOKE_AGENT} {meta.agent}", _given(attributes))


def start_of_plan(meta: RunMeta, node: NodeInfo) -> Start:
    """`plan <agent>`."""
    attributes = {
        names.GEN_AI_OPERATION_NAME: names.OPERATION_PLAN,
        names.GEN_AI_AGENT_NAME: meta.agent,
        names.SEAMLINE_NODE: node.path,
        names.SEAMLINE_RUN_ID: meta.run_id,
    }
    return Start(f"{names.OPERATION_PLAN} {meta.agent}", attributes)


def start_of_effect(meta: RunMeta, key: EffectKey, request: Json) -> Start:
    """`chat <model>`, `execute_tool <tool>` or `retrieval <tool>`.

    A call to a model in this process is internal, one to an endpoint is a client's.
    """
    operation = OPERATIONS[key.kind]
    view = view_effect(key.path, key.kind, request, None, {})
    common = {
        names.GEN_AI_OPERATION_NAME: operation,
        names.GEN_AI_AGENT_NAME: meta.agent,
        names.GEN_AI_CONVERSATION_ID: meta.conversation,
        names.SEAMLINE_EFFECT_KEY: key.text,
        names.SEAMLINE_RUN_ID: meta.run_id,
    }
    if key.kind == "model":
        subject, own = _model(view), _of_model(view)
    else:
        subject, own = view.tool, _of_tool(key, view, request)
    kind = SpanKind.CLIENT if view.endpoint else SpanKind.INTERNAL
    name = f"{operation} {subject}" if subject else operation
    return Start(name, _given(common | own), kind)


def end_of_effect(
    key: EffectKey, request: Json, result: Json, entry: Entry | None
) -> dict[str, Any]:
    """What is known once it happened: decision, counts, lineage of what answered."""
    notes = entry.annotations if entry is not None else {}
    view = view_effect(key.path, key.kind, request, result, notes)
    return _given(
        {
            names.GEN_AI_RESPONSE_MODEL: view.served_model,
            names.GEN_AI_USAGE_INPUT_TOKENS: view.input_tokens or None,
            names.GEN_AI_USAGE_OUTPUT_TOKENS: view.output_tokens or None,
            names.SEAMLINE_DECISION: view.decision,
            names.SEAMLINE_CONFIDENCE: view.confidence,
            names.SEAMLINE_EFFECT_DIGEST: entry.digest if entry is not None else None,
            **_lineage(view),
        }
    )


def _of_model(view: EffectView) -> dict[str, Any]:
    address, _, port = view.host.partition(":")
    return {
        names.GEN_AI_PROVIDER_NAME: names.PROVIDER_ENDPOINT if view.endpoint else names.PROVIDER,
        names.GEN_AI_REQUEST_MODEL: _model(view),
        names.GEN_AI_PROMPT_NAME: view.policy_name,
        names.GEN_AI_PROMPT_VERSION: view.policy_version,
        names.SERVER_ADDRESS: address,
        names.SERVER_PORT: int(port) if port.isdecimal() else None,
        names.SEAMLINE_ENDPOINT: view.endpoint,
        names.SEAMLINE_POLICY_DIGEST: view.policy_digest,
        names.SEAMLINE_QUESTIONS: view.questions or None,
    }


def _of_tool(key: EffectKey, view: EffectView, request: Json) -> dict[str, Any]:
    retrieval = key.kind == "retrieval"
    version = request.get("version") if isinstance(request, dict) else None
    return {
        names.GEN_AI_TOOL_NAME: view.tool,
        names.GEN_AI_TOOL_TYPE: names.TOOL_TYPE_DATASTORE
        if retrieval
        else names.TOOL_TYPE_FUNCTION,
        names.GEN_AI_DATA_SOURCE_ID: view.tool if retrieval else None,
        names.SEAMLINE_TOOL_VERSION: version if isinstance(version, str) else None,
    }


def _lineage(view: EffectView) -> dict[str, Any]:
    name, _, version = view.adapter_name.partition("@")
    return {
        names.SEAMLINE_ADAPTER_NAME: name,
        names.SEAMLINE_ADAPTER_VERSION: version,
        names.SEAMLINE_ADAPTER_DIGEST: view.adapter_digest,
        names.SEAMLINE_BASE_NAME: view.model if view.base_digest else None,
        names.SEAMLINE_BASE_DIGEST: view.base_digest,
        names.SEAMLINE_TOKENIZER_DIGEST: view.tokenizer_digest,
        names.SEAMLINE_CHAT_TEMPLATE_DIGEST: view.template_digest,
        names.SEAMLINE_DTYPE: view.dtype,
        names.SEAMLINE_DEVICE: view.device,
    }


def _model(view: EffectView) -> str:
    """The model's name; a base with an adapter has a more specific one than the base."""
    if view.base_digest and view.adapter_name:
        return f"{view.model}+{view.adapter_name}"
    return view.model


def _provider(identity: Mapping[str, Any]) -> str:
    return names.PROVIDER_ENDPOINT if identity.get("endpoint") else names.PROVIDER


def _given(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in attributes.items() if value not in (None, "")}
