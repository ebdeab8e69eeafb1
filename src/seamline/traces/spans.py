"""OpenTelemetry spans of runs, by hooks: the core makes no span.

Spans go to the provider that the host configured, under the span that is current when the run
starts. Where no provider is configured they cost next to nothing. They carry names, digests,
decisions and counts; content only where it is asked for.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from contextvars import Token
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from seamline.traces import constants as names
from seamline.traces.hooks import NodeInfo
from seamline.traces.journal import EffectKey, Entry, Outcome, RunMeta
from seamline.traces.values import Json, canonical_json
from seamline.traces.view import view_effect

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer, TracerProvider

__all__ = ["SpanHooks"]

_OPERATIONS = {
    "model": names.OPERATION_CHAT,
    "tool": names.OPERATION_EXECUTE_TOOL,
    "retrieval": names.OPERATION_RETRIEVAL,
}


@dataclass
class _Open:
    span: Span
    token: Token[Context] | None = None
    request: Json = None


class SpanHooks:
    """Run hooks that make spans: `invoke_agent`, `plan`, `chat`, `execute_tool`, `retrieval`.

    One instance serves any number of runs at once. `provider` defaults to the global one.
    `capture_content` adds what was asked and answered; it defaults to whether the environment
    says `SEAMLINE_CAPTURE_CONTENT=1`.
    """

    def __init__(
        self, *, provider: TracerProvider | None = None, capture_content: bool | None = None
    ) -> None:
        self._provider = provider
        if capture_content is None:
            capture_content = os.environ.get(names.CAPTURE_CONTENT_VARIABLE) == "1"
        self._capture = capture_content
        self._tracer: Tracer | None = None
        self._open: dict[tuple[str, str], _Open] = {}
        self._lock = threading.Lock()

    # -- runs

    def on_run_start(self, meta: RunMeta) -> None:
        """Open `invoke_agent` under the host's current span."""
        attributes = {
            names.GEN_AI_OPERATION_NAME: names.OPERATION_INVOKE_AGENT,
            names.GEN_AI_PROVIDER_NAME: names.PROVIDER,
            names.GEN_AI_AGENT_NAME: meta.agent,
            names.GEN_AI_AGENT_VERSION: meta.agent_version,
            names.GEN_AI_CONVERSATION_ID: meta.conversation,
            names.GEN_AI_REQUEST_MODEL: meta.model.get("name"),
            names.SEAMLINE_RUN_ID: meta.run_id,
            names.SEAMLINE_PARENT_RUN_ID: meta.parent,
        }
        if self._capture and meta.input is not None:
            attributes[names.GEN_AI_INPUT_MESSAGES] = _text(meta.input)
        span = self._start(f"{names.OPERATION_INVOKE_AGENT} {meta.agent}", attributes, None)
        self._keep(meta, "", _Open(span))

    def on_run_end(self, meta: RunMeta, outcome: Outcome) -> None:
        """Close `invoke_agent`, and whatever an interrupt left open in the run."""
        with self._lock:
            mine = [at for at in self._open if at[0] == meta.run_id and at[1]]
            left = [self._open.pop(at) for at in mine]
        for still in reversed(left):
            still.span.end()
        run = self._take(meta, "")
        if run is None:
            return
        run.span.set_attribute(names.SEAMLINE_RUN_STATUS, outcome.status)
        if self._capture and outcome.result is not None:
            run.span.set_attribute(names.GEN_AI_OUTPUT_MESSAGES, _text(outcome.result))
        if outcome.status == "failed":
            self._mark_failed(run.span, "failed", outcome.error or "")
        run.span.end()

    # -- nodes

    def on_node_start(self, meta: RunMeta, node: NodeInfo) -> None:
        """Open `plan` for a node that plans; other nodes show by their effects."""
        if node.role != names.OPERATION_PLAN:
            return
        attributes = {
            names.GEN_AI_OPERATION_NAME: names.OPERATION_PLAN,
            names.GEN_AI_AGENT_NAME: meta.agent,
            names.SEAMLINE_NODE: node.path,
            names.SEAMLINE_RUN_ID: meta.run_id,
        }
        span = self._start(
            f"{names.OPERATION_PLAN} {meta.agent}", attributes, self._above(meta, node.path)
        )
        self._keep(meta, node.path, _Open(span))

    def on_node_end(self, meta: RunMeta, node: NodeInfo, error: BaseException | None) -> None:
        """Close the node's span."""
        opened = self._take(meta, node.path)
        if opened is not None:
            if isinstance(error, Exception):
                self._mark_failed(opened.span, type(error).__name__, str(error))
            opened.span.end()

    # -- effects

    def on_effect_start(self, meta: RunMeta, key: EffectKey, request: Json) -> None:
        """Open the effect's span and make it current, so that what happens inside nests."""
        operation = _OPERATIONS.get(key.kind)
        if operation is None:
            return
        from opentelemetry import context, trace

        view = view_effect(key.path, key.kind, request, None, {})
        subject = view.tool or view.policy_name or view.adapter_name or view.model
        attributes = {
            names.GEN_AI_OPERATION_NAME: operation,
            names.GEN_AI_AGENT_NAME: meta.agent,
            names.GEN_AI_PROVIDER_NAME: names.PROVIDER if key.kind == "model" else None,
            names.GEN_AI_REQUEST_MODEL: view.model,
            names.GEN_AI_PROMPT_NAME: view.policy_name,
            names.GEN_AI_PROMPT_VERSION: view.policy_version,
            names.GEN_AI_TOOL_NAME: view.tool,
            names.SEAMLINE_POLICY_DIGEST: view.policy_digest,
            names.SEAMLINE_EFFECT_KEY: key.text,
            names.SEAMLINE_RUN_ID: meta.run_id,
        }
        name = f"{operation} {subject}" if subject else operation
        span = self._start(name, attributes, self._above(meta, key.path))
        token = context.attach(trace.set_span_in_context(span))
        self._keep(meta, str(key), _Open(span, token, request))

    def on_effect_end(
        self,
        meta: RunMeta,
        key: EffectKey,
        entry: Entry | None,
        result: Json,
        error: BaseException | None,
    ) -> None:
        """Close the effect's span with what came of it."""
        opened = self._take(meta, str(key))
        if opened is None:
            return
        from opentelemetry import context

        if opened.token is not None:
            context.detach(opened.token)
        span = opened.span
        if span.is_recording():
            notes = entry.annotations if entry is not None else {}
            view = view_effect(key.path, key.kind, opened.request, result, notes)
            attributes = {
                names.GEN_AI_REQUEST_MODEL: view.model,
                names.GEN_AI_USAGE_INPUT_TOKENS: view.input_tokens or None,
                names.GEN_AI_USAGE_OUTPUT_TOKENS: view.output_tokens or None,
                names.SEAMLINE_DECISION: view.decision,
                names.SEAMLINE_CONFIDENCE: view.confidence,
                names.SEAMLINE_BASE_DIGEST: view.base_digest,
                names.SEAMLINE_ADAPTER_NAME: view.adapter_name,
                names.SEAMLINE_ADAPTER_DIGEST: view.adapter_digest,
                names.SEAMLINE_EFFECT_DIGEST: entry.digest if entry is not None else None,
            }
            if self._capture:
                attributes |= _content(key, opened.request, result)
            span.set_attributes(_given(attributes))
        if isinstance(error, Exception):
            # The message may quote the input; the type alone says nothing of it.
            self._mark_failed(span, type(error).__name__, str(error) if self._capture else "")
        span.end()

    # -- spans

    def _start(self, name: str, attributes: Mapping[str, Any], above: Span | None) -> Span:
        from opentelemetry import trace

        if self._tracer is None:
            self._tracer = trace.get_tracer(names.TRACER, tracer_provider=self._provider)
        context = None if above is None else trace.set_span_in_context(above)
        return self._tracer.start_span(name, context=context, attributes=_given(attributes))

    def _above(self, meta: RunMeta, path: str) -> Span | None:
        """The open span of the innermost task around a path, else the run's.

        Paths say what lies in what; the current context does not where a graph runs its nodes
        in tasks of its own.
        """
        parts = path.split("/")
        with self._lock:
            for count in range(len(parts), -1, -1):
                at = "/".join(parts[:count])
                opened = self._open.get((meta.run_id, at))
                if opened is not None:
                    return opened.span
                if count < len(parts):
                    for (run_id, key), other in self._open.items():
                        if run_id == meta.run_id and key.startswith(f"{at}#") and at:
                            return other.span
        return None

    def _keep(self, meta: RunMeta, at: str, opened: _Open) -> None:
        with self._lock:
            self._open[meta.run_id, at] = opened

    def _take(self, meta: RunMeta, at: str) -> _Open | None:
        with self._lock:
            return self._open.pop((meta.run_id, at), None)

    @staticmethod
    def _mark_failed(span: Span, kind: str, message: str) -> None:
        from opentelemetry.trace import Status, StatusCode

        span.set_attribute(names.ERROR_TYPE, kind)
        span.set_status(Status(StatusCode.ERROR, message or None))


def _given(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in attributes.items() if value not in (None, "")}


def _text(value: Json) -> str:
    return value if isinstance(value, str) else canonical_json(value)


def _content(key: EffectKey, request: Json, result: Json) -> dict[str, str]:
    if key.kind == "model":
        asked, answered = names.GEN_AI_INPUT_MESSAGES, names.GEN_AI_OUTPUT_MESSAGES
    else:
        asked, answered = names.GEN_AI_TOOL_CALL_ARGUMENTS, names.GEN_AI_TOOL_CALL_RESULT
    return {asked: _text(request), answered: _text(result)}
