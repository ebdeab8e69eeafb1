"""From the state a run ended in to its result."""

from __future__ import annotations

from typing import Any

from seamline.agents.result import AgentResult, Status
from seamline.agents.runs import Run
from seamline.agents.spec import AgentSpec
from seamline.agents.state import RunState, Stop
from seamline.texts import whole_text
from seamline.tools.calling import told
from seamline.tools.contract import FactValue

__all__ = ["broken_off", "compose_result", "crashed", "outcome_counts", "pick_output", "unrecorded"]


def pick_output(spec: AgentSpec, state: RunState) -> str | None:
    """The tool whose output is the result: the first of `output` that has run."""
    for name in spec.output:
        tool = state["tools"][name]
        if tool["status"] == "done" and tool["output"] is not None:
            return name
    return None


def outcome_counts(state: RunState) -> dict[str, FactValue]:
    """How many items the review gave which choice."""
    counts = state.get("review_counts") or {}
    return {
        f"items {words}": counts.get(choice, 0)
        for choice, words in (("accept", "accepted"), ("flag", "flagged"), ("decline", "declined"))
    }


def compose_result(
    spec: AgentSpec, run: Run, state: RunState, *, status: Status | None = None
) -> AgentResult:
    """The result of a run that ends in `state`."""
    said = state.get("stop")
    stop = said or _implied_stop(state, status)
    reasons = [*(state.get("reasons") or []), state.get("halt"), said["reason"] if said else None]
    status = stop["status"] if stop is not None else status or "done"
    question = state.get("question") if status == "needs_answer" else None
    output = None if status == "refused" else _output(spec, run, state)
    doubtful = stop is not None or any(reasons) or bool(state.get("flags"))
    return AgentResult(
        run_id=run.run_id,
        agent=spec.name,
        agent_version=spec.version,
        status=status,
        message=question or _message(state, stop),
        output=output,
        needs_review=bool(state.get("needs_review")) or doubtful or status == "needs_answer",
        reasons=list(dict.fromkeys(reason for reason in reasons if reason)),
        question=question,
        flags=list(state.get("flags") or []),
        usage=run.meter.usage(),
        error=stop["reason"] if stop is not None and status != "refused" else None,
        error_type=stop["error_type"] if stop is not None else None,
    )


def broken_off(state: RunState) -> bool:
    """Whether a run was left without any output; it has failed, though no error ended it."""
    why = state.get("last_error") or state.get("halt")
    return why is not None and state.get("outcome") is None


def _implied_stop(state: RunState, status: Status | None) -> Stop | None:
    reason = state.get("last_error") or state.get("halt")
    if status is not None or reason is None or not broken_off(state):
        return None
    kind = "ToolCallError" if state.get("last_error") else None
    return {"status": "failed", "reason": reason, "error_type": kind}


def _message(state: RunState, stop: Stop | None) -> str:
    if stop is None:
        return state.get("message") or ""
    how = {"refused": "Refused", "budget_exceeded": "Stopped", "failed": "Failed"}[stop["status"]]
    return f"{how}: {stop['reason']}"


def _output(spec: AgentSpec, run: Run, state: RunState) -> dict[str, Any] | None:
    """The reviewed output; where the run stopped before the review, what the tool gave."""
    digest = state.get("outcome")
    if digest is None and state.get("tools"):
        name = pick_output(spec, state)
        digest = None if name is None else state["tools"][name]["output"]
    return None if digest is None else dict(run.contents.get(digest))


def crashed(error: BaseException) -> Stop:
    """The stop of a run that a bug or a cancellation ended."""
    what = whole_text(told(error))
    return {"status": "failed", "reason": what, "error_type": type(error).__name__}


def unrecorded(spec: AgentSpec, run_id: str, error: Exception) -> AgentResult:
    """The result of a run whose journal could not be opened or sealed."""
    stop = crashed(error)
    return AgentResult(
        run_id=run_id,
        agent=spec.name,
        agent_version=spec.version,
        status="failed",
        message=_message({}, stop),
        needs_review=True,
        reasons=[stop["reason"]],
        error=stop["reason"],
        error_type=stop["error_type"],
    )
