from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from seamline.errors import ToolCallError
from seamline.traces import (
    EffectKey,
    Outcome,
    RecordEffects,
    RunMeta,
    SqliteTraceStore,
    Trace,
    TraceNode,
)
from seamline.traces.journal import RecordedError
from seamline.traces.show import runs_table, totals, trace_tree
from seamline.traces.show_diff import diff_view
from seamline.traces.values import Plain
from seamline.traces.view import EffectView, view_effect

MetaFactory = Callable[..., RunMeta]
NOTE = "The patient has pneumonia.\x1b[31m " + "word " * 3000


def giving(value: Any) -> Any:
    async def live() -> Any:
        return value

    return live


def decided(choice: str, tokens: int, **lineage: Any) -> Any:
    usage = {"input_tokens": tokens, "output_tokens": 1}
    response = {"scores": [0.93], "usage": usage, "lineage": lineage}
    decision = {"choice": choice, "confidence": 0.934, "reason": "no candidates yet"}
    return {"responses": [response], "decision": decision}


async def perform(effects: RecordEffects) -> None:
    policy = {"name": "coder/plan", "version": "1.0.0", "digest": "sha256:0123456789abcdef"}
    plan = {"policy": policy, "identity": {"name": "smollm2-135m"}, "requests": [{}, {}]}
    await effects.now("plan/1")
    lineage = {"adapter": {"name": "decide", "digest": "sha256:feedbeef00"}}
    await effects.perform("plan/1", "model", plan, giving(decided("find codes", 200, **lineage)))

    async def select() -> Any:
        request = {"identity": {"name": "smollm2-135m"}, "requests": [{}]}
        await effects.perform(
            "tool:select/1/model", "model", request, giving(decided("J18.9", 300))
        )
        return {"value": {"codes": ["J18.9", "J20.9"], "spans": [NOTE] * 3}, "usage": {}}

    asked = {"tool": {"name": "select", "version": "1"}, "input": {"text": NOTE, "limit": 5}}
    await effects.perform("tool:select/1", "tool", asked, select)

    async def broken() -> Any:
        raise ToolCallError("the release has no code J99.999; " + "details " * 40)

    with pytest.raises(ToolCallError):
        await effects.perform("tool:check/1", "tool", {"input": {}}, broken)
    await effects.perform("clarify/1", "answer", {"question": "side?"}, giving("left"))


@pytest.fixture
def trace(store: SqliteTraceStore, meta: MetaFactory) -> Trace:
    journal = store.start_run(meta(input={"text": NOTE}, seamline_version="0.1.0"))
    asyncio.run(perform(RecordEffects(journal)))
    error = "tool check failed"
    journal.finish(Outcome(status="failed", ended=journal.meta.started + 4.5, error=error))
    return store.trace("run-1")


def printed(renderable: Any, width: int = 100) -> str:
    text = io.StringIO()
    Console(file=text, width=width, no_color=True, highlight=False).print(renderable)
    return text.getvalue()


def test_a_refused_run_says_why(store: SqliteTraceStore, meta: MetaFactory) -> None:
    journal = store.start_run(meta())
    asyncio.run(RecordEffects(journal).now("begin"))
    result = {"status": "refused", "message": "Refused: no clinical text " + "word " * 3000}
    journal.finish(Outcome(status="refused", ended=journal.meta.started + 1, result=result))
    assert "Refused: no clinical text" in printed(trace_tree(store.trace("run-1")))


def test_the_tree_follows_the_paths(trace: Trace) -> None:
    def names(nodes: list[TraceNode]) -> list[Any]:
        return [(node.name, names(node.children)) for node in nodes]

    assert names(trace.tree()) == [
        ("plan/1", []),
        ("tool:select/1", [("model", [])]),
        ("tool:check/1", []),
        ("clarify/1", []),
    ]


def test_a_trace_reads_at_a_hundred_columns(trace: Trace) -> None:
    text = printed(trace_tree(trace))
    for expected in (
        "coder@1.0.0  failed  run-1",
        "plan/1 → find codes 0.93",
        "policy coder/plan@1.0.0 (01234567)",
        "because no candidates yet",
        "adapter decide (feedbeef), model smollm2-135m, 2 questions, 200+1 tokens",
        "tool:select/1",
        "in limit: 5",
        'out codes: ["J18.9","J20.9"]',
        "out spans: 3 items",
        "model → J18.9 0.93",
        "ToolCallError",
        "clarify/1 answer",
        "left",
        "2 model calls, 2 tool calls, 500 tokens read, 2 decoded, 4.50 s",
        "tool check failed",
    ):
        assert expected in text
    assert max(map(len, text.splitlines())) <= 100
    assert "\x1b" not in text
    assert len(text.splitlines()) < 35
    assert "clock" not in text


