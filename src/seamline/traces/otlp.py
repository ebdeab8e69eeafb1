"""Spans to a collector or a file: exporters for a provider that the host builds.

Needs the extra `otlp`. Importing this module loads the OpenTelemetry SDK.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from seamline.errors import ConfigError

__all__ = ["OtlpFileExporter", "http_exporter", "traces_endpoint"]

_EXTRA = "install the extra: pip install 'seamline[otlp]'"
_TRACES_PATH = "/v1/traces"

_log = logging.getLogger(__name__)


class OtlpFileExporter(SpanExporter):
    """Appends spans to a file: one OTLP/JSON `ExportTraceServiceRequest` a line.

    That is the format of OpenTelemetry's file exporter, which collectors read with their
    `otlpjsonfile` receiver: identifiers in hex, 64-bit integers as strings. Several processes
    may append to one file. The file is readable by its owner only where it is new.

    Example:
        >>> provider.add_span_processor(BatchSpanProcessor(OtlpFileExporter("spans.jsonl")))

    Raises:
        ConfigError: The file cannot be written, or the extra `otlp` is not installed.
    """

    def __init__(self, path: str | Path) -> None:
        try:
            from opentelemetry.exporter.otlp.json.common.trace_encoder import encode_spans
        except ImportError as error:
            raise ConfigError(f"a file of spans needs a package; {_EXTRA}") from error
        self._encode = encode_spans
        self._path = Path(path)
        self._lock = threading.Lock()
        try:
            self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        except OSError as error:
            raise ConfigError(
                f"spans cannot be written to {self._path}: {error.strerror}; "
                "name a file in a folder that exists and can be written"
            ) from error

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Append a line; a full disk loses the spans and is logged."""
        line = json.dumps(self._encode(spans).to_dict(), separators=(",", ":")).encode() + b"\n"
        try:
            with self._lock:
                while line:
                    line = line[os.write(self._file, line) :]
        except OSError as error:
            _log.warning("%d spans were not written to %s: %s", len(spans), self._path, error)
            return SpanExportResult.FAILURE
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Close the file."""
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
                self._file = -1


def http_exporter(endpoint: str | None, *, timeout_s: float | None = None) -> SpanExporter:
    """An exporter that speaks OTLP over HTTP (protobuf).

    Args:
        endpoint: The collector's address, as in `traces_endpoint`; None takes it, like all
            that is not given here, from the standard `OTEL_EXPORTER_OTLP_*` variables.
        timeout_s: How long one batch may take, its retries included.

    Raises:
        ConfigError: The address is none, or the extra `otlp` is not installed.
    """
    address = None if endpoint is None else traces_endpoint(endpoint)
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError as error:
        raise ConfigError(f"sending spans needs a package; {_EXTRA}") from error
    return OTLPSpanExporter(endpoint=address, timeout=timeout_s)


def traces_endpoint(endpoint: str) -> str:
    """Where a collector takes spans: `http://host:4318` to `http://host:4318/v1/traces`.

    Raises:
        ConfigError: It is no http(s) address.
    """
    try:
        parts = urlsplit(endpoint)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("it has no http:// or https:// with a host")
        _ = parts.port
    except ValueError as error:
        raise ConfigError(
            f"{endpoint!r} is no address of a collector ({error}); "
            "write it like http://localhost:4318"
        ) from None
    path = parts.path.rstrip("/").removesuffix(_TRACES_PATH) + _TRACES_PATH
    return parts._replace(path=path).geturl()
