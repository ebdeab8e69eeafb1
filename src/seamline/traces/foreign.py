"""Spans that other programs recorded, read for viewing: OTLP as JSON, JSON lines or protobuf.

What is read is not trusted. File, spans, attributes and depth are bounded, texts lose what a
terminal would obey, and every parent is looked at as a claim: loops are cut, orphans are kept.
Nothing of it enters the trace store.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seamline.errors import ConfigError, InputError
from seamline.terminal import cut
from seamline.traces.foreign_names import Facts, read_facts
from seamline.traces.values import Json

__all__ = ["MAX_BYTES", "MAX_SPANS", "ForeignSpan", "read_spans"]

MAX_BYTES = 64 * 1024 * 1024
MAX_SPANS = 50_000

_MAX_ATTRIBUTES = 256
_MAX_DEPTH = 16
_MAX_TEXT = 2000
_MAX_ITEMS = 64

_EXPECTED = "expected OTLP: JSON or JSON lines with `resourceSpans`, or protobuf"


@dataclass(frozen=True)
class ForeignSpan:
    """One span from elsewhere, in our words.

    Times are seconds since the epoch, None where the span has none. `kind` is one of
    `foreign_names.KINDS`.
    """

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    service: str
    started: float | None
    seconds: float | None
    status: str
    message: str
    facts: Facts

    @property
    def kind(self) -> str:
        """What the span is of, such as `agent` or `model`."""
        return self.facts.kind


def read_spans(path: Path) -> list[ForeignSpan]:
    """The spans of a file, in its order.

    Raises:
        InputError: The file cannot be read, is too large, or is not OTLP; the message names
            file, line and fix.
        ConfigError: It is protobuf, and the extra `otlp` is not installed.
    """
    data = _read(path)
    spans: list[ForeignSpan] = []
    for where, document in _documents(path, data):
        for span in _spans(document, where):
            if len(spans) == MAX_SPANS:
                raise InputError(
                    f"{where}: more than {MAX_SPANS} spans; split the file, one trace or a few "
                    "in each"
                )
            spans.append(span)
    if not spans:
        raise InputError(f"{path} holds no span; {_EXPECTED}")
    return spans


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; name a readable file") from None
    if len(data) > MAX_BYTES:
        raise InputError(f"{path} is larger than {MAX_BYTES >> 20} MiB; split it, by trace or time")
    if not data.strip():
        raise InputError(f"{path} is empty; {_EXPECTED}")
    return data


def _documents(path: Path, data: bytes) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each OTLP request in the file, with where it stands."""
    if not _is_text(data):
        yield str(path), _from_protobuf(path, data)
        return
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}, line {line}: not UTF-8; save the file as UTF-8") from None
    try:
        whole = json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg != "Extra data":
            raise _not_json(f"{path}, line {error.lineno}", error) from None
        for number, line_text in enumerate(text.split("\n"), start=1):
            if line_text.strip():
                where = f"{path}, line {number}"
                yield where, _object(_line(line_text, where), where)
        return
    except (ValueError, RecursionError) as error:
        raise _not_json(str(path), error) from None
    several = whole if isinstance(whole, list) else [whole]
    for number, one in enumerate(several, start=1):
        where = f"{path}, item {number}" if isinstance(whole, list) else str(path)
        yield where, _object(one, where)


def _is_text(data: bytes) -> bool:
    """Whether it is meant as JSON; a protobuf request starts with what is a line feed in text."""
    if data[:1] == b"\n":
        try:
            data.decode()
        except UnicodeDecodeError:
            return False
    return data.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"[")


def _not_json(where: str, error: Exception) -> InputError:
    if isinstance(error, RecursionError):
        return InputError(f"{where}: nested too deeply; {_EXPECTED}")
    if isinstance(error, json.JSONDecodeError):
        return InputError(f"{where}, column {error.colno}: not JSON ({error.msg}); {_EXPECTED}")
    return InputError(f"{where}: not JSON (a number is too long); {_EXPECTED}")


def _line(text: str, where: str) -> Json:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _not_json(where, error) from None


def _object(value: Json, where: str) -> Mapping[str, Any]:
    if isinstance(value, dict):
        if "resourceSpans" in value or "resource_spans" in value:
            return value
        if "resourceLogs" in value or "resourceMetrics" in value:
            return {}  # Collectors write all three signals to one file.
        if "context" in value and "attributes" in value:
            raise InputError(
                f"{where}: spans as the SDK's console exporter or a data frame writes them; "
                "export them as OTLP JSON, with a collector's `file` exporter"
            )
    raise InputError(f"{where}: no `resourceSpans`; {_EXPECTED}")


