"""What a reader wants to know of one effect, taken from its request and result.

Requests and results are made elsewhere, by nodes, tools and models of any version; so this
reads what it finds and leaves out the rest, and never fails on an unknown shape.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from seamline.traces.values import Json

__all__ = ["EffectView", "inner", "model_name", "short_digest", "view_effect"]

_NO_FIELDS: Mapping[str, Any] = {}
_MODEL = (("name",), ("model",), ("base", "name"), ("base",))


@dataclass(frozen=True)
class EffectView:
    """One effect for people and spans; empty where the effect does not say."""

    policy_name: str = ""
    policy_version: str = ""
    policy_digest: str = ""
    model: str = ""
    base_digest: str = ""
    adapter_name: str = ""
    adapter_digest: str = ""
    tokenizer_digest: str = ""
    template_digest: str = ""
    dtype: str = ""
    device: str = ""
    endpoint: str = ""
    host: str = ""
    served_model: str = ""
    decision: str = ""
    confidence: float | None = None
    reason: str = ""
    tool: str = ""
    questions: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    estimated: bool = False


def short_digest(digest: str) -> str:
    """The first eight hex digits of a digest, as people compare them."""
    return digest.rpartition(":")[2][:8]


def inner(value: Json, name: str) -> Json:
    """A field of an object, or the value itself where it has none of that name."""
    return value[name] if isinstance(value, dict) and name in value else value


def view_effect(
    path: str, kind: str, request: Json, result: Json, annotations: Mapping[str, Json]
) -> EffectView:
    """What one effect says of itself."""
    asked, given = _mapping(request), _mapping(result)
    if kind in ("tool", "retrieval"):
        return EffectView(tool=_tool_name(path, asked))
    if kind != "model":
        return EffectView()
    policy = _mapping(asked.get("policy")) or _prompt(asked)
    responses = _responses(result)
    lineages = [_mapping(asked.get("identity"))]
    lineages += [_mapping(response.get("lineage")) for response in responses]
    lineages.append(_mapping(given.get("lineage")))
    lineages = [lineage for lineage in lineages if lineage]
    usage = _usage(given, responses, annotations)
    choice, confidence, reason = _decision(given)
    requests = asked.get("requests")
    return EffectView(
        policy_name=_text(policy.get("name")),
        policy_version=_text(policy.get("version")),
        policy_digest=_text(policy.get("digest")),
        model=_first(lineages, *_MODEL),
        base_digest=_first(lineages, ("base_digest",), ("base", "digest")),
        adapter_name=_first(
            lineages, ("adapter", "name"), ("adapter_name",), ("skill", "name"), ("skill",)
        ),
        adapter_digest=_first(
            lineages, ("adapter_digest",), ("adapter", "digest"), ("skill", "digest")
        ),
        tokenizer_digest=_first(lineages, ("tokenizer_digest",)),
        template_digest=_first(lineages, ("chat_template_digest",)),
        dtype=_first(lineages, ("dtype",)),
        device=_first(lineages, ("device",)),
        endpoint=_first(lineages, ("endpoint",)),
        host=_first(lineages, ("host",)),
        served_model=_first(lineages, ("served_model",)),
        decision=choice,
        confidence=confidence,
        reason=reason,
        questions=len(requests) if isinstance(requests, list) else 0,
        input_tokens=usage[0],
        output_tokens=usage[1],
        estimated=any(lineage.get("usage") == "estimated" for lineage in lineages),
    )


def model_name(identity: Mapping[str, Any]) -> str:
    """The name of the base or model in an identity; empty where it has none."""
    return _first([identity], *_MODEL)


def _mapping(value: Json) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else _NO_FIELDS


def _text(value: Json) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


def _number(value: Json) -> float | None:
    real = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if real else None


def _count(value: Json) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _first(sources: list[Mapping[str, Any]], *paths: tuple[str, ...]) -> str:
    """The first non-empty text at one of the paths, in the first source that has one."""
    for source in sources:
        for path in paths:
            value: Json = source
            for name in path:
                value = value.get(name) if isinstance(value, dict) else None
            if isinstance(value, str) and value:
                return value
    return ""


def _prompt(asked: Mapping[str, Any]) -> Mapping[str, Any]:
    requests = asked.get("requests")
    first = requests[0] if isinstance(requests, list) and requests else asked
    return _mapping(_mapping(first).get("prompt"))


def _responses(result: Json) -> list[Mapping[str, Any]]:
    found = result.get("responses", [result]) if isinstance(result, dict) else result
    return [_mapping(one) for one in found] if isinstance(found, list) else []


def _usage(
    given: Mapping[str, Any], responses: list[Mapping[str, Any]], notes: Mapping[str, Json]
) -> tuple[int, int]:
    totals = _mapping(given.get("usage")) or _mapping(notes.get("usage"))
    parts = [totals] if totals else [_mapping(one.get("usage")) for one in responses]
    return (
        sum(_count(part.get("input_tokens")) for part in parts),
        sum(_count(part.get("output_tokens")) for part in parts),
    )


def _decision(given: Mapping[str, Any]) -> tuple[str, float | None, str]:
    decision = given.get("decision")
    fields = _mapping(decision)
    if not fields:
        return _text(decision), _number(given.get("confidence")), _text(given.get("reason"))
    choice = next(_present(fields, "choice", "value", "then", "name", "option"), None)
    confidence = next(_present(fields, "confidence", "score", "probability"), None)
    reason = next(_present(fields, "reason", "because"), None)
    return _text(choice), _number(confidence), _text(reason)


def _present(fields: Mapping[str, Any], *names: str) -> Iterator[Json]:
    return (fields[name] for name in names if fields.get(name) is not None)


def _tool_name(path: str, asked: Mapping[str, Any]) -> str:
    named = asked.get("tool")
    if isinstance(named, dict):
        named = named.get("name")
    if isinstance(named, str) and named:
        return named
    for part in reversed(path.split("/")):
        if part.startswith("tool:"):
            return part.removeprefix("tool:")
    return path
