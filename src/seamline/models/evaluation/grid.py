"""The grid: every way to answer a skill's rows, on the same rows."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from seamline.errors import ConfigError
from seamline.models.contracts import SkillContract
from seamline.models.evaluation.declared import EvalRow, Evaluation, Prediction, Shot
from seamline.models.evaluation.kept import KeptAnswers
from seamline.models.protocol import Choice, DecideRequest, DecideResponse, Model
from seamline.models.retrieval import Retriever

__all__ = ["CELLS", "CellRun", "Grid", "LocalBase", "choose_cells", "sample"]

CELLS = {
    "retrieval": "the retriever's own order, no model",
    "base": "the bare base, asked one yes/no question a choice",
    "base_few_shot": "the same, with the nearest training rows in the prompt",
    "adapter": "the skill",
    "adapter_retrieval": "the skill's probability and the retrieval score together",
    "endpoint": "the model behind an endpoint, in one structured call",
}
_RETRIEVING = frozenset({"retrieval", "adapter_retrieval"})
_SHOTS = 4
_BATCH = 16

Tick = Callable[[int, int, str], None]


class LocalBase(Model, Protocol):
    """The local model: answers with adapters, and bare."""

    async def decide_bare(
        self, requests: Sequence[DecideRequest], contract: SkillContract
    ) -> list[DecideResponse]:
        """Answer a batch without any adapter. Raises `ModelError`."""
        ...


@dataclass(frozen=True, kw_only=True)
class CellRun:
    """What one cell answered, one prediction a row, and what it took in all."""

    predictions: tuple[Prediction, ...]
    seconds: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0


@dataclass(frozen=True, kw_only=True)
class Grid:
    """One skill's rows and who answers them.

    Attributes:
        skill: The reference of the version that is evaluated.
        contract: That version's contract.
        shots: The training rows of few-shot prompts; may be empty where no cell needs them.
        endpoint: Answers the cell `endpoint`.
        retrieval_threshold: The score from which the cell `retrieval` answers a name; by default
            as the others.
        keep: A folder for the answers as they come in, so that a grid that was cut short goes on;
            `forget` removes them.
        behaviour: What decides the answers beside the questions: digests, the endpoint as
            declared.
    """

    evaluation: Evaluation
    skill: str
    contract: SkillContract
    rows: Sequence[EvalRow]
    local: LocalBase
    shots: Sequence[Shot] = ()
    endpoint: Model | None = None
    retrieval_threshold: float | None = None
    keep: Path | None = None
    behaviour: str = ""
    _asked: dict[str, KeptAnswers] = field(default_factory=dict, init=False, repr=False)

    async def run(self, cell: str, tick: Tick) -> CellRun:
        """The answers of one cell.

        Raises:
            SkillError: A row does not fit the contract.
            ModelError: The model could not answer.
        """
        if cell == "retrieval":
            own = self.evaluation
            if self.retrieval_threshold is not None:
                own = replace(own, threshold=self.retrieval_threshold)
            found = [own.predict(row.names, row.retrieved) for row in self.rows]
            return CellRun(predictions=tuple(found))
        if cell in ("adapter", "adapter_retrieval"):
            return await self._answered(self._adapter_requests(), cell, tick)
        if cell == "endpoint":
            return await self._answered(self._plain_requests(), cell, tick)
        few = cell == "base_few_shot"
        requests = self._with_shots(self._plain_requests()) if few else self._plain_requests()
        return await self._answered(requests, cell, tick)

    def forget(self) -> None:
        """Remove the answers that were kept."""
        for answers in self._asked.values():
            answers.forget()

    async def _answered(self, requests: Sequence[DecideRequest], cell: str, tick: Tick) -> CellRun:
        # Both cells of the adapter ask the same questions: they are asked once.
        kind = "adapter" if cell == "adapter_retrieval" else cell
        if kind not in self._asked:
            self._asked[kind] = await self._ask(requests, kind, tick)
        answers = self._asked[kind]
        usage = [response.usage for response in answers.responses.values()]
        return CellRun(
            predictions=tuple(
                self._read(row, requests[i], answers.responses.get(i), cell)
                for i, row in enumerate(self.rows)
            ),
            seconds=answers.seconds,
            input_tokens=sum(one.input_tokens for one in usage),
            output_tokens=sum(one.output_tokens for one in usage),
        )

    async def _ask(self, requests: Sequence[DecideRequest], cell: str, tick: Tick) -> KeptAnswers:
        whom = [cell, self.behaviour, self.evaluation.bare.model_dump_json()]
        kept = KeptAnswers(self.keep, whom, requests)
        # A row without candidates asks nothing; its answer is none.
        asked = [i for i, one in enumerate(requests) if one.choices or one.ask == "labels"]
        total, what = len(asked), f"rows of {self.skill}, {cell}"
        left = [i for i in asked if i not in kept.responses]
        # Rows of one length are read together, so that little is padded.
        left.sort(key=lambda i: (len(requests[i].instructions + requests[i].context), i))
        tick(total - len(left), total, what)
        if left and cell != "endpoint":
            # Loading the base and the adapter is no part of a row's seconds.
            await self._decide(cell, [requests[left[0]]])
        for at in range(0, len(left), _BATCH):
            part = left[at : at + _BATCH]
            started = time.perf_counter()
            answers = await self._decide(cell, [requests[i] for i in part])
            seconds = time.perf_counter() - started
            kept.add(dict(zip(part, answers, strict=True)), seconds)
            tick(len(kept.responses), total, what)
        return kept

    async def _decide(self, cell: str, requests: Sequence[DecideRequest]) -> list[DecideResponse]:
        if cell == "endpoint":
            assert self.endpoint is not None, "choose_cells lets no endpoint cell in without one"
            return await self.endpoint.decide(requests)
        if cell.startswith("adapter"):
            return await self.local.decide(requests, skill=self.skill)
        return await self.local.decide_bare(requests, self.evaluation.bare)

    def _read(
        self, row: EvalRow, request: DecideRequest, response: DecideResponse | None, cell: str
    ) -> Prediction:
        if response is None:
            return self.evaluation.predict((), ())
        scores = response.scores
        if self.contract.read == "labels":
            names = [choice.name for choice in request.choices] or list(self.contract.labels)
            return self.evaluation.predict(names, scores, none=self.contract.none_label)
        if cell == "adapter_retrieval":
            if self.evaluation.with_retrieval is not None:
                return self.evaluation.with_retrieval(row, scores)
            pairs = zip(scores, row.retrieved, strict=True)
            scores = tuple((score + found) / 2 for score, found in pairs)
        return self._predicted(row, scores)

    def _predicted(self, row: EvalRow, scores: Sequence[float]) -> Prediction:
        if self.evaluation.read is not None:
            return self.evaluation.read(row, scores)
        return self.evaluation.predict(row.names, scores)

    def _adapter_requests(self) -> list[DecideRequest]:
        return [row.asked or self.contract.request(row.context, row.choices) for row in self.rows]

    def _plain_requests(self) -> list[DecideRequest]:
        """The rows as a model without the adapter reads them: labels by their real names."""
        bare = self.evaluation.bare
        if self.contract.read == "branches":
            return [
                request.model_copy(update={"instructions": bare.system or request.instructions})
                for request in self._adapter_requests()
            ]
        names = [name for name in self.contract.labels if name != self.contract.none_label]
        return [
            DecideRequest(
                ask="options",
                instructions=bare.system,
                context=request.context,
                choices=tuple(Choice(name=name, text=name) for name in names),
            )
            for request in self._adapter_requests()
        ]

    def _with_shots(self, requests: Sequence[DecideRequest]) -> list[DecideRequest]:
        index = Retriever([shot.text for shot in self.shots])
        found = []
        for row, request in zip(self.rows, requests, strict=True):
            near = [self.shots[i] for i in index.nearest(row.text, _SHOTS)]
            # The nearest stands last, next to the question.
            examples = "\n\n".join(self._example(shot, near) for shot in reversed(near))
            text = f"{request.instructions}\n\nExamples:\n\n{examples}\n\nNow the real one.\n"
            found.append(request.model_copy(update={"instructions": text}) if near else request)
        return found

    def _example(self, shot: Shot, near: Sequence[Shot]) -> str:
        """A training row with a right choice and, where a neighbour has another, a wrong one."""
        yes, no = self.evaluation.bare.answers
        others = (text for one in near for text in one.right if text not in shot.right)
        asked = [(text, yes) for text in shot.right[:1]] + [(text, no) for text in [*others][:1]]
        context = self.contract.request(shot.context).context
        frame = self.evaluation.bare.frames["options"]
        lines = [f"{frame.replace('{text}', text)} {answer.strip()}" for text, answer in asked]
        return "\n".join([context, *lines])


def sample(rows: Sequence[EvalRow], limit: int | None, *, seed: int = 0) -> list[EvalRow]:
    """The rows of at most `limit` groups, drawn at random, the same for the same seed.

    All rows without a limit. A row without a group is one of its own.
    """
    if limit is None:
        return list(rows)
    groups: dict[str, list[EvalRow]] = {}
    for row in rows:
        groups.setdefault(row.unit, []).append(row)
    units = list(groups)
    random.Random(seed).shuffle(units)
    return [row for unit in units[:limit] for row in groups[unit]]


def choose_cells(
    wanted: Sequence[str], rows: Sequence[EvalRow], evaluation: Evaluation, *, endpoint: bool
) -> tuple[str, ...]:
    """The cells to run, in the order of `CELLS`: those wanted, else those that are declared.

    Raises:
        ConfigError: One of them does not exist, or lacks its endpoint, its retrieval scores or
            its training rows.
    """
    lacking = {"endpoint": "needs --endpoint NAME"} if not endpoint else {}
    if not any(row.retrieved for row in rows):
        lacking |= dict.fromkeys(_RETRIEVING, "has no retrieval scores here")
    if evaluation.shots is None:
        lacking["base_few_shot"] = "has no training rows here"
    possible = [cell for cell in CELLS if cell not in lacking]
    for cell in wanted:
        if cell not in CELLS:
            raise ConfigError(f"there is no cell {cell!r}; use some of: {', '.join(CELLS)}")
        if cell in lacking:
            told = ", ".join(possible)
            raise ConfigError(f"cell {cell!r} {lacking[cell]}; possible are: {told}")
    chosen = set(wanted) or {*(evaluation.cells or possible), *(["endpoint"] if endpoint else [])}
    return tuple(cell for cell in possible if cell in chosen)
