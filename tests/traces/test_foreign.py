from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from rich.console import Console
from typer.testing import CliRunner

from seamline.cli.main import app
from seamline.errors import InputError
from seamline.traces import foreign
from seamline.traces.foreign import ForeignSpan, read_spans
from seamline.traces.foreign_names import Facts
from seamline.traces.foreign_tree import arrange, foreign_tree, traces_as_data

TRACE = "0af7651916cd43dd8448eb211c80319c"


def span(name: str, at: int, above: int = 0, **attributes: Any) -> dict[str, Any]:
    def value(of: Any) -> dict[str, Any]:
        return {"intValue": str(of)} if isinstance(of, int) else {"stringValue": of}

    return {
        "traceId": TRACE,
        "spanId": f"{at:016x}",
        "parentSpanId": f"{above:016x}" if above else "",
        "name": name,
        "startTimeUnixNano": str(1_700_000_000_000_000_000 + at * 1_000_000_000),
        "endTimeUnixNano": str(1_700_000_000_000_000_000 + at * 1_000_000_000 + 250_000_000),
        "attributes": [
            {"key": key.replace("__", "."), "value": value(of)} for key, of in attributes.items()
        ],
    }


def request(*spans: dict[str, Any]) -> dict[str, Any]:
    service = {"key": "service.name", "value": {"stringValue": "shop"}}
    return {
        "resourceSpans": [
            {"resource": {"attributes": [service]}, "scopeSpans": [{"spans": list(spans)}]}
        ]
    }


def written(tmp_path: Path, *documents: Any, text: str | None = None) -> Path:
    path = tmp_path / "spans.jsonl"
    path.write_text(text if text is not None else "\n".join(map(json.dumps, documents)))
    return path


def shown(path: Path, limit: int = 500) -> str:
    console = Console(width=160, record=True, file=None, quiet=False, color_system=None)
    with console.capture() as text:
        for trace in arrange(read_spans(path)):
            console.print(foreign_tree(trace, limit=limit))
    return text.get()


GENAI = span(
    "chat gpt-x",
    2,
    1,
    gen_ai__operation__name="chat",
    gen_ai__request__model="gpt-x",
    gen_ai__prompt__name="triage",
    gen_ai__prompt__version="3",
    gen_ai__usage__input_tokens=10,
    gen_ai__usage__output_tokens=4,
)
OPENINFERENCE = span(
    "ChatOpenAI",
    2,
    1,
    openinference__span__kind="LLM",
    llm__model_name="gpt-x",
    prompt__id="triage",
    llm__prompt_template__version="3",
    llm__token_count__prompt=10,
    llm__token_count__completion=4,
)
OPENLLMETRY = span(
    "openai.chat",
    2,
    1,
    llm__request__type="chat",
    gen_ai__response__model="gpt-x",
    traceloop__prompt__key="triage",
    traceloop__prompt__version=3,
    gen_ai__usage__prompt_tokens=10,
    gen_ai__usage__completion_tokens=4,
)


@pytest.mark.parametrize("model", [GENAI, OPENINFERENCE, OPENLLMETRY])
def test_three_conventions_say_the_same(tmp_path: Path, model: dict[str, Any]) -> None:
    [found] = read_spans(written(tmp_path, request(model)))
    assert found.facts == Facts(
        kind="model",
        model="gpt-x",
        prompt="triage",
        prompt_version="3",
        input_tokens=10,
        output_tokens=4,
    )
    assert found.seconds == pytest.approx(0.25)
    assert (found.service, found.status, found.parent_id) == ("shop", "unset", f"{1:016x}")


@pytest.mark.parametrize(
    ("attributes", "kind", "tool"),
    [
        ({"gen_ai__operation__name": "execute_tool", "gen_ai__tool__name": "t"}, "tool", "t"),
        ({"openinference__span__kind": "TOOL", "tool__name": "t"}, "tool", "t"),
        ({"traceloop__span__kind": "tool", "traceloop__entity__name": "t"}, "tool", "t"),
        ({"openinference__span__kind": "RETRIEVER"}, "retrieval", ""),
        ({"gen_ai__operation__name": "search_memory"}, "memory", ""),
        ({"db__system": "postgresql"}, "span", ""),
    ],
)
def test_kinds_and_tools(tmp_path: Path, attributes: dict[str, Any], kind: str, tool: str) -> None:
    [found] = read_spans(written(tmp_path, request(span("x", 1, **attributes))))
    assert (found.kind, found.facts.tool) == (kind, tool)


