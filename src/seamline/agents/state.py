"""The graph's state: plain data, small, without documents.

A caller gives `text` (and `person_answer`, where one was given ahead) and reads
`result`. Everything else is internal. Large values lie in the run's contents; the state
holds their digests.
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict

from seamline.tools.contract import FactValue

__all__ = ["RunInput", "RunOutput", "RunState", "Stop", "ToolState"]


class RunInput(TypedDict, total=False):
    """What a graph takes."""

    text: str
    person_answer: str | None


class RunOutput(TypedDict, total=False):
    """What a graph gives: an `AgentResult` as plain data."""

    result: dict[str, Any]


class ToolState(TypedDict):
    """What is known of one tool.

    `output` is the digest of what it gave last, `error` why it has failed.
    """

    status: Literal["not run", "done", "failed"]
    runs: int
    output: str | None
    facts: dict[str, FactValue]
    error: str | None


class Stop(TypedDict):
    """Why a run ends before its plan says so."""

    status: Literal["refused", "budget_exceeded", "failed"]
    reason: str
    error_type: str | None


class RunState(RunInput, RunOutput, total=False):
    """Everything a run carries from node to node.

    Attributes:
        run: The run's identifier.
        document: The digest of the input text.
        checks: What the input guard's checks found.
        plans: How often the plan policy was asked.
        step: The step that the plan policy named.
        tool: The tool that the choose policy named for it.
        last_call: The digest of the last tool call, to notice a loop.
        halt: Why the plan loop was left early; what there is, is still reviewed.
        outcome: The digest of the output, as it stands.
        item: The item a question is about: its key and facts.
        given: What a person answered.
        stop: Why the run ended.
    """

    run: str
    document: str
    checks: dict[str, FactValue]
    flags: list[str]
    reasons: list[str]
    tools: dict[str, ToolState]
    plans: int
    steps: int
    step: str | None
    tool: str | None
    last_call: str | None
    last_error: str | None
    halt: str | None
    outcome: str | None
    outcome_facts: dict[str, FactValue]
    reviews: int
    review_counts: dict[str, int]
    needs_review: bool
    item: dict[str, Any] | None
    question: str | None
    questions: int
    given: str | None
    message: str
    stop: Stop | None
