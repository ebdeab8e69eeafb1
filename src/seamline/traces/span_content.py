"""What a run was asked and answered, for spans that are to carry it; every text is redacted.

Only texts go in, in the message form of the conventions; token ids, which spell out the text
they stand for, and scores stay out.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from seamline.texts import whole_text
from seamline.traces import constants as names
from seamline.traces.values import Json

__all__ = ["Redact", "content_of", "masked", "messages_of_run"]

Redact: TypeAlias = Callable[[str], str]
"""A text to what may be shown of it."""

_WITHHELD = "[withheld: the redaction failed]"

_log = logging.getLogger(__name__)


def content_of(kind: str, request: Json, result: Json, *, redact: Redact | None) -> dict[str, str]:
    """The attributes that hold what one effect was asked and answered."""
    request, result = masked(request, redact), masked(result, redact)
    asked = request if isinstance(request, dict) else {}
    if kind == "model":
        return _of_model(asked, result)
    answered = result
    for name in ("value", "output"):
        if isinstance(answered, dict) and name in answered:
            answered = answered[name]
    found = {names.GEN_AI_TOOL_CALL_ARGUMENTS: _json(asked.get("input", request))}
    if result is not None:
        found[names.GEN_AI_TOOL_CALL_RESULT] = _json(answered)
    return found


def messages_of_run(given: Json, result: Json, *, redact: Redact | None) -> dict[str, str]:
    """The attributes that hold a run's input and result."""
    given, result = masked(given, redact), masked(result, redact)
    found: dict[str, str] = {}
    text = given.get("text") if isinstance(given, dict) else given
    if text is not None:
        found[names.GEN_AI_INPUT_MESSAGES] = _json([_message("user", text)])
    if result is not None:
        found[names.GEN_AI_OUTPUT_MESSAGES] = _json([_answer(result)])
    return found


def masked(value: Json, redact: Redact | None) -> Json:
    """The value with every text in it redacted, the names of fields too."""
    if redact is None:
        return value
    if isinstance(value, str):
        try:
            return redact(value)
        except Exception:
            _log.warning("the redaction of a span's content failed", exc_info=True)
            return _WITHHELD
    if isinstance(value, Mapping):
        return {masked(key, redact): masked(member, redact) for key, member in value.items()}
    if isinstance(value, list):
        return [masked(member, redact) for member in value]
    return value


def _of_model(asked: Mapping[str, Any], result: Json) -> dict[str, str]:
    requests = asked.get("requests")
    listed = requests if isinstance(requests, list) else [asked]
    questions = [one for one in listed if isinstance(one, dict)]
    system = dict.fromkeys(str(one["instructions"]) for one in questions if one.get("instructions"))
    user = [_message("user", one["context"]) for one in questions if one.get("context")]
    found: dict[str, list[Json]] = {
        names.GEN_AI_INPUT_MESSAGES: user,
        names.GEN_AI_SYSTEM_INSTRUCTIONS: [{"type": "text", "content": text} for text in system],
        names.GEN_AI_OUTPUT_MESSAGES: [_answer(said) for said in _said(result)],
    }
    return {name: _json(value) for name, value in found.items() if value}


def _said(result: Json) -> list[Json]:
    """The decisions of a policy; else texts that were written, or labels and their scores."""
    if not isinstance(result, dict):
        return []
    if "decision" in result:
        return [result["decision"]]
    several = result.get("decisions") or result.get("responses")
    return [_short(one) for one in (several if isinstance(several, list) else [result])]


def _short(said: Json) -> Json:
    if not isinstance(said, dict) or "choice" in said:
        return said
    return {name: said[name] for name in ("text", "labels", "scores") if said.get(name)}


def _message(role: str, content: Json) -> dict[str, Json]:
    text = content if isinstance(content, str) else _json(content)
    return {"role": role, "parts": [{"type": "text", "content": text}]}


def _answer(content: Json) -> dict[str, Json]:
    return {**_message("assistant", content), "finish_reason": "stop"}


def _json(value: Json) -> str:
    """As text, since span attributes hold no objects everywhere yet."""
    return whole_text(json.dumps(value, ensure_ascii=False))
