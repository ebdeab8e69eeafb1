"""Questions to a person: interrupts, answers, and runs that go on from their journal."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from seamline import Agent, InputError, Project, ScriptedModel, TraceError
from seamline.traces.replay import ReplayEffects
from seamline.traces.store import SqliteTraceStore

SPRING = "In spring the gardens bloom."


def test_a_question_stops_the_run_with_what_it_has(sorter: Agent, store: SqliteTraceStore) -> None:
    result = sorter.run(SPRING)

    assert result.status == "needs_answer"
    assert result.question == "A word is ambiguous. Which meaning is right?"
    assert result.message == result.question
    assert result.needs_review
    assert result.output is not None
    assert [word["flagged"] for word in result.output["words"]] == [True, False, False]
    assert store.run(result.run_id).status == "needs_answer"


def test_resume_serves_the_past_and_goes_on_live(
    sorter: Agent, store: SqliteTraceStore, model: ScriptedModel
) -> None:
    asked = sorter.run(SPRING)
    before = len(store.effects(asked.run_id))
    calls = len(model.calls)

    result = sorter.resume(asked.run_id, "the season")

    assert result.status == "done"
    assert result.run_id == asked.run_id
    assert result.question is None
    assert result.output is not None
    assert [word["flagged"] for word in result.output["words"]] == [False, False, False]
    effects = store.effects(asked.run_id)
    [answer] = [entry for entry in effects if entry.kind == "answer"]
    assert answer.result == "the season"
    assert answer.request == {"question": asked.question}
    # Only what reads the answer ran again: the rating and what reads that.
    again = [entry.key.path for entry in effects[before:] if entry.kind == "tool"]
    assert again == ["tool:rate_words/2", "tool:check_words/2"]
    later = [call.request.context for call in model.calls[calls:]]
    assert all("- find_words: not run" not in context for context in later)
    assert any("- answer from a person: given" in context for context in later)


def test_resume_works_in_another_process(
    sorter: Agent, project_root: Path, store: SqliteTraceStore, follow: Any
) -> None:
    asked = sorter.run(SPRING)
    other = Project.open(project_root, store=store).agent("sorter", model=ScriptedModel(follow))

    result = other.resume(asked.run_id, "the season")

    assert result.status == "done"
    assert result.usage.steps == 5


KILLED = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from follower import follow
from seamline import Project, ScriptedModel
from seamline.traces.store import SqliteTraceStore

def stuck(request, skill):
    if request.prompt.name == "sorter/review":
        store.flush()
        print(store.run("last").run_id, flush=True)
        time.sleep(600)
    return follow(request, skill)

store = SqliteTraceStore(sys.argv[2])
project = Project.open(sys.argv[1], store=store)
project.agent("sorter", model=ScriptedModel(stuck)).run("The garden in winter is greenish.")
"""


def test_a_killed_run_goes_on_where_it_was(
    sorter: Agent, project_root: Path, store: SqliteTraceStore, model: ScriptedModel
) -> None:
    arguments = [str(project_root), str(store.path), str(Path(__file__).parent)]
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, *arguments],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert child.stdout is not None
    run_id = child.stdout.readline().decode().strip()
    with pytest.raises(TraceError, match=f"run {run_id} is still running"):
        sorter.resume(run_id)
    child.kill()
    child.communicate(timeout=60)
    before = len(store.effects(run_id))

    result = sorter.resume(run_id)

    assert (result.status, result.run_id) == ("done", run_id)
    assert result.usage.steps == 3
    kinds = [entry.kind for entry in store.effects(run_id)]
    assert (kinds[:before].count("tool"), kinds[before:].count("tool")) == (3, 0)
    assert [call.request.prompt.name for call in model.calls if call.request.prompt] == [
        "sorter/review",
        "sorter/review",
        "sorter/answer",
        "sorter/guard_output",
    ]


def test_usage_counts_the_whole_run(sorter: Agent) -> None:
    asked = sorter.run(SPRING)
    result = sorter.resume(asked.run_id, "the season")
    at_once = sorter.run(SPRING, answer="the season")

    assert result.usage.model_calls == at_once.usage.model_calls
    assert result.usage.steps == at_once.usage.steps == 5
    assert result.usage.model_calls > asked.usage.model_calls


def test_an_answer_given_ahead_is_used_without_waiting(
    sorter: Agent, store: SqliteTraceStore
) -> None:
    result = sorter.run(SPRING, answer="the coil")

    assert result.status == "done"
    assert [e.result for e in store.effects(result.run_id) if e.kind == "answer"] == ["the coil"]


def test_a_person_is_asked_as_often_as_the_agent_says(make_agent: Any, project_root: Path) -> None:
    path = project_root / "agents" / "sorter" / "agent.yaml"
    path.write_text(path.read_text() + "questions: 0\n")

    result = make_agent().run(SPRING)

    assert result.status == "done"
    assert result.needs_review
    assert result.reasons == ["the word has two meanings"]


