from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from seamline.cli import common
from seamline.cli.main import app
from seamline.traces import EffectKey, Outcome, RunMeta, SqliteTraceStore, Trace, export_trace
from seamline.traces.compare import TraceDiff, diff_traces
from seamline.traces.journal import RecordedError
from seamline.traces.show import runs_table
from seamline.traces.show_diff import diff_view
from seamline.traces.values import Plain

Effect = tuple[str, str, Any, Any]
Run = Callable[..., Trace]

PLAN: Effect = ("plan/1", "model", {"facts": "none"}, {"decision": {"choice": "find codes"}})
INNER: Effect = ("tool:select/1/model", "model", {"ask": "J?"}, {"decision": {"choice": "J18"}})
TOOL: Effect = ("tool:select/1", "tool", {"input": {"text": "x"}}, {"value": {"codes": ["J18"]}})
LAST: Effect = ("plan/2", "model", {"facts": "J18"}, {"decision": {"choice": "finish"}})
BASIC = [PLAN, INNER, TOOL, LAST]


def but(effect: Effect, *, request: Any = None, result: Any = None, path: str = "") -> Effect:
    return (path or effect[0], effect[1], request or effect[2], result or effect[3])


@pytest.fixture
def run(store: SqliteTraceStore, meta: Callable[..., RunMeta]) -> Run:
    """Records a run of the given effects and reads it back."""
    made = 0

    def make(effects: list[Effect], *, outcome: Any = None, backwards: bool = False, **fields: Any):  # type: ignore[no-untyped-def]
        nonlocal made
        made += 1
        journal = store.start_run(meta(fields.pop("run_id", f"run-{made}"), **fields))
        occurrences: dict[tuple[str, str], int] = {}
        for at, (path, kind, request, result) in enumerate(effects):
            occurrence = occurrences[path, kind] = occurrences.get((path, kind), 0) + 1
            error = result if isinstance(result, RecordedError) else None
            moment = made + (100.0 - at if backwards else at)
            journal.append(
                key=EffectKey(path, occurrence, kind),  # type: ignore[arg-type]
                request=Plain.of(request),
                result=None if error else Plain.of(result),
                error=error,
                started=moment,
                ended=moment + 0.5,
                annotations={"seconds": made * 0.1},
            )
        journal.finish(Outcome(status="done", ended=journal.meta.started + made, result=outcome))
        return store.trace(journal.run_id)

    return make


def where(diff: TraceDiff) -> list[tuple[str, str]]:
    return [(step.key.text, step.where) for step in diff.steps if step.where != "same"]


def first(diff: TraceDiff) -> tuple[str, str]:
    assert diff.first is not None
    return diff.first.key.text, diff.first.where


def test_runs_that_did_the_same_are_the_same(run: Run) -> None:
    clock: Effect = ("begin", "clock", {}, 1.0)
    usage = {"seconds": 1.0, "steps": 4}
    a = run([clock, *BASIC], outcome={"run_id": "run-1", "usage": usage, "codes": ["J18"]})
    usage = {"seconds": 2.0, "steps": 4}
    b = run(
        [but(clock, result=2.0), *BASIC],
        outcome={"run_id": "run-2", "usage": usage, "codes": ["J18"]},
    )
    diff = a.diff(b)
    assert diff.same
    assert (diff.header, diff.outcome, where(diff)) == ((), (), [])
    assert [step.key.text for step in diff.steps] == [
        "plan/1#1", "tool:select/1#1", "tool:select/1/model#1", "plan/2#1",
    ]  # fmt: skip
    everything = a.diff(b, everything=True)
    assert first(everything) == ("begin#1", "result")
    assert not everything.same


@pytest.mark.parametrize("backwards", [False, True])
def test_a_cause_inside_a_tool_comes_before_the_tools_result(run: Run, backwards: bool) -> None:
    other = [
        PLAN,
        but(INNER, result={"decision": {"choice": "J20"}}),
        but(TOOL, result={"value": {"codes": ["J20"]}}),
        but(LAST, request={"facts": "J20"}),
    ]
    diff = run(BASIC, backwards=backwards).diff(run(other, backwards=backwards))
    assert first(diff) == ("tool:select/1/model#1", "result")
    assert where(diff) == [
        ("tool:select/1#1", "result"),
        ("tool:select/1/model#1", "result"),
        ("plan/2#1", "request"),
    ]
    assert diff.first is not None
    assert [(f.field, f.recorded, f.asked) for f in diff.first.result] == [
        ("decision.choice", '"J18"', '"J20"')
    ]