def test_a_trace_is_shown_as_a_tree(tmp_path: Path) -> None:
    failed = span("execute_tool search", 3, 1, gen_ai__tool__name="search", error__type="Timeout")
    failed["status"] = {"code": 2, "message": "took too long"}
    root = span("invoke_agent desk", 1, gen_ai__agent__name="desk")
    text = shown(written(tmp_path, request(GENAI), request(failed, root)))
    lines = [line.rstrip() for line in text.splitlines()]
    assert lines == [
        f"trace {TRACE}  shop",
        "├── invoke_agent desk agent  0.25 s",
        "│   ├── chat gpt-x model  0.25 s",
        "│   │   └── prompt triage@3, 10+4 tokens",
        "│   └── execute_tool search tool Timeout  0.25 s",
        "│       └── took too long",
        "└── 3 spans, 1 model calls, 1 tool calls, 10 tokens read, 4 decoded",
    ]


def test_one_document_a_list_and_lines_are_read_alike(tmp_path: Path) -> None:
    one, two = request(span("a", 1)), request(span("b", 2, 1))
    both = request(span("a", 1), span("b", 2, 1))
    lines = read_spans(written(tmp_path, one, two))
    assert read_spans(written(tmp_path, text=json.dumps(both, indent=2))) == lines
    assert read_spans(written(tmp_path, [one, two])) == lines
    assert read_spans(written(tmp_path, {"resourceLogs": []}, one, two)) == lines


def test_protobuf_is_read_alike(tmp_path: Path) -> None:
    message = ExportTraceServiceRequest()
    scope = message.resource_spans.add().scope_spans.add()
    real = scope.spans.add(
        name="chat gpt-x",
        trace_id=bytes.fromhex(TRACE),
        span_id=b"\x00" * 7 + b"\x02",
        start_time_unix_nano=1_700_000_000_000_000_000,
        end_time_unix_nano=1_700_000_001_000_000_000,
    )
    count = real.attributes.add(key="gen_ai.usage.input_tokens")
    count.value.int_value = 10
    path = tmp_path / "spans.pb"
    path.write_bytes(message.SerializeToString())
    [found] = read_spans(path)
    assert (found.trace_id, found.span_id, found.parent_id) == (TRACE, f"{2:016x}", "")
    assert (found.kind, found.facts.input_tokens, found.seconds) == ("model", 10, 1.0)


def test_orphans_loops_and_duplicates_are_shown_once(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        request(
            span("orphan", 1, 99),
            span("below orphan", 2, 1),
            span("its own parent", 3, 3),
            span("one of two", 4, 5),
            span("other of two", 5, 4),
            span("again", 1),
        ),
    )
    [trace] = arrange(read_spans(path))
    assert [(one.depth, one.span.name, one.note) for one in trace.spans] == [
        (0, "orphan", "its parent is not in the file"),
        (1, "below orphan", ""),
        (0, "its own parent", "its own parent"),
        (0, "one of two", "its parents go in a circle"),
        (1, "other of two", ""),
    ]
    assert trace.duplicates == 1
    assert "1 spans with the identifier of another" in shown(path)


def test_a_deep_trace_is_shown(tmp_path: Path) -> None:
    chain = [span(f"s{at}", at, at - 1) for at in range(1, 3001)]
    path = written(tmp_path, request(*chain))
    [trace] = arrange(read_spans(path))
    assert trace.spans[-1].depth == 2999
    text = shown(path, limit=100)
    assert "s100 " in text
    assert "2900 more spans" in text


