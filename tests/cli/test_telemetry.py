"""`seamline run` and where its spans go, against a real collector on loopback."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from seamline.traces.foreign import read_spans

GARDEN = "The garden in winter is greenish and quiet."

Seamline = Callable[..., "subprocess.CompletedProcess[str]"]


class Collector:
    def __init__(self, url: str) -> None:
        self.url = url
        self.requests: list[ExportTraceServiceRequest] = []
        self.headers: list[str] = []

    def names(self) -> list[str]:
        return [
            span.name
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def resource(self) -> dict[str, str]:
        [first, *_] = self.requests[0].resource_spans
        return {one.key: one.value.string_value for one in first.resource.attributes}


@pytest.fixture
def collector() -> Iterator[Collector]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.path == "/v1/traces"
            found.headers.append(self.headers.get("x-team", ""))
            found.requests.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Collector(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield found
    server.shutdown()
    server.server_close()
    thread.join()


def test_spans_go_to_a_collector_and_a_file(
    seamline: Seamline, collector: Collector, tmp_path: Path
) -> None:
    file = tmp_path / "spans.jsonl"
    done = seamline(
        "run", "sorter", GARDEN, "--json", "--otlp", collector.url, "--otlp-file", str(file)
    )

    assert done.returncode == 0, done.stderr
    run_id = json.loads(done.stdout)["run_id"]
    assert "warning" not in done.stderr
    written = read_spans(file)
    assert sorted(span.name for span in written) == sorted(collector.names())
    assert {"invoke_agent sorter", "chat follower", "execute_tool find_words"} <= {
        span.name for span in written
    }
    assert collector.resource()["service.name"] == "seamline"
    assert all(span.facts.prompt for span in written if span.kind == "model")
    assert run_id in file.read_text()
    assert "greenish" not in file.read_text()


def test_the_standard_variables_are_heeded(seamline: Seamline, collector: Collector) -> None:
    done = seamline(
        "run",
        "sorter",
        GARDEN,
        env={
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_EXPORTER_OTLP_HEADERS": "x-team=coding",
            "OTEL_SERVICE_NAME": "clinic",
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
        },
    )

    assert done.returncode == 0, done.stderr
    assert "invoke_agent sorter" in collector.names()
    assert collector.resource()["service.name"] == "clinic"
    assert collector.resource()["deployment.environment.name"] == "test"
    assert set(collector.headers) == {"coding"}


@pytest.mark.parametrize("env", [{"OTEL_SDK_DISABLED": "true"}, {"OTEL_TRACES_EXPORTER": "none"}])
def test_the_standard_variables_switch_it_off(
    seamline: Seamline, collector: Collector, env: dict[str, str]
) -> None:
    done = seamline(
        "run", "sorter", GARDEN, env={"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, **env}
    )

    assert done.returncode == 0, done.stderr
    assert collector.requests == []


def test_a_collector_that_is_down_costs_one_line(seamline: Seamline) -> None:
    done = seamline("run", "sorter", GARDEN, "--json", "--otlp", "http://127.0.0.1:9")

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["status"] == "done"
    [warning] = [line for line in done.stderr.splitlines() if "warning" in line]
    assert "spans did not reach http://127.0.0.1:9: " in warning
    assert "Traceback" not in done.stderr


def test_a_wrong_endpoint_and_an_unknown_exporter_are_said(seamline: Seamline) -> None:
    wrong = seamline("run", "sorter", GARDEN, "--otlp", "localhost:4318")
    unknown = seamline("run", "sorter", GARDEN, env={"OTEL_TRACES_EXPORTER": "zipkin,console"})

    assert wrong.returncode == 2
    assert "write it like http://localhost:4318" in wrong.stderr
    assert unknown.returncode == 0, unknown.stderr
    assert "names 'zipkin'; known are otlp, console and none" in unknown.stderr
    assert "invoke_agent sorter" in unknown.stderr
    assert "invoke_agent" not in unknown.stdout