def test_what_a_tool_was_asked_comes_before_what_happened_inside(run: Run) -> None:
    other = [
        PLAN,
        but(INNER, request={"ask": "K?"}, result={"decision": {"choice": "K1"}}),
        but(TOOL, request={"input": {"text": "y"}}),
        LAST,
    ]
    diff = run(BASIC).diff(run(other))
    assert first(diff) == ("tool:select/1#1", "request")
    assert diff.first is not None
    assert [f.field for f in diff.first.request] == ["input.text"]


def test_a_result_that_nothing_explains_is_the_first(run: Run) -> None:
    other = [PLAN, INNER, but(TOOL, result={"value": {"codes": []}}), but(LAST, request={"f": 1})]
    assert first(run(BASIC).diff(run(other))) == ("tool:select/1#1", "result")


def test_effects_of_one_run_only_stand_where_they_happened(run: Run) -> None:
    extra = but(INNER, path="tool:select/1/check")
    changed = but(TOOL, result={"value": {"codes": []}})
    a, b = run(BASIC), run([PLAN, INNER, extra, changed, but(LAST, path="plan/9")])
    diff = a.diff(b)
    assert first(diff) == ("tool:select/1/check#1", "only in B")
    assert where(diff) == [
        ("tool:select/1#1", "result"),
        ("tool:select/1/check#1", "only in B"),
        ("plan/9#1", "only in B"),
        ("plan/2#1", "only in A"),
    ]
    assert [key.text for key in diff.only_in_a] == ["plan/2#1"]
    assert [key.text for key in diff.only_in_b] == ["tool:select/1/check#1", "plan/9#1"]
    back = b.diff(a)
    assert first(back) == ("tool:select/1/check#1", "only in A")
    assert sorted(key.text for key in back.only_in_a) == ["plan/9#1", "tool:select/1/check#1"]


def test_what_follows_a_tool_comes_after_its_result(run: Run) -> None:
    a = run([PLAN, INNER, TOOL])
    b = run([PLAN, INNER, but(TOOL, result={"value": {"codes": []}}), LAST])
    diff = a.diff(b)
    assert first(diff) == ("tool:select/1#1", "result")
    assert where(diff)[-1] == ("plan/2#1", "only in B")


def test_a_run_that_begins_otherwise_differs_from_its_first_effect(run: Run) -> None:
    guarded = [but(PLAN, path="guard"), *BASIC]
    assert first(run(BASIC).diff(run(guarded))) == ("guard#1", "only in B")
    assert first(run([]).diff(run(BASIC))) == ("plan/1#1", "only in B")
    assert run([]).diff(run([])).same


def test_tools_tried_again_keep_their_own_calls(run: Run) -> None:
    error = RecordedError("ToolCallError", "busy")
    again = [PLAN, INNER, but(TOOL, result=error), INNER, TOOL, LAST]
    diff = run(again).diff(run([*again[:3], but(INNER, result={"decision": "J20"}), TOOL, LAST]))
    assert first(diff) == ("tool:select/1/model#2", "result")
    assert [step.key.text for step in diff.steps] == [
        "plan/1#1", "tool:select/1#1", "tool:select/1/model#1",
        "tool:select/1#2", "tool:select/1/model#2", "plan/2#1",
    ]  # fmt: skip


def test_branches_may_end_in_any_order(run: Run) -> None:
    left, right = (
        [but(INNER, path=f"tool:{name}/1/model"), but(TOOL, path=f"tool:{name}/1")]
        for name in ("left", "right")
    )
    a = run([PLAN, left[0], right[0], left[1], right[1]])
    b = run([PLAN, *right, *left])
    assert a.diff(b).same
    assert b.diff(a).same


