"""A recorded run gone on from one of its steps with a change, recorded as a run of its own."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from seamline import Agent, ConfigError, InputError, Project, ScriptedModel
from seamline.traces.fork import SERVED
from seamline.traces.journal import Entry
from seamline.traces.store import SqliteTraceStore
from seamline.traces.trace import Trace

SPRING = "spring came early"


def live(trace: Trace) -> list[str]:
    """The model, tool and answer effects of a fork that were not served."""
    return [
        entry.key.path
        for entry in trace.entries
        if SERVED not in entry.annotations and entry.kind in ("model", "tool", "answer")
    ]


def test_another_policy_from_its_first_step_on(
    sorter: Agent, model: ScriptedModel, store: SqliteTraceStore
) -> None:
    run = sorter.run("a longer text").trace

    fork = run.fork(policy="sorter/plan@1.1.0", model=model)

    assert fork.at == "plan/1#1"
    assert fork.result.status == "done"
    trace = fork.result.trace
    assert trace.meta.parent == run.run_id
    assert trace.meta.forked_at == "plan/1#1"
    assert trace.meta.changes["policy"] == "sorter/plan@1.1.0"
    assert "tool:check_words/1" not in {entry.key.path for entry in trace.entries}
    assert fork.counts.prefix > 0


def test_the_prefix_is_kept_whatever_the_change_would_have_done_to_it(
    sorter: Agent, model: ScriptedModel
) -> None:
    run = sorter.run("a longer text").trace
    calls = len(model.calls)

    fork = run.fork(at="plan/3", policy="sorter/plan@1.1.0", model=model)

    trace = fork.result.trace
    kept = [entry for entry in trace.entries if entry.key.path in ("plan/1", "plan/2")]
    assert all(SERVED in entry.annotations for entry in kept)
    assert len(model.calls) > calls
    versions = {
        entry.key.path: trace.request(entry)["policy"]["version"]
        for entry in trace.entries
        if entry.kind == "model" and entry.key.path.startswith("plan/")
    }
    assert versions == {"plan/1": "1.0.0", "plan/2": "1.0.0", "plan/3": "1.1.0"}


def test_a_change_without_consequence_reuses_the_suffix(
    sorter: Agent, model: ScriptedModel
) -> None:
    first = sorter.run("a longer text")
    run = first.trace
    calls = len(model.calls)

    fork = run.fork(at="plan/2", model=model)

    assert live(fork.result.trace) == ["plan/2"]
    assert len(model.calls) == calls + 1
    assert fork.counts.live == 1
    assert fork.result.model_dump(exclude={"run_id"}) == first.model_dump(exclude={"run_id"})


def test_a_tool_result_is_handed_in(sorter: Agent, model: ScriptedModel) -> None:
    run = sorter.run("a longer text").trace

    fork = run.fork(at="tool:find_words/1", tool_result={"words": ["heron"]}, model=model)

    assert fork.result.output is not None
    assert [word["word"] for word in fork.result.output["words"]] == ["heron"]
    assert "tool:rate_words/1" in live(fork.result.trace)


def test_another_input_starts_anew(sorter: Agent, model: ScriptedModel) -> None:
    run = sorter.run("a longer text").trace

    fork = run.fork(input="quite different words", model=model)

    assert fork.at == "input"
    assert fork.result.trace.meta.input == {"text": "quite different words"}
    assert fork.result.output is not None
    assert {word["word"] for word in fork.result.output["words"]} == {"quite", "different", "words"}


def test_another_answer_of_the_person(sorter: Agent, model: ScriptedModel) -> None:
    asked = sorter.run(SPRING)
    run = sorter.resume(asked.run_id, "the season").trace

    fork = run.fork(answer="the coil", model=model)

    assert fork.at == "ask/1#1"
    answers = [entry.result for entry in fork.result.trace.entries if entry.kind == "answer"]
    assert answers == ["the coil"]
    assert fork.result.status == "done"


def test_a_fork_that_asks_waits_for_a_person(sorter: Agent, model: ScriptedModel) -> None:
    run = sorter.run("a longer text").trace

    fork = run.fork(input=SPRING, model=model)

    assert fork.result.status == "needs_answer"
    assert fork.result.trace.replay().identical


def test_a_fork_replays_and_is_forked_again(
    sorter: Agent, model: ScriptedModel, project: Project
) -> None:
    run = sorter.run("a longer text").trace
    child = run.fork(at="plan/3", policy="sorter/plan@1.1.0", model=model).result.trace
    assert child.replay().identical

    grandchild = child.fork(at="answer", model=model).result.trace

    assert grandchild.meta.parent == child.run_id
    assert len(grandchild.meta.history) == 2
    assert project.trace(grandchild.run_id).replay().identical


def test_the_parent_stays_as_it_was(
    sorter: Agent, model: ScriptedModel, store: SqliteTraceStore
) -> None:
    run = sorter.run("a longer text").trace
    before = store.trace(run.run_id).records

    run.fork(policy="sorter/plan@1.1.0", model=model)

    assert store.trace(run.run_id).records == before


def effectful(root: Path) -> None:
    path = root / "tools" / "rate_words" / "tool.yaml"
    path.write_text(path.read_text() + "side_effects: true\n")


def test_a_tool_with_side_effects_does_not_run_in_a_fork(
    make_agent: Any, model: ScriptedModel, project_root: Path
) -> None:
    effectful(project_root)
    run = make_agent().run("a longer text").trace
    words = {"words": ["heron", "stork"]}

    refused = run.fork(at="tool:find_words/1", tool_result=words, model=model)
    allowed = run.fork(
        at="tool:find_words/1", tool_result=words, model=model, allow_side_effects=True
    )

    assert refused.result.status == "refused"
    assert "rate_words has side effects" in refused.result.message
    [call] = [
        e
        for e in refused.result.trace.entries
        if e.key.path == "tool:rate_words/1" and e.kind == "tool"
    ]
    assert call.error is not None
    assert call.result is None
    assert allowed.result.status == "done"


def test_a_call_with_side_effects_that_nothing_changed_is_reused(
    make_agent: Any, model: ScriptedModel, project_root: Path
) -> None:
    effectful(project_root)
    run = make_agent().run("a longer text").trace

    fork = run.fork(at="plan/2", model=model)

    assert fork.result.status == "done"
    assert live(fork.result.trace) == ["plan/2"]


def test_a_tool_whose_code_changed_is_called_anew_behind_the_fork(
    sorter: Agent, model: ScriptedModel, project_root: Path, store: SqliteTraceStore
) -> None:
    run_id = sorter.run("a longer text").run_id
    tool = project_root / "tools" / "check_words" / "tool.py"
    tool.write_text(tool.read_text().replace("words=given.ratings)", "words=given.ratings[:1])"))
    run = Project.open(project_root, store=store).trace(run_id)

    fork = run.fork(at="plan/1", model=model)

    assert live(fork.result.trace).count("tool:check_words/1") == 1
    assert "tool:find_words/1" not in live(fork.result.trace)
    assert fork.result.output is not None
    assert len(fork.result.output["words"]) == 1


def test_seconds_go_on_where_the_parent_was(
    sorter: Agent, model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fork of an old run is not over its budget of seconds by the age of the run."""
    now = time.time
    with monkeypatch.context() as long_ago:
        long_ago.setattr(time, "time", lambda: now() - 1_000_000)
        run = sorter.run("a longer text").trace
    assert run.meta.started < now() - 900_000

    fork = run.fork(policy="sorter/plan@1.1.0", model=model)

    assert fork.result.usage.seconds < 30
    times = [e.result for e in fork.result.trace.entries if e.kind == "clock"]
    assert times == sorted(times)


