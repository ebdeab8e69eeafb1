"""The live side of runs: what graph state must not carry, found by the run's identifier."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from seamline.agents.budgets import BudgetedEffects, Meter
from seamline.agents.events import AgentEvent, Listener
from seamline.agents.result import AgentResult
from seamline.traces.hooks import RunHooks
from seamline.traces.journal import Journal, Outcome, RunMeta
from seamline.traces.values import digest_of

if TYPE_CHECKING:
    from seamline.agents.assembly import Parts

__all__ = ["Contents", "Run"]


class Contents:
    """Large values of one run by digest."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}

    def put(self, value: Any) -> str:
        """The digest under which `get` finds the value."""
        digest = digest_of(value)
        self._values[digest] = value
        return digest

    def get(self, digest: str) -> Any:
        """The value that was put in."""
        return self._values[digest]


@dataclass(eq=False)
class Run:
    """One run that is going on: its effects, its contents, and who listens.

    `parts_at` gives what a task is done with where that is not the agent's own: in a replay
    what the run was recorded with, in a fork that before the fork and the changed behind it.
    """

    journal: Journal
    effects: BudgetedEffects
    meter: Meter
    hooks: RunHooks
    clock: Callable[[], float]
    listener: Listener | None = None
    parts_at: Callable[[str], Parts] | None = None
    contents: Contents = field(default_factory=Contents)
    begun: bool = False
    told_end: bool = False
    result: AgentResult | None = None

    @property
    def meta(self) -> RunMeta:
        """The header of the run's journal."""
        return self.journal.meta

    @property
    def run_id(self) -> str:
        """The run's identifier."""
        return self.journal.run_id

    def tell(self, kind: str, node: str, **detail: Any) -> None:
        """Tell the listener what happens."""
        if self.listener is not None:
            event = {"kind": kind, "run_id": self.run_id, "node": node, "detail": detail}
            self.listener(AgentEvent.model_validate(event))

    def finish(self, result: AgentResult) -> None:
        """Seal the journal with the result; once only.

        Raises:
            TraceError: The journal cannot be written.
        """
        if self.result is not None:
            return
        outcome = Outcome(
            status=result.status,
            ended=self.clock(),
            result=result.model_dump(mode="json"),
            error=result.error,
        )
        try:
            self.journal.finish(outcome)
            self.result = result
        finally:
            # Hooks are told even where nothing can be written, or they would wait for the end.
            if not self.told_end:
                self.told_end = True
                self.hooks.on_run_end(self.meta, outcome)
