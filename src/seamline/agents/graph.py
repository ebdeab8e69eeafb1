"""The graph of an agent: guard, plan, choose, act, review, clarify, answer, guard.

    begin → guard_input → plan → choose → act ─┐
                           ▲                   │
                           └───────────────────┘
    plan (finish) → review → clarify → ask → plan
                    review → answer → guard_output → finish

It takes `{"text": ...}` and gives `{"result": ...}`, an `AgentResult` as plain data, so it
can stand as a node in another graph. Whatever stops a run leads to `finish`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from langgraph.graph import END, START, StateGraph

from seamline.agents.nodes import Nodes
from seamline.agents.state import RunInput, RunOutput, RunState

__all__ = ["GraphBuilder", "build_graph"]

AgentGraph = StateGraph[RunState, None, RunInput, RunOutput]
GraphBuilder = Callable[[Nodes], AgentGraph]

_NAMES = (
    "begin",
    "guard_input",
    "plan",
    "choose",
    "act",
    "review",
    "clarify",
    "ask",
    "answer",
    "guard_output",
    "finish",
)


def build_graph(nodes: Nodes) -> AgentGraph:
    """The default topology, not yet compiled."""
    graph: AgentGraph = StateGraph(RunState, input_schema=RunInput, output_schema=RunOutput)
    for name in _NAMES:
        graph.add_node(name, _as_node(nodes.node(name)))
    graph.add_edge(START, "begin")
    _then(graph, "begin", _always("guard_input"), "guard_input")
    _then(graph, "guard_input", _always("plan"), "plan")
    _then(graph, "plan", _after_plan, "choose", "review")
    _then(graph, "choose", _after_choose, "act", "review")
    _then(graph, "act", _after_act, "plan", "review")
    _then(graph, "review", _after_review, "clarify", "answer")
    _then(graph, "clarify", _always("ask"), "ask")
    _then(graph, "ask", _always("plan"), "plan")
    _then(graph, "answer", _always("guard_output"), "guard_output")
    _then(graph, "guard_output", _always("finish"))
    graph.add_edge("finish", END)
    return graph


def _as_node(node: Any) -> Any:
    # LangGraph's stubs know no node type that fits an async function with a config.
    return node


def _then(graph: AgentGraph, name: str, choose: Callable[[RunState], str], *targets: str) -> None:
    """From `name` to what `choose` says, or to `finish` once the run is stopped."""

    # Async, though it waits for nothing: LangGraph hands a plain function to a thread.
    async def route(state: RunState) -> str:
        return "finish" if state.get("stop") else choose(state)

    graph.add_conditional_edges(name, route, sorted({*targets, "finish"}))


def _always(target: str) -> Callable[[RunState], str]:
    return lambda _: target


def _after_plan(state: RunState) -> str:
    return "review" if state["step"] is None else "choose"


def _after_choose(state: RunState) -> str:
    return "review" if state["tool"] is None else "act"


def _after_act(state: RunState) -> str:
    return "review" if state["halt"] else "plan"


def _after_review(state: RunState) -> str:
    return "clarify" if state["item"] else "answer"
