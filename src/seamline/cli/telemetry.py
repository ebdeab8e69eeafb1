"""Where the spans of a command go: what it was told, else what the standard variables say."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seamline.cli import common
from seamline.errors import ConfigError

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

__all__ = ["OtlpFileOption", "OtlpOption", "exporting"]

OtlpOption = Annotated[
    str | None,
    typer.Option(
        "--otlp",
        metavar="ENDPOINT",
        help="Send spans to a collector: http://localhost:4318. Without it the standard "
        "OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_TRACES_EXPORTER and their kin are heeded.",
    ),
]
OtlpFileOption = Annotated[
    Path | None,
    typer.Option("--otlp-file", metavar="FILE", help="Append spans to a file as OTLP JSON lines."),
]

_SERVICE = "seamline"
_SDK_LOG, _FILE_LOG = "opentelemetry", "seamline.traces.otlp"
_SEND_S = 2.0
_FLUSH_S = 3.0
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_TIMEOUTS = ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")


@contextlib.contextmanager
def exporting(otlp: str | None, otlp_file: Path | None) -> Iterator[None]:
    """Spans of what happens inside go where they were asked to, and are sent at its end.

    A provider that is configured already (by `opentelemetry-instrument`, say) is kept; what was
    asked for is added to it. What cannot be sent within a few seconds is told in one line on
    stderr and never changes how the command ends.

    Raises:
        ConfigError: An option is wrong, or the extra `otlp` is not installed.
    """
    if otlp is None and otlp_file is None and not _asked_by_environment():
        yield
        return
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        if otlp is not None or otlp_file is not None:
            _warn("no spans are made: OTEL_SDK_DISABLED is true")
        yield
        return
    exporters = _exporters(otlp, otlp_file)
    close = _install(exporters) if exporters else None
    try:
        yield
    finally:
        if close is not None:
            _bounded(close)
            for exporter in exporters:
                exporter.tell_lost()


class _Counted:
    """An exporter whose failures are counted and told once, instead of logged one by one."""

    def __init__(self, exporter: SpanExporter, where: str, logger: str) -> None:
        self._exporter = exporter
        self._where = where
        self._lost = 0
        self._said = _LastMessage()
        logging.getLogger(logger).addHandler(self._said)
        logging.getLogger(logger).propagate = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """As the exporter does; an error of its own is a failure too."""
        from opentelemetry.sdk.trace.export import SpanExportResult

        # Counted as lost until they are sent, since the command may not wait for the end.
        self._lost += len(spans)
        try:
            result = self._exporter.export(spans)
        except Exception as error:
            self._said.text = str(error)
            result = SpanExportResult.FAILURE
        if result is SpanExportResult.SUCCESS:
            self._lost -= len(spans)
        return result

    def shutdown(self) -> None:
        """Close the exporter."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """As the exporter does."""
        return self._exporter.force_flush(timeout_millis)

    def tell_lost(self) -> None:
        """One line on stderr where spans were lost."""
        if self._lost:
            why = f": {self._said.text}" if self._said.text else ""
            _warn(f"{self._lost} spans did not reach {self._where}{why}")


class _LastMessage(logging.Handler):
    """Keeps the last message instead of printing it."""

    text = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it, as one short line."""
        self.text = " ".join(record.getMessage().split())[:300]


def _asked_by_environment() -> bool:
    named = os.environ.get("OTEL_TRACES_EXPORTER", "").strip()
    return bool(named) or any(os.environ.get(name) for name in _ENDPOINTS)


def _exporters(otlp: str | None, otlp_file: Path | None) -> list[_Counted]:
    from seamline.traces.otlp import OtlpFileExporter, http_exporter

    found: list[_Counted] = []
    if otlp_file is not None:
        found.append(_Counted(OtlpFileExporter(otlp_file), str(otlp_file), _FILE_LOG))
    if otlp is not None:
        found.append(_Counted(http_exporter(otlp, timeout_s=_timeout()), otlp, _SDK_LOG))
    if otlp is None and otlp_file is None:
        found += filter(None, map(_named_exporter, dict.fromkeys(_named_exporters())))
    return found


def _named_exporter(name: str) -> _Counted | None:
    """The exporter that the environment names; what is wrong with it fails no command."""
    from seamline.traces.otlp import http_exporter

    if name == "console":
        return _Counted(_console(), "the console", _SDK_LOG)
    if name == "otlp":
        _check_protocol()
        where = next(filter(None, map(os.environ.get, _ENDPOINTS)), "http://localhost:4318")
        try:
            return _Counted(http_exporter(None, timeout_s=_timeout()), where, _SDK_LOG)
        except ConfigError as error:
            _warn(f"no spans are sent to {where}: {error}")
    elif name != "none":
        _warn(f"OTEL_TRACES_EXPORTER names {name!r}; known are otlp, console and none")
    return None


def _named_exporters() -> list[str]:
    named = os.environ.get("OTEL_TRACES_EXPORTER", "").strip() or "otlp"
    return [name.strip().lower() for name in named.split(",") if name.strip()]


def _console() -> SpanExporter:
    import sys

    from opentelemetry.sdk.trace.export import ConsoleSpanExporter

    # Not stdout, which holds the result.
    return ConsoleSpanExporter(out=sys.stderr)


def _timeout() -> float | None:
    """The limit for a batch: the standard variable's, else one that a person waits out."""
    return None if any(os.environ.get(name) for name in _TIMEOUTS) else _SEND_S


def _check_protocol() -> None:
    protocol = next(filter(None, map(os.environ.get, _PROTOCOLS)), "http/protobuf")
    if protocol != "http/protobuf":
        _warn(f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol!r}; spans are sent as http/protobuf")


def _install(exporters: Sequence[_Counted]) -> Any:
    """Give the process a provider with these exporters, or add them to the one it has.

    Gives what sends everything and closes what was opened.
    """
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider: Any = trace.get_tracer_provider()
    if isinstance(provider, trace.ProxyTracerProvider):
        # The end of the command closes it within its limit; the SDK's own way has none.
        provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
        trace.set_tracer_provider(provider)
    if not hasattr(provider, "add_span_processor"):
        _warn(f"spans stay with the configured {type(provider).__name__}, which takes no exporter")
        return lambda: None
    processors = [BatchSpanProcessor(exporter) for exporter in exporters]  # type: ignore[arg-type]
    for processor in processors:
        provider.add_span_processor(processor)

    def close() -> None:
        for processor in processors:
            processor.shutdown()  # type: ignore[no-untyped-call]

    return close


def _resource() -> Resource:
    """`OTEL_RESOURCE_ATTRIBUTES` and `OTEL_SERVICE_NAME`; a service name of ours without one."""
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource

    found = Resource.create()
    if str(found.attributes.get(SERVICE_NAME, "unknown_service")).startswith("unknown_service"):
        found = found.merge(Resource({SERVICE_NAME: _SERVICE}))
    return found


def _bounded(close: Any) -> None:
    """Close, but do not wait for a collector that hangs."""
    from seamline.traces.span_worker import WORKER

    WORKER.force_flush(_FLUSH_S)
    thread = threading.Thread(target=close, name="seamline-otlp-close", daemon=True)
    thread.start()
    thread.join(_FLUSH_S)


def _warn(text: str) -> None:
    common.err().print(f"warning: {text}", soft_wrap=True)