def test_terminal_commands_and_markup_do_nothing(tmp_path: Path) -> None:
    evil = "\x1b]0;owned\x07[red]x[/red]\x9b2J\u202egnp\ud800"
    found = span(evil, 1, gen_ai__tool__name=evil, gen_ai__operation__name="execute_tool")
    found["status"] = {"code": 2, "message": evil}
    path = written(tmp_path, request(found))
    done = CliRunner().invoke(app, ["traces", "view", str(path)])
    data = CliRunner().invoke(app, ["traces", "view", str(path), "--json"])
    assert done.exit_code == data.exit_code == 0, done.output + data.output
    for text in (done.stdout, data.stdout):
        assert not set(text) & set("\x1b\x07\x9b\u202e")
        assert "[red]x[/red]" in text
    [trace] = json.loads(data.stdout)
    [one] = trace["spans"]
    assert (one["kind"], one["status"], one["depth"]) == ("tool", "error", 0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty; expected OTLP"),
        ("{}", "no `resourceSpans`"),
        ("[]", "holds no span"),
        ('{"resourceSpans": [', "line 1, column 20: not JSON"),
        ('{"resourceSpans": []}\n{"resourceSpans": [}', "line 2, column 20: not JSON"),
        ('{"resourceSpans": 3}', "`resourceSpans` is not a list of objects"),
        ('{"resourceSpans": [{"scopeSpans": [{"spans": [1]}]}]}', "`spans` is not a list"),
        ("[" * 100_000, "nested too deeply"),
        ('{"resourceSpans": ' + "9" * 5000 + "}", "a number is too long"),
        ('{"context": {}, "attributes": {}}', "export them as OTLP JSON"),
        ("hello", "neither JSON nor OTLP protobuf"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path: Path, text: str, said: str) -> None:
    path = written(tmp_path, text=text)
    with pytest.raises(InputError) as raised:
        read_spans(path)
    assert said in str(raised.value)
    assert str(path) in str(raised.value)
    done = CliRunner().invoke(app, ["traces", "view", str(path)])
    assert done.exit_code == 2
    assert "Traceback" not in done.output


def test_files_and_spans_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign, "MAX_SPANS", 2)
    path = written(tmp_path, request(span("a", 1)), request(span("b", 2), span("c", 3)))
    with pytest.raises(InputError, match=r"line 2: more than 2 spans; split the file"):
        read_spans(path)
    monkeypatch.setattr(foreign, "MAX_BYTES", 10)
    with pytest.raises(InputError, match="split it"):
        read_spans(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_spans(tmp_path / "absent.json")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["key", "value", "stringValue", "intValue", "arrayValue", "values"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)
any_span = st.dictionaries(
    st.sampled_from([*span("a", 1), "status", "kind", "trace_id"]), json_values, max_size=9
)


@settings(max_examples=150, deadline=None)
@given(st.lists(any_span, min_size=1, max_size=5))
def test_any_span_is_shown_or_refused(
    tmp_path_factory: pytest.TempPathFactory, spans: list[dict[str, Any]]
) -> None:
    path = written(tmp_path_factory.mktemp("any"), request(*spans))
    found = read_spans(path)
    assert len(found) == len(spans)
    data = traces_as_data(arrange(found))
    assert sum(len(one["spans"]) + one["duplicates"] for one in data) == len(spans)
    json.dumps(data, allow_nan=False)
    assert shown(path)


ids = st.integers(0, 6).map(lambda at: f"{at:x}" if at else "")


@given(st.lists(st.tuples(ids, ids), min_size=1, max_size=9))
def test_every_span_finds_a_place(links: list[tuple[str, str]]) -> None:
    spans = [
        ForeignSpan("t", own, above, f"s{at}", "", float(at), None, "unset", "", Facts("span"))
        for at, (own, above) in enumerate(links)
    ]
    [trace] = arrange(spans)
    placed = [one.span.name for one in trace.spans]
    assert len(set(placed)) == len(placed)
    assert len(placed) + trace.duplicates == len(spans)
    for before, after in zip(trace.spans, trace.spans[1:], strict=False):
        assert after.depth <= before.depth + 1
