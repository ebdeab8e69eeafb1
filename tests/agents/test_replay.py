"""A recorded run executed again: served from its journal, without a model, a tool, a clock."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from seamline import Agent, DivergenceError, InputError, Project, ScriptedModel
from seamline.traces.store import SqliteTraceStore

SPRING = "spring came early"


def test_a_replay_gives_the_same_bytes_and_asks_nobody(
    sorter: Agent, project: Project, model: ScriptedModel
) -> None:
    result = sorter.run("a b c")
    calls = len(model.calls)

    replay = project.trace(result.run_id).replay()

    assert replay.identical
    assert replay.differences == []
    assert replay.result is not None
    assert replay.result.model_dump_json() == result.model_dump_json()
    assert replay.effects == len(result.trace.entries)
    assert len(model.calls) == calls


def test_a_replay_runs_no_tool(sorter: Agent, project_root: Path, store: SqliteTraceStore) -> None:
    run_id = sorter.run("a b c").run_id
    for file in (project_root / "tools").glob("*/tool.py"):
        file.write_text(
            file.read_text()
            + "\n\nasync def run(input, context):\n    raise AssertionError('ran')\n"
        )

    assert Project.open(project_root, store=store).trace(run_id).replay().identical


def test_a_replay_writes_nothing(sorter: Agent, project: Project, store: SqliteTraceStore) -> None:
    run_id = sorter.run("a b c").run_id
    before = [record for run in store.runs() for record in store.trace(run.run_id).records]

    project.trace(run_id).replay()

    assert [r for run in store.runs() for r in store.trace(run.run_id).records] == before


def test_a_run_that_was_answered_replays_in_one_go(sorter: Agent, project: Project) -> None:
    asked = sorter.run(SPRING)
    assert project.trace(asked.run_id).replay().identical

    answered = sorter.resume(asked.run_id, "the season")

    replay = project.trace(answered.run_id).replay()
    assert replay.identical
    assert replay.result is not None
    assert replay.result.status == "done"


@pytest.mark.parametrize("text", ["", "\x00binary", "word " * 3000])
def test_a_refused_run_replays(sorter: Agent, project: Project, text: str) -> None:
    result = sorter.run(text)
    assert result.status == "refused"

    assert project.trace(result.run_id).replay().identical


def test_a_run_over_its_budget_replays_with_its_own_budget(sorter: Agent, project: Project) -> None:
    budget = sorter.spec.budget.replaced(steps=1)
    result = sorter.run("a b c", budget=budget)
    assert result.status == "budget_exceeded"

    assert project.trace(result.run_id).replay().identical


def test_policies_are_those_of_the_recording(
    sorter: Agent, make_agent: Any, project_root: Path, store: SqliteTraceStore
) -> None:
    run_id = sorter.run("a b c").run_id
    make_agent(plan="1.1.0")

    assert Project.open(project_root, store=store).trace(run_id).replay().identical


def test_a_changed_graph_diverges_at_the_first_effect_that_differs(
    sorter: Agent, project_root: Path, store: SqliteTraceStore
) -> None:
    run_id = sorter.run("a b c").run_id
    path = project_root / "agents" / "sorter" / "agent.yaml"
    path.write_text(path.read_text() + "graph: graph.py\n")
    path.with_name("graph.py").write_text(
        "from seamline.agents.graph import build_graph\n\n\n"
        "def build(nodes):\n"
        "    nodes.state_facts = lambda run, state: {'moon': 'full'}\n"
        "    return build_graph(nodes)\n"
    )

    with pytest.raises(DivergenceError, match=r"effect plan/1#1 \(model\), record \d+") as caught:
        Project.open(project_root, store=store).trace(run_id).replay()

    assert caught.value.effect == "plan/1#1"
    assert any("context" in field["field"] for field in caught.value.fields)


def test_a_lost_policy_version_is_named(
    sorter: Agent, project_root: Path, store: SqliteTraceStore
) -> None:
    run_id = sorter.run("a b c").run_id
    shutil.rmtree(project_root / "policies" / "sorter" / "answer")

    with pytest.raises(Exception, match="sorter/answer"):
        Project.open(project_root, store=store).trace(run_id).replay()


def test_a_result_read_from_elsewhere_has_no_trace(sorter: Agent) -> None:
    result = sorter.run("a b c")
    copy = type(result).model_validate_json(result.model_dump_json())

    with pytest.raises(Exception, match=r"project\.trace\("):
        copy.trace  # noqa: B018


def test_there_is_no_such_step(sorter: Agent) -> None:
    with pytest.raises(InputError, match=r"no step 'plan/99'; its steps are: .*plan/1"):
        sorter.run("a b c").trace.fork(at="plan/99")
