from __future__ import annotations

import json
import re
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

from seamline.errors import ConfigError
from seamline.traces.foreign import read_spans
from seamline.traces.otlp import OtlpFileExporter, http_exporter, traces_endpoint


@contextmanager
def collector() -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    """A local server that keeps the path and body of every request."""
    got: list[tuple[str, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", got
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def two_spans(exporter: SpanExporter) -> None:
    provider = TracerProvider(resource=Resource({"service.name": "clinic"}))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    with tracer.start_as_current_span("outer"), tracer.start_as_current_span("chat m") as inner:
        inner.set_attribute("gen_ai.operation.name", "chat")
        inner.set_attribute("gen_ai.usage.input_tokens", 7)
    provider.shutdown()


def test_a_file_holds_one_request_a_line(tmp_path: Path) -> None:
    path = tmp_path / "spans.jsonl"
    two_spans(OtlpFileExporter(path))
    two_spans(OtlpFileExporter(path))
    lines = path.read_text().splitlines()
    assert len(lines) == 4
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    [resource] = json.loads(lines[0])["resourceSpans"]
    [span] = resource["scopeSpans"][0]["spans"]
    assert re.fullmatch(r"[0-9a-f]{32}", span["traceId"])
    assert re.fullmatch(r"[0-9a-f]{16}", span["parentSpanId"])
    assert span["startTimeUnixNano"].isdecimal()
    values = {one["key"]: one["value"] for one in span["attributes"]}
    assert values["gen_ai.usage.input_tokens"] == {"intValue": "7"}
    read = read_spans(path)
    assert [one.name for one in read] == ["chat m", "outer"] * 2
    assert read[0].parent_id == read[1].span_id
    assert read[0].service == "clinic"


def test_a_file_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no.such/spans\.jsonl.*name a file in a folder"):
        OtlpFileExporter(tmp_path / "no such" / "spans.jsonl")


def test_a_file_that_was_closed_loses_spans_and_raises_nothing(tmp_path: Path) -> None:
    exporter = OtlpFileExporter(tmp_path / "spans.jsonl")
    exporter.shutdown()
    exporter.shutdown()
    assert exporter.export([]) is SpanExportResult.FAILURE


def test_a_collector_gets_protobuf() -> None:
    with collector() as (url, got):
        two_spans(http_exporter(url, timeout_s=5))
    assert [path for path, _ in got] == ["/v1/traces"] * 2
    request = ExportTraceServiceRequest.FromString(got[0][1])
    [span] = request.resource_spans[0].scope_spans[0].spans
    assert span.name == "chat m"


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("http://localhost:4318", "http://localhost:4318/v1/traces"),
        ("http://localhost:4318/", "http://localhost:4318/v1/traces"),
        ("https://otel.example.org/in?key=a", "https://otel.example.org/in/v1/traces?key=a"),
        ("http://localhost:4318/v1/traces", "http://localhost:4318/v1/traces"),
    ],
)
def test_an_endpoint_is_completed(given: str, address: str) -> None:
    assert traces_endpoint(given) == address


@pytest.mark.parametrize("given", ["localhost:4318", "", "ftp://a", "http://", "http://a:port"])
def test_what_is_no_endpoint_is_said(given: str) -> None:
    with pytest.raises(ConfigError, match="write it like http://localhost:4318"):
        traces_endpoint(given)
