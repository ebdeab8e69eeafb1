"""A model that says what it is told to: for tests of policies, agents and tools."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from seamline.errors import ModelError
from seamline.models.contracts import SkillContract
from seamline.models.protocol import (
    DecideRequest,
    DecideResponse,
    WriteRequest,
    WriteResponse,
)

__all__ = ["Answer", "ScriptedCall", "ScriptedModel"]

Answer = int | str | tuple[float, ...] | Mapping[str, float] | None
"""One answer: the index of a choice; its name or text (or the text to write); every score
in order; scores by name, the rest 0; or None for "none of these"."""

Script = Mapping[str, Answer | list[Answer]]
Request = DecideRequest | WriteRequest


@dataclass(frozen=True, kw_only=True)
class ScriptedCall:
    """One request that a `ScriptedModel` was asked, in the order of asking."""

    kind: Literal["decide", "write"]
    skill: str | None
    request: Request


class ScriptedModel:
    """Answers from a script instead of a model.

    Args:
        answers: By policy (`icd10_coder/plan`, or `icd10_coder/plan@1.0.0`) or, for requests
            without one, by skill; a list is consumed in order, anything else is given every
            time. Or a function of (request, skill).

    Attributes:
        calls: Every request so far, in order.

    Example:
        >>> model = ScriptedModel({"shop/plan": [0, None], "sentiment": "positive"})
    """

    def __init__(self, answers: Script | Callable[[Request, str | None], Answer]) -> None:
        self.calls: list[ScriptedCall] = []
        self._function = answers if callable(answers) else None
        self._script: dict[str, Answer | list[Answer]] = {}
        if not callable(answers):
            self._script = {k: list(v) if isinstance(v, list) else v for k, v in answers.items()}

    async def decide(
        self, requests: Sequence[DecideRequest], *, skill: str | None = None
    ) -> list[DecideResponse]:
        """One scripted response a request, in order.

        Raises:
            ModelError: The script has no answer left, or one that does not fit the choices.
        """
        return [self._decide(request, skill) for request in requests]

    async def decide_bare(
        self,
        requests: Sequence[DecideRequest],
        contract: SkillContract,  # noqa: ARG002
    ) -> list[DecideResponse]:
        """As `decide` without a skill: what an evaluation asks of the bare base.

        Raises:
            ModelError: As `decide`.
        """
        return [self._decide(request, None) for request in requests]

    async def write(self, request: WriteRequest, *, skill: str | None = None) -> WriteResponse:
        """The scripted text.

        Raises:
            ModelError: The script has no text left for this request.
        """
        answer = self._answer("write", request, skill)
        if not isinstance(answer, str):
            raise ModelError(f"{_asked(request, skill)} writes text, but is scripted {answer!r}")
        return WriteResponse(text=answer, lineage=self.identity(skill))

    def identity(self, skill: str | None = None) -> Mapping[str, Any]:
        """`{"model": "scripted"}`, and the skill when there is one."""
        return {"model": "scripted"} | ({"skill": skill} if skill else {})

    def _decide(self, request: DecideRequest, skill: str | None) -> DecideResponse:
        answer = self._answer("decide", request, skill)
        names = [choice.name for choice in request.choices]
        if not names and isinstance(answer, Mapping):
            names = list(answer)
        scores = _scores(answer, names, [choice.text for choice in request.choices])
        if scores is None:
            raise ModelError(
                f"{_asked(request, skill)} is scripted {answer!r}, which is none of its "
                f"choices: {', '.join(names) or 'it has none'}; give an index, a name, a text, "
                f"{len(names)} scores, or None"
            )
        labels = tuple(names) if request.ask == "labels" else ()
        return DecideResponse(scores=scores, labels=labels, lineage=self.identity(skill))

    def _answer(
        self, kind: Literal["decide", "write"], request: Request, skill: str | None
    ) -> Answer:
        self.calls.append(ScriptedCall(kind=kind, skill=skill, request=request))
        if self._function is not None:
            return self._function(request, skill)
        for key in _keys(request, skill):
            if key not in self._script:
                continue
            found = self._script[key]
            if not isinstance(found, list):
                return found
            if found:
                return found.pop(0)
            raise ModelError(f"{_asked(request, skill)} has no scripted answer left under {key!r}")
        raise ModelError(
            f"{_asked(request, skill)} has no scripted answer; scripted are: "
            f"{', '.join(sorted(self._script)) or 'none'}. Its context starts: "
            f"{request.context.strip()[:120]!r}"
        )


def _keys(request: Request, skill: str | None) -> list[str]:
    if request.prompt is not None:
        return [f"{request.prompt.name}@{request.prompt.version}", request.prompt.name]
    return [skill] if skill else []


def _asked(request: Request, skill: str | None) -> str:
    if request.prompt is not None:
        return f"policy {request.prompt.name}@{request.prompt.version}"
    return f"skill {skill}" if skill else "a request without policy or skill"


def _scores(answer: Answer, names: list[str], texts: list[str]) -> tuple[float, ...] | None:
    """The scores an answer stands for; None when it does not fit."""
    if answer is None:
        return (0.0,) * len(names)
    if isinstance(answer, tuple):
        return answer if len(answer) == len(names) else None
    if isinstance(answer, Mapping):
        known = all(name in names for name in answer)
        return tuple(float(answer.get(name, 0.0)) for name in names) if known else None
    if isinstance(answer, str):
        options = names if answer in names else texts
        if answer not in options:
            return None
        answer = options.index(answer)
    if isinstance(answer, bool) or not 0 <= answer < len(names):
        return None
    return tuple(float(i == answer) for i in range(len(names)))
