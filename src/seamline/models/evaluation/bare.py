"""How the bare base is asked: plainly, or with the nearest training rows as examples.

Plainly, it is asked one yes/no question a choice, as `bare` of the evaluation says. With
examples, a label set is asked as the skill asks it: the context and the question, and the answer
on a line of its own, first of every example and then of the row. So what is read is which label
the base would write next, and a label set takes one question a row.
"""

from __future__ import annotations

from collections.abc import Sequence

from seamline.models.contracts import SkillContract
from seamline.models.evaluation.declared import EvalRow, Evaluation, Shot
from seamline.models.evaluation.examples import Examples
from seamline.models.protocol import Choice, DecideRequest

__all__ = ["FEW_SHOT", "BareBase"]

FEW_SHOT = "base_few_shot"

_SHOTS = 4
_QUESTION = "Answer:"
"""Asked where the contract of a label set has no question of its own."""


class BareBase:
    """The questions of one skill's evaluation as the base gets them."""

    def __init__(self, evaluation: Evaluation, contract: SkillContract, examples: Examples) -> None:
        self._bare, self._contract, self._examples = evaluation.bare, contract, examples

    def contract(self, cell: str) -> SkillContract:
        """How the requests of a cell are read."""
        if cell == FEW_SHOT and self._contract.read == "labels":
            return self._contract.model_copy(update={"own_turn": False})
        return self._bare

    def requests(
        self, cell: str, rows: Sequence[EvalRow], of: Sequence[Shot | None] | None = None
    ) -> list[DecideRequest]:
        """The requests of a cell; `of` are the training rows that the rows themselves are."""
        if cell != FEW_SHOT:
            return [self._plain(row) for row in rows]
        own = of or [None] * len(rows)
        return [self._with_shots(row, shot) for row, shot in zip(rows, own, strict=True)]

    def _asked(self, row: EvalRow) -> DecideRequest:
        return row.asked or self._contract.request(row.context, row.choices)

    def _plain(self, row: EvalRow) -> DecideRequest:
        """Labels are asked by their real names."""
        request = self._asked(row)
        if self._contract.read == "branches":
            instructions = self._bare.system or request.instructions
            return request.model_copy(update={"instructions": instructions})
        names = [name for name in self._contract.labels if name != self._contract.none_label]
        return DecideRequest(
            ask="options",
            instructions=self._bare.system,
            context=request.context,
            choices=tuple(Choice(name=name, text=name) for name in names),
        )

    def _with_shots(self, row: EvalRow, of: Shot | None) -> DecideRequest:
        near = self._examples.near(row.text, _SHOTS, of=of)
        if self._contract.read == "labels":
            return self._continued(row, near)
        plain = self._plain(row)
        if not near:
            return plain
        # The nearest stands last, next to the question.
        told = "\n\n".join(self._answered(shot, near) for shot in reversed(near))
        text = f"{plain.instructions}\n\nExamples:\n\n{told}\n\nNow the real one.\n"
        return plain.model_copy(update={"instructions": text})

    def _continued(self, row: EvalRow, near: Sequence[Shot]) -> DecideRequest:
        """The examples as context, question and label, and the row up to its label."""
        contract, request = self._contract, self._asked(row)
        told = []
        for shot in reversed(near):
            label = shot.right[0] if shot.right else contract.none_label or ""
            if label in contract.labels:
                own = contract.request(shot.context)
                told.append(f"{own.context}\n{_question(own)}{contract.labels[label]}")
        context = "\n\n".join([*told, request.context])
        return request.model_copy(update={"context": context, "question": _question(request)})

    def _answered(self, shot: Shot, near: Sequence[Shot]) -> str:
        """A training row with a right choice and, where a neighbour has another, a wrong one."""
        yes, no = self._bare.answers
        others = (text for one in near for text in one.right if text not in shot.right)
        asked = [(text, yes) for text in shot.right[:1]] + [(text, no) for text in [*others][:1]]
        context = self._contract.request(shot.context).context
        frame = self._bare.frames["options"]
        lines = [f"{frame.replace('{text}', text)} {answer.strip()}" for text, answer in asked]
        return "\n".join([context, *lines])


def _question(request: DecideRequest) -> str:
    return f"{request.question or _QUESTION}\n"
