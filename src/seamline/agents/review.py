"""The review of an output: its policy judges the items, the output applies what it said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from seamline.agents.decisions import Case, Decider, Decision
from seamline.agents.facts import fact_lines
from seamline.agents.runs import Run
from seamline.agents.tooling import AgentTool
from seamline.errors import ToolCallError
from seamline.tools.calling import told
from seamline.tools.contract import FactValue, Review, ReviewedOutput, ReviewItem

__all__ = ["Reviewed", "review_output"]

ACCEPT, ASK, DECLINE, FLAG = "accept", "ask", "decline", "flag"


@dataclass(frozen=True, kw_only=True)
class Reviewed:
    """An output after its review.

    `item` is what a person should be asked about, its key and facts; `counts` holds how many
    items got which choice.
    """

    output: dict[str, Any]
    facts: dict[str, FactValue]
    counts: dict[str, int] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    needs_review: bool = False
    item: dict[str, Any] | None = None


async def review_output(
    run: Run,
    decider: Decider,
    tool: AgentTool,
    output: Mapping[str, Any],
    *,
    path: str,
    asking: bool,
) -> Reviewed:
    """The output with the reviews applied; items with equal facts are judged once.

    `asking` says whether a person may still be asked; where not, `ask` counts as `flag`.

    Raises:
        ToolCallError: The tool gave reviews or items that do not fit its own contract.
    """
    typed = tool.parse_output(output)
    if not isinstance(typed, ReviewedOutput) or not decider.has("review"):
        return Reviewed(
            output=dict(output),
            facts=tool.facts(typed),
            needs_review=True,
            reasons=[f"the output of {tool.name} was not reviewed"],
        )
    try:
        items = typed.review_items()
    except Exception as error:
        raise ToolCallError(f"{tool.name} could not say what to review: {told(error)}") from error
    decisions = await _judge(run, decider, items, path)
    asked = next((item for item in items if decisions[item.key].value == ASK), None)
    reviews = {key: _review(decision) for key, decision in decisions.items()}
    try:
        reviewed = typed.reviewed(reviews)
    except Exception as error:
        raise ToolCallError(f"{tool.name} could not apply its reviews: {told(error)}") from error
    counts = Counter(decision.value or ACCEPT for decision in decisions.values())
    doubtful = [one for one in decisions.values() if one.value in (FLAG, ASK)]
    reasons = (one.because or f"{one.policy}: {one.value}" for one in doubtful)
    return Reviewed(
        output=tool.plain_output(reviewed),
        facts=tool.facts(reviewed),
        counts=dict(counts),
        reasons=list(dict.fromkeys(reasons)),
        needs_review=bool(doubtful),
        item=None if asked is None or not asking else asked.model_dump(mode="json"),
    )


async def _judge(
    run: Run, decider: Decider, items: list[ReviewItem], path: str
) -> dict[str, Decision]:
    """The decision on each item by its key."""
    distinct: dict[str, Case] = {}
    for item in items:
        lines = fact_lines(item.facts)
        distinct.setdefault(lines, Case(variables={"facts": lines}, facts=item.facts))
    if not distinct:
        return {}
    found = await decider.decide(run, "review", path, list(distinct.values()))
    by_facts = dict(zip(distinct, found, strict=True))
    return {item.key: by_facts[fact_lines(item.facts)] for item in items}


def _review(decision: Decision) -> Review:
    """A question that was asked leaves the item flagged until the answer changes it."""
    choice = FLAG if decision.value == ASK else decision.value or ACCEPT
    return Review(choice=choice, reason=decision.because)
