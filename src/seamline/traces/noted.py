"""What the span hooks note during a run, and how each note becomes a span of the host's SDK.

A note is a span to whoever looks for the current one, but only a promise of it: the span of the
host's provider is started when somebody inside asks for it, else after the fact, with the times
that were noted. Sampler, processors and exporters see an ordinary span either way.
"""

from __future__ import annotations

import os
import threading
from abc import abstractmethod
from collections.abc import Mapping
from time import time_ns
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.trace import Span, SpanContext, Status, StatusCode

from seamline.texts import whole_text
from seamline.traces import constants as names
from seamline.traces.hooks import NodeInfo
from seamline.traces.journal import EffectKey, Entry, Outcome, RunMeta
from seamline.traces.span_content import Redact, content_of, masked, messages_of_run
from seamline.traces.span_names import (
    OPERATIONS,
    Start,
    end_of_effect,
    start_of_effect,
    start_of_plan,
    start_of_run,
)
from seamline.traces.span_worker import QUEUE_LIMIT, WORKER
from seamline.traces.values import Json

if TYPE_CHECKING:
    from contextvars import Token

    from opentelemetry.trace import Tracer
    from opentelemetry.util.types import AnyValue, Attributes

__all__ = ["NotedEffect", "NotedNode", "NotedRun", "NotedSpan"]

_queue = WORKER.queue

# The key under which the API keeps the current span, taken from what it writes. Building the
# context with it in one go costs half of what `set_span_in_context` does.
[_CURRENT_SPAN] = trace.set_span_in_context(trace.INVALID_SPAN, Context())

# Reentrant: starting a span starts the one above it. One for all, since it is held only while
# the provider starts a span, and two locks could be taken in two orders.
_starting = threading.RLock()


def _after_fork() -> None:
    global _starting
    _starting = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class NotedSpan(Span):
    """One promised span.

    Args:
        run: The run it belongs to; a run belongs to itself.
        above: What it lies in; None where that is the span current in `context`.
        context: What was current when it started.
    """

    run: NotedRun
    above: NotedSpan | None
    context: Context
    started: int
    ended: int
    _real: Span | None = None

    @abstractmethod
    def start(self) -> Start:
        """Name, kind and attributes at the start, for the sampler."""

    @abstractmethod
    def close(self, span: Span) -> None:
        """Give the recording span what is known only at the end."""

    def real(self) -> Span:
        """The span of the host's provider, started if it is not yet."""
        if self._real is None:
            with _starting:
                if self._real is None:
                    self._real = self._start_real()
        return self._real

    def _start_real(self) -> Span:
        parent: Span | None = self.above
        if parent is None:
            parent = trace.get_current_span(self.context)
        context = self.context
        if isinstance(parent, NotedSpan):
            context = trace.set_span_in_context(parent.real(), context)
        start = self.start()
        return self.run.tracer.start_span(
            start.name,
            context=context,
            kind=start.kind,
            attributes=start.attributes,
            start_time=self.started,
        )

    def note_end(self) -> None:
        """Note that it ended now."""
        self.ended = time_ns()
        WORKER.add(self)

    def finish(self) -> None:
        """Start the span if need be, and end it at the time that was noted."""
        span = self.real()
        try:
            if span.is_recording():
                self.close(span)
        finally:
            span.end(self.ended)

    def fail(self, span: Span, kind: str, message: str | None) -> None:
        """Mark the span as failed; a message may quote the input, so it counts as content."""
        span.set_attribute(names.ERROR_TYPE, kind)
        shown = None
        if message and self.run.capture:
            shown = whole_text(masked(message, self.run.redact))
        span.set_status(Status(StatusCode.ERROR, shown))

    # -- what the code inside may do with its current span

    def get_span_context(self) -> SpanContext:
        """The context of the real span."""
        return self.real().get_span_context()

    def is_recording(self) -> bool:
        """Whether the real span is sampled and open."""
        return self.real().is_recording()

    def set_attributes(self, attributes: Mapping[str, AnyValue]) -> None:
        """To the real span."""
        self.real().set_attributes(attributes)

    def set_attribute(self, key: str, value: AnyValue) -> None:
        """To the real span."""
        self.real().set_attribute(key, value)

    def add_event(
        self, name: str, attributes: Attributes = None, timestamp: int | None = None
    ) -> None:
        """To the real span."""
        self.real().add_event(name, attributes, timestamp or time_ns())

    def add_link(self, context: SpanContext, attributes: Attributes = None) -> None:
        """To the real span."""
        self.real().add_link(context, attributes)

    def update_name(self, name: str) -> None:
        """To the real span."""
        self.real().update_name(name)

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """To the real span."""
        self.real().set_status(status, description)

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """To the real span."""
        self.real().record_exception(exception, attributes, timestamp or time_ns(), escaped)

    def end(self, end_time: int | None = None) -> None:
        """Nothing: the run ends its spans."""