def test_a_journal_re_executes_without_a_model(
    make_agent: Any, store: SqliteTraceStore, monkeypatch: pytest.MonkeyPatch, model: Any
) -> None:
    """All that a run learned from outside is in its journal: served from it, it ends the same."""
    agent = make_agent()
    first = agent.resume(agent.run(SPRING).run_id, "the season")
    replay = ReplayEffects(store.trace(first.run_id))
    monkeypatch.setattr("seamline.agents.runtime.RecordEffects", lambda journal, *, hooks: replay)
    calls = len(model.calls)

    again = agent.run(SPRING, answer="another answer, which nobody asks for")

    assert again.model_dump(exclude={"run_id"}) == first.model_dump(exclude={"run_id"})
    assert replay.unserved() == []
    assert len(model.calls) == calls


@pytest.mark.parametrize("answer", ["", "  "])
def test_an_empty_answer_is_refused(sorter: Agent, store: SqliteTraceStore, answer: str) -> None:
    with pytest.raises(InputError, match="answer is empty"):
        sorter.resume("any", answer)
    with pytest.raises(InputError, match="answer is empty"):
        sorter.run(SPRING, answer=answer)
    assert store.runs() == []


def test_only_a_run_that_asked_can_be_resumed(sorter: Agent) -> None:
    done = sorter.run("a b c")

    with pytest.raises(InputError, match="is done and cannot go on"):
        sorter.resume(done.run_id, "yes")
    asked = sorter.run(SPRING)
    with pytest.raises(InputError, match=r"asks: A word is ambiguous.*; give an answer"):
        sorter.resume(asked.run_id)
    with pytest.raises(TraceError, match="no run 'nope'"):
        sorter.resume("nope", "yes")


def test_a_run_of_another_agent_names_it_and_the_command(
    sorter: Agent, project_root: Path, store: SqliteTraceStore, model: ScriptedModel
) -> None:
    asked = sorter.run(SPRING)
    folder = project_root / "agents" / "other"
    folder.mkdir()
    spec = (project_root / "agents" / "sorter" / "agent.yaml").read_text()
    (folder / "agent.yaml").write_text(spec.replace("name: sorter", "name: other"))
    other = Project.open(project_root, store=store).agent("other", model=model)

    says = (
        f"run {asked.run_id} is one of agent 'sorter', not of 'other'; "
        f"go on with `seamline run sorter --resume {asked.run_id}`"
    )
    for answer in ("the season", None):
        with pytest.raises(InputError, match=says):
            other.resume(asked.run_id, answer)
    assert store.run(asked.run_id).status == "needs_answer"


def test_a_changed_policy_is_noticed_before_the_run_is_touched(
    sorter: Agent, make_agent: Any, store: SqliteTraceStore
) -> None:
    asked = sorter.run(SPRING)
    changed = make_agent(plan="1.1.0")

    with pytest.raises(InputError, match="policy plan changed since it began") as refused:
        changed.resume(asked.run_id, "the season")
    assert store.run(asked.run_id).status == "needs_answer"
    assert "--mode fork" in str(refused.value)


def test_a_changed_tool_is_named_with_both_versions_of_its_code(
    sorter: Agent, project_root: Path, store: SqliteTraceStore, model: ScriptedModel
) -> None:
    asked = sorter.run(SPRING)
    path = project_root / "tools" / "find_words" / "tool.py"
    code = path.read_text()
    path.write_text(code + "\n# changed\n")
    changed = Project.open(project_root, store=store).agent("sorter", model=model)
    was = asked.trace.meta.tools["find_words"]["digest"][:19]
    now = changed.run("a b c").trace.meta.tools["find_words"]["digest"][:19]

    with pytest.raises(InputError) as refused:
        changed.resume(asked.run_id, "the season")

    assert f"tool find_words (0.1.0, {was} then, 0.1.0, {now} now) changed" in str(refused.value)
    assert "restore the tools as they were to go on, or start a new run" in str(refused.value)
    assert "fork" not in str(refused.value)
    assert len(store.runs()) == 2
    path.write_text(code)
    restored = Project.open(project_root, store=store).agent("sorter", model=model)
    assert restored.resume(asked.run_id, "the season").status == "done"


def test_a_tool_that_is_bound_no_more_is_named(
    sorter: Agent, project_root: Path, store: SqliteTraceStore, model: ScriptedModel
) -> None:
    asked = sorter.run(SPRING)
    spec = project_root / "agents" / "sorter" / "agent.yaml"
    spec.write_text(
        spec.read_text()
        .replace("choose@1.0.0", "choose@1.1.0")
        .replace("  check_words:\n    input: {ratings: $rate_words.ratings, unit: $$}\n", "")
        .replace("output: [check_words, rate_words]", "output: [rate_words]")
    )
    changed = Project.open(project_root, store=store).agent("sorter", model=model)

    with pytest.raises(InputError, match=r"tool check_words \(not bound now\) changed") as refused:
        changed.resume(asked.run_id, "the season")
    assert "restore the tools" in str(refused.value)