def _from_protobuf(path: Path, data: bytes) -> Mapping[str, Any]:
    try:
        from google.protobuf.json_format import MessageToDict
        from google.protobuf.message import DecodeError
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
            ExportTraceServiceRequest,
        )
    except ImportError as error:
        raise ConfigError(
            f"{path} is not JSON; to read protobuf, pip install 'seamline[otlp]'"
        ) from error
    request = ExportTraceServiceRequest()
    try:
        request.ParseFromString(data)
    except DecodeError:
        raise InputError(f"{path} is neither JSON nor OTLP protobuf; {_EXPECTED}") from None
    # Parsing skips what it does not know, so any bytes may pass for a request of nothing.
    if not request.resource_spans:
        raise InputError(f"{path} is neither JSON nor OTLP protobuf; {_EXPECTED}")
    document: Mapping[str, Any] = MessageToDict(request)
    for span, _ in _raw_spans(document, str(path)):
        # Protobuf's own mapping to JSON writes them as base64, OTLP's in hex.
        for name in ("traceId", "spanId", "parentSpanId"):
            if name in span:
                span[name] = base64.b64decode(span[name]).hex()
    return document


def _raw_spans(
    document: Mapping[str, Any], where: str
) -> Iterator[tuple[dict[str, Any], Mapping[str, Any]]]:
    """Each span as it stands, with its resource's attributes."""
    for resource in _list(document, "resourceSpans", "resource_spans", where=where):
        described = resource.get("resource")
        attributes = _attributes(described if isinstance(described, dict) else {})
        scopes = _list(
            resource, "scopeSpans", "scope_spans", "instrumentationLibrarySpans", where=where
        )
        for scope in scopes:
            for span in _list(scope, "spans", where=where):
                yield span, attributes


def _list(holder: Mapping[str, Any], *names: str, where: str) -> list[dict[str, Any]]:
    name = next((name for name in names if name in holder), names[0])
    found = holder.get(name) or []
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise InputError(f"{where}: `{name}` is not a list of objects; {_EXPECTED}")
    return found


def _spans(document: Mapping[str, Any], where: str) -> Iterator[ForeignSpan]:
    for span, resource in _raw_spans(document, where):
        started, ended = _time(span, "startTimeUnixNano"), _time(span, "endTimeUnixNano")
        seconds = None
        if started is not None and ended is not None and ended >= started:
            seconds = ended - started
        status = span.get("status")
        status = status if isinstance(status, dict) else {}
        name = _words(_field(span, "name"))
        yield ForeignSpan(
            trace_id=_identifier(span, "traceId"),
            span_id=_identifier(span, "spanId"),
            parent_id=_identifier(span, "parentSpanId"),
            name=name,
            service=_words(resource.get("service.name", "")),
            started=started,
            seconds=seconds,
            status=_STATUS.get(str(status.get("code", "")), "unset"),
            message=_words(status.get("message", "")),
            facts=read_facts(name, _attributes(span)),
        )


_STATUS = {"1": "ok", "2": "error", "STATUS_CODE_OK": "ok", "STATUS_CODE_ERROR": "error"}


def _field(span: Mapping[str, Any], name: str) -> Json:
    """A field by its name in JSON, or by the one it has in protobuf."""
    if name in span:
        return span[name]
    return span.get("".join(f"_{c.lower()}" if c.isupper() else c for c in name))


def _identifier(span: Mapping[str, Any], name: str) -> str:
    """An identifier; all zeros is none."""
    found = _field(span, name)
    text = _words(found).lower()[:64] if isinstance(found, str) else ""
    return text if text.strip("0") else ""


def _time(span: Mapping[str, Any], name: str) -> float | None:
    nanoseconds = _integer(_field(span, name))
    # Beyond this no calendar goes.
    return nanoseconds / 1e9 if nanoseconds and 0 < nanoseconds < 1 << 63 else None


def _integer(value: Json) -> int | None:
    if isinstance(value, str) and value.isdecimal() and len(value) <= 20:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _attributes(holder: Mapping[str, Any]) -> dict[str, Json]:
    found: dict[str, Json] = {}
    listed = holder.get("attributes")
    for one in listed[:_MAX_ATTRIBUTES] if isinstance(listed, list) else []:
        if isinstance(one, dict) and isinstance(one.get("key"), str):
            found.setdefault(one["key"], _value(one.get("value"), 0))
    return found


def _value(value: Json, depth: int) -> Json:
    """An OTLP `AnyValue` as JSON; what is nested or long beyond measure is left out."""
    if not isinstance(value, dict) or depth > _MAX_DEPTH:
        return None
    for name, content in value.items():
        kind = name.replace("_", "").lower()
        if kind == "stringvalue" and isinstance(content, str):
            return content[:_MAX_TEXT]
        if kind == "intvalue":
            return _integer(content)
        if kind in ("boolvalue", "doublevalue"):
            return content if isinstance(content, (bool, int, float)) else None
        if kind == "arrayvalue" and isinstance(content, dict):
            values = content.get("values")
            listed = values[:_MAX_ITEMS] if isinstance(values, list) else []
            return [_value(one, depth + 1) for one in listed]
    return None


def _words(value: Json) -> str:
    """A text on one line; empty where the value is none."""
    text = value if isinstance(value, str) else ""
    return cut(text[:_MAX_TEXT], 0)
