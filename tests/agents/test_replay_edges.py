"""Replays and forks at their edges: budgets, kills inside tools, refusals, slow branches."""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from seamline import (
    Agent,
    ConfigError,
    DivergenceError,
    InputError,
    Project,
    ScriptedModel,
    SeamlineError,
)
from seamline.agents.nodes import Nodes
from seamline.traces import Effects, Outcome, RecordEffects, ReplayEffects, RunMeta
from seamline.traces.store import SqliteTraceStore

SPRING = "spring came early"
ASKING_TOOL = """
from seamline.tools.contract import FactValue, ToolContext, ToolInput, ToolOutput


class Input(ToolInput):
    text: str
    least: int = 4


class Output(ToolOutput):
    words: tuple[str, ...]

    def facts(self) -> dict[str, FactValue]:
        return {"words found": len(self.words)}


async def one():
    return {"responses": []}


async def run(given: Input, context: ToolContext) -> Output:
    await context.effects.perform(context.path + "/model", "model", {}, one)
    return Output(words=tuple(given.text.split()))
"""


def test_an_answer_that_a_fork_is_given_is_used_wherever_it_leaves(
    sorter: Agent, model: ScriptedModel
) -> None:
    run = sorter.resume(sorter.run(SPRING).run_id, "the season").trace
    fork = run.fork(at="plan/1", answer="the coil", model=model).result.trace
    assert [e.result for e in fork.entries if e.kind == "answer"] == ["the coil"]


def test_a_fork_that_was_refused_a_side_effect_replays(
    make_agent: Any, model: ScriptedModel, project_root: Path
) -> None:
    path = project_root / "tools" / "rate_words" / "tool.yaml"
    path.write_text(path.read_text() + "side_effects: true\n")
    run = make_agent().run("a longer text").trace
    fork = run.fork(at="tool:find_words/1", tool_result={"words": ["heron"]}, model=model)
    assert fork.result.status == "refused"
    assert fork.result.trace.replay().identical


def test_a_run_killed_inside_a_tool_replays_as_far_as_it_came(
    make_agent: Any, project_root: Path
) -> None:
    (project_root / "tools" / "find_words" / "tool.py").write_text(ASKING_TOOL)
    run = make_agent().run("a longer text").trace
    upto = next(e.seq for e in run.entries if e.key.path.endswith("/model"))
    killed = dataclasses.replace(
        run, entries=run.entries[:upto], outcome=None, records=run.records[: upto + 1]
    )
    assert killed.replay().ended_early == "the run was killed here"


def test_a_fork_that_cannot_begin_records_nothing(
    sorter: Agent, model: ScriptedModel, project_root: Path, store: SqliteTraceStore
) -> None:
    run_id = sorter.run("a longer text").run_id
    shutil.copytree(project_root / "tools/find_words", project_root / "tools/find_more")
    tool = project_root / "tools/find_more/tool.yaml"
    tool.write_text(tool.read_text().replace("find_words", "find_more"))
    path = project_root / "agents/sorter/agent.yaml"
    spec = yaml.safe_load(path.read_text())
    spec["tools"]["find_more"] = spec["tools"]["find_words"]
    path.write_text(yaml.safe_dump(spec, sort_keys=False))
    with pytest.raises(ConfigError):
        Project.open(project_root, store=store).trace(run_id).fork(at="plan/2", model=model)
    store.flush()
    assert [run.status for run in store.runs()] == ["done"]


def test_a_resume_that_does_not_fit_leaves_the_run_waiting(
    sorter: Agent, store: SqliteTraceStore
) -> None:
    run = sorter.run(SPRING, budget=sorter.spec.budget.replaced(steps=5))
    try:
        sorter.resume(run.run_id, "the season")
    except SeamlineError:
        assert store.trace(run.run_id).status == "needs_answer"


def test_a_run_goes_on_with_the_budget_it_began_with(sorter: Agent) -> None:
    run = sorter.run(SPRING, budget=sorter.spec.budget.replaced(steps=5))
    assert sorter.resume(run.run_id, "the season").status == "done"
    assert sorter.trace(run.run_id).replay().identical


def test_a_resumed_run_that_diverges_waits_on(
    sorter: Agent, store: SqliteTraceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = sorter.run(SPRING)
    with monkeypatch.context() as changed:
        changed.setattr(Nodes, "state_facts", lambda self, run, state: {"moon": "full"})
        with pytest.raises(DivergenceError):
            sorter.resume(run.run_id, "the season")
    assert store.run(run.run_id).status == "needs_answer"
    assert sorter.resume(run.run_id, "the season").status == "done"


def test_a_run_that_waits_is_forked_with_an_answer(sorter: Agent, model: ScriptedModel) -> None:
    run = sorter.run(SPRING).trace
    fork = run.fork(answer="the coil", model=model)
    assert fork.at == "end"
    assert fork.result.status == "done"
    assert fork.result.trace.replay().identical
    assert [e.result for e in fork.result.trace.entries if e.kind == "answer"] == ["the coil"]


def test_a_fork_that_diverges_before_its_step_is_sealed(
    sorter: Agent, model: ScriptedModel, store: SqliteTraceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = sorter.run("a longer text").trace
    with monkeypatch.context() as changed:
        changed.setattr(Nodes, "state_facts", lambda self, run, state: {"moon": "full"})
        with pytest.raises(DivergenceError):
            run.fork(at="plan/2", model=model)
    assert sorted(one.status for one in store.runs()) == ["done", "failed"]
    failed = next(one for one in store.runs() if one.status == "failed")
    assert "plan/1" in sorter.trace(failed.run_id).replay().ended_early


def test_a_task_with_two_questions_is_forked_at_the_first(
    make_agent: Any, model: ScriptedModel, project_root: Path
) -> None:
    path = project_root / "agents" / "sorter" / "agent.yaml"
    path.write_text(path.read_text() + "graph: graph.py\n")
    path.with_name("graph.py").write_text(
        "from seamline.agents.graph import build_graph\n\n\n"
        "def build(nodes):\n"
        "    once = nodes._decide\n\n"
        "    async def twice(run, slot, path, facts, **more):\n"
        "        await once(run, slot, path, facts, **more)\n"
        "        return await once(run, slot, path, facts, **more)\n\n"
        "    nodes._decide = twice\n"
        "    return build_graph(nodes)\n"
    )
    run = make_agent().run("a longer text").trace
    with pytest.raises(InputError, match=r"plan/2#2 \(model\) is not the first .* fork plan/2#1"):
        run.fork(at="plan/2#2", policy="sorter/plan@1.1.0", model=model)
    fork = run.fork(at="plan/2#1", policy="sorter/plan@1.1.0", model=model)
    assert fork.result.error is None
    assert fork.result.trace.replay().identical


def test_a_branch_that_works_for_long_is_waited_for(store: SqliteTraceStore) -> None:
    async def body(effects: Effects, work: float) -> None:
        async def one() -> int:
            return 1

        async def quick() -> None:
            await asyncio.sleep(0.05)
            await effects.perform("quick", "model", {}, one)

        async def slow() -> None:
            await asyncio.sleep(work)
            await effects.perform("slow", "model", {}, one)

        await asyncio.gather(quick(), slow())

    journal = store.start_run(RunMeta(run_id="run", agent="racy", started=1.0))
    asyncio.run(body(RecordEffects(journal), 0.0))
    journal.finish(Outcome(status="done", ended=2.0))
    asyncio.run(body(ReplayEffects(store.trace("run")), 1.5))