def joined(text: str) -> str:
    """A tree's words without its lines and guides."""
    return "".join(char for char in text if char not in " \n│├└─┗┣┃")


@pytest.mark.parametrize("width", [60, 200])
def test_full_shows_everything(store: SqliteTraceStore, meta: MetaFactory, width: int) -> None:
    journal = store.start_run(meta(input={"text": NOTE}))
    asyncio.run(perform(RecordEffects(journal)))
    long = {name: f"{name} begins " + 30 * f"{name}-" + f" {name} ends" for name in
            ("choice", "reason", "error", "task")}  # fmt: skip
    decision = {"choice": long["choice"], "reason": long["reason"], "confidence": 0.5}
    journal.append(
        key=EffectKey(long["task"], 1, "model"),
        request=Plain.of({"requests": ["x" * 500 + "last request"]}),
        result=Plain.of({"decision": decision}),
        error=None,
        started=1.0,
        ended=2.0,
    )
    journal.append(
        key=EffectKey("broken", 1, "tool"),
        request=Plain.of({"input": {}, "version": "9.8.7"}),
        result=None,
        error=RecordedError(type=f"E{'x' * 200}Error", message=long["error"]),
        started=1.0,
        ended=2.0,
    )
    journal.finish(Outcome(status="failed", ended=3.0))

    text = printed(trace_tree(store.trace("run-1"), full=True), width=width)

    assert "clock" in text
    assert text.count("word word") > 500
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    words = joined(text)
    for expected in (
        *map(joined, long.values()), "lastrequest", "askedversion:9.8.7", "xError",
        "askedquestion:side?", f"becausereasonbegins{joined(30 * 'reason-')}reasonends",
        f"→choicebegins{joined(30 * 'choice-')}choiceends",
    ):  # fmt: skip
        assert expected in words


@pytest.mark.parametrize("full", [False, True])
def test_a_run_from_elsewhere_commands_no_terminal(
    store: SqliteTraceStore, meta: MetaFactory, full: bool
) -> None:
    evil = "\x1b]0;owned\x1b\\\x9b2J\u202e"
    fields = ("agent", "agent_version", "seamline_version", "parent", "forked_at")
    journal = store.start_run(meta("run-1", **dict.fromkeys(fields, evil)))
    policy = {"name": evil, "version": evil, "digest": evil}
    decision = {"choice": evil, "reason": evil}
    error = RecordedError(type=evil, message=evil)
    request = {"policy": policy, "identity": {"skill": evil, "base": evil}, "input": {evil: evil}}
    results = {
        "model": {"decision": decision},
        "tool": {evil: evil},
        "answer": evil,
        "random": None,
    }
    for kind, result in results.items():
        journal.append(
            key=EffectKey(f"a{evil}/{kind}", 1, kind),  # type: ignore[arg-type]
            request=Plain.of(request),
            result=None if result is None else Plain.of(result),
            error=error if result is None else None,
            started=1.0,
            ended=2.0,
        )
    journal.finish(Outcome(status="failed", ended=3.0, error=evil))
    store.start_run(meta("run-2")).finish(Outcome(status="done", ended=3.0))
    trace, other = store.trace("run-1"), store.trace("run-2")
    shown = printed(trace_tree(trace, full=full)) + printed(runs_table(store.runs(), width=100))
    shown += "".join(map(printed, diff_view(trace.diff(other, everything=True))))
    assert "owned" in shown
    assert not set(shown) & set("\x1b\x9b\u202e")


def test_totals_count_what_happened(trace: Trace) -> None:
    assert totals(trace) == {
        "effects": 6,
        "model_calls": 2,
        "tool_calls": 2,
        "input_tokens": 500,
        "output_tokens": 2,
        "estimated": False,
        "seconds": 4.5,
    }