class NotedRun(NotedSpan):
    """`invoke_agent`, and what is open in the run by its path.

    Paths say what lies in what; the current context does not where a graph runs its nodes in
    tasks of their own.

    Args:
        meta: The run's header.
        tracer: Starts the real spans.
        capture: Whether content goes into the spans.
        redact: What content goes through first.
    """

    outcome: Outcome | None = None

    def __init__(
        self, meta: RunMeta, tracer: Tracer, *, capture: bool, redact: Redact | None
    ) -> None:
        self.run = self
        self.above = None
        self.context = get_current()
        self.started = time_ns()
        self.meta, self.tracer, self.capture, self.redact = meta, tracer, capture, redact
        self._open: dict[str, NotedNode | NotedEffect] = {}

    def open_node(self, node: NodeInfo) -> None:
        """Note that a node that plans starts."""
        below = self._open.get(node.path)
        noted = NotedNode(self, self._above(node.path, below), node)
        noted.shadowed = below
        self._open[node.path] = noted

    def close_node(self, node: NodeInfo, error: BaseException | None) -> None:
        """Note that it ended."""
        noted = self._take(node.path, node)
        if noted is not None:
            noted.error = error
            noted.note_end()

    def open_effect(self, key: EffectKey, request: Json) -> None:
        """Note that an effect starts, and make it the current span."""
        if key.kind not in OPERATIONS:
            return
        path, current, opened = key.path, get_current(), self._open
        noted = NotedEffect(self, key, request, current)
        if opened:
            noted.shadowed = below = opened.get(path)
            noted.above = self._above(path, below)
        opened[path] = noted
        noted.token = attach(Context({**current, _CURRENT_SPAN: noted}))

    def close_effect(
        self, key: EffectKey, entry: Entry | None, result: Json, error: BaseException | None
    ) -> None:
        """Note what came of it."""
        noted: Any = self._open.pop(key.path, None)
        if noted is None:
            return
        if noted.of is not key or noted.shadowed is not None:
            self._open[key.path] = noted
            noted = self._take(key.path, key)
            if noted is None:
                return
        detach(noted.token)
        noted.entry = entry
        noted.result = result
        noted.error = error
        noted.ended = time_ns()
        # `WORKER.add`, without the price of a call.
        if len(_queue) < QUEUE_LIMIT:
            _queue.append(noted)
        else:
            WORKER.drop()

    def end_run(self, outcome: Outcome) -> None:
        """Note the outcome, after the end of what an interrupt left open."""
        self.outcome = outcome
        for path in list(self._open):
            left: NotedNode | NotedEffect | None = self._open.pop(path)
            while left is not None:
                left.note_end()
                left = left.shadowed
        self.note_end()

    def _above(self, path: str, noted: NotedNode | NotedEffect | None) -> NotedSpan:
        """The node open at this path, else what is at the nearest path around it, else the run."""
        while noted is not None:
            if isinstance(noted, NotedNode):
                return noted
            noted = noted.shadowed
        cut = path.rfind("/")
        while cut > 0:
            noted = self._open.get(path[:cut])
            if noted is not None:
                return noted
            cut = path.rfind("/", 0, cut)
        return self

    def _take(self, path: str, of: NodeInfo | EffectKey) -> Any:
        """Take out what was noted of this node or effect; others may be open at its path."""
        noted = self._open.get(path)
        if noted is None:
            return None
        if noted.of is of or noted.of == of:
            if noted.shadowed is None:
                del self._open[path]
            else:
                self._open[path] = noted.shadowed
            return noted
        while noted.shadowed is not None:
            below = noted.shadowed
            if below.of == of:
                noted.shadowed = below.shadowed
                return below
            noted = below
        return None

    def start(self) -> Start:
        """`invoke_agent` and the run's header."""
        return start_of_run(self.meta)

    def close(self, span: Span) -> None:
        """The outcome."""
        outcome = self.outcome
        if outcome is None:
            return
        span.set_attribute(names.SEAMLINE_RUN_STATUS, outcome.status)
        if self.capture:
            span.set_attributes(
                messages_of_run(self.meta.input, outcome.result, redact=self.redact)
            )
        if outcome.status == "failed":
            result = outcome.result if isinstance(outcome.result, dict) else {}
            kind = result.get("error_type")
            self.fail(span, kind if isinstance(kind, str) and kind else "failed", outcome.error)


class NotedNode(NotedSpan):
    """`plan`."""

    error: BaseException | None = None
    shadowed: NotedNode | NotedEffect | None

    def __init__(self, run: NotedRun, above: NotedSpan, node: NodeInfo) -> None:
        self.run = run
        self.above = above
        self.of = node
        self.context = get_current()
        self.started = time_ns()

    def start(self) -> Start:
        """`plan` and which node it is."""
        return start_of_plan(self.run.meta, self.of)

    def close(self, span: Span) -> None:
        """The error, if one went through."""
        if isinstance(self.error, Exception):
            self.fail(span, type(self.error).__name__, str(self.error))


class NotedEffect(NotedSpan):
    """`chat`, `execute_tool` or `retrieval`."""

    entry: Entry | None = None
    result: Json = None
    error: BaseException | None = None
    token: Token[Context]
    shadowed: NotedNode | NotedEffect | None = None

    def __init__(self, run: NotedRun, key: EffectKey, request: Json, context: Context) -> None:
        self.run = self.above = run
        self.of = key
        self.request = request
        self.context = context
        self.started = time_ns()

    def start(self) -> Start:
        """What is asked of whom."""
        return start_of_effect(self.run.meta, self.of, self.request)

    def close(self, span: Span) -> None:
        """What came of it."""
        span.set_attributes(end_of_effect(self.of, self.request, self.result, self.entry))
        if self.run.capture:
            span.set_attributes(
                content_of(self.of.kind, self.request, self.result, redact=self.run.redact)
            )
        if isinstance(self.error, Exception):
            self.fail(span, type(self.error).__name__, str(self.error))
