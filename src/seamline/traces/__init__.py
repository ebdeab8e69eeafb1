"""Traces: every effect of a run, journaled, replayable without a model."""

from seamline.traces.compare import StepDiff, TraceDiff, diff_traces
from seamline.traces.effects import Effects, RecordEffects, annotate
from seamline.traces.files import add_trace, export_trace, read_trace
from seamline.traces.hooks import BaseHooks, NodeInfo, RunHooks, combine_hooks
from seamline.traces.ids import new_run_id
from seamline.traces.journal import EffectKey, EffectKind, Entry, Journal, Outcome, RunMeta
from seamline.traces.replay import ReplayEffects
from seamline.traces.spans import SpanHooks
from seamline.traces.store import RunSummary, SqliteTraceStore, TraceStore, open_store
from seamline.traces.trace import Trace, TraceEffect, TraceNode
from seamline.traces.values import digest_of

__all__ = [
    "BaseHooks",
    "EffectKey",
    "EffectKind",
    "Effects",
    "Entry",
    "Journal",
    "NodeInfo",
    "Outcome",
    "RecordEffects",
    "ReplayEffects",
    "RunHooks",
    "RunMeta",
    "RunSummary",
    "SpanHooks",
    "SqliteTraceStore",
    "StepDiff",
    "Trace",
    "TraceDiff",
    "TraceEffect",
    "TraceNode",
    "TraceStore",
    "add_trace",
    "annotate",
    "combine_hooks",
    "diff_traces",
    "digest_of",
    "export_trace",
    "new_run_id",
    "open_store",
    "read_trace",
]
