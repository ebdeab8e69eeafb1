"""What a span costs inside a run, against one of the OpenTelemetry SDK.

Ours is what a run calls around each model effect: two hook calls, which note the effect and
make its span current for what happens inside. The span itself, with its attributes, is made on
another thread, which the run does not wait for; that part costs more than the peer's span.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from time import thread_time

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from seamline.traces import EffectKey, Outcome, RunMeta, SpanHooks, combine_hooks
from trace_parts import Row

__all__ = ["rows"]

_ROUNDS, _SPANS = 100, 200
_META = RunMeta(run_id="run", agent="coder", started=0.0)
_REQUEST = {
    "policy": {"name": "coder/plan", "version": "1.2.0", "digest": "sha256:0a"},
    "identity": {"base": "base", "base_digest": "sha256:0b", "skill": "decide@1.0.0"},
    "requests": [{"instructions": "Rules", "context": "Facts"}],
}
_RESULT = {
    "responses": [{"scores": [0.9], "usage": {"input_tokens": 120, "output_tokens": 2}}],
    "decision": {"choice": "search", "confidence": 0.9},
}
_TEN = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "seamline",
    "gen_ai.agent.name": "coder",
    "gen_ai.request.model": "base",
    "gen_ai.prompt.name": "coder/plan",
    "gen_ai.prompt.version": "1.2.0",
    "gen_ai.usage.input_tokens": 120,
    "gen_ai.usage.output_tokens": 2,
    "seamline.policy.digest": "sha256:0a",
    "seamline.confidence": 0.9,
}


def rows() -> Iterator[Row]:
    """Ratios of processor times: the median of 100 rounds, each of 200 spans of either, in turn."""
    provider, exporter = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(
        BatchSpanProcessor(
            exporter,
            max_queue_size=4 * _SPANS,
            max_export_batch_size=4 * _SPANS,
            schedule_delay_millis=60_000,
        )
    )
    tracer = provider.get_tracer("peer")
    own = SpanHooks(provider=provider)
    hooks = combine_hooks([own])
    keys = [EffectKey(f"tool:t{at}/1/model", 1, "model") for at in range(_SPANS)]

    def noted() -> None:
        for key in keys:
            hooks.on_effect_start(_META, key, _REQUEST)
            hooks.on_effect_end(_META, key, None, _RESULT, None)

    def usual() -> None:
        for _ in range(_SPANS):
            with tracer.start_as_current_span("chat base") as span:
                for name, value in _TEN.items():
                    span.set_attribute(name, value)

    def cheapest() -> None:
        for _ in range(_SPANS):
            with tracer.start_as_current_span("chat base", attributes=_TEN):
                pass

    ratios: dict[str, list[float]] = {"usual": [], "cheapest": []}
    for _ in range(_ROUNDS):
        hooks.on_run_start(_META)
        own.force_flush()
        ours = _seconds(noted)
        hooks.on_run_end(_META, Outcome(status="done", ended=0.0))
        own.force_flush()
        provider.force_flush()
        for name, peer in (("usual", usual), ("cheapest", cheapest)):
            ratios[name].append(_seconds(peer) / ours)
            provider.force_flush()
        exporter.clear()
    provider.shutdown()
    for name, how in (
        ("usual", "ten set_attribute calls"),
        ("cheapest", "the ten handed over at the start"),
    ):
        yield Row(
            what=f"cheaper inside the run than an SDK span, {how}",
            value=statistics.median(ratios[name]),
            unit="x",
            target=10,
            better="higher",
            peer="OpenTelemetry SDK, start_as_current_span, BatchSpanProcessor",
        )


def _seconds(what: Callable[[], None]) -> float:
    # Processor time of this thread: other work on the machine hits the longer of two stretches
    # more often, and would make the peer look worse than it is.
    started = thread_time()
    what()
    return thread_time() - started