def test_an_error_is_a_result(run: Run) -> None:
    failed = but(TOOL, result=RecordedError("ToolCallError", "no release"))
    diff = run(BASIC).diff(run([PLAN, INNER, failed, LAST]))
    assert first(diff) == ("tool:select/1#1", "result")
    assert diff.first is not None
    fields = {found.field: found.asked for found in diff.first.result}
    assert '"no release"' in fields["error"]


def test_large_values_are_compared_field_by_field(run: Run) -> None:
    a, b = ({"input": {"text": "word " * 3000 + end, "same": "x" * 9000}} for end in ("a", "b"))
    diff = run([but(TOOL, request=a)]).diff(run([but(TOOL, request=b)]))
    assert diff.first is not None
    assert [found.field for found in diff.first.request] == ["input.text"]
    assert diff.first.request[0].recorded.endswith('word a"')


def test_headers_tell_which_versions_differ(run: Run) -> None:
    def made(policy: str, adapter: str, text: str) -> Trace:
        lineage = {"adapter": {"name": "decide", "digest": f"sha256:{adapter}"}}
        result = {"decision": {"choice": "x"}, "responses": [{"lineage": lineage}]}
        return run(
            [but(PLAN, result=result)],
            policies={"plan": {"ref": f"coder/plan@{policy}"}},
            tools={"select": {"version": "1.0.0"}},
            model={"name": "small"},
            input={"text": text},
            conversation=text,
            input_digest=text,
        )

    diff = made("1.0.0", "aa", "cough").diff(made("1.1.0", "bb", "fever"))
    assert {found.field: (found.recorded, found.asked) for found in diff.header} == {
        "adapters.decide": ('"sha256:aa"', '"sha256:bb"'),
        "input.text": ('"cough"', '"fever"'),
        "policies.plan.ref": ('"coder/plan@1.0.0"', '"coder/plan@1.1.0"'),
    }


def test_outcomes_are_compared(run: Run, store: SqliteTraceStore) -> None:
    diff = run(BASIC, outcome={"codes": ["J18"]}).diff(run(BASIC, outcome={"codes": ["J20"]}))
    assert [found.field for found in diff.outcome] == ["result.codes[0]"]
    assert diff.first is None
    assert not diff.same
    killed = store.start_run(RunMeta(run_id="killed", agent="coder", started=1.0))
    killed.flush()
    ended = diff_traces(store.trace("killed"), run([])).outcome
    assert [(found.field, found.recorded) for found in ended][-1] == ("status", '"running"')


# -- for people and at the command line


def printed(*parts: Any, width: int = 100) -> str:
    text = io.StringIO()
    console = Console(file=text, width=width, no_color=True, highlight=False)
    for part in parts:
        console.print(part)
    return text.getvalue()


@pytest.fixture
def two(run: Run) -> tuple[Trace, Trace]:
    evil = {"decision": {"choice": "\x1b[31m J20 " + "long " * 40}}
    other = [PLAN, but(INNER, result=evil), but(TOOL, result={"value": "J20"})]
    return (
        run(BASIC, outcome="J18", input={"text": "cough"}),
        run(other, outcome="J20", input={"text": "fever"}, parent="run-1", forked_at="plan/1#1"),
    )


def test_a_comparison_reads_at_a_hundred_columns(two: tuple[Trace, Trace]) -> None:
    text = printed(*diff_view(two[0].diff(two[1])))
    for expected in (
        "A  coder@1.0.0  done  run-1",
        "\n   fork of run-1 at plan/1#1\n",
        'input.text A "cough" B "fever"',
        "plan/1               find codes",
        "first difference: tool:select/1/model#1 (model): it was asked the same and gave something",
        'gave decision.choice A "J18"',
        "only in A",
        'result A "J18" B "J20"',
    ):
        assert expected in text
    marked = [line for line in text.splitlines() if line.startswith("»")]
    assert len(marked) == 1
    assert "tool:select/1/model" in marked[0]
    assert max(map(len, text.splitlines())) <= 100
    assert "\x1b" not in text
    same = printed(*diff_view(two[0].diff(two[0])))
    assert "no step differs" in same
    assert "started from" not in same


