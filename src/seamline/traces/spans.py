"""OpenTelemetry spans of runs, by hooks: the core makes no span.

Spans go to the provider that the host configured, under the span that is current when the run
starts. Where no provider is configured they cost next to nothing. They carry names, digests,
decisions and counts; content only where it is asked for, and redacted.

Inside a run the hooks only note what happens; `span_worker` makes spans of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING

from seamline.traces import constants as names
from seamline.traces.hooks import NodeInfo
from seamline.traces.journal import EffectKey, Entry, Outcome, RunMeta
from seamline.traces.span_content import Redact
from seamline.traces.span_worker import WORKER
from seamline.traces.values import Json

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer, TracerProvider

    from seamline.traces.noted import NotedRun

__all__ = ["SpanHooks"]

_SETTLE_S = 0.25


class SpanHooks:
    """Run hooks that make spans: `invoke_agent`, `plan`, `chat`, `execute_tool`, `retrieval`.

    One instance serves any number of runs at once, in any threads. Spans reach the processors
    of the provider shortly after they end, from a thread of their own; `force_flush` waits for
    that, and an agent does at the end of each run.

    Args:
        provider: Where spans go; by default the global provider, looked up as each run starts.
        capture_content: Whether spans hold what was asked and answered, and the messages of
            errors, which may quote it. By default whether `SEAMLINE_CAPTURE_CONTENT` is 1.
        redact: What every captured text goes through first. An agent sets it to
            `seamline.policies.pii.mask_pii` where it is None; on its own, None masks nothing.
    """

    def __init__(
        self,
        *,
        provider: TracerProvider | None = None,
        capture_content: bool | None = None,
        redact: Redact | None = None,
    ) -> None:
        if capture_content is None:
            capture_content = os.environ.get(names.CAPTURE_CONTENT_VARIABLE) == "1"
        self.redact = redact
        self._provider = provider
        self._capture = capture_content
        self._traced: tuple[TracerProvider, Tracer | None] | None = None
        self._runs: dict[str, NotedRun] = {}

    # -- runs

    def on_run_start(self, meta: RunMeta) -> None:
        """Note `invoke_agent` under the host's current span."""
        tracer = self._tracer()
        if tracer is None:
            return
        from seamline.traces.noted import NotedRun

        run = NotedRun(meta, tracer, capture=self._capture, redact=self.redact)
        self._runs[meta.run_id] = run
        WORKER.run_started()

    def on_run_end(self, meta: RunMeta, outcome: Outcome) -> None:
        """Close `invoke_agent`, and whatever an interrupt left open in the run."""
        run = self._runs.pop(meta.run_id, None)
        if run is not None:
            run.end_run(outcome)
            WORKER.run_ended()

    # -- nodes

    def on_node_start(self, meta: RunMeta, node: NodeInfo) -> None:
        """Note `plan` for a node that plans; other nodes show by their effects."""
        run = self._runs.get(meta.run_id)
        if run is not None and node.role == names.OPERATION_PLAN:
            run.open_node(node)

    def on_node_end(self, meta: RunMeta, node: NodeInfo, error: BaseException | None) -> None:
        """Close the node's span."""
        run = self._runs.get(meta.run_id)
        if run is not None and node.role == names.OPERATION_PLAN:
            run.close_node(node, error)

    # -- effects

    def on_effect_start(self, meta: RunMeta, key: EffectKey, request: Json) -> None:
        """Note the effect and make its span current, so that what happens inside nests."""
        run = self._runs.get(meta.run_id)
        if run is not None:
            run.open_effect(key, request)

    def on_effect_end(
        self,
        meta: RunMeta,
        key: EffectKey,
        entry: Entry | None,
        result: Json,
        error: BaseException | None,
    ) -> None:
        """Close the effect's span with what came of it."""
        run = self._runs.get(meta.run_id)
        if run is not None:
            run.close_effect(key, entry, result, error)

    # -- outside runs

    def force_flush(self, timeout_s: float = 5.0) -> bool:
        """Whether all that was noted so far is with the provider's processors in time.

        It does not flush the provider: `provider.force_flush()` does, after this.
        """
        return WORKER.force_flush(timeout_s)

    async def settle(self) -> None:
        """Return once what was noted so far is with the processors, or after a short while."""
        if self._traced is None or self._traced[1] is None:
            return
        loop = asyncio.get_running_loop()
        done = asyncio.Event()

        def tell() -> None:
            with contextlib.suppress(RuntimeError):  # The loop may be closed by now.
                loop.call_soon_threadsafe(done.set)

        WORKER.call_when_done(tell)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(done.wait(), _SETTLE_S)

    def _tracer(self) -> Tracer | None:
        """The tracer to use, None where no provider is configured or tracing is disabled."""
        from opentelemetry import trace

        provider = self._provider or trace.get_tracer_provider()
        if self._traced is None or self._traced[0] is not provider:
            tracer: Tracer | None = None
            if not isinstance(provider, (trace.ProxyTracerProvider, trace.NoOpTracerProvider)):
                tracer = provider.get_tracer(names.TRACER)
            if isinstance(tracer, trace.NoOpTracer):
                tracer = None
            self._traced = provider, tracer
        return self._traced[1]
