"""Traces: every effect of a run, journaled, replayable without a model."""

from seamline.traces.effects import Effects, RecordEffects, ReplayEffects, annotate
from seamline.traces.hooks import BaseHooks, NodeInfo, RunHooks, combine_hooks
from seamline.traces.ids import new_run_id
from seamline.traces.journal import EffectKey, EffectKind, Entry, Journal, Outcome, RunMeta
from seamline.traces.spans import SpanHooks
from seamline.traces.store import RunSummary, SqliteTraceStore, TraceStore, open_store
from seamline.traces.trace import Trace, TraceNode
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
    "Trace",
    "TraceNode",
    "TraceStore",
    "annotate",
    "combine_hooks",
    "digest_of",
    "new_run_id",
    "open_store",
]
