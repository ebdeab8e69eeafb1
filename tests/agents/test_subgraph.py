"""An agent's graph as a node of somebody else's."""

from __future__ import annotations

import asyncio
from typing import Any, TypedDict

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command

from seamline import Agent, AgentResult
from seamline.traces.store import SqliteTraceStore


class Desk(TypedDict, total=False):
    text: str
    result: dict[str, Any]
    answer: str
    note: str


def desk(agent: Agent, **options: Any) -> Any:
    graph: Any = StateGraph(Desk)
    graph.add_node("read", lambda state: {"text": state["text"].strip()})
    graph.add_node("sort", agent.graph)
    graph.add_node("file", lambda state: {"note": state["result"]["message"]})
    graph.add_edge(START, "read")
    graph.add_edge("read", "sort")
    graph.add_edge("sort", "file")
    graph.add_edge("file", END)
    return graph.compile(**options)


def test_the_graph_is_a_node_of_another(sorter: Agent, store: SqliteTraceStore) -> None:
    state = asyncio.run(desk(sorter).ainvoke({"text": "  The garden in winter "}))

    assert state["note"] == "2 words were found."
    result = AgentResult.model_validate(state["result"])
    assert result.status == "done"
    assert store.run(result.run_id).status == "done"


def test_the_parents_own_keys_are_left_alone(sorter: Agent) -> None:
    state = asyncio.run(desk(sorter).ainvoke({"text": "In spring it blooms", "answer": "mine"}))

    assert state["answer"] == "mine"
    assert "__interrupt__" in state


def test_a_question_is_an_interrupt_of_the_parent(sorter: Agent, store: SqliteTraceStore) -> None:
    graph = desk(sorter, checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "1"}}

    state = asyncio.run(graph.ainvoke({"text": "In spring the gardens bloom"}, config))

    [waiting] = state["__interrupt__"]
    assert waiting.value["question"] == "A word is ambiguous. Which meaning is right?"
    run_id = waiting.value["run_id"]
    assert store.run(run_id).status == "needs_answer"

    state = asyncio.run(graph.ainvoke(Command(resume="the season"), config))

    assert state["note"] == "3 words were found."
    assert state["result"]["run_id"] == run_id
    trace = store.trace(run_id)
    assert trace.status == "done"
    assert [e.result for e in trace.entries if e.kind == "answer"] == ["the season"]


def test_each_execution_is_a_run_of_its_own(sorter: Agent, store: SqliteTraceStore) -> None:
    graph = desk(sorter, checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "1"}}

    first = asyncio.run(graph.ainvoke({"text": "garden winter"}, config))
    second = asyncio.run(graph.ainvoke({"text": "garden"}, config))

    assert first["result"]["run_id"] != second["result"]["run_id"]
    assert second["note"] == "1 words were found."
    assert len(store.runs()) == 2


def test_a_refusal_inside_another_graph_is_a_result(sorter: Agent) -> None:
    state = asyncio.run(desk(sorter).ainvoke({"text": "This is forbidden"}))

    assert state["result"]["status"] == "refused"


def test_the_text_does_not_stay_in_the_agents_state(sorter: Agent) -> None:
    saver = InMemorySaver()
    graph = desk(sorter, checkpointer=saver)
    config: Any = {"configurable": {"thread_id": "1"}}
    asyncio.run(graph.ainvoke({"text": "In spring xylophones bloom"}, config))

    inner = [
        checkpoint
        for checkpoint in saver.list(config)
        if checkpoint.config.get("configurable", {})["checkpoint_ns"]
    ]
    last = max(inner, key=lambda one: one.metadata.get("step", 0))
    assert "xylophones" not in str(last.checkpoint["channel_values"])