def test_json_holds_what_the_table_shows(two: tuple[Trace, Trace]) -> None:
    found = two[0].diff(two[1]).to_json()
    assert json.loads(json.dumps(found)) == found
    assert found["first"]["key"] == "tool:select/1/model#1"
    assert found["first"]["where"] == "result"
    assert found["only_in_a"] == ["plan/2#1 (model)"]
    assert found["b"]["forked_at"] == "plan/1#1"
    assert found["header"] == [{"field": "input.text", "a": '"cough"', "b": '"fever"'}]
    assert [step["where"] for step in found["steps"]] == ["same", "result", "result", "only in A"]


def by(skill: str, digest: str | None = None, base: str = "small") -> dict[str, Any]:
    """Who answers, as a local model says of itself."""
    adapter = {} if digest is None else {"adapter_digest": f"sha256:{digest}"}
    return {"skill": skill, "base": base, "base_digest": f"sha256:{base}", **adapter}


def answered(effects: list[Effect], who: dict[str, Any]) -> list[Effect]:
    """The same questions; tool and model call of `select` are answered by another adapter."""
    field = {"model": "identity", "tool": "model"}
    return [
        but(one, request={**one[2], field[one[1]]: who}) if "select" in one[0] else one
        for one in effects
    ]


OLD = by("select@0.1.0", "0123456789")
CHANGED = [PLAN, but(INNER, result={"decision": {"choice": "J20"}}), *BASIC[2:]]
OTHERS = [
    ("adapter", by("select@0.2.0", "fedcba9876"), ", B select@0.2.0 (fedcba98)"),
    ("adapter", by("select@0.1.0", "fedcba9876"), ", B select@0.1.0 (fedcba98)"),
    ("adapter", by("select@off"), ", B select@off"),
    ("adapter", {"base": "small", "base_digest": "sha256:small"}, ", B none"),
    ("model", by("select@0.1.0", "0123456789", base="large"), ", B large (large)"),
    ("model", {**OLD, "dtype": "bfloat16"}, ""),
]


@pytest.mark.parametrize(("another", "who", "named"), OTHERS)
def test_another_adapter_or_model_is_told_apart_from_another_question(
    run: Run, another: str, who: dict[str, Any], named: str
) -> None:
    a = run(answered(BASIC, OLD))
    diff = a.diff(run(answered(CHANGED, who)))
    assert where(diff) == [
        ("tool:select/1#1", another), ("tool:select/1/model#1", f"{another}, result"),
    ]  # fmt: skip
    was = "select@0.1.0 (01234567)" if another == "adapter" else "small (small)"
    named = f", A {was}{named}" if named else ""
    line = f"tool:select/1#1 (tool): its {another} is another{named}; it was asked the same and "
    line += "gave the same"
    assert line in " ".join(printed(*diff_view(diff)).split())

    model = [PLAN, *answered(CHANGED, who)[1:2]]
    text = printed(*diff_view(run(model[:1] + answered([INNER], OLD)).diff(run(model))))
    assert f"another{named}; it was asked the same and gave something else" in " ".join(
        text.split()
    )

    asked = [PLAN, *answered([but(INNER, request={"ask": "K?"})], who)]
    diff = run([PLAN, *answered([INNER], OLD)]).diff(run(asked))
    assert first(diff) == ("tool:select/1/model#1", f"{another}, request")
    assert diff.first is not None
    assert [found.field for found in diff.first.request] == ["ask"]
    text = " ".join(printed(*diff_view(diff)).split())
    assert f"another{named}; it was asked something else" in text
    assert 'asked ask A "J?" B "K?"' in text


def test_another_version_of_a_tool_was_asked_the_same(run: Run) -> None:
    a, b = (but(TOOL, request={**TOOL[2], "version": version}) for version in ("1.0.0", "1.1.0"))
    diff = run([a]).diff(run([but(b, result={"value": "J20"})]))
    assert first(diff) == ("tool:select/1#1", "tool version, result")
    text = " ".join(printed(*diff_view(diff)).split())
    assert "its tool version is another, A 1.0.0, B 1.1.0; it was asked the same" in text