def test_tokens_that_an_endpoint_did_not_tell_are_marked(
    store: SqliteTraceStore, meta: MetaFactory
) -> None:
    journal = store.start_run(meta("run-1"))
    effects = RecordEffects(journal)
    for number, lineage in enumerate(({}, {"usage": "estimated"}), start=1):
        live = giving(decided("find codes", 100 * number, **lineage))
        asyncio.run(effects.perform(f"plan/{number}", "model", {}, live))
    journal.finish(Outcome(status="done", ended=3.0))
    trace = store.trace("run-1")

    shown = printed(trace_tree(trace))

    assert "100+1 tokens" in shown
    assert "100+1 tokens (estimated)" not in shown
    assert "200+1 tokens (estimated)" in shown
    assert "300 tokens read, 2 decoded (in part estimated)" in shown
    assert totals(trace)["estimated"]


def test_a_trace_as_json_is_whole_or_by_reference(trace: Trace) -> None:
    brief, full = trace.to_json(), trace.to_json(full=True)
    assert len(json.dumps(brief)) < len(json.dumps(full))
    assert NOTE not in json.dumps(brief)
    assert full["run"]["meta"]["input"]["text"] == NOTE
    assert len(brief["effects"]) == 6
    assert brief["end"]["count"] == 6
    assert brief["status"] == "failed"


def test_runs_fit_a_hundred_columns(store: SqliteTraceStore, meta: MetaFactory) -> None:
    run_id = "01a2016a-2e7f-7000-a511-ddec2efd1dc4"
    store.start_run(meta(run_id, agent="contract_review[x]"))
    store.flush()
    text = printed(runs_table(store.runs(), width=100))
    assert run_id in text
    assert "contract_review[x]" in text
    assert "running" in text
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize(
    ("request_", "result"),
    [
        (None, None),
        ([], "text"),
        ({"policy": "coder/plan", "identity": [], "requests": {}}, {"responses": {}}),
        ({"identity": {"base": 3}}, {"responses": [3, {"usage": None, "lineage": "x"}]}),
        ({"requests": ["x"]}, {"decision": True, "usage": {"input_tokens": "many"}}),
        ({"tool": 3}, [1, 2]),
    ],
)
@pytest.mark.parametrize("kind", ["model", "tool", "answer"])
def test_unknown_shapes_are_no_failure(kind: str, request_: Any, result: Any) -> None:
    assert isinstance(view_effect("tool:x/1", kind, request_, result, {}), EffectView)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from seamline.cli import common

    path = tmp_path / "cli" / "traces.sqlite"
    monkeypatch.setattr(common, "open_store", lambda: SqliteTraceStore(path))
    return path


def cli(*arguments: str) -> Any:
    from seamline.cli.traces import app

    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "100", "NO_COLOR": "1"})


def test_the_command_line_lists_and_shows(home: Path, meta: MetaFactory) -> None:
    with SqliteTraceStore(home) as store:
        for name, agent in (("aa-1", "coder"), ("bb-1", "reviewer")):
            journal = store.start_run(meta(name, agent=agent))
            asyncio.run(perform(RecordEffects(journal)))
            journal.finish(Outcome(status="done", ended=journal.meta.started + 1))
    listed = cli("list")
    assert listed.exit_code == 0, listed.output
    assert "aa-1" in listed.stdout
    assert "bb-1" in listed.stdout
    [only] = json.loads(cli("list", "--agent", "coder", "--status", "done", "--json").stdout)
    assert (only["run_id"], only["seconds"], only["effects"]) == ("aa-1", 1.0, 6)
    assert json.loads(cli("list", "--since", "7d", "--json").stdout) == []
    assert len(json.loads(cli("list", "--since", "2023-01-01", "--json").stdout)) == 2
    assert "coder/plan@1.0.0 (01234567)" in cli("show", "aa").stdout
    shown = json.loads(cli("show", "last", "--json").stdout)
    assert shown["totals"]["model_calls"] == 2
    assert (
        NOTE
        in json.loads(cli("show", "aa", "--json", "--full").stdout)["effects"][3]["request"][
            "input"
        ].values()
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", "nothing"),
        ("list", "--since", "yesterday"),
        ("list", "--since", "2026-13-77"),
        ("list", "--status", "finished"),
    ],
)
def test_bad_arguments_are_one_line_and_exit_2(home: Path, arguments: tuple[str, ...]) -> None:
    done = cli(*arguments)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stderr


def test_an_empty_store_lists_nothing(home: Path) -> None:
    assert cli("list").exit_code == 0
    assert json.loads(cli("list", "--json").stdout) == []
    assert not home.exists()
