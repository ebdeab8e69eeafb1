"""Many questions to a tool's skill, so many a call: a budget that is used up ends them between."""

from __future__ import annotations

from collections.abc import Sequence

from seamline.errors import BudgetExceededError
from seamline.models.protocol import DecideRequest, DecideResponse
from seamline.tools.contract import ToolContext

__all__ = ["decide_in_chunks", "stopped_at"]


async def decide_in_chunks(
    context: ToolContext, requests: Sequence[DecideRequest], *, size: int, what: str
) -> list[DecideResponse]:
    """The skill's answers, in order; only the first of them where the run's budget is used up.

    Args:
        context: Of the tool that asks.
        requests: All questions.
        size: How many are asked in one call.
        what: What a waiting person is told of each: "clauses typed".

    Raises:
        ModelError: The skill could not answer.
    """
    answers: list[DecideResponse] = []
    for first in range(0, len(requests), size):
        try:
            answers += await context.decide(requests[first : first + size])
        except BudgetExceededError:
            break
        context.progress(len(answers), len(requests), what)
    return answers


def stopped_at(done: int, total: int, what: str) -> str:
    """What a `PartialOutput` says of itself; nothing where all was done."""
    if done >= total:
        return ""
    return f"stopped at {done:,} of {total:,} {what}; the rest was not looked at"
