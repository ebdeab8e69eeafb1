"""A decision as one chat question: its text, its JSON form, and how to read the answer."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seamline.errors import EndpointError
from seamline.models.protocol import DecideRequest

__all__ = ["BadAnswer", "Question", "Token", "ask"]

NONE = "none"
Token = tuple[str, float]
"""A decoded token's text and its log-probability."""


class BadAnswer(ValueError):
    """The answer does not have the form that was asked for."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """What to send, and `form`: the sentence that tells the model how to answer."""

    system: str
    user: str
    form: str
    schema: Mapping[str, Any]
    key: str
    size: int
    read: Callable[[Any], frozenset[int]]

    def scores(self, text: str, tokens: Sequence[Token] = ()) -> tuple[float, ...]:
        """One score a choice: 1 for what the answer names, 0 for the rest.

        With `tokens`, the named ones score the probability of the answer's tokens, and at
        least 0.5: the endpoint did choose them.

        Raises:
            BadAnswer: The text does not hold the form.
        """
        answer = _first_object(text)
        if self.key not in answer:
            raise BadAnswer(f"the answer has no {self.key!r}")
        chosen = self.read(answer[self.key])
        score = max(0.5, _probability(text, self.key, tokens)) if tokens else 1.0
        return tuple(score if i in chosen else 0.0 for i in range(self.size))


def ask(request: DecideRequest) -> Question:
    """The chat question for a request.

    Raises:
        EndpointError: The request asks for labels but names none.
    """
    names = [choice.name for choice in request.choices]
    texts = [" ".join(choice.text.split()) for choice in request.choices]
    size = len(names)
    if request.ask == "rules":
        listed = "\n".join(f"{i}. If {text}" for i, text in enumerate(texts, start=1))
        task = f"Rules, the first that holds wins:\n{listed}"
        form = 'Answer only with JSON: {"rule": N}, N the number of the first rule that holds, '
        form += "or 0 if none does."
        value: dict[str, Any] = {"type": "integer", "enum": list(range(size + 1))}
        return _question(request, task, form, "rule", value, lambda said: _rule(said, size))
    if not names:
        raise EndpointError(
            "a question of labels came without its labels, which an endpoint cannot know; "
            "keep the skill on the local base"
        )
    listed = "\n".join(f"- {name}: {text}" for name, text in zip(names, texts, strict=True))
    if request.ask == "options":
        task = f"Options:\n{listed}\n- {NONE}: no option is right"
        form = 'Answer only with JSON: {"choice": "NAME"}, NAME the right option, '
        form += f'or "{NONE}".'
        value = {"type": "string", "enum": [*dict.fromkeys([*names, NONE])]}
        return _question(request, task, form, "choice", value, lambda said: _choice(said, names))
    task = f"Labels:\n{listed}"
    form = 'Answer only with JSON: {"labels": ["NAME", ...]}, every label that applies, or [].'
    value = {"type": "array", "items": {"type": "string", "enum": names}}
    return _question(request, task, form, "labels", value, lambda said: _labels(said, names))


def _question(
    request: DecideRequest,
    task: str,
    form: str,
    key: str,
    value: Mapping[str, Any],
    read: Callable[[Any], frozenset[int]],
) -> Question:
    return Question(
        system="\n\n".join(part for part in (request.instructions.strip(), form) if part),
        user=f"{request.context.strip()}\n\n{task}\n\n{form}".strip(),
        form=form,
        schema={
            "type": "object",
            "properties": {key: value},
            "required": [key],
            "additionalProperties": False,
        },
        key=key,
        size=len(request.choices),
        read=read,
    )


def _rule(said: Any, size: int) -> frozenset[int]:
    if isinstance(said, str) and said.strip().isdecimal():
        said = int(said)
    if isinstance(said, bool) or not isinstance(said, int) or not 0 <= said <= size:
        raise BadAnswer(f"rule {said!r} is not a number from 0 to {size}")
    return frozenset({said - 1} if said else ())


def _choice(said: Any, names: Sequence[str]) -> frozenset[int]:
    if isinstance(said, str) and said in names:
        return frozenset({list(names).index(said)})
    if said is None or said == NONE:
        return frozenset()
    raise BadAnswer(f"choice {said!r} is not one of {', '.join(names)}, {NONE}")


def _labels(said: Any, names: Sequence[str]) -> frozenset[int]:
    if not isinstance(said, list) or any(label not in names for label in said):
        raise BadAnswer(f"labels {said!r} are not a list out of {', '.join(names)}")
    return frozenset(list(names).index(label) for label in said)


def _first_object(text: str) -> dict[str, Any]:
    """The JSON object of an answer that may carry thoughts, fences or a preface before it."""
    text = text.rpartition("</think>")[2]
    decoder = json.JSONDecoder()
    for match in re.finditer(r"\{", text):
        try:
            found, _ = decoder.raw_decode(text, match.start())
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict):
            return found
    raise BadAnswer("the answer holds no whole JSON object")


def _probability(text: str, key: str, tokens: Sequence[Token]) -> float:
    """The probability of the tokens that spell the value, given what stands before it."""
    last = None
    for match in re.finditer(rf'"{key}"\s*:\s*', text):
        last = match
    if last is None or "".join(token for token, _ in tokens) != text:
        return 1.0
    total, at = 0.0, 0
    for token, logprob in tokens:
        if at + len(token) > last.end():
            total += logprob
        at += len(token)
    return min(1.0, math.exp(total))
