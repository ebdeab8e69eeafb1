"""What a run asked its skills, and rows to train on of what was answered wrongly.

The journal holds each question as its skill read it. A person says what would have been right,
and the question becomes a training row: its text is taken apart into the variables of the
skill's contract, so that a later version with other words around them learns from it too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from seamline.errors import InputError, SkillError
from seamline.models.contracts import SkillContract
from seamline.models.dataset.rows import to_json
from seamline.models.dataset.sources import read_columns
from seamline.models.protocol import DecideRequest, DecideResponse
from seamline.terminal import cut
from seamline.traces.journal import EffectKey
from seamline.traces.trace import Trace
from seamline.writing import replace_file

__all__ = ["Question", "add_rows", "corrected", "questions_of"]

_MET = 0.5


@dataclass(frozen=True)
class Question:
    """One question to a skill.

    Attributes:
        number: Its place among all questions of the run to skills, from 1.
        key: The effect that asked it.
        place: Its place in that effect, which may ask many at once, from 0.
        skill: Who answered: `name@version`.
        digest: The digest of that adapter.
    """

    number: int
    run_id: str
    key: EffectKey
    place: int
    skill: str
    digest: str
    request: DecideRequest
    response: DecideResponse

    @property
    def policy(self) -> str:
        """The policy that asked, `name@version`; empty where a tool did."""
        prompt = self.request.prompt
        return f"{prompt.name}@{prompt.version}" if prompt else ""

    @property
    def id(self) -> str:
        """Tells it from every other question of every run."""
        return f"{self.run_id}:{self.key.text}:{self.place}"

    @property
    def names(self) -> tuple[str, ...]:
        """What can be answered: the skill's labels, or the texts of the choices."""
        return self.response.labels or tuple(choice.text for choice in self.request.choices)

    @property
    def answered(self) -> tuple[tuple[str, float], ...]:
        """What was answered, with its score: the best, or every condition that was held met."""
        scored = sorted(
            zip(self.names, self.response.scores, strict=False), key=lambda pair: -pair[1]
        )
        if self.request.ask == "rules":
            return tuple(pair for pair in scored if pair[1] >= _MET)
        return tuple(scored[:1])


def questions_of(trace: Trace, skill: str | None = None) -> list[Question]:
    """The questions to a skill, or to all of them, in the order of the journal.

    Args:
        trace: The run.
        skill: `name` or `name@version`; None for every skill.

    Raises:
        TraceError: A blob of the run is missing.
    """
    found: list[Question] = []
    for entry in trace.entries:
        if entry.kind != "model" or entry.error is not None:
            continue
        asked, given = trace.request(entry), trace.result(entry)
        identity = asked.get("identity") if isinstance(asked, dict) else None
        if not isinstance(identity, dict) or not identity.get("skill"):
            continue
        for place, (request, response) in enumerate(_pairs(asked, given)):
            found.append(
                Question(
                    number=len(found) + 1,
                    run_id=trace.run_id,
                    key=entry.key,
                    place=place,
                    skill=str(identity["skill"]),
                    digest=str(identity.get("adapter_digest") or ""),
                    request=request,
                    response=response,
                )
            )
    return [one for one in found if skill is None or skill in (one.skill, _name(one.skill))]


def corrected(question: Question, right: Sequence[str], contract: SkillContract) -> dict[str, Any]:
    """A training row: the question with its right answers, of which there may be none.

    Args:
        question: What was asked.
        right: Labels of the skill; or choices, by their text, their name in a policy, or their
            number from 1. Of a question about conditions, every one that is met.
        contract: That of the skill as it answered.

    Raises:
        InputError: The question cannot be answered with one of these, or cannot be taken apart.
    """
    request = question.request
    row: dict[str, Any] = {"id": question.id, "group": question.run_id}
    try:
        if contract.read == "labels":
            row["context"] = contract.variables_of(request)
            return {**row, "labels": _labels(question, right, contract)}
        if contract.system:
            if (request.instructions, request.ask) != (contract.system, contract.ask):
                raise SkillError("it was asked by another contract than the skill has now")
            row["context"] = contract.variables_of(request)
            branches = [contract.choice_variables_of(one.text) for one in request.choices]
        else:
            # The prompt came with the question, as those of policies do.
            row |= {"kind": request.ask, "instructions": request.instructions}
            row["context"] = request.context
            branches = [{"name": one.name, "text": one.text} for one in request.choices]
    except SkillError as error:
        raise InputError(f"question {question.number} makes no row: {error}") from error
    known = _chosen(question, right)
    row["branches"] = [{**one, "label": int(at in known)} for at, one in enumerate(branches)]
    return row


def add_rows(file: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write rows behind those of a JSONL file, each in place of one with its id; how many it has.

    A new file can be read by its owner alone, because rows hold what documents said.

    Raises:
        InputError: The file is not named as JSONL, or cannot be written.
        ConfigError: It is there, and cannot be read or holds something else.
    """
    if file.suffix.lower() != ".jsonl":
        raise InputError(f"{file} is not named as a recipe's source must be: end it in .jsonl")
    new = {row["id"]: row for row in rows}
    try:
        file = file.resolve()
        old = [row for _, row in read_columns(file)] if file.exists() else []
        held = [new.pop(str(row.get("id")), row) for row in old] + list(new.values())
        replace_file(file, to_json(held), mode=0o600)
    except OSError as error:
        raise InputError(f"{file} cannot be written: {error.strerror or error}") from error
    return len(held)


def _labels(question: Question, right: Sequence[str], contract: SkillContract) -> list[str]:
    known, none = list(contract.labels), contract.none_label
    if list(question.names) != known:
        raise SkillError("it was asked with other labels than the skill has now")
    labels = [known[at] for at in sorted(_chosen(question, right))]
    if not labels and none is not None:
        return [none]
    if not labels or (len(labels) > 1 and (none is None or none in labels)):
        raise InputError(
            f"question {question.number} to {question.skill} has one right label; "
            f"answer with one of: {', '.join(known)}"
        )
    return labels


def _pairs(asked: Any, given: Any) -> list[tuple[DecideRequest, DecideResponse]]:
    """Questions with their answers; texts that a skill wrote, and unknown shapes, are left out."""
    requests = asked.get("requests")
    responses = given.get("responses") if isinstance(given, dict) else given
    if not isinstance(requests, list) or not isinstance(responses, list):
        return []
    try:
        return [
            (DecideRequest.model_validate(one), DecideResponse.model_validate(other))
            for one, other in zip(requests, responses, strict=True)
        ]
    except (ValidationError, ValueError):
        return []


def _chosen(question: Question, right: Sequence[str]) -> set[int]:
    """The places of the right answers among what could be answered."""
    names = question.names
    places = {_folded(name): at for at, name in reversed([*enumerate(names)])}
    if question.policy:
        places = {_folded(c.name): at for at, c in enumerate(question.request.choices)} | places
    found = set()
    for answer in right:
        plain = _folded(answer)
        if plain in places:
            found.add(places[plain])
        elif plain.isdecimal() and 1 <= int(plain) <= len(names):
            found.add(int(plain) - 1)
        else:
            known = "; ".join(f"{at} {cut(name)}" for at, name in enumerate(names, 1))
            raise InputError(
                f"question {question.number} to {cut(question.skill)} cannot be answered with "
                f"{answer!r}; use one of: {known}"
            )
    return found


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def _name(skill: str) -> str:
    return skill.partition("@")[0]
