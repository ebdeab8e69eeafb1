"""Budgets: what a run has used, checked before each effect.

The clock that is compared is itself an effect, so a replay stops where the run stopped.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from seamline.agents.result import RunUsage
from seamline.agents.spec import Budget
from seamline.errors import BudgetExceededError, SeamlineError, TraceError
from seamline.traces.effects import Effects
from seamline.traces.journal import EffectKind

__all__ = ["BudgetedEffects", "Meter", "failed_usage", "model_usage"]

_COSTLY: frozenset[EffectKind] = frozenset({"model", "tool", "retrieval"})


class Meter:
    """Counts what one run uses against its budget.

    Attributes:
        exceeded: Which part of the budget is used up, once something was asked for beyond it.
    """

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.steps = 0
        self.model_calls = 0
        self.input_tokens = 0
        self.output_tokens = 0
        self.exceeded: str | None = None
        self._started: float | None = None
        self._last = 0.0
        self._waited = 0.0

    @property
    def seconds(self) -> float:
        """Seconds of work so far, without the time in which a person was waited for."""
        return 0.0 if self._started is None else max(0.0, self._last - self._started - self._waited)

    @property
    def steps_left(self) -> int:
        """Rounds of plan, choose and tool that may still follow."""
        return max(0, self.budget.steps - self.steps)

    def tick(self, now: float, *, waited: bool = False) -> None:
        """Take the time; what passed since the last tick does not count where it was `waited`."""
        if self._started is None:
            self._started = now
        elif waited:
            self._waited += max(0.0, now - self._last)
        self._last = now

    def check(self) -> None:
        """Nothing, while tokens and seconds are left.

        Raises:
            BudgetExceededError: One of them is used up; the message says which.
        """
        tokens = self.input_tokens + self.output_tokens
        if tokens >= self.budget.tokens:
            raise self._exceeded("tokens", self.budget.tokens, f"{tokens} tokens were used")
        if self.seconds >= self.budget.seconds:
            raise self._exceeded(
                "seconds", f"{self.budget.seconds:g}", f"{self.seconds:.1f} s have passed"
            )

    def take_step(self) -> None:
        """Count one more step.

        Raises:
            BudgetExceededError: All steps are used up.
        """
        if self.steps >= self.budget.steps:
            raise self._exceeded("steps", self.budget.steps, "the plan asks for one more")
        self.steps += 1

    def count(self, usage: Mapping[str, int]) -> None:
        """Add what model calls used: `calls`, `input_tokens`, `output_tokens`."""
        self.model_calls += int(usage.get("calls", 0))
        self.input_tokens += int(usage.get("input_tokens", 0))
        self.output_tokens += int(usage.get("output_tokens", 0))

    def counted(self) -> dict[str, int]:
        """What model calls used so far, as `count` takes it."""
        return {
            "calls": self.model_calls,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
        }

    def usage(self) -> RunUsage:
        """What the run used so far."""
        return RunUsage(
            steps=self.steps,
            model_calls=self.model_calls,
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            seconds=round(self.seconds, 3),
        )

    def _exceeded(self, name: str, limit: object, why: str) -> BudgetExceededError:
        self.exceeded = (
            f"the budget of {limit} {name} is used up ({why}); "
            f"raise it with `--budget-{name}` or `budget.{name}` in agent.yaml"
        )
        return BudgetExceededError(self.exceeded)


class BudgetedEffects:
    """Effects that stop a run at its budget and count what its model calls use."""

    def __init__(self, inner: Effects, meter: Meter) -> None:
        self._inner = inner
        self.meter = meter

    async def perform(
        self, path: str, kind: EffectKind, request: Any, live: Callable[[], Awaitable[Any]]
    ) -> Any:
        """The result of one effect; see `Effects.perform`.

        Raises:
            BudgetExceededError: Nothing is left for it.
        """
        if kind not in _COSTLY:
            return await self._inner.perform(path, kind, request, live)
        self.meter.tick(await self._inner.now(path))
        self.meter.check()
        if kind == "model":
            try:
                result = await self._inner.perform(path, kind, request, live)
            except TraceError:
                raise
            except SeamlineError as error:
                self.meter.count(failed_usage(error.usage))
                raise
            self.meter.count(model_usage(result))
            return result
        return await self._perform_tool(path, kind, request, live)

    async def _perform_tool(
        self, path: str, kind: EffectKind, request: Any, live: Callable[[], Awaitable[Any]]
    ) -> Any:
        """A tool call, journaled with what its own model calls used.

        A journal that serves a tool call serves none of the calls inside it; without their
        sum in its result or error a resumed or replayed run would count fewer tokens than the
        first. Likewise a tool that gave what it had when the budget was used up: the result says
        so.
        """
        before = self.meter.counted()
        ran = False

        def used() -> dict[str, int]:
            after = self.meter.counted()
            return {key: after[key] - before[key] for key in after}

        async def counted() -> Any:
            nonlocal ran
            ran = True
            try:
                value = await live()
            except SeamlineError as error:
                error.usage = used()
                raise
            told = {"value": value, "usage": used()}
            return told if self.meter.exceeded is None else {**told, "stopped": self.meter.exceeded}

        try:
            result = await self._inner.perform(path, kind, request, counted)
        except SeamlineError as error:
            if not ran:
                self.meter.count(error.usage or {})
            raise
        if not ran:
            self.meter.count(result["usage"])
            self.meter.exceeded = result.get("stopped")
        return result["value"]

    async def now(self, path: str) -> float:
        """Seconds since the epoch."""
        return await self._inner.now(path)

    async def new_id(self, path: str) -> str:
        """A fresh identifier that sorts by time."""
        return await self._inner.new_id(path)

    async def random(self, path: str) -> float:
        """A random number in 0..1, 1 excluded."""
        return await self._inner.random(path)


def model_usage(result: Any) -> dict[str, int]:
    """What one model effect used: a response, or a list of them under `responses`."""
    found = result.get("responses", [result]) if isinstance(result, Mapping) else result
    responses = found if isinstance(found, list) else []
    usages = [one.get("usage") or {} for one in responses if isinstance(one, Mapping)]
    return {
        "calls": 1,
        "input_tokens": sum(int(usage.get("input_tokens", 0)) for usage in usages),
        "output_tokens": sum(int(usage.get("output_tokens", 0)) for usage in usages),
    }


def failed_usage(usage: Mapping[str, int] | None) -> dict[str, int]:
    """What one model effect that failed used; nothing where no model answered, None."""
    return {} if usage is None else {**usage, "calls": 1}