def test_json_names_both_adapters(run: Run) -> None:
    many = {"input": {f"a{at}": at for at in range(20)}}
    less = {"input": {f"a{at}": -1 for at in range(20)}}
    a = run(answered([but(TOOL, request=many)], OLD))
    b = run(answered([but(TOOL, request=less)], by("select@off")))
    found = a.diff(b).to_json()["first"]
    assert found["where"] == "adapter, request"
    assert found["adapter_a"] == {"name": "select@0.1.0", "digest": "sha256:0123456789"}
    assert found["adapter_b"] == {"name": "select@off", "digest": ""}
    assert [one["field"] for one in found["lineage"]] == ["model.adapter_digest", "model.skill"]
    assert len(found["request"]) == 10


@pytest.fixture
def seamline(store: SqliteTraceStore, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.setattr(common, "open_store", lambda: SqliteTraceStore(store.path))
    return lambda *arguments: CliRunner().invoke(app, ["traces", *map(str, arguments)])


def test_runs_and_folders_are_compared_at_the_command_line(
    two: tuple[Trace, Trace], seamline: Callable[..., Any], tmp_path: Path
) -> None:
    folder = export_trace(two[1], tmp_path / "exported")
    done = seamline("diff", "run-1", folder, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["first"]["key"] == "tool:select/1/model#1"
    shown = seamline("diff", "run-1", "run-1")
    assert "no step differs" in shown.stdout
    for wrong, says in (("run-7", "no run 'run-7'"), (tmp_path / "none", "no trace folder")):
        failed = seamline("diff", "run-1", wrong, "--json")
        assert failed.exit_code == 2
        assert says in json.loads(failed.stdout)["error"]


# -- forks in the list


def test_forks_are_listed_under_their_parents(
    run: Run, store: SqliteTraceStore, seamline: Callable[..., Any]
) -> None:
    for at, (run_id, parent) in enumerate(
        [("old", None), ("fork-1", "old"), ("new", None), ("fork-2", "old"), ("deep", "fork-1"),
         ("orphan", "gone")]
    ):  # fmt: skip
        forked = {"parent": parent, "forked_at": f"plan/{at}#1"} if parent else {}
        run([PLAN], run_id=run_id, started=100.0 + at, **forked)
    text = printed(runs_table(store.runs(), width=100))
    lines = [line.rstrip() for line in text.splitlines()][1:]
    assert [line.split("  1970")[0].rsplit("done", 1)[0].rstrip() for line in lines] == [
        "orphan    coder",
        "old       coder",
        "└ fork-2  at plan/3#1",
        "└ fork-1  at plan/1#1",
        "  └ deep  at plan/4#1",
        "new       coder",
    ]
    found = json.loads(seamline("list", "--json").stdout)
    assert [(row["run_id"], row["parent"], row["forked_at"]) for row in found] == [
        ("orphan", "gone", "plan/5#1"),
        ("deep", "fork-1", "plan/4#1"),
        ("fork-2", "old", "plan/3#1"),
        ("new", None, None),
        ("fork-1", "old", "plan/1#1"),
        ("old", None, None),
    ]


def test_runs_that_name_each_other_as_parent_are_all_listed(
    run: Run, store: SqliteTraceStore
) -> None:
    for run_id, parent in (("a", "b"), ("b", "a"), ("c", "c"), ("\x1b[2J", None)):
        run([], run_id=run_id, parent=parent)
    text = printed(runs_table(store.runs(), width=100))
    assert len(text.splitlines()) == 5
    assert "\x1b" not in text


def test_a_fork_fits_a_hundred_columns(run: Run, store: SqliteTraceStore) -> None:
    ids = [f"01a2016a-2e7f-7000-a511-ddec2efd1d{at:02}" for at in range(9)]
    for at, run_id in enumerate(ids):
        run([], run_id=run_id, started=at + 1.0, parent=ids[at - 1] if at else None,
            forked_at="tool:icd10_select/1/model#1")  # fmt: skip
    text = printed(runs_table(store.runs(), width=100))
    assert all(run_id in text for run_id in ids)
    assert max(map(len, text.splitlines())) <= 100
    assert len(text.splitlines()) == 10
