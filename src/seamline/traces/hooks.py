"""Where a host or an exporter listens to runs; the core calls hooks and knows no exporter."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from seamline.traces.journal import EffectKey, Entry, Outcome, RunMeta
from seamline.traces.values import Json

__all__ = ["BaseHooks", "NodeInfo", "RunHooks", "Settles", "combine_hooks", "settle_hooks"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class NodeInfo:
    """A node of the graph being executed: its path ("plan/2") and its role ("plan")."""

    path: str
    role: str


class RunHooks(Protocol):
    """Told what a run does. What a hook raises is logged and never reaches the run.

    Start and end of an effect are told in the same task, so a hook may set the current
    context for what happens inside.
    """

    def on_run_start(self, meta: RunMeta) -> None:
        """A run starts or is resumed."""
        ...

    def on_run_end(self, meta: RunMeta, outcome: Outcome) -> None:
        """A run ended, waits for an answer, or failed."""
        ...

    def on_node_start(self, meta: RunMeta, node: NodeInfo) -> None:
        """A node starts."""
        ...

    def on_node_end(self, meta: RunMeta, node: NodeInfo, error: BaseException | None) -> None:
        """A node ended; `error` is what it raised."""
        ...

    def on_effect_start(self, meta: RunMeta, key: EffectKey, request: Json) -> None:
        """An effect is about to happen; `request` is in full."""
        ...

    def on_effect_end(
        self,
        meta: RunMeta,
        key: EffectKey,
        entry: Entry | None,
        result: Json,
        error: BaseException | None,
    ) -> None:
        """An effect ended; `entry` is None where it left none, `result` is in full."""
        ...


@runtime_checkable
class Settles(Protocol):
    """Hooks that hand on in the background what they are told."""

    async def settle(self) -> None:
        """Return once it is handed on, or after a short while; told after each run."""
        ...


class BaseHooks:
    """Hooks that do nothing; subclass and override what is of interest."""

    def on_run_start(self, meta: RunMeta) -> None:
        """Nothing."""

    def on_run_end(self, meta: RunMeta, outcome: Outcome) -> None:
        """Nothing."""

    def on_node_start(self, meta: RunMeta, node: NodeInfo) -> None:
        """Nothing."""

    def on_node_end(self, meta: RunMeta, node: NodeInfo, error: BaseException | None) -> None:
        """Nothing."""

    def on_effect_start(self, meta: RunMeta, key: EffectKey, request: Json) -> None:
        """Nothing."""

    def on_effect_end(
        self,
        meta: RunMeta,
        key: EffectKey,
        entry: Entry | None,
        result: Json,
        error: BaseException | None,
    ) -> None:
        """Nothing."""


class _Combined:
    # Spelled out, since a run tells its hooks something hundreds of times: a loop costs a
    # quarter of what a function handed to a helper does.

    def __init__(self, hooks: tuple[RunHooks, ...]) -> None:
        self._hooks = hooks

    def on_run_start(self, meta: RunMeta) -> None:
        for hook in self._hooks:
            try:
                hook.on_run_start(meta)
            except Exception:
                _tell_failed(hook)

    def on_run_end(self, meta: RunMeta, outcome: Outcome) -> None:
        for hook in self._hooks:
            try:
                hook.on_run_end(meta, outcome)
            except Exception:
                _tell_failed(hook)

    def on_node_start(self, meta: RunMeta, node: NodeInfo) -> None:
        for hook in self._hooks:
            try:
                hook.on_node_start(meta, node)
            except Exception:
                _tell_failed(hook)

    def on_node_end(self, meta: RunMeta, node: NodeInfo, error: BaseException | None) -> None:
        for hook in self._hooks:
            try:
                hook.on_node_end(meta, node, error)
            except Exception:
                _tell_failed(hook)

    def on_effect_start(self, meta: RunMeta, key: EffectKey, request: Json) -> None:
        for hook in self._hooks:
            try:
                hook.on_effect_start(meta, key, request)
            except Exception:
                _tell_failed(hook)

    def on_effect_end(
        self,
        meta: RunMeta,
        key: EffectKey,
        entry: Entry | None,
        result: Json,
        error: BaseException | None,
    ) -> None:
        for hook in self._hooks:
            try:
                hook.on_effect_end(meta, key, entry, result, error)
            except Exception:
                _tell_failed(hook)


def _tell_failed(hook: RunHooks) -> None:
    _log.warning("a run hook of %s failed", type(hook).__name__, exc_info=True)


def combine_hooks(hooks: Iterable[RunHooks]) -> RunHooks:
    """All hooks as one, each kept from harming the run or the others."""
    return _Combined(tuple(hooks))


async def settle_hooks(hooks: Iterable[RunHooks]) -> None:
    """Return once the hooks that work in the background have settled."""
    for hook in hooks:
        if isinstance(hook, Settles):
            try:
                await hook.settle()
            except Exception:
                _tell_failed(hook)