def test_a_result_of_a_tool_that_is_bound_no_more_is_named(
    sorter: Agent, model: ScriptedModel, project_root: Path, store: SqliteTraceStore
) -> None:
    run_id = sorter.run("a longer text").run_id
    path = project_root / "agents" / "sorter" / "agent.yaml"
    spec = yaml.safe_load(path.read_text())
    del spec["tools"]["check_words"]
    path.write_text(yaml.safe_dump({**spec, "output": ["rate_words"]}, sort_keys=False))
    run = Project.open(project_root, store=store).trace(run_id)

    with pytest.raises(InputError, match="a call of check_words, which sorter does not bind any"):
        run.fork(
            at="tool:check_words/1",
            tool_result={"words": []},
            policy="sorter/choose@1.1.0",
            model=model,
        )
    assert len(store.runs()) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "a fork needs a step or a change"),
        ({"at": "tool:nope/1"}, r"no step 'tool:nope/1'; its steps are: guard_input"),
        ({"policy": "sorter/plan@9.9.9"}, "9.9.9"),
        ({"tool_result": {}}, "needs the step of its call"),
        ({"at": "plan/1", "tool_result": {}}, "is no tool call"),
        ({"at": "tool:nope/1", "tool_result": {}}, "no step 'tool:nope/1'; its steps are: .*tool:"),
        (
            {"at": "tool:find_words/1", "tool_result": {"wolves": 1}},
            r"\{'wolves': 1\} is no output of find_words: words: Field required; wolves: ",
        ),
        ({"at": "tool:find_words/1", "tool_result": ["x"]}, r"\['x'\] is no output of find_words"),
        ({"at": "tool:find_words/1", "tool_result": {"words": "x" * 999}}, "x… is no output of"),
        (
            {"at": "tool:find_words/1", "tool_result": {"words": {1}}},
            "the tool's result cannot be ",
        ),
        ({"at": "plan/1", "input": "x"}, "leave out `at`"),
        ({"adapter": "unknown@1.0.0"}, "does not use skill"),
        ({"adapter": "off"}, "needs a step"),
        ({"answer": " "}, "answer is empty"),
        ({"at": "9" * 5000}, "no step"),
        ({"answer": "x"}, "nothing in run .* hangs on the change of"),
    ],
)
def test_a_wrong_change_is_named_and_records_nothing(
    sorter: Agent,
    model: ScriptedModel,
    store: SqliteTraceStore,
    changes: dict[str, Any],
    message: str,
) -> None:
    run = sorter.run("a longer text").trace

    with pytest.raises((InputError, ConfigError), match=message):
        run.fork(**changes, **({"model": model} if changes else {}))

    assert len(store.runs()) == 1


def test_a_model_that_cannot_be_asked_again_is_named(sorter: Agent) -> None:
    with pytest.raises(InputError, match="was answered by scripted, which cannot be asked again"):
        sorter.run("a longer text").trace.fork(at="plan/1")


def test_steps_are_named_by_record_task_or_key(sorter: Agent, model: ScriptedModel) -> None:
    run = sorter.run("a longer text").trace
    entry: Entry = next(e for e in run.entries if e.key.path == "plan/2" and e.kind == "model")

    for name in (str(entry.seq), "plan/2", "plan/2#1"):
        assert run.fork(at=name, model=model).at == "plan/2#1"
